//! Where history is kept and for how long.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::duration::DurationText;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const LONGEST: Duration = Duration::from_secs(3_650 * 24 * 3_600);

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// `sqlite:///path/to/history.db`; without one `history.db` in the data folder.
    pub url: Option<String>,
    /// How long events are kept, with what was skipped or rejected of them. This and the others: 1h to 3650d.
    pub events: DurationText,
    /// How long deliveries are kept after their last change.
    pub deliveries: DurationText,
    pub attempts: DurationText,
    /// How long payloads, of what was rejected too, and bodies of answers are kept.
    pub bodies: DurationText,
    /// How long changes of the configuration are kept: who, what, from where, and versions of resources to go back to.
    pub audit: DurationText,
}

impl Default for History {
    fn default() -> Self {
        let days = |n| DurationText(DAY * n);
        let (month, audit) = (days(30), days(365));
        History { url: None, events: month, deliveries: days(90), attempts: month, bodies: days(14), audit }
    }
}

impl History {
    /// The file of the store.
    pub fn path(&self, data_dir: &Path) -> Result<PathBuf, String> {
        let Some(url) = &self.url else { return Ok(data_dir.join("history.db")) };
        // A URL of a server may hold a password: it is not shown.
        let scheme = url.split(':').next().unwrap_or_default();
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
        match (scheme, path) {
            ("postgres" | "postgresql", _) => {
                Err("history.url (DATABASE_URL): PostgreSQL is not in this version; give \
                `sqlite:///path/to/history.db`, or leave it out"
                    .to_owned())
            }
            ("sqlite", Some(":memory:")) => Err("history.url (DATABASE_URL): there is no history in memory; give \
                `sqlite:///path/to/history.db`, which `tidegate history rebuild` deletes, or leave it out"
                .to_owned()),
            ("sqlite", Some(path)) if !path.is_empty() && !path.contains('?') => Ok(PathBuf::from(path)),
            _ => {
                Err("history.url (DATABASE_URL): must be `sqlite:///path/to/history.db`, without parameters".to_owned())
            }
        }
    }

    pub(super) fn check(&self, data_dir: &Path) -> Result<(), String> {
        self.path(data_dir)?;
        let spans = [
            ("events", self.events),
            ("deliveries", self.deliveries),
            ("attempts", self.attempts),
            ("bodies", self.bodies),
            ("audit", self.audit),
        ];
        match spans.into_iter().find(|(_, span)| !(HOUR..=LONGEST).contains(&span.0)) {
            Some((name, span)) => Err(format!("history.{name} `{span}`: must be 1h to 3650d")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_in_memory_is_not_a_file_of_that_name() {
        for (url, wanted) in [
            ("sqlite::memory:", Err("there is no history in memory; give `sqlite:///path/to/history.db`")),
            ("sqlite://:memory:", Err("there is no history in memory")),
            ("sqlite:///var/history.db", Ok("/var/history.db")),
            ("sqlite:history.db", Ok("history.db")),
        ] {
            let path = History { url: Some(url.to_owned()), ..History::default() }.path(Path::new("data"));
            match (path, wanted) {
                (Ok(path), Ok(wanted)) => assert_eq!(path, Path::new(wanted)),
                (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{why}"),
                (path, _) => panic!("{url}: {path:?}"),
            }
        }
    }
}
