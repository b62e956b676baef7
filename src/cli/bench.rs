//! `tidegate bench`.

use clap::Args;

use super::Common;
use super::exit::Exit;

/// Measure throughput and latency beside the bare pipeline
#[derive(Args, Debug)]
pub(super) struct Bench {}

pub(super) fn run(_common: &Common, _command: Bench) -> Result<(), Exit> {
    Ok(())
}
