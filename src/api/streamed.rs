//! Answers with a list that is made while it is sent: nothing of it is kept, and a slow client slows nobody else.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// Bytes of one piece, about.
const PIECE: usize = 32 * 1_024;

/// `{"<name>": [...], ...}` with the items as they come, and `rest` behind them.
pub fn listed<I>(name: &'static str, items: I, rest: Map<String, Value>) -> Response
where
    I: Iterator<Item: Serialize> + Send + 'static,
{
    let pieces = Pieces { name, items, rest, count: 0, ended: false };
    let body = Body::from_stream(futures_util::stream::iter(pieces.map(Ok::<_, Infallible>)));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

struct Pieces<I> {
    name: &'static str,
    items: I,
    rest: Map<String, Value>,
    count: usize,
    ended: bool,
}

impl<I: Iterator<Item: Serialize>> Iterator for Pieces<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut piece = Vec::with_capacity(PIECE + PIECE / 4);
        if self.count == 0 {
            piece.extend_from_slice(format!("{{\"{}\":[", self.name).as_bytes());
        }
        while piece.len() < PIECE {
            let Some(item) = self.items.next() else {
                self.ended = true;
                piece.push(b']');
                for (name, value) in &self.rest {
                    piece.extend_from_slice(format!(",{}:{value}", Value::from(name.as_str())).as_bytes());
                }
                piece.push(b'}');
                break;
            };
            if self.count > 0 {
                piece.push(b',');
            }
            self.count += 1;
            // Text keys and plain values only: there is nothing in it that JSON cannot say.
            piece.extend_from_slice(&serde_json::to_vec(&item).unwrap_or_else(|_| b"null".to_vec()));
        }
        Some(piece.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_in_pieces_is_the_document_that_it_is_of() {
        for count in [0, 1, 2, 10_000] {
            let items: Vec<Value> = (0..count).map(|n| json!({"n": n, "text": "a \"b\""})).collect();
            let rest = json!({"position": 7, "applied": true}).as_object().unwrap().clone();
            let pieces = Pieces { name: "items", items: items.clone().into_iter(), rest, count: 0, ended: false };
            let pieces: Vec<Bytes> = pieces.collect();
            assert!(pieces.len() > count / 10_000 && pieces.iter().all(|piece| piece.len() < 2 * PIECE));
            let whole: Value = serde_json::from_slice(&pieces.concat()).unwrap();
            assert_eq!(whole, json!({"items": items, "position": 7, "applied": true}));
        }
    }
}
