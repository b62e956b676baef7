//! `tidegate topology describe|check|create`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand, ValueEnum};

use super::exit::Exit;
use super::serve::exit;
use super::{Common, Here, output, runtime};
use crate::app::reach;
use crate::app::view::View;
use crate::config::{Config, Engine};
use crate::model::topic::Topic;
use crate::topology::{self, Declared, Difference, Finding, Site, check, report};

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
    /// The flow, its stages and topics; asks no broker, and knows the embedded log by its file
    #[command(
        after_help = "Examples:\n  tidegate topology describe\n  tidegate topology describe --format mermaid > flow.mmd\n  \
        tidegate topology describe --kafka kafka:9092 --prefix staging"
    )]
    Describe {
        /// How to show it
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Compare the brokers' topics with the topology file; exit 1 where one is missing or must be mended
    #[command(after_help = "Examples:\n  tidegate topology check --kafka kafka:9092")]
    Check,
    /// Create missing topics; never changes or deletes one
    #[command(after_help = "Examples:\n  tidegate topology create --kafka kafka:9092 --prefix staging")]
    Create,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Mermaid,
}

pub(super) fn run(common: &Common, command: &Topology) -> Result<(), Exit> {
    let Here { config, .. } = common.here()?;
    let declared = reach::declared(&config).map_err(exit)?;
    match &command.action {
        Action::Describe { format } => describe(&config, declared, *format)?,
        Action::Check | Action::Create if config.engine == Engine::Embedded => return Err(needless(&config)),
        Action::Check => runtime()?.block_on(compare(&config, &declared))?,
        Action::Create => runtime()?.block_on(create(&config, &declared))?,
    }
    Ok(())
}

fn describe(config: &Config, declared: Declared, format: Format) -> Result<(), Exit> {
    let file = config.data_dir.join("log.db");
    let (declared, site) = match config.engine {
        Engine::Kafka => (declared, Site::Kafka { prefix: &config.kafka.topic_prefix }),
        Engine::Embedded => (as_there(config, declared)?, Site::Embedded { file: &file }),
    };
    output::print(&match format {
        Format::Text => topology::text(&declared, site),
        Format::Mermaid => topology::mermaid(&declared, site),
    })
}

/// A log that is there has the partitions that it was made with. Where none is, it would be made as declared.
fn as_there(config: &Config, declared: Declared) -> Result<Declared, Exit> {
    let there = runtime()?.block_on(async {
        let view = View::open(config).await.ok()?;
        let mut there = BTreeMap::new();
        for topic in Topic::ALL {
            // A topic that is newer than the log is made when the gateway starts.
            let partitions = view.partitions(topic).await.ok().and_then(|count| u32::try_from(count).ok());
            there.extend(partitions.map(|count| (topic, count)));
        }
        Some(there)
    });
    Ok(declared.with_partitions(&there.unwrap_or_default()))
}

/// Only Kafka's topics are somebody else's.
fn needless(config: &Config) -> Exit {
    Exit::usage(format!(
        "the embedded engine makes its topics itself, in {}, when the gateway starts: there is nothing to check or create; \
         --kafka host:port names a Kafka",
        config.data_dir.display()
    ))
}

async fn compare(config: &Config, declared: &Declared) -> Result<(), Exit> {
    let admin = reach::admin(config).await.map_err(exit)?;
    let actual = admin.actual(&config.kafka.topic_prefix).await.map_err(|e| exit(reach::admin_error(e)))?;
    let findings = check(declared, &actual);
    if !findings.is_empty() {
        output::print(&format!("{}\n", report(&findings)))?;
    }
    output::print(&format!("{}\n", verdict(&findings, declared.topics().len())?))
}

/// What the findings come to. A missing topic is no harm, for `serve` makes it, but the brokers are not as declared, and a
/// wrong prefix looks the same.
fn verdict(findings: &[Finding], topics: usize) -> Result<String, Exit> {
    let missing = findings.iter().filter(|f| f.difference == Difference::Missing).count();
    let fatal = findings.iter().filter(|f| f.difference.is_fatal()).count() - missing;
    match (fatal, missing, findings.len()) {
        (0, 0, 0) => Ok(format!("All {topics} topics are as declared.")),
        (0, 0, _) => Ok("The gateway runs with these topics.".to_owned()),
        (0, 1, _) => Err(Exit::failed("1 topic is missing; nothing else keeps the gateway from running")),
        (0, _, _) => {
            Err(Exit::failed(format!("{missing} topics are missing; nothing else keeps the gateway from running")))
        }
        _ => Err(Exit::failed(format!("the gateway does not run before {fatal} of these are mended"))),
    }
}

async fn create(config: &Config, declared: &Declared) -> Result<(), Exit> {
    let admin = reach::admin(config).await.map_err(exit)?;
    let prefix = &config.kafka.topic_prefix;
    let created = admin.create_missing(declared, prefix).await.map_err(|e| exit(reach::admin_error(e)))?;
    let mut said: String = created.iter().map(|topic| format!("created {}\n", topic.full_name(prefix))).collect();
    said += &format!("{} created, {} were there.\n", created.len(), declared.topics().len() - created.len());
    output::print(&said)
}

#[cfg(test)]
mod tests {
    use crate::model::topic::Topic;
    use crate::topology::Actual;

    use super::*;

    #[test]
    fn an_engine_that_makes_its_own_topics_is_not_asked_for_a_broker() {
        let config = Config { engine: Engine::Embedded, ..Config::default() };
        let error = needless(&config);
        assert!(matches!(&error, Exit::Usage(text) if text.contains("makes its topics itself")), "{error}");
    }

    #[test]
    fn a_missing_topic_is_not_said_to_stop_a_gateway_that_makes_it() {
        let declared = topology::Declared::built_in(None).unwrap();
        let empty = Actual { prefix: "tidegate".into(), ..Actual::default() };
        let missing = check(&declared, &empty);
        assert!(missing.iter().all(|finding| finding.to_string().contains("`serve` makes it")));
        let error = verdict(&missing, 10).unwrap_err();
        assert!(matches!(&error, Exit::Failed(text) if text.starts_with("10 topics are missing")), "{error}");
        let mut both = missing;
        both[1].difference = Difference::Partitions { declared: 12, actual: 5 };
        both.truncate(2);
        let error = verdict(&both, 10).unwrap_err().to_string();
        assert!(error.contains("does not run before 1 of these"), "{error}");
        let less = Difference::Setting { setting: "segment.ms", declared: "1".into(), actual: "2".into() };
        let harmless = Finding { topic: Topic::Timers, name: "tidegate.timers".into(), difference: less };
        assert!(verdict(&[harmless], 10).is_ok() && verdict(&[], 10).is_ok());
    }
}
