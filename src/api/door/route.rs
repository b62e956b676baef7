//! A route as it is declared: its method and path, who may use it, and what is said of it.

use axum::http::Method;
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::api::door::access::Access;
use crate::catalog::fields::IDENTIFIER;

/// Whose budget a request takes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Nobody's: whoever watches the process watches it when it is busy too.
    None,
    /// That of the address, where nobody is known; else that of the organization.
    Usual,
    /// That of the organization for bringing events in.
    Publish,
}

/// A parameter of the query.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub name: &'static str,
    pub about: &'static str,
    /// JSON Schema.
    pub schema: Value,
}

impl Param {
    pub fn text(name: &'static str, about: &'static str) -> Param {
        Param { name, about, schema: json!({"type": "string", "minLength": 1}) }
    }

    /// `orgId`.
    pub fn org(about: &'static str) -> Param {
        Param { name: "orgId", about, schema: json!({"type": "string", "pattern": IDENTIFIER}) }
    }

    /// A day, or a moment.
    pub fn date(name: &'static str, about: &'static str) -> Param {
        Param { name, about, schema: json!({"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}) }
    }

    pub fn cursor(about: &'static str) -> Param {
        Param { name: "cursor", about, schema: json!({"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}) }
    }

    pub fn number(name: &'static str, about: &'static str, (default, max): (usize, usize)) -> Param {
        Param { name, about, schema: json!({"type": "integer", "minimum": 1, "maximum": max, "default": default}) }
    }

    pub fn flag(name: &'static str, about: &'static str) -> Param {
        Param { name, about, schema: json!({"type": "boolean"}) }
    }

    pub fn one_of(name: &'static str, about: &'static str, words: &str) -> Param {
        let words: Vec<_> = words.split(", ").collect();
        Param { name, about, schema: json!({"type": "string", "enum": words}) }
    }

    /// It may be given several times.
    pub fn many(self) -> Param {
        Param { schema: json!({"type": "array", "items": self.schema}), ..self }
    }
}

/// What a route answers with where nothing is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub about: &'static str,
    /// JSON Schema; `None`: no body.
    pub schema: Option<Value>,
    /// Not JSON.
    pub media: &'static str,
    /// It is a resource as it is, with its version as the ETag.
    pub has_etag: bool,
}

impl Answer {
    pub fn json(status: u16, about: &'static str, schema: Value) -> Answer {
        Answer { status, about, schema: Some(schema), media: "application/json", has_etag: false }
    }

    pub fn with_etag(self) -> Answer {
        Answer { has_etag: true, ..self }
    }

    pub fn nothing(status: u16, about: &'static str) -> Answer {
        Answer { status, about, schema: None, media: "", has_etag: false }
    }
}

/// One route. Errors need no declaration but those of its own: the others follow from what it takes.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: Method,
    pub path: String,
    pub access: Access,
    pub budget: Budget,
    pub tag: &'static str,
    pub summary: String,
    pub params: Vec<Param>,
    /// JSON Schema of the body, and whether it has to be there.
    pub body: Option<(Value, bool)>,
    /// A body that is taken.
    pub example: Option<Value>,
    /// Bodies of other content types: their schemas and examples.
    pub others: Vec<(&'static str, Value, Value)>,
    /// Content types of the body.
    pub media: &'static [&'static str],
    pub answers: Vec<Answer>,
    /// Statuses of errors of its own.
    pub errors: &'static [u16],
    /// The field of its answer that holds the id by which `<path>/{id}` is asked for.
    pub gives: Option<&'static str>,
    /// Answered from the snapshot, whose age is told where it may be old.
    pub from_snapshot: bool,
    /// Bytes of the body at most; `None`: as of any other route.
    pub takes: Option<usize>,
}

fn route(method: Method, path: impl Into<String>, access: Access) -> Route {
    Route {
        method,
        path: path.into(),
        access,
        budget: if access == Access::Publish { Budget::Publish } else { Budget::Usual },
        tag: "",
        summary: String::new(),
        params: Vec::new(),
        body: None,
        example: None,
        others: Vec::new(),
        media: &["application/json"],
        answers: Vec::new(),
        errors: &[],
        gives: None,
        from_snapshot: false,
        takes: None,
    }
}

pub fn get(path: impl Into<String>, access: Access) -> Route {
    route(Method::GET, path, access)
}

pub fn post(path: impl Into<String>, access: Access) -> Route {
    route(Method::POST, path, access)
}

pub fn put(path: impl Into<String>, access: Access) -> Route {
    route(Method::PUT, path, access)
}

pub fn patch(path: impl Into<String>, access: Access) -> Route {
    route(Method::PATCH, path, access)
}

pub fn delete(path: impl Into<String>, access: Access) -> Route {
    route(Method::DELETE, path, access)
}

impl Route {
    pub fn says(self, tag: &'static str, summary: impl Into<String>) -> Route {
        Route { tag, summary: summary.into(), ..self }
    }

    /// Bodies of so many bytes at most.
    pub fn takes(self, bytes: usize) -> Route {
        Route { takes: Some(bytes), ..self }
    }

    /// Without a limit to how often it is asked.
    pub fn unlimited(self) -> Route {
        Route { budget: Budget::None, ..self }
    }

    pub fn params(mut self, params: impl IntoIterator<Item = Param>) -> Route {
        self.params.extend(params);
        self
    }

    pub fn body(self, schema: Value) -> Route {
        Route { body: Some((schema, true)), ..self }
    }

    pub fn may_have_body(self, schema: Value) -> Route {
        Route { body: Some((schema, false)), ..self }
    }

    pub fn example(self, example: Value) -> Route {
        Route { example: Some(example), ..self }
    }

    /// Takes what is of another content type too, in another form.
    pub fn or_body(mut self, media: &'static str, schema: Value, example: Value) -> Route {
        self.others.push((media, schema, example));
        self
    }

    pub fn gives(self, field: &'static str) -> Route {
        Route { gives: Some(field), ..self }
    }

    pub fn from_snapshot(self) -> Route {
        Route { from_snapshot: true, ..self }
    }

    pub fn media(self, media: &'static [&'static str]) -> Route {
        Route { media, ..self }
    }

    pub fn answers(mut self, answer: Answer) -> Route {
        self.answers.push(answer);
        self
    }

    pub fn fails(self, errors: &'static [u16]) -> Route {
        Route { errors, ..self }
    }

    pub(super) fn filter(&self) -> MethodFilter {
        // Every method that `route` is called with has one.
        MethodFilter::try_from(self.method.clone()).unwrap_or(MethodFilter::GET)
    }
}
