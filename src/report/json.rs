//! JSON lines on standard output: each event in the journal's own form, one a line.
//!
//! Progress is not shown. Talk goes to standard error as it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::human::{Style, error_text};
use super::pump::{Message, Out, Plainly, Pump, Weight};
use super::{Colour, FAREWELL, Finished, Report, Shown, Streams};
use crate::core::event::Event;
use crate::core::progress::{Progress, Sink};
use crate::error::Error;

struct JsonLine {
    text: String,
    weight: Weight,
}

impl JsonLine {
    fn new(weight: Weight, value: &Value) -> Self {
        Self {
            text: format!("{value}\n"),
            weight,
        }
    }
}

impl AsRef<str> for JsonLine {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Message for JsonLine {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn size(&self) -> usize {
        self.text.len()
    }

    fn missed(number: u64) -> Self {
        Self::new(
            Weight::Last,
            &warning(&format!(
                "{number} lines were left out: nobody read them in time"
            )),
        )
    }
}

pub(super) struct Json {
    stdout: Pump<JsonLine>,
    stderr: Pump<JsonLine>,
    over: AtomicBool,
}

impl Json {
    pub(super) fn new(streams: Streams) -> Self {
        Self {
            stdout: Pump::start(Plainly(Out::new(streams.stdout))),
            stderr: Pump::start(Plainly(Out::new(streams.stderr))),
            over: AtomicBool::new(false),
        }
    }

    fn put(&self, weight: Weight, value: &Value) {
        if !self.over.load(Ordering::Relaxed) {
            self.stdout.push(JsonLine::new(weight, value));
        }
    }

    fn talk(&self, weight: Weight, text: String) {
        self.stderr.push(JsonLine { text, weight });
    }
}

fn warning(message: &str) -> Value {
    json!({"event": "warning", "message": message})
}

/// The event in the journal's own form: where it belongs, then its own fields.
fn record(shown: &Shown<'_>) -> Value {
    let mut line = Map::new();
    line.insert("service".into(), json!(shown.service));
    line.insert("run".into(), json!(shown.run));
    line.insert("seq".into(), json!(shown.seq));
    line.insert("at".into(), json!(shown.at));
    match serde_json::to_value(shown.event) {
        Ok(Value::Object(fields)) => line.extend(fields),
        Ok(other) => {
            line.insert("event".into(), other);
        }
        Err(error) => {
            line.insert("event".into(), json!("unknown"));
            line.insert("message".into(), json!(error.to_string()));
        }
    }
    Value::Object(line)
}

impl Sink for Json {
    fn progress(&self, _: Progress) {}
}

impl Report for Json {
    fn event(&self, shown: &Shown<'_>) {
        self.put(Weight::Fact, &record(shown));
        let Event::Failed(failure) = shown.event else {
            return;
        };
        for replica in &failure.replicas {
            for line in &replica.logs {
                let log = json!({
                    "event": "log",
                    "service": shown.service,
                    "run": shown.run,
                    "container": replica.container,
                    "line": line,
                });
                self.put(Weight::Fact, &log);
            }
        }
    }

    fn recall(&self, _: &Shown<'_>) {}

    fn warn(&self, text: &str) {
        self.put(Weight::Fact, &warning(text));
    }

    fn say(&self, text: &str) {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.talk(Weight::Fact, format!("{text}{end}"));
    }

    fn record(&self, line: &str) {
        self.talk(Weight::Last, format!("{line}\n"));
    }

    fn ask(&self, question: &str) {
        self.talk(Weight::Last, question.to_owned());
        self.stderr.flush(Instant::now() + FAREWELL);
    }

    fn data(&self, value: &Value, _: &str) -> bool {
        let over = self.over.load(Ordering::Relaxed);
        !over && self.stdout.deliver(JsonLine::new(Weight::Last, value))
    }

    fn finished(&self, finished: &Finished) {
        self.put(
            Weight::Last,
            &json!({
                "event": "finished",
                "outcome": finished.outcome,
                "service": finished.service,
                "release": finished.release,
                "live": finished.live,
                "elapsed_ms": finished.elapsed_ms,
                "requests_in_flight": finished.requests_in_flight,
                "requests_cut": finished.requests_cut,
                "switch_us": finished.switch_us,
                "rollback_us": finished.rollback_us,
                "woke_us": finished.woke_us,
            }),
        );
        self.over.store(true, Ordering::Relaxed);
    }

    fn error(&self, error: &Error) {
        self.put(Weight::Last, &error.to_json());
        self.talk(
            Weight::Last,
            error_text(
                &error.message(),
                error.hint().as_deref(),
                Style(Colour::Plain),
            ),
        );
    }

    fn close(&self) {
        let deadline = Instant::now() + FAREWELL;
        self.stdout.close(deadline);
        self.stderr.close(deadline);
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        self.close();
    }
}
