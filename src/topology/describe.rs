//! The topology drawn for people: boxes and a table for a terminal, Mermaid for documents.

use std::fmt::Write as _;
use std::path::Path;

use super::{Cleanup, Declared, DeclaredTopic, End, Stage};
use crate::model::duration::DurationText;
use crate::model::topic::Topic;

/// Where topics and groups are, which decides what they are called.
#[derive(Clone, Copy, Debug)]
pub enum Site<'a> {
    /// On Kafka, under names that begin with a prefix.
    Kafka { prefix: &'a str },
    /// In one file, under their own names.
    Embedded { file: &'a Path },
}

impl Site<'_> {
    fn topic(self, topic: Topic) -> String {
        match self {
            Site::Kafka { prefix } => topic.full_name(prefix),
            Site::Embedded { .. } => topic.name().to_owned(),
        }
    }

    fn group(self, group: &str) -> String {
        match self {
            Site::Kafka { prefix } => format!("{prefix}.{group}"),
            Site::Embedded { .. } => group.to_owned(),
        }
    }

    fn heading(self) -> String {
        match self {
            Site::Kafka { prefix } => format!("The flow (topics without their prefix `{prefix}.`)"),
            Site::Embedded { file } => {
                format!("The flow, on the embedded engine: one process, its topics in {}", file.display())
            }
        }
    }
}

/// The flow, stage by stage, then the topics as a table. At most 120 columns, without colours.
pub fn text(declared: &Declared, site: Site<'_>) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(format!("  {}", site.heading()));
    line(String::new());
    let drawn: Vec<Drawn> = declared.stages.iter().map(|stage| Drawn::new(stage, site)).collect();
    let left = drawn.iter().flat_map(|d| &d.left).map(|(name, _)| width(name)).max().unwrap_or(0);
    let inside = drawn.iter().flat_map(|d| &d.inside).map(|text| width(text)).max().unwrap_or(0);
    for stage in &drawn {
        stage.rows(left, inside).into_iter().for_each(&mut line);
    }
    line(String::new());
    line("  ──▶ records    ┄┄▶ a table: read whole, then followed".to_string());
    line(String::new());
    let names = declared.topics().iter().map(|topic| width(&site.topic(topic.topic))).max().unwrap_or(0);
    line(format!(
        "  {:<names$} {:>10}  {:<8} {:<6} {:<8} {}",
        "TOPIC", "PARTITIONS", "CLEANUP", "KEPT", "MESSAGE", "WHAT IT HOLDS"
    ));
    for topic in declared.topics() {
        line(row(topic, site, names));
    }
    out
}

fn row(topic: &DeclaredTopic, site: Site<'_>, names: usize) -> String {
    let kept = match topic.cleanup {
        Cleanup::Delete { retention, .. } => DurationText(retention).to_string(),
        Cleanup::Compact { .. } => "last".to_string(),
    };
    let size = match topic.max_message_bytes {
        bytes if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes >> 10),
    };
    let name = site.topic(topic.topic);
    format!(
        "  {name:<names$} {:>10}  {:<8} {kept:<6} {size:<8} {}",
        topic.partitions,
        topic.cleanup.policy(),
        topic.about
    )
}

/// A stage as columns: what comes in, what stands in the box, what goes out.
struct Drawn {
    left: Vec<(String, &'static str)>,
    inside: Vec<String>,
    right: Vec<String>,
}

impl Drawn {
    fn new(stage: &Stage, site: Site<'_>) -> Drawn {
        let records = stage.from.iter().map(|end| match end {
            End::Topic(topic) => (topic.name().to_string(), "──▶"),
            End::Outside(name) => (name.clone(), "──▶"),
        });
        let tables = stage.tables.iter().map(|topic| (topic.name().to_string(), "┄┄▶"));
        let mut inside = vec![stage.name.clone()];
        inside.extend((stage.role != stage.name).then(|| format!("role {}", stage.role)));
        inside.extend(stage.group.as_ref().map(|group| format!("group {}", site.group(group))));
        let right = stage.to.iter().cloned().chain(stage.writes.iter().map(|topic| topic.name().to_string())).collect();
        Drawn { left: records.chain(tables).collect(), inside, right }
    }

    fn rows(&self, left: usize, inside: usize) -> Vec<String> {
        let height = self.left.len().max(self.inside.len()).max(self.right.len());
        let margin = " ".repeat(left + 7);
        let edge = "─".repeat(inside + 2);
        let mut rows = vec![format!("{margin}┌{edge}┐")];
        for at in 0..height {
            let (name, arrow) = self.left.get(at).map_or(("", "   "), |(name, arrow)| (name.as_str(), *arrow));
            let text = self.inside.get(at).map_or("", String::as_str);
            let target = self.right.get(at).map_or(String::new(), |name| format!(" ──▶ {name}"));
            rows.push(format!("  {name:>left$} {arrow} │ {text:<inside$} │{target}"));
        }
        rows.push(format!("{margin}└{edge}┘"));
        rows
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A flowchart in Mermaid's language.
pub fn mermaid(declared: &Declared, site: Site<'_>) -> String {
    let mut out = String::from("flowchart LR\n");
    // Writing to a String cannot fail.
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "  {text}");
    };
    for topic in declared.topics() {
        let used = |stage: &Stage| {
            stage.from.contains(&End::Topic(topic.topic))
                || stage.tables.contains(&topic.topic)
                || stage.writes.contains(&topic.topic)
        };
        if declared.stages.iter().any(used) {
            line(format_args!("{}[({})]", topic.topic, site.topic(topic.topic)));
        }
    }
    for stage in &declared.stages {
        // A stage and a topic may share a name; nodes may not.
        let node = format!("stage-{}", stage.name);
        line(format_args!("{node}[{}]", stage.name));
        for end in &stage.from {
            match end {
                End::Topic(topic) => line(format_args!("{topic} --> {node}")),
                End::Outside(name) => line(format_args!("in-{name}([{name}]) --> {node}")),
            }
        }
        for topic in &stage.tables {
            line(format_args!("{topic} -.-> {node}"));
        }
        for topic in &stage.writes {
            line(format_args!("{node} --> {topic}"));
        }
        for name in &stage.to {
            line(format_args!("{node} --> out-{name}([{name}])"));
        }
    }
    out
}
