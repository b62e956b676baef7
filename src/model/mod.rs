//! Pure types and rules: nothing here does I/O, reads a clock or knows a broker.

pub mod delivery;
pub mod delivery_id;
pub mod duration;
pub mod event;
pub mod hex;
pub mod ids;
pub mod integration;
pub mod items;
pub mod number;
pub mod org;
pub mod pattern;
pub mod problem;
pub mod record;
pub mod rejected;
pub mod retry;
pub mod suggest;
pub mod time;
pub mod topic;
pub mod trace;
