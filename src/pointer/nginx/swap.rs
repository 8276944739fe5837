//! Another file in the place of the one that stands there, until nginx runs it or what stood there is
//! back.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::super::{Pointer as _, PointerError, Way};
use super::workers::{self, Family};
use super::{LOOK, Nginx, Said, Seen, command, kept};
use crate::core::event::SwitchRefusal;

/// How long a test, a reload and the workers' start may take together.
pub(super) const LIMIT: Duration = Duration::from_secs(6);

/// How long a second reload may take, after a first one that did not do.
const BACK: Duration = Duration::from_secs(1);

/// How many answers in a row tell that no other worker takes requests, where nginx's processes cannot
/// be seen.
const IN_A_ROW: u32 = 8;

/// A file on its way to be run.
struct Turn<'a> {
    place: &'a Path,
    text: &'a str,
    before: Option<&'a Family>,
    end: Instant,
}

impl Nginx {
    /// Puts `text` in the file's place and has nginx run it; where that fails, gives back what stood
    /// there.
    pub(super) async fn swap(
        &self,
        seen: &Seen,
        text: &str,
        is_so: impl Fn(&Said) -> bool,
    ) -> Result<(), PointerError> {
        let before = self.family(&seen.said).await?;
        let place = kept::place(&self.plan.include).await;
        if self.there(&place).await? != seen.kept.text {
            return Err(self.moved().await);
        }
        let written = kept::replace(&place, text).await;
        written.map_err(|error| self.file("written", &error))?;
        let end = Instant::now() + LIMIT;
        let tested = self.test(end).await;
        let is_told = tested.is_ok();
        let turn = Turn {
            place: &place,
            text,
            before: before.as_ref(),
            end,
        };
        let applied = match tested {
            Ok(()) => self.apply(&turn, is_so).await,
            Err(why) => Err(why),
        };
        if !self.is_ours(&turn).await {
            return Err(self.moved().await);
        }
        let Err(why) = applied else {
            let kept = kept::keep(&place).await;
            tracing::debug!(?kept, "the file of before was let go");
            return Ok(());
        };
        let back = kept::put_back(&place, &seen.kept).await;
        back.map_err(|error| self.lost(self.file("put back", &error).to_string()))?;
        if is_told {
            // What the first one has begun may still come: it is to end with the file of before.
            let again = timeout(BACK, command::run(&self.plan.reload)).await;
            tracing::debug!(?again, "nginx was told to read the file of before");
        }
        Err(why)
    }

    async fn there(&self, place: &Path) -> Result<Option<String>, PointerError> {
        let there = kept::text(place).await;
        there.map_err(|error| self.file("read", &error))
    }

    /// Whether the file still is the one that was put there.
    async fn is_ours(&self, turn: &Turn<'_>) -> bool {
        let there = self.there(turn.place).await;
        matches!(there, Ok(Some(there)) if there == turn.text)
    }

    /// Refuses a configuration that nginx does not take, in its own words.
    pub(super) async fn test(&self, end: Instant) -> Result<(), PointerError> {
        let tested = timeout_at(end, command::run(&self.plan.test)).await;
        let tested = tested.unwrap_or_else(|_| Err("its test takes too long".to_owned()));
        tested.map_err(|why| {
            self.failed(
                format!("{} does not take its configuration: {why}", self.describe()),
                "mend what it names, then run this again; nothing was changed",
            )
        })
    }

    /// Has nginx read what stands in the file, and waits until no worker runs anything else.
    async fn apply(
        &self,
        turn: &Turn<'_>,
        is_so: impl Fn(&Said) -> bool,
    ) -> Result<(), PointerError> {
        let applied = async {
            if let Err(why) = command::run(&self.plan.reload).await {
                return Err(self.unreloaded(why).await);
            }
            let mut in_a_row = 0;
            loop {
                let said = self.says(Way::Service).await.ok().filter(&is_so);
                in_a_row = said.as_ref().map_or(0, |_| in_a_row + 1);
                if let Some(said) = said {
                    let now = workers::family(said.pid).await;
                    let stay = stay(turn.before, now.as_ref());
                    if stay.map_or(in_a_row >= IN_A_ROW, |stay| stay == 0) {
                        return Ok(());
                    }
                }
                if !self.is_ours(turn).await {
                    return Err(self.moved().await);
                }
                sleep(LOOK).await;
            }
        };
        match timeout_at(turn.end, applied).await {
            Ok(applied) => applied,
            Err(_) => Err(self.unmoved(turn.before).await),
        }
    }

    /// The command that reloads it has failed.
    async fn unreloaded(&self, why: String) -> PointerError {
        match self.says(Way::Service).await {
            Ok(_) => self.failed(
                format!("{} was not reloaded: {why}", self.describe()),
                "let this user reload it, by `reload:` if need be (`sudo nginx -s reload`), \
                 then run this again; nothing was changed",
            ),
            Err(_) => self.lost(format!("it was not reloaded: {why}")),
        }
    }

    /// It was told to read the file anew, and not all of it has.
    async fn unmoved(&self, before: Option<&Family>) -> PointerError {
        match self.says(Way::Service).await {
            Err(error) => self.lost(error.to_string()),
            Ok(said) => {
                let now = workers::family(said.pid).await;
                let stay = stay(before, now.as_ref()).unwrap_or_default();
                self.lost(format!(
                    "it was told to read its configuration anew, and runs `{}` after {LIMIT:?}; \
                     {stay} of the workers of before still take requests: see its error log",
                    said.value
                ))
            }
        }
    }

    /// Somebody else has written the file.
    async fn moved(&self) -> PointerError {
        match self.look().await {
            Ok(seen) => PointerError::Refused {
                why: SwitchRefusal::Moved,
                found: seen.routing.map(Box::new),
            },
            Err(error) => error,
        }
    }
}

/// How many workers of before still take requests; none where they cannot be seen.
fn stay(before: Option<&Family>, now: Option<&Family>) -> Option<usize> {
    let (before, now) = before.zip(now)?;
    Some(before.serving.intersection(&now.serving).count())
}
