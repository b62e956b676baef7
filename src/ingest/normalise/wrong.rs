//! What is wrong with an event, gathered so that its sender mends it in one go.

use super::Shape;
use crate::ingest::error::IngestError;
use crate::model::event::Attributes;
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

/// Problems that one event is told of: a batch of a thousand bad ones must not become an answer without end.
pub(super) const MAX_TOLD: usize = 20;

#[derive(Clone, Debug, Default)]
pub(super) struct Wrong(Vec<Problem>);

impl Wrong {
    /// Keeps what is wrong and goes on; a refusal that is not about single fields ends it.
    pub fn take<T>(&mut self, result: Result<T, IngestError>) -> Result<Option<T>, IngestError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(IngestError::Invalid(problems)) => {
                self.extend(problems);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Of several problems of one field the first is the cause: a value that could not be read is not missing too.
    pub fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        for problem in problems {
            if self.0.len() < MAX_TOLD && self.0.iter().all(|known| known.path != problem.path) {
                self.0.push(problem);
            }
        }
    }

    /// Everything that is wrong with the attributes. They tell the first only, so each that was told is given a value that
    /// its rule takes, until none is left.
    pub fn attributes(&mut self, mut attributes: Attributes<'_>, shape: Shape) -> Result<(), IngestError> {
        while let Err(why) = attributes.check(String::new, || Timestamp(0)) {
            let mended = why.attribute().is_some_and(|name| attributes.take(name, stand_in(name)));
            self.take(Err::<(), _>(IngestError::refused(why, shape)))?;
            if !mended {
                break;
            }
        }
        Ok(())
    }

    /// The value, if nothing was wrong.
    pub fn none<T>(self, value: Option<T>) -> Result<T, IngestError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(IngestError::Invalid(self.0)),
        }
    }
}

fn stand_in(attribute: &str) -> &'static str {
    match attribute {
        "specversion" => "1.0",
        "time" => "2026-11-20T08:15:30Z",
        _ => "x",
    }
}
