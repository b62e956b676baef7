//! Events on their way in: from whatever shape they come in, to records on `events` that the log has acknowledged.

pub mod accept;
pub mod error;
pub mod normalise;
