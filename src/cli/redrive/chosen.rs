//! The dead letters that a filter lets through, and how many of each integration.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cli::client::Api;
use crate::cli::columns::{Colour, Line, colours};
use crate::cli::deliveries::{Pages, Route, understood};
use crate::cli::exit::Exit;

#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub ids: Vec<String>,
    /// How many of each integration, and its name.
    of: BTreeMap<String, (usize, Option<String>)>,
    /// Those that were not looked at, because that many were not wanted.
    beyond: u64,
}

/// What matters of an entry of `GET /dlq`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    id: String,
    integration_id: Option<String>,
    integration_name: Option<String>,
}

impl Chosen {
    /// All ids are known before the first is put back: what dies again meanwhile is not meant.
    pub(super) async fn find(api: &Api, query: Vec<(&'static str, String)>, most: usize) -> Result<Chosen, Exit> {
        let mut pages = Pages::new(api, Route::Dlq, (query, most));
        let (mut chosen, mut total) = (Chosen::default(), 0);
        while let Some(page) = pages.next().await? {
            for item in &page.items {
                chosen.add(understood(item.get().as_bytes())?);
            }
            total = page.total;
        }
        if chosen.ids.len() >= most {
            chosen.beyond = total.saturating_sub(chosen.ids.len() as u64);
        }
        Ok(chosen)
    }

    fn add(&mut self, entry: Entry) {
        let integration = entry.integration_id.unwrap_or_else(|| "-".to_owned());
        let (count, name) = self.of.entry(integration).or_default();
        *count += 1;
        *name = name.take().or(entry.integration_name);
        self.ids.push(entry.id);
    }

    pub(super) fn text(&self) -> String {
        let mut text = match self.ids.len() {
            0 => return "no dead letter is like that\n".to_owned(),
            1 => "1 dead letter\n".to_owned(),
            n => format!("{n} dead letters\n"),
        };
        let mut of: Vec<_> = self.of.iter().collect();
        of.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for (integration, (count, name)) in of {
            let mut line = Line::new(colours());
            line.column(Some(&format!("{count:>8}")), 8, Colour::Plain);
            line.column(Some(integration), 20, Colour::Cyan);
            line.column(Some(name.as_deref().unwrap_or_default()), 0, Colour::Plain);
            text += &line.finish();
        }
        if self.beyond > 0 {
            text += &format!("{} older ones are left out; --limit takes more\n", self.beyond);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_happen_is_told_by_integration_the_most_first() {
        let mut chosen = Chosen::default();
        assert_eq!(chosen.text(), "no dead letter is like that\n");
        for (n, integration) in ["a", "b", "b"].into_iter().enumerate() {
            let name = (integration == "b").then(|| "Bills\u{1b}".to_owned());
            chosen.add(Entry {
                id: n.to_string(),
                integration_id: Some(integration.to_owned()),
                integration_name: name,
            });
        }
        chosen.beyond = 7;
        assert_eq!(
            chosen.text(),
            "3 dead letters\n       2  b                     Bills\\u{1b}\n       1  a\n7 older ones are left out; --limit takes more\n"
        );
        assert_eq!(chosen.ids, ["0", "1", "2"]);
    }
}
