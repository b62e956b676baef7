//! How a delivery stands and why an attempt failed, in the words of the API.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum DeliveryStatus {
    Pending,
    Retrying,
    Success,
    /// Ended by an error that no retry mends; in `dlq`.
    Failed,
    /// Attempts or time used up; in `dlq`.
    Abandoned,
    Skipped,
    Cancelled,
    /// Deleted from the dead letters.
    Discarded,
}

impl DeliveryStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryStatus::Pending => "PENDING",
            DeliveryStatus::Retrying => "RETRYING",
            DeliveryStatus::Success => "SUCCESS",
            DeliveryStatus::Failed => "FAILED",
            DeliveryStatus::Abandoned => "ABANDONED",
            DeliveryStatus::Skipped => "SKIPPED",
            DeliveryStatus::Cancelled => "CANCELLED",
            DeliveryStatus::Discarded => "DISCARDED",
        }
    }
}

/// What kind of error an attempt met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ErrorCategory {
    #[serde(rename = "TRANSFORM")]
    Transform,
    #[serde(rename = "AUTH")]
    Auth,
    #[serde(rename = "SIGNING")]
    Signing,
    /// The egress guard refused the target.
    #[serde(rename = "BLOCKED")]
    Blocked,
    /// No answer: DNS, connect, TLS, a connection that broke, an answer that is not HTTP.
    #[serde(rename = "NETWORK")]
    Network,
    /// No answer in time.
    #[serde(rename = "TIMEOUT")]
    Timeout,
    #[serde(rename = "HTTP_3XX")]
    Http3xx,
    #[serde(rename = "HTTP_4XX")]
    Http4xx,
    #[serde(rename = "HTTP_5XX")]
    Http5xx,
    /// 429.
    #[serde(rename = "RATE_LIMITED")]
    RateLimited,
    #[serde(rename = "CIRCUIT_OPEN")]
    CircuitOpen,
    #[serde(rename = "EXPIRED")]
    Expired,
}

impl ErrorCategory {
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCategory::Transform => "TRANSFORM",
            ErrorCategory::Auth => "AUTH",
            ErrorCategory::Signing => "SIGNING",
            ErrorCategory::Blocked => "BLOCKED",
            ErrorCategory::Network => "NETWORK",
            ErrorCategory::Timeout => "TIMEOUT",
            ErrorCategory::Http3xx => "HTTP_3XX",
            ErrorCategory::Http4xx => "HTTP_4XX",
            ErrorCategory::Http5xx => "HTTP_5XX",
            ErrorCategory::RateLimited => "RATE_LIMITED",
            ErrorCategory::CircuitOpen => "CIRCUIT_OPEN",
            ErrorCategory::Expired => "EXPIRED",
        }
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ErrorCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
