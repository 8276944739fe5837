//! Lines for people: events told by the core's narrator, sorted by what they mean, and handed to
//! whoever paints standard error.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::pipeline::Folds;
use super::plain::Plain;
use super::pump::{Message, Out, Painter, Plainly, Pump, Weight};
use super::terminal::Terminal;
use super::{Colour, FAREWELL, Finished, Loudness, Report, Screen, Shown, Streams};
use crate::core::names::Millis;
use crate::core::narrate::{Line, Narrator, Tone};
use crate::core::progress::{Progress, Sink};
use crate::core::words::{clean, known, micros, millis};
use crate::error::Error;

/// How long data waits for the bars to be gone.
const BARS_GONE: Duration = Duration::from_millis(200);

/// What standard error's painter is told.
pub(super) enum Told {
    /// Lines of an event, and what is under way after it.
    Lines {
        lines: Vec<Line>,
        doing: Option<String>,
    },
    /// Lines beside what is under way.
    Notes(Vec<Line>),
    /// A step of what is under way.
    Progress(Progress),
    /// Text as it is, its line ends included.
    Text(String),
    /// Why nothing more comes, and what mends it.
    Error {
        message: String,
        hint: Option<String>,
    },
}

/// With the time since the beginning, in milliseconds.
pub(super) struct Stamped {
    pub(super) at: Millis,
    pub(super) told: Told,
    weight: Weight,
}

impl Message for Stamped {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn size(&self) -> usize {
        64 + match &self.told {
            Told::Lines { lines, .. } | Told::Notes(lines) => {
                lines.iter().map(|line| 32 + line.text.len()).sum()
            }
            Told::Progress(_) => 64,
            Told::Text(text) => text.len(),
            Told::Error { message, .. } => message.len(),
        }
    }

    fn missed(number: u64) -> Self {
        Self {
            at: 0,
            told: Told::Text(format!(
                "({number} lines were left out: nobody read them in time)\n"
            )),
            weight: Weight::Last,
        }
    }
}

struct Text(String);

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Message for Text {
    fn weight(&self) -> Weight {
        Weight::Last
    }

    fn size(&self) -> usize {
        self.0.len()
    }

    fn missed(number: u64) -> Self {
        Self(format!(
            "({number} pieces were left out: nobody read them in time)\n"
        ))
    }
}

pub(super) struct Human {
    loudness: Loudness,
    narrators: Mutex<BTreeMap<(String, u64), Narrator>>,
    stderr: Pump<Stamped>,
    stdout: Pump<Text>,
    clock: std::sync::Arc<dyn Fn() -> Millis + Send + Sync>,
}

impl Human {
    pub(super) fn new(loudness: Loudness, streams: Streams) -> Self {
        let style = Style(streams.colour);
        let stderr = Out::new(streams.stderr);
        let clock = streams.clock.clone();
        let stderr = match streams.screen {
            Screen::None => {
                let folds = Folds::new(streams.pipeline);
                start(Plain::new(stderr, style, loudness, clock, folds))
            }
            Screen::Terminal(width) => start(Terminal::new(stderr, style, width, clock)),
        };
        Self {
            loudness,
            narrators: Mutex::default(),
            stderr,
            stdout: Pump::start(Plainly(Out::new(streams.stdout))),
            clock: streams.clock,
        }
    }

    fn push(&self, weight: Weight, told: Told) {
        let at = (self.clock)();
        self.stderr.push(Stamped { at, told, weight });
    }

    fn text(&self, text: &str) {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.push(Weight::Fact, Told::Text(format!("{text}{end}")));
    }

    /// The event's lines, those not wanted included, and what is under way after it.
    fn narrate(&self, shown: &Shown<'_>) -> (Vec<Line>, Option<String>) {
        let mut narrators = self
            .narrators
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = (shown.service.to_string(), shown.run);
        let narrator = narrators
            .entry(key)
            .or_insert_with(|| Narrator::new(shown.service.as_str()));
        (narrator.take(shown.at, shown.event), narrator.doing())
    }
}

fn start(painter: impl Painter<Stamped>) -> Pump<Stamped> {
    Pump::start(painter)
}

/// The lines that are wanted; a detail is wanted where the line above it is.
fn wanted(loudness: Loudness, lines: Vec<Line>) -> Vec<Line> {
    let mut above = Tone::Step;
    let wanted = lines.into_iter().filter(|line| {
        if line.tone != Tone::Detail {
            above = line.tone;
        }
        match above {
            Tone::Warn | Tone::Bad => true,
            Tone::Step | Tone::Good | Tone::Detail => loudness != Loudness::Quiet,
            Tone::Aside => loudness == Loudness::Verbose,
        }
    });
    wanted.collect()
}

impl Sink for Human {
    fn progress(&self, step: Progress) {
        if self.loudness != Loudness::Quiet {
            self.push(Weight::Progress, Told::Progress(step));
        }
    }
}

impl Report for Human {
    fn event(&self, shown: &Shown<'_>) {
        let (lines, doing) = self.narrate(shown);
        let lines = wanted(self.loudness, lines);
        let doing = doing.filter(|_| self.loudness != Loudness::Quiet);
        self.push(Weight::Fact, Told::Lines { lines, doing });
    }

    fn recall(&self, shown: &Shown<'_>) {
        self.narrate(shown);
    }

    fn warn(&self, text: &str) {
        let mut lines = text.lines().map(clean);
        let mut told = vec![Line {
            tone: Tone::Warn,
            text: lines.next().unwrap_or_default(),
        }];
        told.extend(lines.map(|text| Line {
            tone: Tone::Detail,
            text,
        }));
        self.push(Weight::Fact, Told::Notes(told));
    }

    fn say(&self, text: &str) {
        if self.loudness != Loudness::Quiet {
            self.text(text);
        }
    }

    fn record(&self, line: &str) {
        self.push(Weight::Last, Told::Text(format!("{line}\n")));
    }

    fn ask(&self, question: &str) {
        self.push(Weight::Last, Told::Text(question.to_owned()));
        self.stderr.flush(Instant::now() + FAREWELL);
    }

    fn data(&self, _: &serde_json::Value, human: &str) -> bool {
        // Both streams may end in one terminal: first what has been said, then the data.
        self.push(Weight::Fact, Told::Text(String::new()));
        self.stderr.flush(Instant::now() + BARS_GONE);
        let end = if human.ends_with('\n') { "" } else { "\n" };
        self.stdout.deliver(Text(format!("{human}{end}")))
    }

    fn finished(&self, finished: &Finished) {
        if self.loudness == Loudness::Quiet {
            return;
        }
        let mut numbers = Vec::new();
        if let Some(took) = finished.woke_us {
            numbers.push(format!("wake {}", micros(took)));
        }
        if let Some(took) = finished.rollback_us {
            numbers.push(format!("rollback {}", micros(took)));
        }
        if let Some(took) = finished.switch_us {
            numbers.push(format!("switch {}", micros(took)));
        }
        if numbers.is_empty() {
            return;
        }
        numbers.push(format!(
            "requests in flight {}, cut {}",
            known(finished.requests_in_flight),
            known(finished.requests_cut)
        ));
        numbers.push(format!("{} in all", millis(finished.elapsed_ms)));
        let line = Line {
            tone: Tone::Detail,
            text: numbers.join(" · "),
        };
        self.push(Weight::Last, Told::Notes(vec![line]));
    }

    fn error(&self, error: &Error) {
        let (message, hint) = (error.message(), error.hint());
        let message = message.to_string();
        let hint = hint.map(|hint| hint.to_string());
        self.push(Weight::Last, Told::Error { message, hint });
    }

    fn close(&self) {
        let deadline = Instant::now() + FAREWELL;
        self.stderr.close(deadline);
        self.stdout.close(deadline);
    }
}

impl Drop for Human {
    fn drop(&mut self) {
        self.close();
    }
}

/// `error: …`, and after a blank line `hint: …`.
pub(super) fn error_text(message: &str, hint: Option<&str>, style: Style) -> String {
    let mut text = format!("{} {message}\n", style.bad("error:"));
    if let Some(hint) = hint {
        text += &format!("\n{} {hint}\n", style.strong("hint:"));
    }
    text
}

/// Colours, where they are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style(pub(super) Colour);

impl Style {
    fn paint(self, style: anstyle::Style, text: &str) -> String {
        match self.0 {
            Colour::Ansi => format!("{style}{text}{style:#}"),
            Colour::Plain => text.to_owned(),
        }
    }

    pub(super) fn good(self, text: &str) -> String {
        self.paint(anstyle::AnsiColor::Green.on_default(), text)
    }

    pub(super) fn warn(self, text: &str) -> String {
        self.paint(anstyle::AnsiColor::Yellow.on_default().bold(), text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.paint(anstyle::AnsiColor::Red.on_default().bold(), text)
    }

    pub(super) fn strong(self, text: &str) -> String {
        self.paint(anstyle::Style::new().bold(), text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.paint(anstyle::Style::new().dimmed(), text)
    }
}
