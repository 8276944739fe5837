//! `flipside deploy`: stand up, prove, switch, bake, keep the old one.

use crate::cli;
use crate::core::event::Verb;
use crate::core::names::Release;
use crate::core::plan::{Plan, Run};
use crate::core::routing::FOREIGN;
use crate::core::survey::{is_drift, retirable, survey};
use crate::core::verdict::Outcome;
use crate::core::words::list;
use crate::core::workers::{self, Foretold};
use crate::core::world::World;
use crate::error::{Error, Exit, Touched, exit_of};
use crate::journal::RunLog;
use crate::perform::{bounded, free_slot};
use crate::pointer::PointerError;
use crate::probe::VantageError;

use super::context::{Context, Digests, Told};
use super::hooks::told;
use super::operator::{Held, Operator, highest};
use super::recall::{last_live, last_move, last_written, restore_marks, unfinished, unrecorded};
use super::run::{Ended, Opening, spec_of};
use super::settle::{Ahead, stops};
use super::shared::Foreseen;

/// On which terms a deploy goes ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// With a routing that is not its service's own doing.
    pub drift: Drift,
    /// Whether it stops once the release can be previewed.
    pub until_preview: bool,
}

/// What a deploy does with a routing that is not its service's own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drift {
    /// Says so, and leaves it.
    #[default]
    Refuse,
    /// Takes over what served before flipside came, and leaves what somebody has changed since.
    Adopt,
    /// Takes over either.
    Overwrite,
}

/// Runs the verb.
///
/// # Errors
/// Every expected one that keeps a run from beginning or from ending by itself.
pub async fn run(context: &Context, args: &cli::Deploy) -> Result<Exit, Error> {
    let digests = match args.dry_run {
        true => Digests::Dropped,
        false => Digests::Kept,
    };
    let loaded = context
        .load_plan(&args.plan, digests, Told::Cautions)
        .await?;
    let mut operator = context
        .operator_of_plan(&loaded.plan, &args.plan.set)
        .await?;
    operator.lock_wait = args.lock.lock_wait;
    let terms = Terms {
        drift: match (args.force, args.adopt) {
            (true, _) => Drift::Overwrite,
            (false, true) => Drift::Adopt,
            (false, false) => Drift::Refuse,
        },
        until_preview: args.until_preview,
    };
    if args.dry_run {
        return dry_run(&operator, &loaded.plan, terms).await;
    }
    let record = serde_json::to_value(&loaded.record).map_err(|error| Error::Bug {
        what: format!("the plan cannot be recorded: {error}"),
    })?;
    let ended = deploy(&operator, loaded.plan, record, terms).await?;
    operator.tell_unused(&ended).await;
    operator.tell_end(&ended);
    Ok(exit_of(ended.outcome))
}

/// Deploys `plan`; `record` is what a resumed run reads it back from.
///
/// # Errors
/// As [`run`].
pub async fn deploy(
    operator: &Operator,
    plan: Plan,
    record: serde_json::Value,
    terms: Terms,
) -> Result<Ended, Error> {
    operator.journal()?;
    if terms.until_preview {
        can_preview(operator).await?;
    }
    if unfinished(&operator.need_runs().await?).is_none() {
        // Before the pointer is made ready; what is unfinished is settled before this is known.
        foresee(operator, &plan).await?;
    }
    let ready = operator.pointer.ready(operator.report.as_ref()).await;
    ready.map_err(|error| of_pointer(operator, error))?;
    let begun = bounded::begin(operator.vantage.as_ref(), operator.report.as_ref()).await;
    begun.map_err(of_vantage)?;
    let mut held = operator.acquire(async || operator.floor().await).await?;
    let ended = while_held(operator, plan, record, terms, &mut held).await;
    operator.let_go(held).await;
    ended
}

async fn while_held(
    operator: &Operator,
    plan: Plan,
    record: serde_json::Value,
    terms: Terms,
    held: &mut Held,
) -> Result<Ended, Error> {
    let runs = operator.need_runs().await?;
    if let Some(ended) = operator.settle(&runs, Ahead::Release, held).await? {
        return Ok(ended);
    }
    let mut runs = operator.need_runs().await?;
    let mut world = operator.look().await?;
    refuse_drift(operator, &world, &runs, terms.drift)?;
    if let Some(ended) = operator.hand_over(&mut runs, &mut world, held).await? {
        match stops(ended) {
            None => {}
            // Its own workers may be what mends it.
            Some(ended) if ended.outcome == Outcome::Stuck => operator
                .report
                .warn("the workers do not run as they should; the deploy goes on all the same"),
            Some(ended) => return Ok(ended),
        }
        // It has taken its time.
        refuse_drift(operator, &world, &runs, terms.drift)?;
    }
    let known = last_written(&runs);
    if !plan.shared.is_empty()
        && let Some(ended) = operator.settle_shared(&mut runs, &world, held).await?
    {
        return Ok(ended);
    }
    let foreseen = foresee(operator, &plan).await?;
    for caution in foreseen.cautions {
        operator.report.warn(&caution);
    }

    let world = restore_marks(operator, &runs, world).await?;
    let view = survey(&world);
    let (_, newest) = highest(&runs, &world, &view);
    let release = Release(newest.0 + 1);
    let slot = free_slot(&world, view.live);
    let policy = plan.policy.clone();
    let verb = Verb::Deploy {
        release,
        slot,
        until_preview: terms.until_preview,
    };
    let mut opened = operator.opening(verb, policy, &world, held.lease.fence(), release);
    opened.pointer = Some(plan.pointer.clone());
    opened.plan = Some(record);
    opened.live_only = with_workers(&plan, &world, release);
    opened.hooks = plan.hooks.iter().map(|hook| hook.plan.clone()).collect();
    let spec = spec_of(plan, release, slot, &opened);
    warn_of_outlived(operator, &world, &spec.plan);
    let run = runs.next;
    let seen = unrecorded(known, world.routing.as_ref());
    let opening = Opening {
        run,
        opened,
        spec: Some(spec),
        seen,
        unread: None,
    };
    operator.begin(opening, &world, held).await
}

/// Refuses to begin what would have to stop before it came to its preview.
async fn can_preview(operator: &Operator) -> Result<(), Error> {
    let pointer = &operator.pointer;
    if pointer.capabilities().preview {
        let had = pointer.foresee_preview().await;
        return had.map_err(|error| of_pointer(operator, error));
    }
    // Of some it is known once they have been asked.
    let asked = pointer.foresee().await;
    match (pointer.capabilities().preview, asked) {
        (true, _) => Ok(()),
        (false, Err(error @ PointerError::OutOfReach { .. })) => Err(of_pointer(operator, error)),
        (false, _) => Err(Error::NoPreview {
            pointer: pointer.describe(),
        }),
    }
}

/// Refuses what would fail for what stands now: before a release is begun, and long before its
/// migration would have run.
async fn foresee(operator: &Operator, plan: &Plan) -> Result<Foreseen, Error> {
    let foreseen = operator.foresee_shared(plan).await?;
    let had = operator.pointer.foresee().await;
    had.map_err(|error| of_pointer(operator, error))?;
    Ok(foreseen)
}

fn of_vantage(error: VantageError) -> Error {
    match error {
        VantageError::Away { place, why } => Error::PointerOutOfReach {
            pointer: place,
            why,
            touched: Touched::Nothing,
        },
        VantageError::Unable { .. } => Error::PointerRefused {
            what: error.to_string(),
            mend: None,
        },
    }
}

fn of_pointer(operator: &Operator, error: PointerError) -> Error {
    Error::of_pointer(operator.service.as_str(), error, Touched::Nothing)
}

/// A role that has become live-only still runs in releases from before that.
fn warn_of_outlived(operator: &Operator, world: &World, plan: &Plan) {
    let names = workers::outlived(world, plan);
    if !names.is_empty() {
        operator.report.warn(&format!(
            "{} is from before `run: live-only` and runs until its release is retired; until then \
             two may work at once",
            list(&names)
        ));
    }
}

/// The releases that have live-only roles, that of `plan` included.
fn with_workers(plan: &Plan, world: &World, release: Release) -> Vec<Release> {
    let mut releases = workers::releases(world);
    let mut roles = plan.roles.values();
    releases.extend(
        roles
            .any(|role| role.run == Run::LiveOnly)
            .then_some(release),
    );
    releases
}

/// A routing that names something else than what stands, or that has forgotten the service, is a
/// hand's or an accident's; it is shown, and not overwritten.
fn refuse_drift(
    operator: &Operator,
    world: &World,
    runs: &[RunLog],
    drift: Drift,
) -> Result<(), Error> {
    let known = last_live(runs);
    let stands = known.and_then(|live| world.environments.iter().find(|e| e.release == live));
    let foreign = world
        .routing
        .as_ref()
        .filter(|routing| routing.is_foreign());
    let forgotten = known.is_some_and(|live| live != FOREIGN) || is_ours(world);
    if let (Some(routing), false) = (foreign, forgotten) {
        return match drift {
            Drift::Adopt | Drift::Overwrite => Ok(()),
            Drift::Refuse => Err(Error::Foreign {
                service: operator.service.to_string(),
                found: foreign_places(routing),
            }),
        };
    }
    let lost = (world.routing.is_none() && stands.is_some()) || foreign.is_some();
    if drift == Drift::Overwrite || !(lost || is_drift(world) || is_older(world, runs)) {
        return Ok(());
    }
    let expected = match known {
        Some(live) => {
            let endpoints = stands.map(crate::core::world::Environment::endpoints);
            let places = places(&endpoints.unwrap_or_default());
            format!("{}@{live}{places}", operator.service)
        }
        None => "an environment that stands on the engine".into(),
    };
    let found = world.routing.as_ref().map_or_else(
        || "nothing".into(),
        |routing| {
            let routes = routing.routes.iter().filter(|route| route.weight > 0);
            let named: Vec<_> = routes
                .map(|r| format!("{}@{}{}", operator.service, r.release, places(&r.endpoints)))
                .collect();
            if foreign.is_some() {
                return format!("something that is not on record{}", foreign_places(routing));
            }
            format!(
                "{} (written by `{}`: {})",
                named.join(", "),
                routing.author,
                routing.reason
            )
        },
    );
    Err(Error::Drifted {
        service: operator.service.to_string(),
        expected,
        found,
    })
}

/// Whether the pointer names another release than the journal's last move, and has not moved since:
/// its table was edited, or an old one put back.
fn is_older(world: &World, runs: &[RunLog]) -> bool {
    let (Some(moved), Some(routing)) = (last_move(runs), &world.routing) else {
        return false;
    };
    Some(routing.generation) <= last_written(runs) && routing.live() != Some(moved.to)
}

/// Whether what the pointer shows as foreign may be the service itself: a pointer that has lost its
/// memory knows no release of it.
fn is_ours(world: &World) -> bool {
    let routes = world.routing.iter().flat_map(|routing| &routing.routes);
    let shown: Vec<_> = routes.flat_map(|route| &route.endpoints).collect();
    world.environments.iter().any(|environment| {
        let marks = world.engine_marks.get(&environment.release);
        let mut endpoints = environment.endpoints().into_iter();
        marks.is_some_and(|marks| marks.served.is_some())
            || endpoints.any(|at| shown.contains(&&at))
    })
}

/// Where what served before flipside came answers.
fn foreign_places(routing: &crate::core::routing::Routing) -> String {
    let routes = routing.routes.iter().filter(|route| route.weight > 0);
    let all: Vec<_> = routes.flat_map(|route| &route.endpoints).copied().collect();
    places(&all)
}

fn places(endpoints: &[std::net::SocketAddr]) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    let endpoints: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    format!(" at {}", endpoints.join(", "))
}

async fn dry_run(operator: &Operator, plan: &Plan, terms: Terms) -> Result<Exit, Error> {
    if terms.until_preview {
        can_preview(operator).await?;
    }
    let runs = operator.need_runs().await?;
    let world = operator.look_or_absent().await?;
    refuse_drift(operator, &world, &runs, terms.drift)?;
    let foreseen = foresee(operator, plan).await?;
    let view = survey(&world);
    let (_, newest) = highest(&runs, &world, &view);
    let release = Release(newest.0 + 1);
    let service = &operator.service;
    let slot = free_slot(&world, view.live);
    let now = (operator.clock)();
    let retired = retirable(&world, &plan.policy, now);
    let name = |release: &Release| format!("{service}@{release}");
    let mut lines = vec![format!("would deploy {} in slot {slot}", name(&release))];
    lines.push(match &view.live {
        Some(FOREIGN) => "what serves now would be release 0: a rollback can go back to it".into(),
        Some(live) => format!("{} is live and would stay up as standby", name(live)),
        None => "nothing is live yet".into(),
    });
    for role in &foreseen.absent {
        lines.push(format!("would stand up the shared role `{role}`"));
    }
    lines.extend(foreseen.cautions);
    let workers = Foretold::of(&world, &with_workers(plan, &world, release), release);
    lines.extend(workers.words(service));
    // The standby of now is one older once the new release is live.
    let beyond = view
        .standby
        .iter()
        .skip((plan.policy.keep.max(1) as usize).saturating_sub(1));
    let mut gone: Vec<Release> = retired.into_iter().chain(beyond.copied()).collect();
    gone.sort_unstable();
    gone.dedup();
    if !gone.is_empty() {
        let names: Vec<_> = gone.iter().map(name).collect();
        lines.push(format!("would then retire {}", names.join(", ")));
    }
    if terms.until_preview {
        lines.push("would stop before the switch, at its preview".into());
    }
    let hooks: Vec<_> = plan.hooks.iter().map(|hook| &hook.plan).collect();
    lines.extend(hooks.iter().map(|hook| told(hook)));
    let mut value = serde_json::json!({
        "event": "dry-run", "service": service, "release": release, "slot": slot,
        "live": view.live, "retires": gone,
        "stops_workers_of": workers.stops, "starts_workers_of": workers.starts,
    });
    if !foreseen.absent.is_empty() {
        value["stands_up_shared"] = serde_json::json!(foreseen.absent);
    }
    if !hooks.is_empty() {
        value["hooks"] = serde_json::json!(hooks);
    }
    operator.report.data(&value, &lines.join("\n"));
    Ok(Exit::Done)
}
