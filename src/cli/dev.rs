//! `tidegate dev`: a gateway to try, with something to deliver to.

mod access;
mod keys;
mod made;
mod receiver;
mod sample;
mod told;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::Common;
use super::exit::Exit;
use super::output::say;
use super::serve::{exit, start_telemetry, stop_on_signal, until_ended};
use crate::app::tail::Watch;
use crate::app::{self, Ground, Roles};
use crate::config::{Config, Engine};
use crate::model::record::Received;
use access::Access;
use sample::Sample;

/// Try it: a gateway with three sample integrations, and a receiver that shows what arrives and what goes wrong
///
/// It needs nothing else. Everything is kept in one folder, and the next start goes on from there: what was changed or deleted of
/// the sample stays so. What is rejected, or becomes a dead letter, is shown as well as each request to the receiver.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  tidegate dev                              everything in ./.tidegate, there again next time\n  \
    tidegate dev --fresh                      starts over\n  tidegate dev --kafka localhost:9092       the same on Kafka"
)]
pub(super) struct Dev {
    /// Address of API, probes and metrics
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "Address of API, probes and metrics, `host:port` [env: TIDEGATE_LISTEN] [default: 127.0.0.1:8080]"
    )]
    listen: Option<String>,
    /// Address of the receiver that shows what arrives, `host:port`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8099")]
    receiver: String,
    /// Start over: deletes the events, integrations and retries that earlier runs left in the data folder
    #[arg(long)]
    fresh: bool,
}

pub(super) fn run(common: &Common, command: Dev) -> Result<(), Exit> {
    let flags = command.listen.clone().map(|address| ("listen", address)).into_iter().collect();
    let config = common.load_over(&defaults(common), flags)?;
    start_telemetry(&config)?;
    until_ended(session(config, &command))
}

/// For one person on one machine. A topology file of one's own need not have a profile `small`.
pub(super) fn defaults(common: &Common) -> Config {
    let mut config = Config { engine: Engine::Embedded, ..Config::default() };
    config.listen.set_ip(Ipv4Addr::LOCALHOST.into());
    config.log.filter = "warn".to_owned();
    config.topology.profile = common.topology.is_none().then(|| "small".to_owned());
    config.egress.allow = ["127.0.0.0/8", "::1/128", "localhost"].map(str::to_owned).to_vec();
    config
}

/// Where what happens is kept, for people.
enum Kept {
    Kafka { brokers: String, prefix: String },
    Folder(PathBuf),
}

impl Kept {
    fn of(config: &Config) -> Kept {
        match config.engine {
            Engine::Kafka => {
                Kept::Kafka { brokers: config.kafka.brokers.clone(), prefix: config.kafka.topic_prefix.clone() }
            }
            Engine::Embedded => Kept::Folder(config.data_dir.clone()),
        }
    }

    /// Which engine runs, below the address.
    fn engine(&self) -> String {
        match self {
            Kept::Kafka { brokers, prefix } => format!("on Kafka at {brokers}, topics {prefix}.*"),
            Kept::Folder(dir) if std::env::var_os("KAFKA_BROKERS").is_some() => {
                format!("kept in {} (KAFKA_BROKERS is not used without --kafka)", dir.display())
            }
            Kept::Folder(dir) => format!("kept in {}", dir.display()),
        }
    }

    /// Below the `^C` that the terminal shows.
    fn goodbye(&self) -> String {
        let stays = match self {
            Kept::Kafka { .. } => "Kafka keeps running with every event, integration and retry".to_owned(),
            Kept::Folder(dir) => format!("Every event, integration and retry stays in {}", dir.display()),
        };
        format!(
            "\nStopping: what is under way is finished first (ctrl-C again: at once). {stays}; the same command goes on from there."
        )
    }
}

/// The gateway, the receiver and the sample, until ctrl-C.
async fn session(mut config: Config, command: &Dev) -> Result<(), Exit> {
    let stop = CancellationToken::new();
    let mut shown = receiver::Shown::start(&command.receiver, stop.clone()).await.map_err(Exit::usage)?;
    // Whatever else may be reached: without it nothing of the sample would arrive.
    config.egress.allow.push(shown.network());
    let ground = Ground::of(&config, command.fresh).await.map_err(exit)?;
    // The first that is written: what is wrong with the start has been found by now.
    let Access { key, login } = Access::of(&mut config)?;
    let api = format!("http://{}", config.listen);
    let kept = Kept::of(&config);
    let sample = Sample { config: &config, api: &api, key: &key, login: &login, receiver: shown.url() };
    let demonstration = async {
        let failed = sample.run(&mut shown, &kept).await.err();
        failed.inspect(|_| stop.cancel()).map(|error| format!("the sample could not be set up: {error:#}"))
    };
    let seen = |topic, received: &Received| say(&told::lines(topic, received));
    let watch = Watch { topics: told::TOPICS, seen: Box::new(seen) };
    let gateway = async {
        let serving = app::serve(config.clone(), ground, (Roles::all(), Some(watch)), stop.clone());
        let (ended, failed) = tokio::join!(serving.inspect(|_| stop.cancel()), demonstrated(demonstration, &stop));
        ended.map_err(exit)?;
        failed.map_or(Ok(()), |error| Err(Exit::failed(error)))
    };
    tokio::select! {
        ended = gateway => ended,
        again = stop_on_signal(&stop, || say(&kept.goodbye())) => Err(again),
    }
}

/// What the demonstration failed with; given up where the gateway ends meanwhile.
async fn demonstrated(demonstration: impl Future<Output = Option<String>>, stop: &CancellationToken) -> Option<String> {
    tokio::select! {
        failed = demonstration => failed,
        () = stop.cancelled() => None,
    }
}
