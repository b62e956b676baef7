//! When somebody is told, and where.

use serde::Serialize;
use serde_json::json;

use crate::catalog::fields::{Case, Fields, Secret, Text};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::head::{Head, about, headed};
use crate::catalog::kinds::word;
use crate::catalog::resource::{Reference, Spec};
use crate::model::ids::IntegrationId;
use crate::model::number::shortest;

/// What it looks out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    DeliveryAbandoned,
    BreakerOpened,
    ErrorRate,
    StageStopped,
    StoreUnreachable,
    FailingInARow,
    DeadLetters,
    StageLag,
    SourceDown,
    JobFailed,
    OldestUnfinished,
}

const TROUBLES: &[(&str, Trouble)] = &[
    ("DELIVERY_ABANDONED", Trouble::DeliveryAbandoned),
    ("BREAKER_OPENED", Trouble::BreakerOpened),
    ("ERROR_RATE", Trouble::ErrorRate),
    ("STAGE_STOPPED", Trouble::StageStopped),
    ("STORE_UNREACHABLE", Trouble::StoreUnreachable),
    ("FAILING_IN_A_ROW", Trouble::FailingInARow),
    ("DEAD_LETTERS", Trouble::DeadLetters),
    ("STAGE_LAG", Trouble::StageLag),
    ("SOURCE_DOWN", Trouble::SourceDown),
    ("JOB_FAILED", Trouble::JobFailed),
    ("OLDEST_UNFINISHED", Trouble::OldestUnfinished),
];

/// How bad it has to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub trouble: Trouble,
    /// Per cent of an error rate, else a number of things.
    pub threshold: Option<f64>,
    /// Seconds.
    pub window: u64,
    /// `None`: any of the organization.
    pub integration: Option<IntegrationId>,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Tells it from others that are the same but for their secrets.
    pub name: Option<String>,
    pub target: Target,
}

/// Where it is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Email {
        to: Vec<String>,
    },
    /// Signed with the secret, where there is one.
    Webhook {
        url: String,
        secret: Option<Secret>,
    },
    /// Its URL is its credential.
    Slack {
        url: Secret,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Email,
    Webhook,
    Slack,
}

const WAYS: &[(&str, Way)] = &[("EMAIL", Way::Email), ("WEBHOOK", Way::Webhook), ("SLACK", Way::Slack)];
const CASES: [Case; 3] = [
    Case { word: "EMAIL", needs: &["to"], may: &[] },
    Case { word: "WEBHOOK", needs: &["url"], may: &["secret"] },
    Case { word: "SLACK", needs: &["secret"], may: &[] },
];

#[derive(Clone, Debug, PartialEq)]
pub struct AlertRule {
    pub head: Head,
    pub name: String,
    pub is_active: bool,
    pub condition: Condition,
    pub channels: Vec<Channel>,
}

impl Spec for AlertRule {
    const KIND: Kind = Kind::AlertRule;
    const ABOUT: &'static [(&'static str, &'static str)] = about![
        ("name", "What people call it."),
        ("isActive", "Whether it is watched."),
        ("condition", "When somebody is told."),
        ("condition.type", "What is looked out for."),
        ("condition.threshold", "How many, or of an error rate how many per cent, are too many."),
        ("condition.windowSeconds", "Over how long it is counted."),
        ("condition.integrationId", "The integration that is watched; none: any of the organization."),
        ("channels", "Who is told, each way."),
        (
            "channels[].name",
            "What people call it. It tells two apart that differ by their secrets alone, such as two of `SLACK`."
        ),
        ("channels[].type", "Which way."),
        ("channels[].to", "Addresses (`EMAIL`)."),
        ("channels[].url", "Where it is posted to (`WEBHOOK`)."),
        (
            "channels[].secret",
            "What it is signed with (`WEBHOOK`), or the address of an incoming webhook (`SLACK`). `***` keeps the one of the \
             channel that is there with the same other fields, wherever in the list; where there is none, or it is not clear \
             which of several, the secret is to be sent again (400)."
        ),
    ];
    const EXAMPLE: &'static str = r#"{"id": "many-failures", "orgId": "648", "name": "Many failures",
        "condition": {"type": "ERROR_RATE", "threshold": 10, "windowSeconds": 300},
        "channels": [{"type": "EMAIL", "to": ["ops@clinic.example"]}]}"#;

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.require("name");
        fields.require("condition");
        let head = Head::read(fields);
        let condition = fields.object("condition", condition);
        Some(AlertRule {
            name: fields.text("name", &Text::line(200)).unwrap_or_default(),
            is_active: fields.flag("isActive").unwrap_or(true),
            channels: fields.objects("channels", 20, channel).unwrap_or_default(),
            condition: condition?,
            head: head?,
        })
    }

    fn form(&self) -> impl Serialize + '_ {
        Form {
            head: &self.head,
            name: &self.name,
            is_active: self.is_active,
            condition: ConditionForm {
                trouble: word(TROUBLES, &self.condition.trouble),
                threshold: self.condition.threshold.and_then(shortest),
                window_seconds: self.condition.window,
                integration_id: self.condition.integration.as_ref(),
            },
            channels: self.channels.iter().map(ChannelForm::of).collect(),
        }
    }

    headed!();

    fn title(&self) -> &str {
        &self.name
    }

    fn active(&self) -> Option<bool> {
        Some(self.is_active)
    }

    fn set_active(&mut self, active: bool) {
        self.is_active = active;
    }

    fn references(&self) -> Vec<Reference> {
        let watched = self.condition.integration.iter();
        let watched = watched.map(|one| Reference { path: "condition.integrationId", to: one.into() });
        [Reference { path: "orgId", to: (&self.head.org_id).into() }].into_iter().chain(watched).collect()
    }
}

fn condition(fields: &mut Fields) -> Option<Condition> {
    fields.require("type");
    let trouble = fields.choice("type", TROUBLES);
    let threshold = fields.decimal("threshold", 0.0..=1e12);
    let window = fields.number("windowSeconds", 10..=86_400).unwrap_or(300);
    let integration = fields.id("integrationId", IntegrationId::parse);
    Some(Condition { trouble: trouble?, threshold, window, integration })
}

fn channel(fields: &mut Fields) -> Option<Channel> {
    fields.require("type");
    fields.cases("type", &CASES);
    let way = fields.choice("type", WAYS);
    let to =
        fields.list("to", (50, || Text::line(254).schema()), |to| Text::line(254).check(to).map(|()| to.to_owned()));
    fields.refine("to", || json!({"minItems": 1}));
    if to.as_ref().is_some_and(Vec::is_empty) {
        fields.wrong("to", "must have an address");
    }
    let (name, url, secret) = (fields.text("name", &Text::line(200)), fields.url("url"), fields.secret("secret"));
    let target = match way? {
        Way::Email => Target::Email { to: to? },
        Way::Webhook => Target::Webhook { url: url?.into(), secret },
        Way::Slack => Target::Slack { url: secret? },
    };
    Some(Channel { name, target })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    #[serde(flatten)]
    head: &'a Head,
    name: &'a str,
    is_active: bool,
    condition: ConditionForm<'a>,
    channels: Vec<ChannelForm<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConditionForm<'a> {
    #[serde(rename = "type")]
    trouble: &'static str,
    threshold: Option<serde_json::Number>,
    window_seconds: u64,
    integration_id: Option<&'a IntegrationId>,
}

#[derive(Serialize)]
struct ChannelForm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(rename = "type")]
    way: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a Secret>,
}

impl ChannelForm<'_> {
    fn of(channel: &Channel) -> ChannelForm<'_> {
        let (way, to, url, secret) = match &channel.target {
            Target::Email { to } => (Way::Email, Some(&to[..]), None, None),
            Target::Webhook { url, secret } => (Way::Webhook, None, Some(url.as_str()), secret.as_ref()),
            Target::Slack { url } => (Way::Slack, None, None, Some(url)),
        };
        ChannelForm { name: channel.name.as_deref(), way: word(WAYS, &way), to, url, secret }
    }
}
