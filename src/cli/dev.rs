//! `tidegate dev`: a gateway to try, with something to deliver to.

mod receiver;
mod sample;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::Common;
use super::exit::Exit;
use super::serve::{exit, start_telemetry, stop_on_signal, until_ended};
use crate::app::{self, Roles};
use crate::config::{Config, Flags};

/// Try it: a gateway with a sample organisation, an integration, and a receiver that shows each request as it arrives.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  make dev                                  starts Kafka too\n  \
    tidegate dev --kafka localhost:9092       on a Kafka that runs already")]
pub(super) struct Dev {
    /// Address of API, probes and metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", env = "TIDEGATE_LISTEN")]
    listen: String,
    /// Address of the receiver that shows what arrives
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8099")]
    receiver: String,
}

pub(super) fn run(common: &Common, command: Dev) -> Result<(), Exit> {
    if common.kafka.is_none()
        && ["KAFKA_BROKERS", "KAFKA_BOOTSTRAP_SERVERS"].iter().all(|v| std::env::var_os(v).is_none())
    {
        return Err(Exit::usage("no Kafka named: `make dev` starts one, or give --kafka host:port"));
    }
    let mut config = common.load(defaults(&command))?;
    if config.egress.allow.is_empty() {
        config.egress.allow = vec!["127.0.0.0/8".into(), "::1/128".into(), "localhost".into()];
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

fn defaults(command: &Dev) -> Flags {
    let quiet = std::env::var_os("TIDEGATE_LOG").is_none().then(|| ("log.filter", "warn".to_owned()));
    let profile =
        std::env::var_os("TIDEGATE_TOPOLOGY__PROFILE").is_none().then(|| ("topology.profile", "small".to_owned()));
    [Some(("listen", command.listen.clone())), quiet, profile].into_iter().flatten().collect()
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
                eprintln!("tidegate: the sample could not be set up: {error:#}");
                stop.cancel();
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        ended = app::serve(config, Roles::all(), stop.clone()) => ended.map_err(exit),
        () = demonstration => Ok(()),
        again = stop_on_signal(&stop) => Err(again),
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
