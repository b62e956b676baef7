//! `tidegate dev`: a gateway to try, with something to deliver to.

mod receiver;
mod sample;
mod told;

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use clap::Args;
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::Common;
use super::exit::Exit;
use super::serve::{exit, start_telemetry, stop_on_signal, until_ended};
use crate::app::tail::Watch;
use crate::app::{self, Roles};
use crate::config::Config;
use crate::model::record::Received;

/// Below the `^C` that the terminal shows.
const GOODBYE: &str = "\nStopping: what is under way is finished first (ctrl-C again: at once). Kafka keeps running with every event, \
    integration and retry; the same command goes on from there.";

/// Try it: a gateway with a sample organisation, an integration, and a receiver that shows each request as it arrives. What is
/// rejected, or becomes a dead letter, is shown too.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  make dev                                  starts Kafka too\n  \
    tidegate dev --kafka localhost:9092       on a Kafka that runs already")]
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
}

pub(super) fn run(common: &Common, command: Dev) -> Result<(), Exit> {
    let flags = command.listen.clone().map(|address| ("listen", address)).into_iter().collect();
    let mut config = common.load_over(&defaults(common), flags)?;
    let named = |variable: &&str| std::env::var_os(variable).is_some();
    if common.kafka.is_none()
        && !["KAFKA_BROKERS", "KAFKA_BOOTSTRAP_SERVERS"].iter().any(named)
        && config.kafka.brokers == Config::default().kafka.brokers
    {
        return Err(Exit::usage("no Kafka named: `make dev` starts one, or give --kafka host:port"));
    }
    let key = match &config.admin_key {
        Some(key) => key.clone(),
        None => admin_key(&config.data_dir).map_err(|e| {
            Exit::usage(format!(
                "{}: {e}; set TIDEGATE_DATA_DIR to a folder that can be written",
                config.data_dir.display()
            ))
        })?,
    };
    config.admin_key = Some(key.clone());
    start_telemetry(&config)?;
    until_ended(session(config, key, command.receiver))
}

/// For one person on one machine. A topology file of one's own need not have a profile `small`.
fn defaults(common: &Common) -> Config {
    let mut config = Config::default();
    config.listen.set_ip(Ipv4Addr::LOCALHOST.into());
    config.log.filter = "warn".to_owned();
    config.topology.profile = common.topology.is_none().then(|| "small".to_owned());
    config.egress.allow = ["127.0.0.0/8", "::1/128", "localhost"].map(str::to_owned).to_vec();
    config
}

/// The gateway, the receiver and the sample, until ctrl-C.
async fn session(config: Config, key: String, address: String) -> Result<(), Exit> {
    let stop = CancellationToken::new();
    let (receiver, mut shown) = receiver::Shown::start(&address, stop.clone()).await.map_err(Exit::usage)?;
    let api = format!("http://{}", config.listen);
    let (prefix, brokers) = (config.kafka.topic_prefix.clone(), config.kafka.brokers.clone());
    let sample = sample::Sample { api: &api, key: &key, receiver: &receiver };
    let demonstration = async {
        match sample.run(&mut shown).await {
            Ok(()) => println!("{}", sample.what_to_try(&prefix, &brokers)),
            Err(error) => {
                stop.cancel();
                return Some(format!("the sample could not be set up: {error:#}"));
            }
        }
        None
    };
    let seen = |topic, received: &Received| println!("{}", told::lines(topic, received));
    let watch = Watch { topics: told::TOPICS, seen: Box::new(seen) };
    let gateway = async {
        let serving = app::serve(config, Roles::all(), Some(watch), stop.clone()).inspect(|_| stop.cancel());
        let (ended, failed) = tokio::join!(serving, demonstrated(demonstration, &stop));
        ended.map_err(exit)?;
        failed.map_or(Ok(()), |error| Err(Exit::failed(error)))
    };
    tokio::select! {
        ended = gateway => ended,
        again = stop_on_signal(&stop, || println!("{GOODBYE}")) => Err(again),
    }
}

/// What the demonstration failed with; given up where the gateway ends meanwhile.
async fn demonstrated(demonstration: impl Future<Output = Option<String>>, stop: &CancellationToken) -> Option<String> {
    tokio::select! {
        failed = demonstration => failed,
        () = stop.cancelled() => None,
    }
}

/// The admin key of this folder: made once, readable by its owner only.
fn admin_key(data_dir: &Path) -> std::io::Result<String> {
    fs::create_dir_all(data_dir)?;
    let path = data_dir.join("admin.key");
    match fs::read_to_string(&path) {
        Ok(key) if !key.trim().is_empty() => Ok(key.trim().to_owned()),
        _ => {
            let key = format!("tgdev_{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            writeln!(file, "{key}")?;
            Ok(key)
        }
    }
}
