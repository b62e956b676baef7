//! A row of a lookup table: what one system calls a thing, and what another does.

use serde::Serialize;

use crate::catalog::fields::{Fields, Text};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::head::{Head, about, headed};
use crate::catalog::resource::{Reference, Spec};
use crate::model::ids::Rid;

/// A thing as one system knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Side {
    pub id: String,
    pub label: Option<String>,
}

/// One row. A row of a unit goes before one of its organization.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    pub head: Head,
    pub unit: Option<Rid>,
    /// The table: `department`.
    pub table: String,
    pub source: Side,
    pub target: Side,
    pub is_active: bool,
}

impl Spec for Lookup {
    const KIND: Kind = Kind::Lookup;
    const ABOUT: &'static [(&'static str, &'static str)] = about![
        ("orgUnitRid", "The unit that it holds for; none: the whole organization. A unit's row goes before."),
        ("type", "The table that it is a row of. A value is in a table once."),
        ("source", "The thing as events know it."),
        ("source.id", "The value that is looked up."),
        ("source.label", "The value in words for people."),
        ("target", "The thing as the receiver knows it."),
        ("target.id", "The value that takes its place."),
        ("target.label", "The value in words for people."),
        ("isActive", "Whether it is used."),
    ];
    const EXAMPLE: &'static str = r#"{"id": "dep-7", "orgId": "648", "type": "department",
        "source": {"id": "7", "label": "Cardiology"}, "target": {"id": "CARD", "label": "Heart centre"}}"#;

    fn read(fields: &mut Fields) -> Option<Self> {
        for name in ["type", "source", "target"] {
            fields.require(name);
        }
        let head = Head::read(fields);
        Some(Lookup {
            unit: fields.id("orgUnitRid", Rid::parse),
            table: fields.text("type", &Text::line(128)).unwrap_or_default(),
            source: fields.object("source", side).unwrap_or_default(),
            target: fields.object("target", side).unwrap_or_default(),
            is_active: fields.flag("isActive").unwrap_or(true),
            head: head?,
        })
    }

    fn form(&self) -> impl Serialize + '_ {
        Form {
            head: &self.head,
            org_unit_rid: self.unit.as_ref(),
            table: &self.table,
            source: &self.source,
            target: &self.target,
            is_active: self.is_active,
        }
    }

    headed!();

    fn title(&self) -> &str {
        &self.table
    }

    fn names(&self) -> Vec<&str> {
        let sides = [&self.source, &self.target].into_iter().flat_map(|side| [Some(&side.id), side.label.as_ref()]);
        [Some(&self.table)].into_iter().chain(sides).flatten().map(String::as_str).collect()
    }

    fn active(&self) -> Option<bool> {
        Some(self.is_active)
    }

    fn set_active(&mut self, active: bool) {
        self.is_active = active;
    }

    fn references(&self) -> Vec<Reference> {
        let unit = self.unit.iter().map(|unit| Reference { path: "orgUnitRid", to: unit.into() });
        [Reference { path: "orgId", to: (&self.head.org_id).into() }].into_iter().chain(unit).collect()
    }

    fn unique(&self) -> Option<(&'static str, String)> {
        let unit = self.unit.as_ref().map_or("", Rid::as_str);
        // Neither an id nor a table's name holds a line break.
        Some(("source.id", [self.head.org_id.as_str(), unit, &self.table, &self.source.id].join("\n")))
    }
}

fn side(fields: &mut Fields) -> Option<Side> {
    fields.require("id");
    let id = fields.id("id", |text| Text::line(256).check(text).map(|()| text.to_owned()));
    let label = fields.text("label", &Text::line(256));
    Some(Side { id: id?, label })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    #[serde(flatten)]
    head: &'a Head,
    org_unit_rid: Option<&'a Rid>,
    #[serde(rename = "type")]
    table: &'a str,
    source: &'a Side,
    target: &'a Side,
    is_active: bool,
}
