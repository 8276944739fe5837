//! `flipside status`: what is live, what stands by, what the pointer says, and where journal, engine
//! and pointer disagree.

use std::time::Duration;

use crate::cli::ServiceArg;
use crate::core::event::Verb;
use crate::core::names::Release;
use crate::core::plan::StandbyMode;
use crate::core::routing::{FOREIGN, Routing};
use crate::core::sharing::gone;
use crate::core::sleep::{awake, live_asleep, word};
use crate::core::survey::survey;
use crate::core::workers::{self, Rival};
use crate::core::world::{Cost, Environment, World};
use crate::error::{Error, Exit, Touched};
use crate::journal::RunLog;
use crate::lease;
use crate::report::foreign::ForeignView;
use crate::report::idle::Idle;
use crate::report::table_width;
use crate::report::tables::{
    Does, EnvironmentView, PointerView, StatusView, WorkerView, status_json, status_text,
};

use super::context::Context;
use super::operator::{Operator, Runs};
use super::recall::{last_move, last_wake, unfinished};
use super::run::left_to_give;
use super::shared::unused_words;

/// How long an engine elsewhere has to say what a standby holds; an old one may take a second over
/// it, which is not waited for.
const COST: Duration = Duration::from_millis(500);

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
    let (environments, marks, routing, runs, holder, shared, rivals) = tokio::join!(
        operator.engine.inspect(&operator.service),
        operator.engine_marks(),
        operator.pointer.read(),
        operator.runs(),
        lease::holder(operator.engine.as_ref(), &operator.service),
        operator.shared(),
        operator.engine.rivals(&operator.service, None),
    );
    let shared = shared?;
    let of_engine = |error| Error::of_engine(error, Touched::Nothing);
    let rivals = rivals.map_err(of_engine)?;
    let (environments, engine_marks) =
        (environments.map_err(of_engine)?, marks.map_err(of_engine)?);
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
    let bare = environments.is_empty() && routing.is_none() && shared.is_empty();
    if bare && runs.is_empty() && disagreements.is_empty() {
        return Err(operator.unknown().await);
    }
    let world = World {
        environments,
        routing,
        engine_marks,
    };
    let view = survey(&world);
    disagreements.extend(view.disagreements.iter().cloned());
    match &away {
        None => disagreements.extend(against_journal(operator, &world, view.live, &runs)),
        Some(_) => disagreements.extend(remembered(operator, &runs)),
    }
    let holder = holder.ok().flatten();
    disagreements.extend(at_work(operator, &world, holder.is_some()));
    let agrees = disagreements.is_empty();
    disagreements.extend(rivals.iter().map(Rival::words));
    let unfinished = unfinished(&runs);
    let again = unfinished.map_or_else(Vec::new, left_to_give);
    let unfinished = unfinished.and_then(words);
    // Whoever is at work may be about to stand up what uses them.
    let idle = holder.is_none() && unfinished.is_none();
    let unused = unused_words(&operator.service, &world.environments, &shared);
    let unused = unused.filter(|_| idle);
    if idle {
        // Whoever is at work has yet to come to it.
        disagreements.extend(wakeful(operator, &world));
    }

    let show = async |release: Release| match find(&world, release) {
        Some(environment) => Some(show(operator, environment, &world).await),
        None => None,
    };
    let live = match view.live {
        Some(live) => show(live).await,
        None => None,
    };
    let mut standby = Vec::new();
    for &release in &view.standby {
        let (shown, cost) = tokio::join!(show(release), cost(operator, &world, release));
        standby.extend(shown.map(|shown| EnvironmentView {
            idle: Some(Idle {
                cost,
                last_wake_us: last_wake(&runs, release),
            }),
            ..shown
        }));
    }
    let mut withdrawn = Vec::new();
    for &release in &view.withdrawn {
        withdrawn.extend(show(release).await);
    }
    let shown = world.routing.as_ref().and_then(|routing| routing.preview);
    let preview = shown.and_then(|_| operator.pointer.preview());
    let mut candidate = None;
    let mut unplaced = Vec::new();
    if away.is_some() {
        for environment in &world.environments {
            unplaced.push(self::show(operator, environment, &world).await);
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
        foreign: foreign(&world),
        unplaced,
        gone: gone(&world.environments, &shared),
        shared,
        unused,
        pointer: PointerView {
            kind: operator.kind().to_owned(),
            routing: world.routing.clone(),
            away,
            agrees,
            preview,
        },
        lease: holder.map(|holder| holder.to_string()),
        disagreements,
        unfinished,
        again,
    })
}

/// What served before flipside came, as far as the pointer remembers it.
fn foreign(world: &World) -> Option<ForeignView> {
    let routing = world.routing.as_ref()?;
    let routes = routing.routes.iter();
    let routes = routes.filter(|route| route.release == FOREIGN);
    routing.remembers(FOREIGN).then(|| ForeignView {
        is_live: routing.live() == Some(FOREIGN),
        endpoints: routes.flat_map(|route| &route.endpoints).copied().collect(),
    })
}

/// What a standby holds, as far as the engine says in time.
async fn cost(operator: &Operator, world: &World, release: Release) -> Cost {
    let Some(environment) = find(world, release) else {
        return Cost::default();
    };
    let asked = operator
        .engine
        .cost(&environment.containers, (operator.clock)());
    match tokio::time::timeout(COST, asked).await {
        Ok(Ok(cost)) => cost,
        Ok(Err(_)) | Err(_) => Cost::default(),
    }
}

/// Whose workers run that should not, and the other way round; with what mends it, unless somebody is
/// at work who has yet to come to it.
fn at_work(operator: &Operator, world: &World, held: bool) -> Vec<String> {
    let mend = match workers::astray(world) {
        Some(_) if !held => format!("; hand over with: flipside resume {}", operator.service),
        _ => String::new(),
    };
    let said = workers::disagreements(world).into_iter();
    said.map(|what| what + &mend).collect()
}

/// What sleeps, or does not, against the live release's plan.
fn wakeful(operator: &Operator, world: &World) -> Vec<String> {
    let service = &operator.service;
    let live = survey(world).live.and_then(|live| find(world, live));
    let Some(policy) = live.map(|live| &live.labels.policy) else {
        return Vec::new();
    };
    let mends = policy.standby_mode != StandbyMode::Running;
    let asleep = live_asleep(world).filter(|_| mends).map(|release| {
        format!("{service}@{release} gets the traffic and sleeps: flipside prune {service}")
    });
    let awake = awake(world, policy).into_iter().map(|release| {
        format!(
            "standby {service}@{release} runs, and the plan says {}: flipside prune {service}",
            word(policy.standby_mode)
        )
    });
    asleep.into_iter().chain(awake).collect()
}

async fn show(operator: &Operator, environment: &Environment, world: &World) -> EnvironmentView {
    let live = world.routing.as_ref().and_then(Routing::live);
    let fit = match live == Some(environment.release) {
        true => operator.fitness(environment, world).await,
        false => operator.fitness(&environment.at_rest(), world).await,
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
        idle: None,
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
        Verb::HandOver { to } => format!("hand the workers over to {service}@{to}"),
        Verb::Prune { .. } => "prune".into(),
        Verb::Down { .. } => "down".into(),
        Verb::Apply { .. } => "shared apply".into(),
    };
    Some(format!("{what}, begun by `{}`", opened.by))
}

fn find(world: &World, release: Release) -> Option<&Environment> {
    world
        .environments
        .iter()
        .find(|environment| environment.release == release)
}
