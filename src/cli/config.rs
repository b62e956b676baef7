//! `tidegate config show`.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};

use super::exit::Exit;
use super::{Common, dev, output};
use crate::config::{Config, Flags, Setting};

/// Show the configuration and where each value came from
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  tidegate config show")]
pub(super) struct Show {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Every setting with its value and where it came from: default, file, environment or flag. Secrets are masked
    #[command(
        after_help = "Examples:\n  tidegate config show\n  tidegate config show --dev             what `tidegate dev` would run with\n  \
        KAFKA_BROKERS=kafka:9092 tidegate config show -o json"
    )]
    Show {
        /// How to show it
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
        /// With the defaults of `tidegate dev` in place of those of `tidegate serve`
        #[arg(long)]
        dev: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Lines of TOML, the origin behind each
    Text,
    /// A list of `{key, value, from}`
    Json,
}

pub(super) fn run(common: &Common, command: &Show) -> Result<(), Exit> {
    let Action::Show { output: format, dev } = &command.action;
    let defaults = if *dev { dev::defaults(common) } else { Config::default() };
    let settings = common.loaded(&defaults, Flags::new())?.settings;
    let shown = match format {
        Format::Text => lines(&settings),
        Format::Json => serde_json::to_string_pretty(&settings).map_err(Exit::failed)? + "\n",
    };
    output::print(&shown)
}

/// What is not set stands in a comment, so that the lines are a file that says the same.
fn lines(settings: &[Setting]) -> String {
    let line = |setting: &Setting| match &setting.value {
        serde_json::Value::Null => format!("# {} is not set", setting.key),
        // TOML writes texts, numbers and lists of them as JSON does.
        value => format!("{} = {value}", setting.key),
    };
    let left: Vec<String> = settings.iter().map(line).collect();
    let width = left.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    let mut shown = String::new();
    for (text, setting) in left.iter().zip(settings) {
        // Writing to a String cannot fail.
        let _ = match setting.value {
            serde_json::Value::Null => writeln!(shown, "{text}"),
            _ => writeln!(shown, "{text:<width$}  # {}", setting.from),
        };
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{self, Origin};

    #[test]
    fn what_is_shown_is_a_file_that_says_the_same() {
        let setting = |key: &str, value, from| Setting { key: key.to_owned(), value, from };
        let shown = lines(&[
            setting("engine", json!("embedded"), Origin::Default),
            setting("instance", json!(null), Origin::Default),
            setting("egress.allow", json!(["::1/128", "a"]), Origin::Environment("TIDEGATE_EGRESS_ALLOW".into())),
        ]);
        assert_eq!(
            shown,
            "engine = \"embedded\"             # default\n# instance is not set\n\
             egress.allow = [\"::1/128\",\"a\"]  # environment TIDEGATE_EGRESS_ALLOW\n"
        );
        use figment::providers::Format as _;
        let read = figment::Figment::from(figment::providers::Toml::string(&shown));
        assert_eq!(read.extract_inner::<Vec<String>>("egress.allow").unwrap(), ["::1/128", "a"]);
    }

    #[test]
    fn the_whole_of_what_is_shown_can_be_read_back() {
        let env = [("TIDEGATE_LIMITS__ORG_PER_MINUTE", "7"), ("TIDEGATE_INSTANCE", "a")];
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tidegate.toml");
        let read = |toml: &str, env: &[(&str, &str)]| {
            std::fs::write(&file, toml).unwrap();
            let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            config::load(&Config::default(), Some(&file), env, &Flags::new()).unwrap().settings
        };
        let settings = read("", &env);
        let again = read(&lines(&settings), &[]);
        let values = |settings: &[Setting]| -> Vec<_> {
            settings.iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect()
        };
        assert_eq!(values(&again), values(&settings));
        for (key, number) in [("limits.org_per_minute", 7), ("limits.address_per_minute", 1_000)] {
            let setting = settings.iter().find(|setting| setting.key == key).unwrap();
            assert_eq!(setting.value, json!(number), "{key}");
        }
    }
}
