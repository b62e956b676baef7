//! Fields that go with one word of another field: an e-mail has addresses, a webhook a URL.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Fields;

/// What goes with one word.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub word: &'static str,
    /// Fields that must be there.
    pub needs: &'static [&'static str],
    /// Fields that may be.
    pub may: &'static [&'static str],
}

impl Case {
    fn has(&self, name: &str) -> bool {
        self.needs.contains(&name) || self.may.contains(&name)
    }

    /// Fields that go with other words alone.
    fn others(self, cases: &[Case]) -> impl Iterator<Item = &'static str> {
        let all: BTreeSet<_> = cases.iter().flat_map(|case| case.needs.iter().chain(case.may)).copied().collect();
        all.into_iter().filter(move |name| !self.has(name))
    }

    fn rule(self, tag: &str, cases: &[Case]) -> Value {
        let is = |text: &str| format!("{text} where `{tag}` is {}.", self.word);
        let needed = || json!({"not": {"type": "null"}, "description": is("Required")});
        let out = || json!({"type": "null", "description": is("Left out")});
        let fields =
            self.needs.iter().map(|name| (*name, needed())).chain(self.others(cases).map(|name| (name, out())));
        let fields: Map<_, _> = fields.map(|(name, form)| (name.to_owned(), form)).collect();
        json!({
            "if": {"properties": {tag: {"const": self.word}}, "required": [tag]},
            "then": {"required": self.needs, "properties": fields},
        })
    }
}

impl Fields {
    /// Holds the fields against the word of `tag`, before any of them is read. A word that no case has is not told here.
    pub fn cases(&mut self, tag: &'static str, cases: &[Case]) {
        if let Some(sketch) = &mut self.sketch {
            cases.iter().for_each(|case| sketch.rule(case.rule(tag, cases)));
            return;
        }
        let word = self.map.get(tag).and_then(Value::as_str);
        let Some(case) = cases.iter().find(|case| Some(case.word) == word) else { return };
        let is_there = |fields: &Fields, name: &str| fields.map.get(name).is_some_and(|value| !value.is_null());
        for name in case.needs.iter().filter(|name| !is_there(self, name)).copied().collect::<Vec<_>>() {
            self.wrong(name, format!("is required where `{tag}` is {}", case.word));
        }
        for name in case.others(cases).filter(|name| is_there(self, name)).collect::<Vec<_>>() {
            self.wrong(name, format!("has no place where `{tag}` is {}: leave it out", case.word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAYS: [Case; 3] = [
        Case { word: "PAGER", needs: &["url"], may: &["to"] },
        Case { word: "POST", needs: &["url"], may: &["secret"] },
        Case { word: "MAIL", needs: &["to"], may: &["secret"] },
    ];

    fn read(fields: &mut Fields) -> Option<()> {
        fields.cases("way", &WAYS);
        for name in ["way", "url", "to", "secret"] {
            fields.value(name);
        }
        Some(())
    }

    fn told(value: Value) -> Vec<String> {
        let mut fields = Fields::of(value).unwrap();
        let read = read(&mut fields);
        let problems = fields.finish(read).err().unwrap_or_default();
        problems.iter().map(|problem| format!("{} {}", problem.path, problem.message)).collect()
    }

    #[test]
    fn a_field_that_would_be_dropped_is_refused_and_one_that_is_missing_is_named() {
        for (value, wrong) in [
            (json!({"way": "POST", "url": "u"}), vec![]),
            (json!({"way": "MAIL", "to": "t", "url": null, "secret": "s"}), vec![]),
            (json!({"way": "POST", "url": null}), vec!["url is required where `way` is POST"]),
            (
                json!({"way": "MAIL", "url": "u"}),
                vec!["to is required where `way` is MAIL", "url has no place where `way` is MAIL: leave it out"],
            ),
            // Two other words have it.
            (json!({"way": "MAIL", "to": "t", "url": "u"}), vec!["url has no place where `way` is MAIL: leave it out"]),
            // Told where the word is read.
            (json!({"way": "FAX", "url": "u"}), vec![]),
            (json!({}), vec![]),
        ] {
            assert_eq!(told(value.clone()), wrong, "{value}");
        }
    }

    #[test]
    fn the_schema_says_what_goes_with_which_word() {
        let schema = Fields::sketch(read);
        let rule = json!({
            "if": {"properties": {"way": {"const": "MAIL"}}, "required": ["way"]},
            "then": {"required": ["to"], "properties": {
                "to": {"not": {"type": "null"}, "description": "Required where `way` is MAIL."},
                "url": {"type": "null", "description": "Left out where `way` is MAIL."},
            }},
        });
        assert_eq!(schema["allOf"][2], rule, "{schema}");
    }
}
