//! Exit codes that scripts rely on.

use std::fmt::Display;
use std::process::ExitCode;

/// Why a command ends without success; its text goes to standard error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Exit {
    /// 1: it was tried and failed.
    #[error("{0}")]
    Failed(String),
    /// 2: wrong usage or configuration; nothing was touched.
    #[error("{0}")]
    Usage(String),
    /// 3: what it needs could not be reached.
    #[error("{0}")]
    Unreachable(String),
}

impl Exit {
    pub fn failed(error: impl Display) -> Self {
        Exit::Failed(format!("{error:#}"))
    }

    pub fn usage(error: impl Display) -> Self {
        Exit::Usage(format!("{error:#}"))
    }

    /// The same with more behind it.
    pub fn and(self, more: &str) -> Self {
        match self {
            Exit::Failed(text) => Exit::Failed(text + more),
            Exit::Usage(text) => Exit::Usage(text + more),
            Exit::Unreachable(text) => Exit::Unreachable(text + more),
        }
    }

    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Exit::Failed(_) => 1,
            Exit::Usage(_) => 2,
            Exit::Unreachable(_) => 3,
        })
    }
}
