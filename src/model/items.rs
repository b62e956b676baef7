//! A large JSON document read in pieces as it comes: an object with one long list, whose elements are shown one by one.

use std::mem::take;

/// Bytes of all that stands beside the list.
const MAX_REST: usize = 64 * 1_024;

/// What is wrong with such a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// From 0.
    #[error("element {0} is too large")]
    Large(usize),
    #[error("what stands beside the list is too large")]
    Rest,
    #[error("the list is there twice")]
    Twice,
    /// After so many elements.
    #[error("it is not JSON after element {0}")]
    Syntax(usize),
    #[error("it ends too early")]
    Early,
}

/// Takes the document apart; nothing but one element and the rest is kept.
#[derive(Debug)]
pub struct Items {
    list: &'static str,
    /// Of an element, in bytes.
    most: usize,
    place: Place,
    /// Objects and lists that are open: of the document or, in an element, of the element.
    depth: usize,
    text: Text,
    element: Vec<u8>,
    count: usize,
    /// The document with its list empty.
    rest: Vec<u8>,
    /// Where in `rest` the text begins that was read last at the first level.
    word: usize,
    name: Name,
    seen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    /// Before an element, or the end of the list; `after`: a comma.
    Between {
        after: bool,
    },
    Within,
    /// An element has ended: a comma comes, or the end of the list.
    Behind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    No,
    Yes,
    /// Behind a backslash.
    Escaped,
}

/// Is what was read last the name of the list?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    No,
    Read,
    Colon,
}

impl Items {
    /// Of `{"<list>": [...]}`, each element of `most` bytes at most.
    pub fn of(list: &'static str, most: usize) -> Items {
        Items {
            list,
            most,
            place: Place::Outside,
            depth: 0,
            text: Text::No,
            element: Vec::new(),
            count: 0,
            rest: Vec::new(),
            word: 0,
            name: Name::No,
            seen: false,
        }
    }

    /// Takes the next piece and shows each element that ends in it, with its place in the list. Whether it is JSON is for the
    /// reader to find out.
    pub fn feed(&mut self, piece: &[u8], mut see: impl FnMut(usize, &[u8])) -> Result<(), Malformed> {
        for byte in piece {
            match self.place {
                Place::Outside => self.outside(*byte)?,
                Place::Within => self.within(*byte, &mut see)?,
                Place::Between { .. } | Place::Behind => self.between(*byte)?,
            }
        }
        Ok(())
    }

    /// The document with its list empty, and how many elements that had.
    pub fn finish(self) -> Result<(Vec<u8>, usize), Malformed> {
        match self.place {
            Place::Outside if self.depth == 0 && self.text == Text::No && !self.rest.is_empty() => {
                Ok((self.rest, self.count))
            }
            _ => Err(Malformed::Early),
        }
    }

    fn outside(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.rest.len() >= MAX_REST {
            return Err(Malformed::Rest);
        }
        let in_text = self.text != Text::No;
        self.rest.push(byte);
        self.step(byte);
        match byte {
            _ if in_text && self.text != Text::No => {}
            b'"' if in_text => self.name = if self.is_list() { Name::Read } else { Name::No },
            b'"' => self.word = self.rest.len(),
            b':' if self.name == Name::Read => self.name = Name::Colon,
            b'[' if self.name == Name::Colon => {
                if std::mem::replace(&mut self.seen, true) {
                    return Err(Malformed::Twice);
                }
                (self.place, self.name, self.depth) = (Place::Between { after: false }, Name::No, 0);
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => self.name = Name::No,
        }
        Ok(())
    }

    fn is_list(&self) -> bool {
        self.depth == 1 && self.rest.get(self.word..self.rest.len() - 1) == Some(self.list.as_bytes())
    }

    fn between(&mut self, byte: u8) -> Result<(), Malformed> {
        match (byte, self.place) {
            (b']', Place::Between { after: false } | Place::Behind) => {
                self.rest.push(byte);
                (self.place, self.depth) = (Place::Outside, 1);
            }
            (b',', Place::Behind) => self.place = Place::Between { after: true },
            (byte, _) if byte.is_ascii_whitespace() => {}
            (b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n', Place::Between { .. }) => {
                self.place = Place::Within;
                self.element.push(byte);
                self.step(byte);
            }
            _ => return Err(Malformed::Syntax(self.count)),
        }
        Ok(())
    }

    fn within(&mut self, byte: u8, see: &mut impl FnMut(usize, &[u8])) -> Result<(), Malformed> {
        let plain = self.depth == 0 && self.text == Text::No;
        if plain && (byte.is_ascii_whitespace() || matches!(byte, b',' | b']')) {
            self.ended(see);
            return self.between(byte);
        }
        if self.element.len() >= self.most {
            return Err(Malformed::Large(self.count));
        }
        self.element.push(byte);
        self.step(byte);
        if matches!(byte, b'}' | b']') && self.depth == 0 && self.text == Text::No {
            self.ended(see);
        }
        Ok(())
    }

    fn ended(&mut self, see: &mut impl FnMut(usize, &[u8])) {
        let mut element = take(&mut self.element);
        see(self.count, &element);
        element.clear();
        (self.element, self.place) = (element, Place::Behind);
        self.count += 1;
    }

    fn step(&mut self, byte: u8) {
        self.text = match (self.text, byte) {
            (Text::Escaped, _) => Text::Yes,
            (Text::Yes, b'\\') => Text::Escaped,
            (Text::Yes, b'"') => Text::No,
            (Text::Yes, _) => Text::Yes,
            (Text::No, b'"') => Text::Yes,
            (Text::No, b'{' | b'[') => {
                self.depth += 1;
                Text::No
            }
            (Text::No, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                Text::No
            }
            (Text::No, _) => Text::No,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The document as it is put together again from its elements and its rest.
    fn again(pieces: &[&[u8]]) -> Result<Value, String> {
        let mut items = Items::of("list", 1_000);
        let mut found = Vec::new();
        for piece in pieces {
            let see = |at: usize, element: &[u8]| {
                assert_eq!(at, found.len());
                found.push(serde_json::from_slice::<Value>(element).map_err(|e| e.to_string()));
            };
            items.feed(piece, see).map_err(|e| e.to_string())?;
        }
        let (rest, count) = items.finish().map_err(|e| e.to_string())?;
        assert_eq!(count, found.len());
        let mut whole: Value = serde_json::from_slice(&rest).map_err(|e| e.to_string())?;
        let found = found.into_iter().collect::<Result<Vec<_>, _>>()?;
        if !found.is_empty() {
            whole["list"] = found.into();
        }
        Ok(whole)
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\\[\\]{},:\"\\\\é\u{0}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[a-z\"{]{0,4}", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn however_a_document_is_cut_it_is_read_as_it_is(
            elements in proptest::collection::vec(values(), 0..6),
            (before, after) in (values(), values()),
            pretty in any::<bool>(),
            cut in 1..40_usize,
        ) {
            let whole = json!({"a": before, "list": elements, "list of more": after});
            let text = if pretty { format!("{whole:#}") } else { whole.to_string() };
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            prop_assert_eq!(again(&pieces), Ok(whole));
        }

        #[test]
        fn what_is_no_document_is_refused_and_ends_nothing(text in "[\\[\\]{},:\"\\\\ elist0]{0,40}") {
            let text = text.replace("list", "\"list\"");
            let read = again(&[text.as_bytes()]);
            if serde_json::from_str::<Value>(&text).is_err() {
                prop_assert!(read.is_err(), "{text}: {read:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let large = format!(r#"{{"list":[1,"{}"]}}"#, "x".repeat(2_000));
        let much = format!(r#"{{"more":"{}"}}"#, "x".repeat(MAX_REST));
        let cases = [
            ("", "it ends too early"),
            (r#"{"list":[1,2"#, "it ends too early"),
            (r#"{"list":[1 2]}"#, "it is not JSON after element 1"),
            (r#"{"list":[1,]}"#, "it is not JSON after element 1"),
            (r#"{"list":[,1]}"#, "it is not JSON after element 0"),
            (r#"{"list":[],"list":[]}"#, "the list is there twice"),
            (&large, "element 1 is too large"),
            (&much, "what stands beside the list is too large"),
        ];
        for (text, expected) in cases {
            assert_eq!(again(&[text.as_bytes()]), Err(expected.to_owned()), "{}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn a_list_of_that_name_further_inside_is_no_list_of_the_document() {
        let text = r#"{"a":{"list":[1]},"b":["list",[2]],"list":3}"#;
        assert_eq!(again(&[text.as_bytes()]), Ok(serde_json::from_str(text).unwrap()));
    }
}
