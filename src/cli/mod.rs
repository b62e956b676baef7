//! The command line: arguments, exit codes, what people see.

mod admin;
mod apply;
mod bench;
mod client;
mod columns;
mod completions;
mod config;
mod deliveries;
mod dev;
mod exit;
mod export;
mod files;
mod history;
mod key;
mod logs;
mod moment;
mod output;
mod publish;
mod redrive;
mod secret;
mod serve;
mod tail;
mod topology;
mod user;
mod validate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self as settings, Config, Flags, Loaded};
use exit::Exit;

/// Tidegate, a Kafka-native event gateway: events in from REST and Kafka, delivered to HTTP APIs, never lost.
#[derive(Parser)]
#[command(
    name = "tidegate",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  \
                  tidegate dev                  try it: no Kafka, no configuration\n  \
                  tidegate logs --help          what a command does, with examples of its own\n\n\
                  Settings come from tidegate.toml, then the environment, then flags.\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 could not reach what it needs."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Args, Clone, Debug)]
struct Common {
    /// Configuration file [default: tidegate.toml, where there is one]
    #[arg(long, global = true, help_heading = "Configuration", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Use Kafka: its bootstrap servers, `host:port,...` [env: KAFKA_BROKERS]
    #[arg(long, global = true, help_heading = "Configuration", value_name = "SERVERS")]
    kafka: Option<String>,
    /// What every topic's name begins with [env: KAFKA_TOPIC_PREFIX]
    #[arg(long, global = true, help_heading = "Configuration", value_name = "PREFIX")]
    prefix: Option<String>,
    /// Topology file in place of the compiled-in one
    #[arg(long, global = true, help_heading = "Configuration", value_name = "FILE")]
    topology: Option<PathBuf>,
    /// A profile of the topology, such as `small`, which `tidegate dev` runs with
    #[arg(long, global = true, help_heading = "Configuration", value_name = "NAME")]
    profile: Option<String>,
}

/// Where a command has more to say in its own file than one line, its line stands there too: one here would hide both.
#[derive(Subcommand)]
enum Command {
    /// Run the gateway: the production process
    Serve(serve::Serve),
    Dev(dev::Dev),
    Publish(publish::Publish),
    Tail(tail::Command),
    Logs(logs::Logs),
    Redrive(redrive::Redrive),
    User(user::User),
    Key(key::Key),
    Secret(secret::Secret),
    Apply(apply::Apply),
    Export(export::Export),
    Validate(validate::Validate),
    /// Show, check or create the topics
    Topology(topology::Topology),
    /// Make the history anew
    History(history::History),
    /// Show the configuration and where each value came from
    Config(config::Show),
    Bench(bench::Bench),
    /// Print a script that completes commands and flags in a shell
    Completions(completions::Completions),
}

/// Runs the command given on the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(command) => serve::run(&cli.common, command),
        Command::Dev(command) => dev::run(&cli.common, command),
        Command::Publish(command) => publish::run(&cli.common, command),
        Command::Tail(command) => tail::run(&cli.common, command),
        Command::Logs(command) => logs::run(&cli.common, &command),
        Command::Redrive(command) => redrive::run(&cli.common, &command),
        Command::User(command) => user::run(&cli.common, &command),
        Command::Key(command) => key::run(&cli.common, &command),
        Command::Secret(command) => secret::run(&cli.common, &command),
        Command::Apply(command) => apply::run(&cli.common, &command),
        Command::Export(command) => export::run(&cli.common, &command),
        Command::Validate(command) => validate::run(&command),
        Command::Topology(command) => topology::run(&cli.common, &command),
        Command::History(command) => history::run(&cli.common, &command),
        Command::Config(command) => config::run(&cli.common, &command),
        Command::Bench(command) => bench::run(&cli.common, command),
        Command::Completions(command) => completions::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            eprintln!("tidegate: {exit}");
            exit.code()
        }
    }
}

/// A configuration, and whether nobody named its engine.
struct Here {
    config: Config,
    guessed: bool,
}

impl Common {
    /// The configuration with these flags and `more` on top.
    fn load(&self, more: Flags) -> Result<Config, Exit> {
        self.load_over(&Config::default(), more)
    }

    /// What runs here: where nobody names an engine and a log is in the data folder, it is `tidegate dev`.
    fn here(&self) -> Result<Here, Exit> {
        let loaded = self.loaded(&Config::default(), Flags::new())?;
        let unsaid = loaded.is_default("engine") && loaded.is_default("kafka.brokers");
        let shapeless = loaded.is_default("topology.profile");
        let mut config = loaded.config;
        let guessed = unsaid && config.data_dir.join("log.db").exists();
        if guessed {
            let dev = dev::defaults(self);
            config.engine = dev.engine;
            config.topology.profile = if shapeless { dev.topology.profile } else { config.topology.profile };
        }
        Ok(Here { config, guessed })
    }

    /// The same where a command has defaults of its own.
    fn load_over(&self, defaults: &Config, more: Flags) -> Result<Config, Exit> {
        Ok(self.loaded(defaults, more)?.config)
    }

    /// The same with where each value came from.
    fn loaded(&self, defaults: &Config, more: Flags) -> Result<Loaded, Exit> {
        let mut flags = more;
        let mut set = |key, value: Option<String>| {
            if let Some(value) = value {
                flags.insert(key, value);
            }
        };
        set("engine", self.kafka.as_ref().map(|_| "kafka".to_owned()));
        set("kafka.brokers", self.kafka.clone());
        set("kafka.topic_prefix", self.prefix.clone());
        set("topology.profile", self.profile.clone());
        set("topology.file", self.topology.as_ref().map(|p| p.display().to_string()));
        let loaded = settings::load(defaults, self.config.as_deref(), environment()?.into_iter(), &flags)
            .map_err(Exit::usage)?;
        for warning in &loaded.warnings {
            eprintln!("tidegate: warning: {warning}");
        }
        Ok(loaded)
    }
}

/// What the environment holds as text. A variable of ours that is not UTF-8 is refused, another's is none of our business.
fn environment() -> Result<Vec<(String, String)>, Exit> {
    let mut texts = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) if name.starts_with("TIDEGATE_") || name.starts_with("KAFKA_") || name == "DATABASE_URL" => {
                return Err(Exit::usage(format!("{name}: is not UTF-8")));
            }
            Err(_) => {}
        }
    }
    Ok(texts)
}

/// The runtime of every command.
fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Exit::failed)
}

#[cfg(test)]
mod tests;
