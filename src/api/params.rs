//! Query parameters: unknown ones and wrong values are told, never ignored.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api::door::Bound;
use crate::api::error::{ApiError, Code};
use crate::model::ids::OrgId;
use crate::model::problem::Problem;

/// The parameters of a request, taken one by one.
#[derive(Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    asked: Vec<&'static str>,
    problems: Vec<Problem>,
    /// The only organization that the caller may ask about.
    bound: Option<OrgId>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let bound = parts.extensions.get::<Bound>().map(|bound| bound.0.clone());
        Ok(Params { pairs, bound, ..Params::default() })
    }
}

impl Params {
    /// All values of a parameter that may be repeated.
    pub fn all(&mut self, name: &'static str) -> Vec<String> {
        self.asked.push(name);
        self.pairs.extract_if(.., |(given, _)| given == name).map(|(_, value)| value).collect()
    }

    /// An empty value is wrong: whoever filters by a variable that is not set would be given everything.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let mut values = self.all(name);
        if values.len() > 1 {
            self.wrong(name, "is given more than once");
        }
        let value = values.pop()?;
        if value.is_empty() {
            self.wrong(name, "must not be empty; leave it out");
            return None;
        }
        Some(value)
    }

    /// A value parsed; what is wrong with it is told.
    pub fn parsed<T, E: ToString>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text(name)?;
        parse(&text).map_err(|error| self.wrong(name, error.to_string())).ok()
    }

    /// The organization that is asked about: the caller's own, where they have one, whatever the query says.
    pub fn org(&mut self) -> Option<OrgId> {
        let named = self.parsed("orgId", OrgId::parse);
        self.bound.clone().or(named)
    }

    pub fn number(&mut self, name: &'static str, default: usize, max: usize) -> usize {
        let parse = |text: &str| {
            let number = text.parse().ok().filter(|n| (1..=max).contains(n));
            number.ok_or_else(|| format!("must be a whole number from 1 to {max}"))
        };
        self.parsed(name, parse).unwrap_or(default)
    }

    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.parsed(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false"),
        })
    }

    /// Everything was taken and was right.
    ///
    /// # Errors
    /// 403 for callers of one organization where nobody asked which: a route that forgets to is closed to them.
    pub fn finish(mut self) -> Result<(), ApiError> {
        if self.bound.is_some() && !self.asked.contains(&"orgId") {
            return Err(ApiError::new(Code::Forbidden, "this route is for administrators"));
        }
        for (name, _) in std::mem::take(&mut self.pairs) {
            let known = self.asked.join("`, `");
            let message = match known.is_empty() {
                true => "is not a parameter of this route; it has none".to_owned(),
                false => format!("is not a parameter of this route; it has `{known}`"),
            };
            self.wrong(&name, message);
        }
        if self.problems.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.problems)) }
    }

    /// Of a route that is about the caller alone.
    ///
    /// # Errors
    /// 400 where there is any.
    pub fn none(mut self) -> Result<(), ApiError> {
        self.bound = None;
        self.finish()
    }

    pub fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(name, message));
    }
}
