//! `tidegate tail`.

mod facts;
mod read;
mod show;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::columns::Look;
use super::exit::Exit;
use super::moment::{FORMS, Moment};
use super::serve::{exit, until_ended};
use super::{Common, Here};
use crate::app::view::View;
use crate::config::Config;
use crate::model::pattern::EventPattern;
use crate::model::record::Received;
use crate::model::time::{Clock as _, SystemClock, Timestamp};
use crate::model::topic::Topic;
use crate::stream::log::LogError;
use facts::{Facts, Filter};
use read::{Begin, Ended, Tail, Watcher};
use show::{Format, Style};

/// Shown where nothing says from where on.
const LAST: u16 = 10;
/// For the goodbye to Kafka.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Show what happens: events, deliveries, attempts, dead letters, what was rejected and what waits
#[derive(Args, Debug)]
#[command(
    long_about = "Show what happens: events, deliveries, attempts, dead letters, what was rejected and what waits. First the last \
    ten records, then what comes, until ctrl-C.\n\n\
    On Kafka the topics are read, without a group: nobody is disturbed. On the embedded engine the file in the data folder is \
    read while the gateway writes it.",
    after_help = "Examples:\n  \
    tidegate tail attempts\n  \
    tidegate tail events --type 'patient.*' --org 648 --from 10m\n  \
    tidegate tail attempts --status 503 -n 50 --no-follow\n  \
    tidegate tail dlq --from beginning --no-follow -o json | jq .headers.tg_error"
)]
pub(super) struct Command {
    /// What to show
    #[arg(value_enum, value_name = "WHAT")]
    topic: What,
    /// Only of this event type, or of this pattern: `patient.*`
    #[arg(short = 't', long = "type", value_name = "PATTERN", value_parser = EventPattern::parse)]
    event_type: Option<EventPattern>,
    /// Only of this organization
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    /// Only to this integration
    #[arg(short, long, value_name = "ID")]
    integration: Option<String>,
    /// Only with this outcome, status or reason, or with this number of an HTTP answer: `retry`, `dead`, `503`
    #[arg(short, long, value_name = "STATUS")]
    status: Option<String>,
    /// Where to begin: `beginning`, `end`, a time in RFC 3339, a day, or so long ago: `10m`
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true, value_parser = when, conflicts_with = "count")]
    from: Option<When>,
    /// Begin with so many of the last records [default: 10]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    count: Option<u16>,
    /// End where nothing more is there
    #[arg(long)]
    no_follow: bool,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// What was accepted
    Events,
    /// What is owed to integrations
    Deliveries,
    /// Every attempt to deliver, and every event that nobody hears
    Attempts,
    /// Dead letters
    Dlq,
    /// What could not be understood
    Rejected,
    /// What waits, and when it goes on
    Retry,
}

impl What {
    const fn topic(self) -> Topic {
        match self {
            What::Events => Topic::Events,
            What::Deliveries => Topic::Deliveries,
            What::Attempts => Topic::Attempts,
            What::Dlq => Topic::Dlq,
            What::Rejected => Topic::Rejected,
            What::Retry => Topic::Retry,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Beginning,
    End,
    At(Moment),
}

fn when(text: &str) -> Result<When, String> {
    match text {
        "beginning" => return Ok(When::Beginning),
        "end" => return Ok(When::End),
        _ => {}
    }
    Moment::find(text).map(When::At).ok_or_else(|| format!("must be `beginning`, `end`, {FORMS}"))
}

pub(super) fn run(common: &Common, command: Command) -> Result<(), Exit> {
    let Here { config, guessed } = common.here()?;
    if guessed {
        let folder = config.data_dir.display();
        eprintln!("tidegate: reading the embedded log in {folder}; --kafka host:port reads a Kafka");
    }
    let topic = command.topic.topic();
    let begin = command.begin(SystemClock.now());
    // Nothing is cut: what is longer may be what somebody wants to copy.
    let style = Style { format: command.output, look: Look { width: None, ..Look::of_stdout() } };
    let filter = Filter {
        event_type: command.event_type,
        org: command.org,
        integration: command.integration,
        status: command.status,
    };
    if let Some((flag, topics)) = filter.misplaced(topic) {
        return Err(Exit::Usage(format!("{flag} does not go with {topic}, which does not say it; it is for {topics}")));
    }
    let mut screen =
        Screen { out: BufWriter::new(io::stdout()), topic, filter, style, any: false, failed: None, away: false };
    until_ended(async {
        let ended = tail(&config, topic, (begin, !command.no_follow), &mut screen).await;
        let shown = screen.ended();
        ended.and(shown)?;
        if !screen.any && command.output != Format::Json {
            eprintln!("nothing like that is in {topic}");
        }
        Ok(())
    })
}

/// Goes on with the next log where one is started over (`tidegate dev --fresh`).
async fn tail(
    config: &Config,
    topic: Topic,
    (mut begin, follow): (Begin, bool),
    watcher: &mut impl Watcher,
) -> Result<(), Exit> {
    loop {
        let view = View::open(config).await.map_err(exit)?;
        let ended = Tail { view: &view, topic }.run(begin, follow, watcher).await;
        view.close(CLOSE_WITHIN).await;
        match ended {
            Ok(Ended::Enough) => return Ok(()),
            Ok(Ended::Replaced) => {
                watcher.replaced();
                begin = Begin::Beginning;
            }
            Err(LogError::Unavailable(why)) => return Err(Exit::Unreachable(why)),
            Err(other) => return Err(Exit::failed(other)),
        }
    }
}

impl Command {
    fn begin(&self, now: Timestamp) -> Begin {
        match self.from {
            None => Begin::Last(usize::from(self.count.unwrap_or(LAST))),
            Some(When::Beginning) => Begin::Beginning,
            Some(When::End) => Begin::End,
            Some(When::At(moment)) => Begin::Since(moment.start(now)),
        }
    }
}

/// Standard output, or what a test takes for it.
struct Screen<W> {
    out: W,
    topic: Topic,
    filter: Filter,
    style: Style,
    /// Something was shown.
    any: bool,
    failed: Option<io::Error>,
    away: bool,
}

impl<W: Write> Screen<W> {
    fn did(&mut self, written: io::Result<()>) -> bool {
        let went = written.is_ok();
        self.failed = written.err().or(self.failed.take());
        went
    }

    /// A pipe that was closed (`| head`) has what it wanted.
    fn ended(&mut self) -> Result<(), Exit> {
        let flushed = if self.failed.is_none() { self.out.flush() } else { Ok(()) };
        match self.failed.take().or(flushed.err()) {
            Some(e) if e.kind() != ErrorKind::BrokenPipe => Err(Exit::Failed(format!("standard output: {e}"))),
            _ => Ok(()),
        }
    }
}

impl<W: Write> Watcher for Screen<W> {
    fn wants(&self, received: &Received) -> bool {
        self.filter.wants(&Facts::of(self.topic, received))
    }

    fn show(&mut self, received: &Received) -> bool {
        let heading = if self.any { String::new() } else { self.style.heading(self.topic) };
        self.any = true;
        let line = self.style.line(self.topic, received, &Facts::of(self.topic, received));
        let written = self.out.write_all((heading + &line).as_bytes());
        self.did(written)
    }

    fn pause(&mut self) -> bool {
        self.away = false;
        let flushed = self.out.flush();
        self.did(flushed)
    }

    fn away(&mut self, error: &LogError) {
        if !std::mem::replace(&mut self.away, true) {
            eprintln!("tidegate: {error}; trying again");
        }
    }

    fn replaced(&mut self) {
        eprintln!("tidegate: the log was started over; what follows is in the new one");
    }
}
