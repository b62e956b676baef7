//! A document with the line of each of its values.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A value and the line where it begins, from 1.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub line: u64,
    pub tree: Tree,
}

#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// Null, a boolean or a number.
    Plain(Value),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Fields(Vec<(String, Node)>),
}

impl Node {
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.tree {
            Tree::Fields(fields) => fields.iter().find(|(other, _)| other == name).map(|(_, node)| node),
            _ => None,
        }
    }

    pub fn to_json(&self) -> Value {
        match &self.tree {
            Tree::Plain(value) => value.clone(),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => items.iter().map(Node::to_json).collect(),
            Tree::Fields(fields) => {
                Value::Object(fields.iter().map(|(name, node)| (name.clone(), node.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// Of JSON, whose lines are not known.
    pub fn without_lines(value: Value) -> Node {
        let tree = match value {
            Value::String(text) => Tree::Text(text),
            Value::Array(items) => Tree::List(items.into_iter().map(Node::without_lines).collect()),
            Value::Object(fields) => {
                Tree::Fields(fields.into_iter().map(|(name, value)| (name, Node::without_lines(value))).collect())
            }
            plain => Tree::Plain(plain),
        };
        Node { line: 0, tree }
    }

    /// The line of the value at a path, `spec.channels[0].url`; of a value that is not there that of what would hold it.
    pub fn line_of(&self, path: &str) -> Option<u64> {
        let found = match &self.tree {
            Tree::Fields(fields) => {
                // A name may have a dot in it: the longest that fits is meant.
                let fits = |name: &str| {
                    let rest = path.strip_prefix(name)?;
                    (rest.is_empty() || rest.starts_with(['.', '['])).then(|| rest.strip_prefix('.').unwrap_or(rest))
                };
                let fitting = fields.iter().filter_map(|(name, node)| Some((name.len(), node, fits(name)?)));
                fitting.max_by_key(|(length, ..)| *length).and_then(|(_, node, rest)| node.line_of(rest))
            }
            Tree::List(items) => path.strip_prefix('[').and_then(|rest| rest.split_once(']')).and_then(|(at, rest)| {
                let item = items.get(at.parse::<usize>().ok()?)?;
                item.line_of(rest.strip_prefix('.').unwrap_or(rest))
            }),
            Tree::Plain(_) | Tree::Text(_) => None,
        };
        found.or(Some(self.line).filter(|line| *line > 0))
    }
}

impl From<Spanned<Tree>> for Node {
    fn from(spanned: Spanned<Tree>) -> Node {
        Node { line: spanned.referenced.line(), tree: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("what JSON can say")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Plain(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Plain(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Tree::Plain(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            list.push(item.into());
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut fields: Vec<(String, Node)> = Vec::new();
        while let Some(name) = entries.next_key::<Tree>()? {
            let name = match name {
                Tree::Text(name) => name,
                Tree::Plain(plain) => plain.to_string(),
                Tree::List(_) | Tree::Fields(_) => return Err(A::Error::custom("a name of a field must be a text")),
            };
            fields.push((name, entries.next_value::<Spanned<Tree>>()?.into()));
        }
        Ok(Tree::Fields(fields))
    }
}
