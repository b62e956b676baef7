//! `tidegate bench`.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::serve::exit;
use super::{Common, output, runtime};
use crate::app::reach;
use crate::bench::{self, Options};
use crate::config::Flags;

/// Measure throughput and latency beside the bare pipeline
#[derive(Args, Debug)]
#[command(
    long_about = "Measure throughput and latency beside the bare pipeline: the same hops straight on the Kafka client, \
    without any rules. Starts a receiver of its own and the gateway as a child process, works on topics of its own \
    and deletes them at the end. Takes about seven minutes.",
    after_help = "Examples:\n  tidegate bench --kafka kafka:9092\n  tidegate bench --quick --json result.json\n  \
    tidegate bench --bare"
)]
pub(super) struct Bench {
    /// The bare pipeline alone: what this cluster allows
    #[arg(long)]
    bare: bool,
    /// In about two minutes, less exact
    #[arg(long)]
    quick: bool,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(common: &Common, command: Bench) -> Result<(), Exit> {
    let config = common.load(Flags::new())?;
    let topology = reach::declared(&config).map_err(exit)?;
    let path = |flag: &str, path: Option<&PathBuf>| path.map(|path| [flag.to_owned(), path.display().to_string()]);
    let flags = [path("--config", common.config.as_ref()), path("--topology", common.topology.as_ref())];
    let options = Options {
        brokers: config.kafka.brokers.clone(),
        properties: config.kafka.properties.clone(),
        prefix: config.kafka.topic_prefix.clone(),
        topology,
        flags: flags.into_iter().flatten().flatten().collect(),
        bare: command.bare,
        quick: command.quick,
    };
    let report = runtime()?.block_on(async {
        // Asked first, so that a broker that is not there is exit 3.
        let admin = reach::admin(&config).await.map_err(exit)?;
        admin.actual(&options.prefix).await.map_err(|e| exit(reach::admin_error(e)))?;
        bench::run(options).await.map_err(Exit::failed)
    })?;
    output::print(&report.to_string())?;
    if let Some(path) = &command.json {
        let json = serde_json::to_string_pretty(&report).map_err(Exit::failed)?;
        std::fs::write(path, json + "\n").map_err(|e| Exit::Failed(format!("{}: {e}", path.display())))?;
    }
    Ok(())
}
