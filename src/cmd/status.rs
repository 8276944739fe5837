//! `flipside status`: what is live, what stands by, what the pointer says, and where journal, engine
//! and pointer disagree.

use crate::cli::ServiceArg;
use crate::core::event::Verb;
use crate::core::names::Release;
use crate::core::survey::survey;
use crate::core::world::{Environment, World};
use crate::error::{Error, Exit, Touched};
use crate::journal::RunLog;
use crate::lease;
use crate::report::table_width;
use crate::report::tables::{
    Does, EnvironmentView, PointerView, StatusView, WorkerView, status_json, status_text,
};

use super::context::Context;
use super::operator::{Operator, Runs};
use super::recall::{last_move, unfinished};

/// Runs the verb.
///
/// # Errors
/// Where the engine cannot be asked, or knows nothing of the service.
pub async fn run(context: &Context, arg: &ServiceArg) -> Result<Exit, Error> {
    let operator = context.operator_of_service(arg).await?;
    let view = look(&operator).await?;
    let now = (operator.clock)();
    operator
        .report
        .data(&status_json(&view), &status_text(&view, now, table_width()));
    Ok(Exit::Done)
}

/// All that `status` says.
///
/// # Errors
/// As [`run`].
pub async fn look(operator: &Operator) -> Result<StatusView, Error> {
    let (environments, routing, runs, holder) = tokio::join!(
        operator.engine.inspect(&operator.service),
        operator.pointer.read(),
        operator.runs(),
        lease::holder(operator.engine.as_ref(), &operator.service),
    );
    let environments = environments.map_err(|error| Error::of_engine(error, Touched::Nothing))?;
    let mut disagreements = Vec::new();
    let (routing, away) = match routing {
        Ok(routing) => (routing, None),
        Err(error) => {
            let away = error.to_string();
            disagreements.push(away.clone());
            (None, Some(away))
        }
    };
    let runs = runs.unwrap_or_else(|error| {
        disagreements.push(error.to_string());
        Runs::unknown()
    });
    if environments.is_empty() && routing.is_none() && runs.is_empty() && disagreements.is_empty() {
        return Err(operator.unknown().await);
    }
    let world = World {
        environments,
        routing,
        ..World::default()
    };
    let view = survey(&world);
    disagreements.extend(view.disagreements.iter().cloned());
    match &away {
        None => disagreements.extend(against_journal(operator, &world, view.live, &runs)),
        Some(_) => disagreements.extend(remembered(operator, &runs)),
    }
    let agrees = disagreements.is_empty();

    let show = async |release: Release| match find(&world, release) {
        Some(environment) => Some(show(operator, environment, view.live).await),
        None => None,
    };
    let live = match view.live {
        Some(live) => show(live).await,
        None => None,
    };
    let mut standby = Vec::new();
    for &release in &view.standby {
        standby.extend(show(release).await);
    }
    let mut withdrawn = Vec::new();
    for &release in &view.withdrawn {
        withdrawn.extend(show(release).await);
    }
    let mut candidate = None;
    let mut unplaced = Vec::new();
    if away.is_some() {
        for environment in &world.environments {
            unplaced.push(self::show(operator, environment, None).await);
        }
    } else if let Some(&first) = view.candidates.first() {
        candidate = show(first).await;
    }
    Ok(StatusView {
        service: operator.service.to_string(),
        live,
        standby,
        candidate,
        withdrawn,
        unplaced,
        pointer: PointerView {
            kind: "proxy".into(),
            routing: world.routing.clone(),
            away,
            agrees,
        },
        lease: holder.ok().flatten().map(|holder| holder.to_string()),
        disagreements,
        unfinished: unfinished(&runs).and_then(words),
    })
}

async fn show(
    operator: &Operator,
    environment: &Environment,
    live: Option<Release>,
) -> EnvironmentView {
    let fit = match live == Some(environment.release) {
        true => operator.fitness(environment).await,
        false => operator.fitness(&environment.at_rest()).await,
    };
    let workers = environment.workers().map(|worker| WorkerView {
        container: worker.name.clone(),
        does: match worker.runs() {
            true => Does::Run,
            false => Does::Rest,
        },
    });
    let mut image_ids: Vec<_> = environment
        .containers
        .iter()
        .map(|container| container.image_id.clone())
        .collect();
    image_ids.sort_unstable();
    image_ids.dedup();
    EnvironmentView {
        release: environment.release,
        slot: environment.slot,
        created: environment.created,
        fit,
        endpoints: environment.endpoints(),
        image_ids,
        workers: workers.collect(),
    }
}

/// What the journal says of a pointer that cannot be asked.
fn remembered(operator: &Operator, runs: &[RunLog]) -> Option<String> {
    let to = last_move(runs)?.to;
    let service = &operator.service;
    Some(format!(
        "the journal says that {service}@{to} was made live last"
    ))
}

/// Where the journal's last move and the pointer differ.
fn against_journal(
    operator: &Operator,
    world: &World,
    live: Option<Release>,
    runs: &[RunLog],
) -> Option<String> {
    let moved = last_move(runs)?;
    let service = &operator.service;
    match (&world.routing, live) {
        (None, _) => Some(format!(
            "the journal says that {service}@{} is live, and the pointer knows nothing of {service}",
            moved.to
        )),
        (Some(routing), Some(live)) if live != moved.to => Some(format!(
            "the journal says that {service}@{} is live, and the pointer names {service}@{live} \
             (generation {}, by `{}`: {})",
            moved.to, routing.generation, routing.author, routing.reason
        )),
        (Some(_), _) => None,
    }
}

/// What a run was to do, and who began it.
fn words(log: &RunLog) -> Option<String> {
    let opened = log.opened()?;
    let service = &log.service;
    let what = match &opened.verb {
        Verb::Deploy { release, .. } => format!("deploy {service}@{release}"),
        Verb::Rollback { from, to, .. } => {
            format!("rollback from {service}@{from} to {service}@{to}")
        }
        Verb::Prune { .. } => "prune".into(),
        Verb::Down { .. } => "down".into(),
    };
    Some(format!("{what}, begun by `{}`", opened.by))
}

fn find(world: &World, release: Release) -> Option<&Environment> {
    world
        .environments
        .iter()
        .find(|environment| environment.release == release)
}
