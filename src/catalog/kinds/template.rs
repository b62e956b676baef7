//! An integration to begin with.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::catalog::fields::{Fields, Text};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::head::{Head, about, headed};
use crate::catalog::kinds::neutral;
use crate::catalog::resource::Spec;

/// Fields of an integration, to be completed by whoever makes one of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pub head: Head,
    pub name: String,
    pub category: Option<String>,
    pub integration: Map<String, Value>,
}

impl Spec for Template {
    const KIND: Kind = Kind::Template;
    const ABOUT: &'static [(&'static str, &'static str)] = about![
        ("name", "What people call it."),
        ("category", "What it is listed under."),
        (
            "integration",
            "Fields of an integration, to be completed by whoever makes one of it. No secret belongs here."
        ),
    ];
    const EXAMPLE: &'static str = r#"{"id": "erp", "orgId": "648", "name": "To the ERP", "category": "billing",
        "integration": {"eventType": ["bill.*"], "httpMethod": "POST", "timeoutMs": 5000}}"#;

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.require("name");
        fields.require("integration");
        let head = Head::read(fields);
        let integration = fields.map("integration").unwrap_or_default();
        neutral::kept(fields, "integration", &integration);
        Some(Template {
            name: fields.text("name", &Text::line(200)).unwrap_or_default(),
            category: fields.text("category", &Text::line(64)),
            integration,
            head: head?,
        })
    }

    fn form(&self) -> impl Serialize + '_ {
        Form { head: &self.head, name: &self.name, category: self.category.as_deref(), integration: &self.integration }
    }

    headed!();

    fn title(&self) -> &str {
        &self.name
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    #[serde(flatten)]
    head: &'a Head,
    name: &'a str,
    category: Option<&'a str>,
    integration: &'a Map<String, Value>,
}
