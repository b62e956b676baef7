//! Users and keys of a running gateway, as commands make, list and change them.

use std::collections::HashMap;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::{Answer, Api, Reach, cause};
use super::columns::{Cell, Head, Look};
use super::exit::Exit;
use super::output::{self, harmless};

/// Of one request, which is the most that the API gives.
const PAGE: usize = 500;

/// How a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns
    Text,
    /// One JSON object a line, as the API gives it
    Json,
}

/// What every list of them takes.
#[derive(Args, Debug)]
pub(super) struct Listing {
    /// Those of this organization
    #[arg(long, value_name = "ID")]
    pub org: Option<String>,
    /// How to show them
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    #[command(flatten)]
    pub reach: Reach,
}

impl Listing {
    pub fn query(&self) -> Vec<(&'static str, String)> {
        self.org.iter().map(|org| ("orgId", org.clone())).collect()
    }
}

/// One kind of them.
pub(super) struct Collection {
    pub api: Api,
    /// Below `/api/v1/admin`.
    pub path: &'static str,
    /// The name of a list's items.
    pub items: &'static str,
    pub noun: &'static str,
    /// What lists them.
    pub listed_by: &'static str,
}

impl Collection {
    /// What was made, as it is answered once.
    pub async fn make<T: DeserializeOwned>(&self, body: &Value) -> Result<T, Exit> {
        let answer = self.send((Method::POST, &[]), Some(body)).await?;
        if answer.status != StatusCode::CREATED {
            return Err(self.refusal(&answer, ""));
        }
        understood(&answer.body)
    }

    /// Changes the one of this id, or does to it what the last part of the route says.
    pub async fn change(&self, method: Method, route: &[&str], body: Option<&Value>) -> Result<Answer, Exit> {
        let answer = self.send((method, route), body).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(self.refusal(&answer, route.first().copied().unwrap_or_default()))
    }

    /// All of them, in the order of their ids.
    pub async fn all(&self, query: &[(&'static str, String)]) -> Result<Vec<Box<RawValue>>, Exit> {
        let mut all: Vec<Box<RawValue>> = Vec::new();
        for page in 1_usize.. {
            let paging = [("page", page.to_string()), ("limit", PAGE.to_string())];
            let query: Vec<_> = query.iter().cloned().chain(paging).collect();
            let answer = self.api.ask(self.api.url(&["admin", self.path], &query)).await?;
            let (items, has_more) = page_of(&self.api.taken(answer)?, self.items)?;
            all.extend(items);
            if !has_more {
                break;
            }
        }
        Ok(all)
    }

    /// Writes a list: columns with what `cells` says of each, or JSON.
    pub async fn show<T: DeserializeOwned, const N: usize>(
        &self,
        query: &[(&'static str, String)],
        format: Format,
        (columns, cells): (&[Head; N], impl Fn(&T) -> [Cell; N]),
    ) -> Result<(), Exit> {
        let all = self.all(query).await?;
        let look = Look::of_stdout();
        let mut text = match format {
            Format::Text if !all.is_empty() => look.heading(columns),
            _ => String::new(),
        };
        for item in &all {
            match format {
                Format::Json => text.push_str(&(harmless(item.get()) + "\n")),
                Format::Text => text.push_str(&look.row(columns, cells(&understood(item.get().as_bytes())?))),
            }
        }
        output::print(&text)?;
        if all.is_empty() && format == Format::Text {
            let like = if query.is_empty() { "yet" } else { "like that" };
            eprintln!("there is no {} {like}", self.noun);
        }
        Ok(())
    }

    async fn send(&self, (method, route): (Method, &[&str]), body: Option<&Value>) -> Result<Answer, Exit> {
        let route = [&["admin", self.path], route].concat();
        let body = body.map(|body| Bytes::from(body.to_string()));
        let sent = self.api.send(method, self.api.url(&route, &[]), body).await;
        sent.map_err(|error| match error.is_connect() {
            true => self.api.unreachable(&cause(&error)),
            false => Exit::Unreachable(format!(
                "whether it was done is not known ({}): `{}` tells",
                cause(&error),
                self.listed_by
            )),
        })
    }

    fn refusal(&self, answer: &Answer, id: &str) -> Exit {
        match answer.status {
            StatusCode::NOT_FOUND if answer.is_unknown(id) => {
                Exit::Failed(format!("there is no {} `{id}`; `{}` shows those there are", self.noun, self.listed_by))
            }
            _ => self.api.refusal(answer, "api"),
        }
    }
}

/// The items of a page, each as it came, and whether there are more.
fn page_of(body: &[u8], items: &str) -> Result<(Vec<Box<RawValue>>, bool), Exit> {
    let mut fields: HashMap<String, Box<RawValue>> = understood(body)?;
    let mut field = |name: &str| {
        let missing = || Exit::failed(format!("the gateway's answer is not understood: it has no `{name}`"));
        fields.remove(name).ok_or_else(missing)
    };
    let (items, has_more) = (field(items)?, field("hasMore")?);
    Ok((understood(items.get().as_bytes())?, understood(has_more.get().as_bytes())?))
}

pub(super) fn understood<T: DeserializeOwned>(body: &[u8]) -> Result<T, Exit> {
    serde_json::from_slice(body)
        .map_err(|error| Exit::failed(format!("the gateway's answer is not understood: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_the_api_writes_it() {
        let body = br#"{"users": [{"id": "ada", "n": 1.50}, {"id": "bob"}], "total": 2, "page": 1, "hasMore": true}"#;
        let (items, has_more) = page_of(body, "users").unwrap();
        assert_eq!((items[0].get(), items.len(), has_more), (r#"{"id": "ada", "n": 1.50}"#, 2, true));
        assert!(page_of(body, "apiKeys").is_err() && page_of(b"<html>", "users").is_err());
    }
}
