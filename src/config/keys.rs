//! Names of settings: which environment variable sets which key, and what to say about a name that is none.

use figment::error::Kind;
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use crate::model::suggest::nearest;

/// Every key that one variable can set.
const KEYS: &[&str] = &[
    "engine",
    "listen",
    "instance",
    "admin_key",
    "admin_email",
    "admin_password",
    "secret_key",
    "secret_key_previous",
    "data_dir",
    "kafka.brokers",
    "kafka.topic_prefix",
    "egress.allow",
    "history.url",
    "history.events",
    "history.deliveries",
    "history.attempts",
    "history.bodies",
    "history.audit",
    "http.trusted_proxies",
    "http.cors_origins",
    "http.swagger_ui",
    "limits.address_per_minute",
    "limits.org_per_minute",
    "limits.publish_per_second",
    "log.filter",
    "log.format",
    "topology.file",
    "topology.profile",
];

/// Names that scripts rely on, the stronger of two later.
const ALIASES: &[(&str, &str)] = &[
    ("KAFKA_BOOTSTRAP_SERVERS", "kafka.brokers"),
    ("KAFKA_BROKERS", "kafka.brokers"),
    ("KAFKA_TOPIC_PREFIX", "kafka.topic_prefix"),
    ("DATABASE_URL", "history.url"),
    ("TIDEGATE_LOG", "log.filter"),
    ("TIDEGATE_LOG_FORMAT", "log.format"),
    ("TIDEGATE_EGRESS_ALLOW", "egress.allow"),
    ("TIDEGATE_TRUSTED_PROXIES", "http.trusted_proxies"),
    ("TIDEGATE_CORS_ORIGINS", "http.cors_origins"),
    ("TIDEGATE_SWAGGER_UI", "http.swagger_ui"),
    ("TIDEGATE_ADMIN_KEY", "admin_key"),
    ("TIDEGATE_SECRET_KEY", "secret_key"),
    ("TIDEGATE_SECRET_KEY_PREVIOUS", "secret_key_previous"),
    ("TIDEGATE_DATA_DIR", "data_dir"),
];

/// Variables of ours that set nothing here: the command line's own.
const OTHERS: &[&str] = &["TIDEGATE_API"];

/// What names a value's place where that is the command line.
pub(super) const FLAG: &str = "the command line";

/// Keys that have a flag, and what people type for them.
const FLAGS: &[(&str, &str)] = &[
    ("listen", "--listen"),
    ("engine", "--kafka"),
    ("kafka.brokers", "--kafka"),
    ("kafka.topic_prefix", "--prefix"),
    ("topology.file", "--topology"),
    ("topology.profile", "--profile"),
];

pub(super) fn flag_of(key: &str) -> Option<&'static str> {
    FLAGS.iter().find(|(name, _)| *name == key).map(|(_, flag)| *flag)
}

const PROPERTY: &str = "TIDEGATE_KAFKA__PROPERTIES__";

/// Settings found in the environment: (variable, key, value), in rising strength.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub values: Vec<(String, String, String)>,
    pub warnings: Vec<String>,
    pub contradiction: Option<String>,
}

pub(super) fn read(environment: impl Iterator<Item = (String, String)>) -> Environment {
    let all: std::collections::BTreeMap<String, String> = environment.collect();
    let mut found = Environment::default();
    for (name, value) in &all {
        if let Some(property) = name.strip_prefix(PROPERTY) {
            let key = format!("kafka.properties.{}", property.to_lowercase().replace('_', "."));
            found.values.push((name.clone(), key, value.clone()));
        } else if let Some(rest) = name.strip_prefix("TIDEGATE_") {
            let key = rest.to_lowercase().replace("__", ".");
            let by_rule = KEYS.contains(&key.as_str());
            let by_name = ALIASES.iter().any(|(alias, _)| alias == name)
                || OTHERS.contains(&name.as_str())
                || name.starts_with("TIDEGATE_TEST_");
            match (by_rule, by_name) {
                (true, false) => found.values.push((name.clone(), key, value.clone())),
                (false, false) => found.warnings.push(format!("{name} is not a setting and is ignored{}", hint(&key))),
                _ => {}
            }
        }
    }
    for (alias, key) in ALIASES {
        if let Some(value) = all.get(*alias) {
            found.values.push(((*alias).into(), (*key).into(), value.clone()));
        }
    }
    match enabled(&all) {
        Ok(Some(engine)) => found.values.push(("KAFKA_ENABLED".into(), "engine".into(), engine.into())),
        Ok(None) => {}
        Err(contradiction) => found.contradiction = Some(contradiction),
    }
    found
}

/// The engine that `KAFKA_ENABLED` means, which `TIDEGATE_ENGINE` must not contradict.
fn enabled(all: &std::collections::BTreeMap<String, String>) -> Result<Option<&'static str>, String> {
    let Some(enabled) = all.get("KAFKA_ENABLED") else { return Ok(None) };
    let engine = match enabled.to_lowercase().as_str() {
        "true" | "1" | "yes" => "kafka",
        "false" | "0" | "no" => "embedded",
        other => return Err(format!("KAFKA_ENABLED `{other}`: must be true or false")),
    };
    match all.get("TIDEGATE_ENGINE") {
        Some(named) if named != engine => {
            Err(format!("KAFKA_ENABLED is {enabled} but TIDEGATE_ENGINE is `{named}`: remove one of them"))
        }
        _ => Ok(Some(engine)),
    }
}

fn hint(key: &str) -> String {
    let near = nearest(key, KEYS.iter().copied());
    let named = near.map(|near| format!("; did you mean TIDEGATE_{}?", near.to_uppercase().replace('.', "__")));
    named.unwrap_or_default()
}

/// One value from one place, named in errors.
pub(super) struct Single {
    pub origin: String,
    pub path: String,
    pub value: String,
}

impl Provider for Single {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        let leaf = match self.path.as_str() {
            "egress.allow" | "http.trusted_proxies" | "http.cors_origins" => Value::from(
                self.value.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect::<Vec<_>>(),
            ),
            // Only here is a text of digits a number: elsewhere it may be a password.
            path if path.starts_with("limits.") => {
                self.value.trim().parse::<u32>().map_or_else(|_| Value::from(self.value.clone()), Value::from)
            }
            "http.swagger_ui" => {
                self.value.trim().parse::<bool>().map_or_else(|_| Value::from(self.value.clone()), Value::from)
            }
            _ => Value::from(self.value.clone()),
        };
        let (mut path, mut dict) = (self.path.as_str(), leaf);
        // A librdkafka property's own name has dots; it is one key.
        if let Some(property) = path.strip_prefix("kafka.properties.") {
            dict = Value::from(Dict::from([(property.to_owned(), dict)]));
            path = "kafka.properties";
        }
        for key in path.rsplit('.') {
            dict = Value::from(Dict::from([(key.to_owned(), dict)]));
        }
        Ok(Profile::Default.collect(dict.into_dict().unwrap_or_default()))
    }
}

/// figment's error as a sentence: where, what, and what was probably meant.
pub(super) fn explain(error: figment::Error) -> String {
    let lines = error.into_iter().map(|e| {
        let place = match (&e.metadata, e.path.join(".")) {
            (Some(m), path) if m.name == FLAG => flag_of(&path).map_or(path, str::to_owned),
            (Some(m), path) => {
                let source = m.source.as_ref().map_or_else(|| m.name.to_string(), |s| s.to_string());
                if path.is_empty() { source } else { format!("{source}: `{path}`") }
            }
            (None, path) => format!("`{path}`"),
        };
        match &e.kind {
            // figment would show the value.
            Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) if is_secret(&e.path) => {
                format!("{place}: must be {expected}")
            }
            Kind::UnknownField(field, expected) => {
                let hint = match nearest(field, expected.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known keys: {}", expected.join(", ")),
                };
                format!("{place}: unknown key `{field}`; {hint}")
            }
            kind => format!("{place}: {kind}"),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_secret(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        path[..],
        ["admin_key" | "admin_password" | "secret_key" | "secret_key_previous"]
            | ["history", "url"]
            | ["kafka", "properties", ..]
    )
}
