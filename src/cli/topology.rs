//! `tidegate topology describe|check|create`.

use clap::{Args, Subcommand, ValueEnum};

use super::exit::Exit;
use super::serve::exit;
use super::{Common, runtime};
use crate::app::reach;
use crate::config::{Config, Flags};
use crate::topology::{self, check};

/// Show, check or create the topics
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  tidegate topology describe\n  tidegate topology describe --format mermaid > flow.mmd\n  \
    tidegate topology check --kafka kafka:9092\n  tidegate topology create --kafka kafka:9092 --prefix staging"
)]
pub(super) struct Topology {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// The flow, its stages and topics; asks no broker
    Describe {
        /// How to show it
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Compare the brokers' topics with the topology file; exit 1 where something must be mended
    Check,
    /// Create missing topics; never changes or deletes one
    Create,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Mermaid,
}

pub(super) fn run(common: &Common, command: &Topology) -> Result<(), Exit> {
    let config = common.load(Flags::new())?;
    let declared = reach::declared(&config).map_err(exit)?;
    match &command.action {
        Action::Describe { format: Format::Text } => {
            print!("{}", topology::text(&declared, &config.kafka.topic_prefix))
        }
        Action::Describe { format: Format::Mermaid } => {
            print!("{}", topology::mermaid(&declared, &config.kafka.topic_prefix));
        }
        Action::Check => runtime()?.block_on(compare(&config, &declared))?,
        Action::Create => runtime()?.block_on(create(&config, &declared))?,
    }
    Ok(())
}

async fn compare(config: &Config, declared: &crate::topology::Declared) -> Result<(), Exit> {
    let admin = reach::admin(config).await.map_err(exit)?;
    let actual = admin.actual(&config.kafka.topic_prefix).await.map_err(|e| exit(reach::admin_error(e)))?;
    let findings = check(declared, &actual);
    for finding in &findings {
        println!("{finding}");
    }
    let fatal = findings.iter().filter(|f| f.difference.is_fatal()).count();
    match (findings.len(), fatal) {
        (0, _) => println!("All {} topics are as declared.", declared.topics().len()),
        (_, 0) => println!("The gateway runs with these topics."),
        _ => return Err(Exit::failed(format!("the gateway does not run before {fatal} of these are mended"))),
    }
    Ok(())
}

async fn create(config: &Config, declared: &crate::topology::Declared) -> Result<(), Exit> {
    let admin = reach::admin(config).await.map_err(exit)?;
    let prefix = &config.kafka.topic_prefix;
    let created = admin.create_missing(declared, prefix).await.map_err(|e| exit(reach::admin_error(e)))?;
    for topic in &created {
        println!("created {}", topic.full_name(prefix));
    }
    println!("{} created, {} were there.", created.len(), declared.topics().len() - created.len());
    Ok(())
}
