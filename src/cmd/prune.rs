//! `flipside prune`: remove what nothing needs.

use crate::cli;
use crate::core::event::Verb;
use crate::core::late::{self, Clients};
use crate::core::names::Release;
use crate::core::plan::StandbyMode;
use crate::core::sleep;
use crate::core::survey::{self, prunable, survey};
use crate::core::verdict::Outcome;
use crate::core::words::{clean, count, list};
use crate::core::workers;
use crate::core::world::World;
use crate::engine::Built;
use crate::error::{Error, Exit, Touched, exit_of};
use crate::journal::RunLog;
use crate::perform::images;
use crate::perform::late::see_clients;

use super::clear::{by_live_plan, hold, live_policy};
use super::context::Context;
use super::operator::{Held, Operator};
use super::recall::{last_move, taken_down};
use super::settle::{Ahead, stops};

/// Runs the verb.
///
/// # Errors
/// Where engine, pointer or journal cannot be asked, or somebody else holds the service.
pub async fn run(context: &Context, args: &cli::Prune) -> Result<Exit, Error> {
    let mut operator = context.operator_of_service(&args.service).await?;
    operator.lock_wait = args.lock.lock_wait;
    let world = operator.look_or_absent().await?;
    let never = operator.runs().await.is_ok_and(|runs| runs.is_empty());
    let bare = world.environments.is_empty() && world.routing.is_none();
    if never && bare && operator.shared().await?.is_empty() {
        return Err(operator.unknown().await);
    }
    if args.dry_run {
        let world = operator.look().await?;
        let runs = operator.need_runs().await?;
        let mut found = look(&operator, &world, &runs).await?;
        if !args.force {
            let clients = late_clients(&operator, &world, &found).await;
            found.keep(&clients);
        }
        say(&operator, Said::Would, &found, workers::astray(&world));
        let standing = operator.shared().await?;
        for one in standing.iter().filter(|one| one.halfway) {
            let (name, role) = (&one.container.name, &one.container.role);
            operator.report.say(&format!(
                "`{name}` is halfway: would end the `shared apply` to `{role}` that was cut short"
            ));
        }
        return Ok(Exit::Done);
    }
    prune(&operator, args.force).await
}

/// Settles what was left, and removes what nothing needs; with `force` also what clients still come to.
///
/// # Errors
/// As [`run`].
pub async fn prune(operator: &Operator, force: bool) -> Result<Exit, Error> {
    let mut held = hold(operator).await?;
    let pruned = while_held(operator, force, &mut held).await;
    operator.let_go(held).await;
    pruned
}

async fn while_held(operator: &Operator, force: bool, held: &mut Held) -> Result<Exit, Error> {
    let runs = operator.need_runs().await?;
    let first = runs.next;
    let mut open = runs.iter().filter(|log| log.outcome().is_none());
    let cut_short = open.any(|log| {
        let state = operator.read_back(log);
        log.opened().is_some() && !state.is_ok_and(|state| state.waits_for_promotion())
    });
    if let Some(ended) = operator.settle(&runs, Ahead::Other, held).await? {
        return Ok(exit_of(ended.outcome));
    }
    let mut runs = operator.need_runs().await?;
    let world = operator.look_or_absent().await?;
    if let Some(ended) = operator.settle_shared(&mut runs, &world, held).await? {
        return Ok(exit_of(ended.outcome));
    }
    let mut world = operator.look().await?;
    let astray = workers::astray(&world);
    let handed = operator.hand_over(&mut runs, &mut world, held).await?;
    // Workers that do not settle keep nothing from being removed.
    let handed = match handed.and_then(stops) {
        None => Outcome::Done,
        Some(ended) if ended.outcome == Outcome::Stuck => Outcome::Stuck,
        Some(ended) => return Ok(exit_of(ended.outcome)),
    };
    let to = astray.filter(|_| handed == Outcome::Done);
    let mut found = look(operator, &world, &runs).await?;
    if !found.is_empty() {
        let releases = found.releases.clone();
        let verb = Verb::Prune { releases, force };
        let ended = by_live_plan(operator, verb, &runs, &world, held).await?;
        if ended.outcome != Outcome::Done {
            return Ok(exit_of(ended.outcome));
        }
        found.keep(ended.state.clients.values());
        // Nor is what was needed again by then.
        let world = operator.look().await?;
        let stand = world.environments.iter().map(|it| it.release);
        found
            .releases
            .retain(|release| !stand.clone().any(|it| it == *release));
    }
    let before = match cut_short || runs.next > first {
        true => Before::Something,
        false => Before::Nothing,
    };
    say(operator, Said::Did(before), &found, to);
    Ok(exit_of(handed))
}

/// What there is to do.
struct Found {
    releases: Vec<Release>,
    /// What stays, or stays awake, although nothing else needs it, because clients may still come to it.
    kept: Vec<Release>,
    images: Vec<Built>,
    /// What was only made on the way to a shared role.
    of_shared: Vec<String>,
    restless: Restless,
}

impl Found {
    /// What of it is kept for its clients is neither removed nor put to sleep.
    fn keep<'a>(&mut self, clients: impl IntoIterator<Item = &'a Clients> + Clone) {
        let mut kept = late::kept(clients.clone(), &self.releases);
        kept.extend(late::kept_awake(clients, &self.restless.awake));
        self.releases.retain(|release| !kept.contains(release));
        self.restless
            .awake
            .retain(|release| !kept.contains(release));
        self.kept = kept.into_iter().collect();
    }

    fn is_empty(&self) -> bool {
        let stays = self.releases.is_empty() && self.images.is_empty() && self.of_shared.is_empty();
        stays && self.restless == Restless::default()
    }
}

async fn look(operator: &Operator, world: &World, runs: &[RunLog]) -> Result<Found, Error> {
    let of_shared = operator.engine.left_of_shared(&operator.service).await;
    let releases = unneeded(operator, world, runs);
    let mut restless = restless(world);
    // What is to go needs no sleep.
    restless.awake.retain(|release| !releases.contains(release));
    Ok(Found {
        of_shared: of_shared.map_err(|error| Error::of_engine(error, Touched::Nothing))?,
        releases,
        kept: Vec::new(),
        images: unneeded_images(operator, world).await?,
        restless,
    })
}

/// What is to be seen now of the clients of what would be removed or put to sleep.
async fn late_clients(operator: &Operator, world: &World, found: &Found) -> Vec<Clients> {
    if !operator.pointer.capabilities().cached {
        return Vec::new();
    }
    let all = found.releases.iter().chain(&found.restless.awake).copied();
    let releases = survey::remembered(world, &live_policy(world), all);
    let (engine, sink) = (operator.engine.as_ref(), operator.report.as_ref());
    see_clients(engine, &operator.service, world, &releases, sink).await
}

/// What nothing needs. Where the pointer names nothing, that is only what has certainly never
/// served: a journal without any move, or what a `down` that was cut short has left.
fn unneeded(operator: &Operator, world: &World, runs: &[RunLog]) -> Vec<Release> {
    let view = survey(world);
    let all = || {
        world
            .environments
            .iter()
            .map(|environment| environment.release)
            .collect()
    };
    if world.routing.is_none() && taken_down(runs) {
        return all();
    }
    if view.live.is_none() {
        let served = |log: &RunLog| {
            let opened = log.opened();
            opened.is_none_or(|opened| opened.live.is_some() || opened.generation.is_some())
        };
        let may_have_served = runs.iter().any(served) || last_move(runs).is_some();
        if may_have_served || !view.marks.is_empty() || runs.is_empty() {
            return Vec::new();
        }
        return all();
    }
    prunable(world, &live_policy(world), (operator.clock)())
}

/// Images built for the service that nothing needs now.
async fn unneeded_images(operator: &Operator, world: &World) -> Result<Vec<Built>, Error> {
    let built = operator.engine.images(&operator.service).await;
    let built = built.map_err(|error| Error::of_engine(error, Touched::Nothing))?;
    Ok(images::unneeded(&world.environments, built))
}

/// What does not sleep as the plan says.
#[derive(Debug, Default, PartialEq)]
struct Restless {
    /// Standbys that run.
    awake: Vec<Release>,
    /// What gets the traffic and sleeps.
    asleep: Option<Release>,
    mode: StandbyMode,
}

fn restless(world: &World) -> Restless {
    let live = survey(world).live;
    let live = world.environments.iter().find(|e| Some(e.release) == live);
    match live.map(|live| &live.labels.policy) {
        Some(policy) if policy.standby_mode != StandbyMode::Running => {
            let (awake, asleep) = (sleep::awake(world, policy), sleep::live_asleep(world));
            let mode = match awake.is_empty() {
                true => StandbyMode::Running,
                false => policy.standby_mode,
            };
            Restless {
                awake,
                asleep,
                mode,
            }
        }
        _ => Restless::default(),
    }
}

/// Whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Did(Before),
    Would,
}

/// What was done before it was looked what there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing.
    Nothing,
    /// Something was settled, of which its own run has told.
    Something,
}

/// `workers` is the release to which they are handed over, if they are.
fn say(operator: &Operator, said: Said, found: &Found, workers: Option<Release>) {
    let Found {
        releases,
        kept,
        images,
        of_shared,
        restless,
    } = found;
    let what = match said {
        Said::Did(_) => "removed",
        Said::Would => "would remove",
    };
    let steps = images.iter().filter(|image| image.step).count();
    let images = images.len() - steps;
    let name = |release: &Release| format!("{}@{release}", operator.service);
    let mut parts: Vec<_> = releases.iter().map(name).collect();
    if images > 0 {
        parts.push(count(images as u64, "image"));
    }
    if steps > 0 {
        parts.push(count(steps as u64, "cached build"));
    }
    parts.extend(of_shared.iter().map(|name| format!("`{}`", clean(name))));
    let value = serde_json::json!({
        "event": "pruned",
        "service": operator.service,
        "releases": releases,
        "kept": kept,
        "images": images,
        "cached_builds": steps,
        "of_shared": of_shared,
        "asleep": restless.awake,
        "woken": restless.asleep,
        "workers_of": workers,
        "what": what,
    });
    let would = |did: &str| match said {
        Said::Did(_) => did.to_owned(),
        Said::Would => format!("would be {did}"),
    };
    let mut lines = Vec::new();
    if !parts.is_empty() {
        lines.push(format!("{what} {}", list(&parts)));
    }
    if !kept.is_empty() {
        let names: Vec<_> = kept.iter().map(name).collect();
        let (kept, names) = (would("kept"), list(&names));
        lines.push(format!("{kept}: {names}, which clients may still use"));
    }
    if !restless.awake.is_empty() {
        let names: Vec<_> = restless.awake.iter().map(name).collect();
        let (put, mode) = (would("put to sleep"), sleep::word(restless.mode));
        lines.push(format!("{put}: {} ({mode})", list(&names)));
    }
    if let Some(release) = &restless.asleep {
        lines.push(format!("{}: {}", would("woken"), name(release)));
    }
    if let Some(release) = &workers {
        let name = name(release);
        lines.push(format!("{}: the workers, to {name}", would("handed over")));
    }
    if lines.is_empty() {
        lines.push(match said {
            Said::Did(Before::Something) => "nothing else to remove".into(),
            Said::Did(Before::Nothing) | Said::Would => "nothing to remove".into(),
        });
    }
    let text = lines.join("\n");
    operator.report.data(&value, &text);
}
