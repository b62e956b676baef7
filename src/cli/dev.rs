//! `tidegate dev`: a gateway to try, with something to deliver to.

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
use super::serve::{exit, start_telemetry, stop_on_signal, until_ended};
use crate::api::auth::password;
use crate::app::first_admin::EMAIL;
use crate::app::tail::Watch;
use crate::app::{self, Extras, Roles};
use crate::catalog::seal;
use crate::config::{Config, Engine};
use crate::model::record::Received;

/// Try it: a gateway with a sample organization, three integrations, and a receiver that shows each request as it arrives. What
/// is rejected, or becomes a dead letter, is shown too. It needs nothing else: everything is kept in one folder.
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
    let mut config = common.load_over(&defaults(common), flags)?;
    let key = match &config.admin_key {
        Some(key) => Key::Theirs(key.clone()),
        None => Key::Made(keys::kept(&config.data_dir, "admin.key", keys::new_admin_key).map_err(unwritable(&config))?),
    };
    config.admin_key = Some(key.secret().to_owned());
    let login = login(&mut config).map_err(unwritable(&config.clone()))?;
    if config.secret_key.is_none() {
        let sealing = keys::kept(&config.data_dir, "secret.key", seal::new_key).map_err(unwritable(&config))?;
        config.secret_key = Some(sealing);
    }
    start_telemetry(&config)?;
    until_ended(session(config, (key, login), &command))
}

/// The first administrator, whose password is made once and kept where the key is. One who changed it since knows it.
fn login(config: &mut Config) -> std::io::Result<String> {
    let email = config.admin_email.clone().unwrap_or_else(|| EMAIL.to_owned());
    if config.admin_password.is_some() {
        return Ok(format!("login: {email}, with $TIDEGATE_ADMIN_PASSWORD"));
    }
    let kept = keys::kept(&config.data_dir, "admin.password", || password::random().unwrap_or_default())?;
    let line = format!("login: {email}, password {kept}");
    config.admin_password = Some(kept);
    Ok(line)
}

fn unwritable(config: &Config) -> impl Fn(std::io::Error) -> Exit {
    let folder = config.data_dir.display().to_string();
    move |e| Exit::usage(format!("{folder}: {e}; set TIDEGATE_DATA_DIR to a folder that can be written"))
}

/// The key of the API: one that `dev` made is shown, one that was configured may be worth more.
enum Key {
    Made(String),
    Theirs(String),
}

impl Key {
    fn secret(&self) -> &str {
        match self {
            Key::Made(key) | Key::Theirs(key) => key,
        }
    }

    /// As it stands in a command to be copied.
    fn shown(&self) -> &str {
        match self {
            Key::Made(key) => key,
            Key::Theirs(_) => "$TIDEGATE_ADMIN_KEY",
        }
    }
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
async fn session(config: Config, (key, login): (Key, String), command: &Dev) -> Result<(), Exit> {
    let stop = CancellationToken::new();
    let (receiver, mut shown) = receiver::Shown::start(&command.receiver, stop.clone()).await.map_err(Exit::usage)?;
    let api = format!("http://{}", config.listen);
    let kept = Kept::of(&config);
    let sample = sample::Sample { config: &config, api: &api, key: &key, login: &login, receiver: &receiver };
    let demonstration = async {
        match sample.run(&mut shown, &kept).await {
            Ok(()) => println!("{}", sample.what_to_try(&kept)),
            Err(error) => {
                stop.cancel();
                return Some(format!("the sample could not be set up: {error:#}"));
            }
        }
        None
    };
    let seen = |topic, received: &Received| println!("{}", told::lines(topic, received));
    let watch = Some(Watch { topics: told::TOPICS, seen: Box::new(seen) });
    let extras = Extras { watch, fresh: command.fresh };
    let gateway = async {
        let serving = app::serve(config.clone(), Roles::all(), extras, stop.clone()).inspect(|_| stop.cancel());
        let (ended, failed) = tokio::join!(serving, demonstrated(demonstration, &stop));
        ended.map_err(exit)?;
        failed.map_or(Ok(()), |error| Err(Exit::failed(error)))
    };
    tokio::select! {
        ended = gateway => ended,
        again = stop_on_signal(&stop, || println!("{}", kept.goodbye())) => Err(again),
    }
}

/// What the demonstration failed with; given up where the gateway ends meanwhile.
async fn demonstrated(demonstration: impl Future<Output = Option<String>>, stop: &CancellationToken) -> Option<String> {
    tokio::select! {
        failed = demonstration => failed,
        () = stop.cancelled() => None,
    }
}
