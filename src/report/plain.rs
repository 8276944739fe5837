//! Lines with the time since the beginning, for a file, a pipe or a pipeline's log.
//!
//! A CI service gets what comes while something is under way as a fold, and failures as annotations.
//! Of progress only what has newly begun is shown, and a heartbeat where nothing was shown for a
//! while, so that a pipeline is never silent.

use std::sync::Arc;
use std::time::Duration;

use super::Loudness;
use super::human::{Stamped, Style, Told, error_text};
use super::pipeline::{Folds, Severity};
use super::pump::{Out, Painter};
use super::track::Track;
use crate::core::names::Millis;
use crate::core::narrate::{Line, Tone};
use crate::core::progress::Progress;
use crate::core::words::{clean, millis};

/// How long it may be silent while something is under way.
const HEARTBEAT_MS: Millis = 10_000;

pub(super) struct Plain {
    out: Out,
    style: Style,
    loudness: Loudness,
    clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    track: Track,
    doing: Option<(Millis, String)>,
    wrote: Millis,
    folds: Folds,
}

impl Plain {
    pub(super) fn new(
        out: Out,
        style: Style,
        loudness: Loudness,
        clock: Arc<dyn Fn() -> Millis + Send + Sync>,
        folds: Folds,
    ) -> Self {
        Self {
            out,
            style,
            loudness,
            clock,
            track: Track::default(),
            doing: None,
            wrote: 0,
            folds,
        }
    }

    /// A line that is never folded.
    fn line(&mut self, at: Millis, line: &Line) {
        self.unfold(at);
        let severity = match line.tone {
            Tone::Warn => Some(Severity::Warning),
            Tone::Bad => Some(Severity::Error),
            Tone::Step | Tone::Good | Tone::Detail | Tone::Aside => None,
        };
        let annotation = severity.and_then(|severity| self.folds.annotation(severity, &line.text));
        match annotation {
            Some(annotation) => self.out.write(&annotation),
            None => self.write(at, line),
        }
        self.wrote = at;
    }

    fn unfold(&mut self, at: Millis) {
        let end = self.folds.close(at);
        self.out.write(&end);
    }

    fn write(&mut self, at: Millis, line: &Line) {
        let stamp = format!("[{:>3}.{}s]", at / 1000, at / 100 % 10);
        let stamp = match line.tone {
            Tone::Detail => " ".repeat(stamp.len()),
            _ => self.style.faint(&stamp),
        };
        let text = &line.text;
        let text = match line.tone {
            Tone::Step | Tone::Aside => text.clone(),
            Tone::Detail => format!("  {text}"),
            Tone::Good => self.style.good(text),
            Tone::Warn => format!("{} {text}", self.style.warn("warning:")),
            Tone::Bad => format!("{} {text}", self.style.bad("failed:")),
        };
        let line = format!("{stamp} {text}");
        self.out.write(&self.folds.harmless(line.trim_end()));
        self.out.write("\n");
    }

    /// A step of what is under way, in its fold.
    fn step(&mut self, at: Millis, text: String) {
        if let Some((_, doing)) = &self.doing {
            let begin = self.folds.open(at, doing);
            self.out.write(&begin);
        }
        let tone = Tone::Step;
        self.write(at, &Line { tone, text });
        self.wrote = at;
    }
}

impl Painter<Stamped> for Plain {
    fn paint(&mut self, message: Stamped) {
        let at = message.at;
        match message.told {
            Told::Lines { lines, doing } => {
                self.unfold(at);
                if self.doing.as_ref().map(|(_, doing)| doing) != doing.as_ref() {
                    self.track = Track::default();
                    self.doing = doing.map(|doing| (at, doing));
                }
                for line in &lines {
                    self.line(at, line);
                }
            }
            Told::Notes(lines) => {
                for line in &lines {
                    self.line(at, line);
                }
            }
            Told::Progress(step) => {
                let said = match (self.loudness, &step) {
                    (Loudness::Verbose, Progress::Build { role, line }) => {
                        Some(format!("`{}`: {}", clean(role), clean(line.trim_end())))
                    }
                    (Loudness::Verbose, Progress::Output { of, line }) => {
                        Some(format!("`{}`: {}", clean(of), clean(line.trim_end())))
                    }
                    _ => None,
                };
                for text in self.track.take(step).into_iter().chain(said) {
                    self.step(at, text);
                }
            }
            Told::Text(text) => {
                self.unfold(at);
                self.out.write(&self.folds.harmless(&text));
                self.wrote = at;
            }
            Told::Error { message, hint } => {
                self.unfold(at);
                let hint = hint.as_deref();
                let whole = hint.map_or(message.clone(), |hint| format!("{message}\nhint: {hint}"));
                let text = self.folds.annotation(Severity::Error, &whole);
                let text = text.unwrap_or_else(|| error_text(&message, hint, self.style));
                self.out.write(&text);
                self.wrote = at;
            }
        }
    }

    fn tick(&mut self) {
        let now = (self.clock)();
        if now.saturating_sub(self.wrote) < HEARTBEAT_MS {
            return;
        }
        let summary = self.track.summary();
        let text = match (&self.doing, summary) {
            (None, None) => return,
            (None, Some(summary)) => format!("still {summary}"),
            (Some((since, doing)), summary) => {
                let whole = millis(now.saturating_sub(*since) / 1000 * 1000);
                let summary = summary.map_or_else(String::new, |summary| format!(": {summary}"));
                format!("still {doing} after {whole}{summary}")
            }
        };
        self.step(now, text);
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn end(&mut self) {
        self.unfold((self.clock)());
    }
}
