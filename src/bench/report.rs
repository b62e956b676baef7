//! What was measured: a table for people, JSON for comparison.

use std::fmt::{self, Write as _};

use hdrhistogram::Histogram;
use serde::Serialize;

/// The result of one run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub version: &'static str,
    /// RFC 3339.
    pub at: String,
    pub brokers: String,
    pub cpus: usize,
    pub seconds: f64,
    pub rows: Vec<Row>,
    pub latencies: Vec<Latency>,
    pub notes: Vec<String>,
}

/// One measure. A row without a target is there for comparison.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub measure: String,
    pub unit: Unit,
    pub gateway: Option<f64>,
    pub bare: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    pub met: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    #[default]
    PerSecond,
    Milliseconds,
    MiB,
    Microseconds,
}

/// What the gateway should reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// A share of the bare pipeline, and `floor` where that reaches `where_bare`.
    ShareOfBare {
        share: f64,
        floor: f64,
        where_bare: f64,
    },
}

impl Target {
    /// `None` where what it is compared with was not measured.
    pub fn met(self, gateway: f64, bare: Option<f64>) -> Option<bool> {
        match self {
            Target::AtLeast(least) => Some(gateway >= least),
            Target::AtMost(most) => Some(gateway <= most),
            Target::ShareOfBare { share, floor, where_bare } => {
                bare.map(|bare| gateway >= share * bare && (bare < where_bare || gateway >= floor))
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::AtLeast(least) => write!(f, ">= {}", thousands(*least)),
            Target::AtMost(most) => write!(f, "<= {}", thousands(*most)),
            Target::ShareOfBare { share, .. } => write!(f, ">= {:.0} % of bare", share * 100.0),
        }
    }
}

impl Row {
    pub fn new(measure: impl Into<String>, unit: Unit) -> Row {
        Row { measure: measure.into(), unit, ..Row::default() }
    }

    pub fn gateway(mut self, value: Option<f64>) -> Row {
        self.gateway = value;
        self.judge()
    }

    pub fn bare(mut self, value: Option<f64>) -> Row {
        self.bare = value;
        self.judge()
    }

    pub fn target(mut self, target: Target) -> Row {
        self.target = Some(target);
        self.judge()
    }

    fn judge(mut self) -> Row {
        self.met = self.target.zip(self.gateway).and_then(|(target, value)| target.met(value, self.bare));
        self
    }

    fn ratio(&self) -> Option<f64> {
        let (gateway, bare) = (self.gateway?, self.bare.filter(|bare| *bare > 0.0)?);
        Some(gateway / bare)
    }
}

/// How late deliveries were at one rate.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub name: String,
    pub samples: u64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    /// Counts in spans of a factor of the square root of two; the first ends at 1.4 ms, the last has no end.
    pub spread: Vec<u64>,
}

impl Latency {
    /// From microseconds.
    pub fn of(name: impl Into<String>, histogram: &Histogram<u64>) -> Latency {
        let at = |q: f64| histogram.value_at_quantile(q) as f64 / 1_000.0;
        let edge = |n: i32| (1_000.0 * 2f64.powf(f64::from(n) / 2.0)) as u64;
        let edges: Vec<u64> = std::iter::once(0).chain((1..SPANS).map(edge)).chain([u64::MAX]).collect();
        let spread = edges.windows(2).map(|pair| histogram.count_between(pair[0], pair[1].saturating_sub(1))).collect();
        Latency {
            name: name.into(),
            samples: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1_000.0,
            spread,
        }
    }

    fn line(&self) -> String {
        const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.spread.iter().copied().max().unwrap_or(0).max(1) as f64;
        // By the square root, so that a thin tail still shows.
        let level = |n: u64| if n == 0 { 0 } else { 1 + (7.0 * (n as f64 / most).sqrt()).round() as usize };
        self.spread.iter().map(|n| BARS[level(*n).min(8)]).collect()
    }
}

/// Spans of the histogram: the last begins at 1 ms x 2^(20/2), a second, and has no end.
const SPANS: i32 = 21;

/// Above the histograms: every fourth span is four times the one before.
const SCALE: &str = "1ms 4   16  64  256 1s";

/// `12345.6` as `12,346`, small numbers with a digit more.
pub fn thousands(value: f64) -> String {
    if value.abs() < 100.0 {
        let text = format!("{value:.1}");
        return text.strip_suffix(".0").map(str::to_owned).unwrap_or(text);
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn shown(value: Option<f64>, unit: Unit) -> String {
    value.map_or("-".to_owned(), |v| match unit {
        Unit::PerSecond => format!("{} /s", thousands(v)),
        Unit::Milliseconds => format!("{v:.1} ms"),
        Unit::MiB => format!("{v:.0} MiB"),
        Unit::Microseconds => format!("{v:.0} us"),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table();
        let widths: Vec<usize> =
            (0..6).map(|c| table.iter().map(|row| row[c].chars().count()).max().unwrap_or(0)).collect();
        let rule = |l: &str, m: &str, r: &str| {
            let spans: Vec<String> = widths.iter().map(|w| "─".repeat(w + 2)).collect();
            format!("{l}{}{r}", spans.join(m))
        };
        writeln!(
            f,
            "{}Tidegate {} on {} CPUs with Kafka at {}, in {:.0} s, {}",
            if cfg!(debug_assertions) { "Not a release build, so the figures mean little: make bench. " } else { "" },
            self.version,
            self.cpus,
            self.brokers,
            self.seconds,
            self.at
        )?;
        writeln!(f, "{}", rule("╭", "┬", "╮"))?;
        for (n, row) in table.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(c, (text, width))| match c {
                0 | 4 | 5 => format!(" {text:<width$} "),
                _ => format!(" {text:>width$} "),
            });
            writeln!(f, "│{}│", cells.collect::<Vec<_>>().join("│"))?;
            if n == 0 {
                writeln!(f, "{}", rule("├", "┼", "┤"))?;
            }
        }
        writeln!(f, "{}", rule("╰", "┴", "╯"))?;
        f.write_str(&self.curves())?;
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

impl Report {
    fn table(&self) -> Vec<[String; 6]> {
        let head = ["measure", "gateway", "bare", "ratio", "target", "met"].map(str::to_owned);
        let row = |row: &Row| {
            [
                row.measure.clone(),
                shown(row.gateway, row.unit),
                shown(row.bare, row.unit),
                row.ratio().map_or(String::new(), |r| format!("{r:.2}")),
                row.target.filter(|_| row.gateway.is_some()).map_or(String::new(), |t| t.to_string()),
                row.met.map_or("", |met| if met { "yes" } else { "NO" }).to_owned(),
            ]
        };
        std::iter::once(head).chain(self.rows.iter().map(row)).collect()
    }

    fn curves(&self) -> String {
        let mut text = String::new();
        let width = self.latencies.iter().map(|l| l.name.chars().count()).max().unwrap_or(0);
        // Writing to a `String` cannot fail.
        if width > 0 {
            let _ = writeln!(text, "  event to answered delivery\n  {:width$}   {SCALE}", "");
        }
        for l in &self.latencies {
            let _ = writeln!(
                text,
                "  {:<width$}  ▕{}▏ p50 {:.1}  p90 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1} ms  (n {})",
                l.name,
                l.line(),
                l.p50_ms,
                l.p90_ms,
                l.p99_ms,
                l.p999_ms,
                l.max_ms,
                l.samples
            );
        }
        text
    }
}

/// The middle one of the values; the mean of the middle two where their number is even.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => values.get(middle).copied(),
        _ => Some((values.get(middle - 1)? + values.get(middle)?) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_only_by_what_was_measured() {
        let share = Target::ShareOfBare { share: 0.7, floor: 20_000.0, where_bare: 29_000.0 };
        let cases = [
            (Target::AtLeast(8_000.0), 8_000.0, None, Some(true)),
            (Target::AtLeast(8_000.0), 7_999.0, None, Some(false)),
            (Target::AtMost(12.0), 12.5, None, Some(false)),
            (share, 14_000.0, Some(20_000.0), Some(true)),
            (share, 13_999.0, Some(20_000.0), Some(false)),
            (share, 20_000.0, Some(28_500.0), Some(true)),
            (share, 19_949.0, Some(28_500.0), Some(false)),
            (share, 20_300.0, Some(29_000.0), Some(true)),
            (share, 20_500.0, Some(30_000.0), Some(false)),
            (share, 99_999.0, None, None),
        ];
        for (target, gateway, bare, met) in cases {
            assert_eq!(target.met(gateway, bare), met, "{target} with {gateway} and {bare:?}");
        }
    }

    #[test]
    fn numbers_read_well() {
        let cases =
            [(0.0, "0"), (9.25, "9.2"), (60.0, "60"), (999.6, "1,000"), (1_234_567.0, "1,234,567"), (100.0, "100")];
        for (value, text) in cases {
            assert_eq!(thousands(value), text);
        }
    }

    #[test]
    fn a_single_bad_run_does_not_move_the_median_far() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }
}
