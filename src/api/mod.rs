//! The HTTP API.

pub mod events;
