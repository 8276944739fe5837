//! `flipside prune` and `flipside down`: environments are removed; of what nothing needs, and of a
//! whole service.

use crate::cli;
use crate::core::event::Verb;
use crate::core::names::Release;
use crate::core::plan::Policy;
use crate::core::survey::{View, prunable, survey};
use crate::core::verdict::Outcome;
use crate::core::world::World;
use crate::error::{Error, Exit, Touched, exit_of};
use crate::journal::RunLog;

use super::context::{Answer, Context};
use super::operator::{Held, Operator, highest, of_journal};
use super::run::{Ended, Opening};
use super::settle::Since;

/// Runs `prune`.
///
/// # Errors
/// Where engine, pointer or journal cannot be asked, or somebody else holds the service.
pub async fn prune(context: &Context, args: &cli::Prune) -> Result<Exit, Error> {
    let operator = context.operator_of_service(&args.service).await?;
    if args.dry_run {
        let world = operator.look().await?;
        let runs = operator
            .runs()
            .await
            .map_err(|error| of_journal(error, Touched::Nothing))?;
        say(
            &operator,
            "would remove",
            &unneeded(&operator, &world, &runs),
        );
        return Ok(Exit::Done);
    }
    let mut held = hold(&operator).await?;
    let pruned = prune_held(&operator, &mut held).await;
    operator.let_go(held).await;
    pruned
}

async fn prune_held(operator: &Operator, held: &mut Held) -> Result<Exit, Error> {
    let runs = operator
        .runs()
        .await
        .map_err(|error| of_journal(error, Touched::Nothing))?;
    if let Some(settled) = operator.settle(&runs, Since::Nothing, held).await?
        && matches!(settled.outcome, Outcome::Interrupted | Outcome::Stuck)
    {
        return Ok(exit_of(settled.outcome));
    }
    let runs = operator
        .runs()
        .await
        .map_err(|error| of_journal(error, Touched::Nothing))?;
    let world = operator.look().await?;
    let releases = unneeded(operator, &world, &runs);
    if releases.is_empty() {
        // What was built for a release that never stood belongs to none.
        let dropped = operator.engine.drop_images(&operator.service).await;
        dropped.map_err(|error| Error::of_engine(error, Touched::Something))?;
        say(operator, "removed", &releases);
        return Ok(Exit::Done);
    }
    let ended = clear(
        operator,
        Verb::Prune {
            releases: releases.clone(),
        },
        &runs,
        &world,
        held,
    )
    .await?;
    if ended.outcome == Outcome::Done {
        say(operator, "removed", &releases);
    }
    Ok(exit_of(ended.outcome))
}

/// Runs `down`.
///
/// # Errors
/// As [`prune`]; and where it would have to ask and cannot.
pub async fn down(context: &Context, arg: &cli::ServiceArg) -> Result<Exit, Error> {
    let operator = context.operator_of_service(arg).await?;
    let world = operator.look_or_absent().await?;
    let service = &operator.service;
    if world.environments.is_empty() && world.routing.is_none() {
        let known = operator.engine.services().await.unwrap_or_default();
        return Err(Error::UnknownService {
            name: service.to_string(),
            known: known.iter().map(ToString::to_string).collect(),
        });
    }
    let stands: Vec<_> = world
        .environments
        .iter()
        .map(|e| format!("{service}@{}", e.release))
        .collect();
    let what = format!(
        "take `{service}` down, with {}",
        crate::core::words::list(&stands)
    );
    if !context.common.yes {
        if !context.may_ask() {
            return Err(Error::NeedsYes { what });
        }
        if context.confirm(&operator.report, &format!("{what}? [y/N] "))? == Answer::No {
            return Err(Error::Declined {
                what: format!("`{service}` stays"),
            });
        }
    }
    let mut held = hold(&operator).await?;
    let ended = down_held(&operator, &mut held).await;
    operator.let_go(held).await;
    let ended = ended?;
    if ended.outcome == Outcome::Done {
        super::proxy::end_if_idle(context, &operator).await?;
    }
    Ok(exit_of(ended.outcome))
}

async fn down_held(operator: &Operator, held: &mut Held) -> Result<Ended, Error> {
    let runs = operator
        .runs()
        .await
        .map_err(|error| of_journal(error, Touched::Nothing))?;
    for log in runs
        .iter()
        .filter(|log| log.outcome().is_none() && log.opened().is_some())
    {
        operator
            .supersede(log, &operator.read_back(log)?, held)
            .await?;
    }
    let world = operator.look_or_absent().await?;
    let releases = world
        .environments
        .iter()
        .map(|environment| environment.release)
        .collect();
    clear(operator, Verb::Down { releases }, &runs, &world, held).await
}

async fn clear(
    operator: &Operator,
    verb: Verb,
    runs: &[RunLog],
    world: &World,
    held: &mut Held,
) -> Result<Ended, Error> {
    let (_, newest) = highest(runs, world, &survey(world));
    let opened = operator.opening(verb, Policy::default(), world, held.lease.fence(), newest);
    let run = runs.first().map_or(1, |log| log.run + 1);
    let opening = Opening {
        run,
        opened,
        spec: None,
        seen: Vec::new(),
    };
    operator.begin(opening, world, held).await
}

async fn hold(operator: &Operator) -> Result<Held, Error> {
    operator.journal()?;
    let runs = operator
        .runs()
        .await
        .map_err(|error| of_journal(error, Touched::Nothing))?;
    let routing = operator.pointer.read().await.unwrap_or_default();
    let world = World {
        routing,
        ..World::default()
    };
    operator
        .acquire(highest(&runs, &world, &View::default()).0)
        .await
}

/// What nothing needs. Where the pointer names nothing, that is only what has certainly never
/// served: a journal without any move.
fn unneeded(operator: &Operator, world: &World, runs: &[RunLog]) -> Vec<Release> {
    let view = survey(world);
    let Some(live) = view.live else {
        let moved = runs
            .iter()
            .flat_map(|log| &log.records)
            .any(|record| matches!(record.event, crate::core::event::Event::Switched { .. }));
        if moved || !view.marks.is_empty() || runs.is_empty() {
            return Vec::new();
        }
        return world
            .environments
            .iter()
            .map(|environment| environment.release)
            .collect();
    };
    let policy = world.environments.iter().find(|e| e.release == live);
    let policy = policy.map_or_else(Policy::default, |e| e.labels.policy.clone());
    prunable(world, &policy, (operator.clock)())
}

fn say(operator: &Operator, what: &str, releases: &[Release]) {
    let names: Vec<_> = releases
        .iter()
        .map(|release| format!("{}@{release}", operator.service))
        .collect();
    let value = serde_json::json!({
        "event": "pruned", "service": operator.service, "releases": releases, "what": what,
    });
    let text = if names.is_empty() {
        "nothing to remove".to_owned()
    } else {
        format!("{what} {}", crate::core::words::list(&names))
    };
    operator.report.data(&value, &text);
}
