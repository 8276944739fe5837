//! How a container ended, also one that the engine has started again since: what its state says by
//! then is of its new life, but the engine's events still tell of the old one.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptions, WaitContainerOptions};
use futures_util::StreamExt;

use super::Docker;
use crate::docker::{found, refused};
use crate::engine::{End, EngineError};

/// What the kernel's SIGKILL looks like from outside.
const KILLED: i64 = 137;

/// Waits until a container does not run any more; how it ended.
pub(super) async fn ended(engine: &Docker, id: &str) -> Result<End, EngineError> {
    let code = waited(engine, id).await?;
    let client = &engine.client;
    let answer = found(client.docker.inspect_container(id, None).await);
    let state = answer.map_err(|error| client.fault(error))?;
    let Some(state) = state.and_then(|answer| answer.state) else {
        return Ok(End { code, oom: false });
    };
    let told = match state.finished_at.as_deref().and_then(instant) {
        Some(at) => told(engine, id, at).await?,
        None => None,
    };
    // An engine forgets its oldest events; then its present state is all that there is.
    let oom = state.running != Some(true) && state.oom_killed == Some(true);
    let end = told.unwrap_or(End { code, oom });
    Ok(End {
        oom: end.oom || oom,
        ..end
    })
}

/// The exit code as the engine's wait tells it: wrong where the container runs again by then.
async fn waited(engine: &Docker, id: &str) -> Result<i64, EngineError> {
    let client = &engine.client;
    let options = WaitContainerOptions {
        condition: "not-running".into(),
    };
    let mut answers = Box::pin(client.docker.wait_container(id, Some(options)));
    match answers.next().await {
        Some(Ok(answer)) => Ok(answer.status_code),
        // The library takes any code but 0 for an error.
        Some(Err(Error::DockerContainerWaitError { code, error })) if error.is_empty() => Ok(code),
        Some(Err(error)) => Err(client.fault(error)),
        None => match found(client.docker.inspect_container(id, None).await) {
            Ok(Some(answer)) => {
                let code = answer.state.and_then(|state| state.exit_code);
                code.ok_or_else(|| refused(format!("the engine names no exit code of `{id}`")))
            }
            Ok(None) => Err(refused(format!("there is no container `{id}`"))),
            Err(error) => Err(client.fault(error)),
        },
    }
}

/// Nanoseconds since the epoch of the engine's RFC 3339 text; `None` of its year 1.
fn instant(text: &str) -> Option<i64> {
    let at: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(at.as_nanosecond()).ok().filter(|at| *at > 0)
}

/// What the engine's events say of the life that ended at `at`. The engine stops telling a second
/// after that, by its own clock.
async fn told(engine: &Docker, id: &str, at: i64) -> Result<Option<End>, EngineError> {
    let of = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let filters = HashMap::from([
        ("type".to_owned(), of(&["container"])),
        ("container".to_owned(), of(&[id])),
        ("event".to_owned(), of(&["start", "oom", "die"])),
    ]);
    let options = EventsOptions {
        since: Some("1".into()),
        until: Some((at / 1_000_000_000 + 2).to_string()),
        filters: Some(filters),
    };
    let mut events = Box::pin(engine.client.docker.events(Some(options)));
    let mut lives = Lives::default();
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| engine.client.fault(error))?;
        if lives.heard(&event, at) == Heard::Enough {
            break;
        }
    }
    Ok(lives.last)
}

/// The lives of a container, by its events.
#[derive(Default)]
struct Lives {
    oom: bool,
    last: Option<End>,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Enough,
    NotYet,
}

impl Lives {
    /// Hears of the next event; enough is known once the end at `at` is, whose reason may come
    /// behind it.
    fn heard(&mut self, event: &EventMessage, at: i64) -> Heard {
        let attributes = event.actor.as_ref().and_then(|it| it.attributes.as_ref());
        let code = || attributes?.get("exitCode")?.parse().ok();
        match event.action.as_deref() {
            Some("start") => self.oom = false,
            Some("oom") => {
                self.oom = true;
                if let Some(last) = &mut self.last {
                    last.oom |= last.code == KILLED;
                }
            }
            Some("die") => {
                self.last = code().map(|code| End {
                    code,
                    oom: self.oom,
                });
            }
            _ => {}
        }
        let is_over = event.time_nano.is_some_and(|time| time >= at);
        let explained = |end: &End| end.oom || end.code != KILLED;
        match is_over && self.last.as_ref().is_some_and(explained) {
            true => Heard::Enough,
            false => Heard::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn event(at: i64, action: &str, code: Option<&str>) -> EventMessage {
        let code = code.map(|code| ("exitCode".to_owned(), code.to_owned()));
        EventMessage {
            action: Some(action.into()),
            actor: Some(EventActor {
                attributes: Some(code.into_iter().collect()),
                ..EventActor::default()
            }),
            time_nano: Some(at),
            ..EventMessage::default()
        }
    }

    /// After how many events enough is known of the life that ended at `at`, and what.
    fn told(at: i64, events: &[EventMessage]) -> (usize, Option<End>) {
        let mut lives = Lives::default();
        let enough = events
            .iter()
            .position(|event| lives.heard(event, at) == Heard::Enough);
        (enough.map_or(events.len(), |last| last + 1), lives.last)
    }

    #[test]
    fn a_life_that_the_engine_has_followed_by_another_is_told_by_its_events() {
        let events = [
            event(10, "start", None),
            event(20, "oom", None),
            event(21, "die", Some("137")),
            event(30, "start", None),
        ];
        let end = End {
            code: 137,
            oom: true,
        };
        assert_eq!(told(20, &events), (3, Some(end)));
    }

    #[test]
    fn memory_may_be_told_of_behind_the_end() {
        let events = [
            event(10, "start", None),
            event(21, "die", Some("137")),
            event(22, "oom", None),
        ];
        let end = End {
            code: 137,
            oom: true,
        };
        assert_eq!(told(20, &events), (3, Some(end)));
    }

    #[test]
    fn an_earlier_life_is_not_the_one_that_is_asked_for() {
        let events = [
            event(1, "oom", None),
            event(2, "die", Some("137")),
            event(3, "start", None),
            event(9, "die", Some("3")),
            event(10, "start", None),
        ];
        let end = End {
            code: 3,
            oom: false,
        };
        assert_eq!(told(9, &events), (4, Some(end)));
        assert_eq!(told(9, &[]), (0, None));
    }

    #[test]
    fn the_engines_instants_are_read() {
        assert_eq!(instant("1970-01-01T00:00:02.5Z"), Some(2_500_000_000));
        assert_eq!(instant("0001-01-01T00:00:00Z"), None);
    }
}
