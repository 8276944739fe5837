//! Coming by a lease: waiting for a dead holder, losing to a living one, taking over a silent one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::process::Life;
use super::token::{self, Seen};
use super::{Acquired, Held, Lease, Patience, Standing, Taken, Terms, Who};
use crate::core::event::Failure;
use crate::core::names::{Fence, ServiceName};
use crate::core::words::hex;
use crate::engine::{Engine, EngineError};

/// How often a holder is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How many lost answers to a claim are put up with.
const LOST_ANSWERS: u32 = 3;

/// Wants the lease of a service. Its number will be above `floor`: the highest fence that journal
/// and pointer have seen.
///
/// # Errors
/// Where the engine does not answer.
pub async fn acquire(
    engine: Arc<dyn Engine>,
    service: &ServiceName,
    who: &Who,
    floor: Fence,
    terms: Terms,
    patience: Patience,
) -> Result<Acquired, EngineError> {
    let held = held(engine, service, who, terms, Taken::Free)?;
    let mut highest = floor;
    let mut baseline = 0;
    let mut watched: Option<Watched> = None;
    let (mut lost_answers, mut collisions) = (0, 0);
    loop {
        let seen = token::leases(&*held.engine, service).await?;
        // A claim whose answer was lost may have taken effect; then it is only made sure of.
        let ours = seen.iter().find(|seen| seen.nonce == held.nonce);
        if ours.is_none() {
            let top = seen.last();
            // Numbers that were only watched count too: their holder may have written them into the
            // pointer before it let go.
            highest = highest.max(top.map_or(0, |top| top.number));
            let look = Watched::look(watched.as_ref(), top);
            let waits = top.map(|top| (top, judge(top, &look, who)));
            match waits {
                None | Some((_, Verdict::Free)) => {}
                Some((top, Verdict::Alive)) => return Ok(Acquired::HeldBy(top.holder())),
                Some((top, Verdict::Unknown)) if patience == Patience::Now => {
                    return Ok(Acquired::HeldBy(top.holder()));
                }
                // Its lifetime ends the wait.
                Some((_, Verdict::Unknown)) => {
                    watched = Some(look);
                    tokio::time::sleep(LOOK.min(terms.lifetime / 10)).await;
                    continue;
                }
            }
            baseline = top.map_or(0, |top| top.number);
            highest = highest.max(baseline);
            watched = Some(look);
        }
        let number = ours.map_or(highest + 1, |ours| ours.number);
        match claim(&held, number, baseline).await {
            Ok(Claimed::Ours) => return Ok(Acquired::Got(Lease::start(held))),
            Ok(Claimed::Beaten) => {}
            Ok(Claimed::Collided) => {
                // Another one claimed a different number at the same time. Both step back, for
                // different times, and look afresh.
                highest = highest.max(number);
                watched = None;
                tokio::time::sleep(jitter(&held.nonce, collisions)).await;
                collisions += 1;
            }
            Err(EngineError::Lost { .. }) if lost_answers < LOST_ANSWERS => lost_answers += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Takes the lease from a holder that does not answer, without waiting for its lifetime. That it
/// renews meanwhile does not save it.
///
/// # Errors
/// Where the engine does not answer.
pub async fn take_over(
    engine: Arc<dyn Engine>,
    service: &ServiceName,
    who: &Who,
    floor: Fence,
    terms: Terms,
) -> Result<Acquired, EngineError> {
    let held = held(engine, service, who, terms, Taken::Over)?;
    let mut lost_answers = 0;
    let mut silent = None;
    loop {
        let seen = token::leases(&*held.engine, service).await?;
        let others = seen.iter().filter(|seen| seen.nonce != held.nonce);
        let highest = others.map(|seen| seen.number).fold(floor, Fence::max);
        let silent = silent.get_or_insert_with(|| seen.last().map(|top| top.nonce.clone()));
        match claim(&held, highest + 1, highest).await {
            Ok(Claimed::Ours) => return Ok(Acquired::Got(Lease::start(held))),
            Ok(Claimed::Beaten | Claimed::Collided) => {
                let now = token::leases(&*held.engine, service).await?;
                let winner = now.last().filter(|top| top.number > highest);
                if let Some(other) = winner.filter(|top| Some(&top.nonce) != silent.as_ref()) {
                    return Ok(Acquired::HeldBy(other.holder()));
                }
            }
            Err(EngineError::Lost { .. }) if lost_answers < LOST_ANSWERS => lost_answers += 1,
            Err(error) => return Err(error),
        }
    }
}

/// What is known of the holder of the highest token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is dead, has let go, or there is none.
    Free,
    Alive,
    Unknown,
}

/// A token that is being watched, on our own clock.
#[derive(Debug, Clone)]
struct Watched {
    /// Number and nonce; `None`: there was no token.
    token: Option<(Fence, String)>,
    since: Instant,
    /// It came while we were looking, so somebody made it just now.
    fresh: bool,
}

impl Watched {
    fn look(before: Option<&Self>, top: Option<&Seen>) -> Self {
        let token = top.map(|top| (top.number, top.nonce.clone()));
        match before {
            Some(before) if before.token == token => before.clone(),
            before => Self {
                token,
                since: Instant::now(),
                fresh: before.is_some(),
            },
        }
    }
}

fn judge(top: &Seen, look: &Watched, who: &Who) -> Verdict {
    if top.free || look.since.elapsed() >= top.lifetime {
        return Verdict::Free;
    }
    let life = match (&top.process, &who.process) {
        (Some(holder), Some(here)) => holder.life(here),
        _ => Life::Unknown,
    };
    match life {
        Life::Dead => Verdict::Free,
        Life::Alive => Verdict::Alive,
        Life::Unknown if look.fresh => Verdict::Alive,
        Life::Unknown => Verdict::Unknown,
    }
}

/// What came of one claim.
enum Claimed {
    Ours,
    /// The number was another one's already.
    Beaten,
    /// Another one has claimed another number meanwhile; ours has been given back.
    Collided,
}

/// Claims one number, makes sure that nobody has claimed another above `baseline` meanwhile, and
/// clears away what others have left: lower leases, and requests that were for them.
async fn claim(held: &Held, number: Fence, baseline: Fence) -> Result<Claimed, EngineError> {
    let (engine, service) = (&*held.engine, &held.service);
    let sent = Instant::now();
    let wanted = token::lease(held, number);
    let there = engine.claim(service, &wanted).await?;
    if there.labels.get("nonce") != Some(&held.nonce) {
        return Ok(Claimed::Beaten);
    }
    let tokens = engine.tokens(service).await?;
    let seen = token::leases_among(&tokens, service);
    let mut others = seen.iter().filter(|seen| seen.nonce != held.nonce);
    if others.any(|other| other.number > baseline) {
        engine.drop_token(service, &wanted.name).await?;
        return Ok(Claimed::Collided);
    }
    let stale = tokens.iter().filter(|token| {
        let to = token.labels.get("to");
        token::number(token, service, "ask").is_some() && to != Some(&held.nonce)
    });
    let lower = seen.iter().filter(|seen| seen.number < number);
    let names = lower.map(|seen| &seen.name);
    held.drop_all(names.chain(stale.map(|token| &token.name)))
        .await;
    held.amend(|now| {
        now.number = number;
        now.renewed = sent;
    });
    Ok(Claimed::Ours)
}

fn held(
    engine: Arc<dyn Engine>,
    service: &ServiceName,
    who: &Who,
    terms: Terms,
    taken: Taken,
) -> Result<Held, EngineError> {
    Ok(Held {
        engine,
        service: service.clone(),
        who: who.clone(),
        terms,
        nonce: nonce()?,
        taken,
        now: Mutex::new(Standing {
            number: 0,
            renewed: Instant::now(),
            lost: None,
        }),
        turn: tokio::sync::Mutex::new(()),
    })
}

/// Tells one claimant from every other one.
pub(super) fn nonce() -> Result<String, EngineError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        EngineError::Failed(Failure {
            what: format!("the system gives no random numbers: {error}"),
            ..Failure::default()
        })
    })?;
    Ok(hex(&bytes))
}

/// 5 to 68 ms, another one for each claimant and turn.
fn jitter(nonce: &str, turn: u32) -> Duration {
    let bytes = nonce.bytes().skip(turn as usize);
    let drawn = bytes
        .take(4)
        .fold(0u64, |sum, byte| sum * 31 + u64::from(byte));
    Duration::from_millis(5 + drawn % 64)
}
