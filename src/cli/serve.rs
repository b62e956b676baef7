//! `tidegate serve`.

use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::{Common, runtime};
use crate::app::{self, AppError, Ground, Role, Roles};
use crate::config::{Config, Flags};
use crate::telemetry;

/// For threads that still block when a command has ended.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Run the gateway: API, match and deliver in one process, or the roles named.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    KAFKA_BROKERS=kafka:9092 TIDEGATE_ADMIN_KEY=... TIDEGATE_SECRET_KEY=... tidegate serve\n  \
    tidegate serve --roles deliver --listen 0.0.0.0:8081")]
pub(super) struct Serve {
    /// What this process does
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Role::Ingest, Role::Match, Role::Deliver, Role::Project, Role::Api])]
    roles: Vec<Role>,
    /// Address of API, probes and metrics, `host:port` [env: TIDEGATE_LISTEN] [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

pub(super) fn run(common: &Common, command: Serve) -> Result<(), Exit> {
    let mut flags = Flags::new();
    if let Some(listen) = command.listen {
        flags.insert("listen", listen);
    }
    let config = common.load(flags)?;
    start_telemetry(&config)?;
    let roles = Roles::of(&command.roles);
    let stop = CancellationToken::new();
    until_ended(async {
        tokio::select! {
            ended = serving(config, roles, stop.clone()) => ended.map_err(exit),
            again = stop_on_signal(&stop, || tracing::info!("draining; a second signal stops at once")) => Err(again),
        }
    })
}

async fn serving(config: Config, roles: Roles, stop: CancellationToken) -> Result<(), AppError> {
    let ground = Ground::of(&config, false).await?;
    app::serve(config, ground, (roles, None), stop).await
}

/// Runs a command that people end with signals; what still blocks a thread then is left behind.
pub(super) fn until_ended(command: impl Future<Output = Result<(), Exit>>) -> Result<(), Exit> {
    let runtime = runtime()?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(LAST_WAIT);
    result
}

pub(super) fn start_telemetry(config: &Config) -> Result<(), Exit> {
    telemetry::logs::install(&config.log.filter, config.log.format).map_err(Exit::usage)
}

pub(super) fn exit(error: AppError) -> Exit {
    match error {
        AppError::Configuration(text) => Exit::Usage(text),
        AppError::Unreachable(text) => Exit::Unreachable(text),
        AppError::Failed(text) => Exit::Failed(text),
    }
}

/// SIGTERM and SIGINT drain, which `told` says; a second one ends the process at once, as people expect of ctrl-C: then this
/// returns.
pub(super) async fn stop_on_signal(stop: &CancellationToken, told: impl FnOnce()) -> Exit {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be caught; stop the process with kill -9");
        return std::future::pending().await;
    };
    let mut signalled = async || {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    signalled().await;
    told();
    stop.cancel();
    signalled().await;
    Exit::failed("stopped before everything was drained")
}
