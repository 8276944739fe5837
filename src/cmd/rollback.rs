//! `flipside rollback`: back to the standby, now. A pointer move and nothing else: it needs the
//! engine and the pointer; journal, plan, registry and checkout may all be gone.

use std::sync::Arc;
use std::time::Duration;

use crate::cli;
use crate::core::action::{Ask, Proof};
use crate::core::event::Verb;
use crate::core::hook::HookPlan;
use crate::core::names::{Fence, Millis, Release};
use crate::core::routing::FOREIGN;
use crate::core::sleep::{found_asleep, word};
use crate::core::survey::{View, is_drift, survey};
use crate::core::verdict::Outcome;
use crate::core::workers::{self, Foretold};
use crate::core::world::{ContainerState, Environment, World};
use crate::error::{Error, Exit, Kept, Touched, exit_of};
use crate::journal::JournalError;
use crate::lease::{self, Acquired, Patience, Reply};
use crate::report::tables::Fit;

use super::context::{Answer, Context};
use super::hooks::{for_leaving, told};
use super::operator::{Held, Operator, Runs, highest};
use super::recall::{last_written, unrecorded};
use super::run::{Ended, Opening};

/// How long the holder of the lease has to answer before the service is taken over.
const ANSWER: Duration = Duration::from_secs(2);
/// How often a holder that has answered is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a holder that has answered may take to stop what it does.
const HAND_OVER: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The release to go back to; `None`: the best standby.
    pub to: Option<Release>,
    /// What it must show.
    pub proof: Proof,
}

/// What would be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// The release that is left.
    pub from: Release,
    /// The release that is gone back to.
    pub to: Release,
}

/// Runs the verb.
///
/// # Errors
/// Every expected one that keeps the pointer from being moved.
pub async fn run(context: &Context, args: &cli::Rollback) -> Result<Exit, Error> {
    let operator = context.operator_of_service(&args.service).await?;
    let proof = if args.force {
        Proof::Trusted
    } else {
        Proof::Round
    };
    let wanted = Wanted {
        to: args.to.map(Release),
        proof,
    };
    let (world, mut runs) = tokio::join!(operator.look(), operator.runs());
    let mut world = match world {
        Err(Error::PointerOutOfReach { .. }) if !args.dry_run => revived(&operator).await?,
        world => world?,
    };
    let way = choose(&operator, &world, wanted)?;
    if args.dry_run {
        let hooks = runs
            .as_ref()
            .ok()
            .and_then(|runs| for_leaving(runs, way.from));
        let hooks = hooks.unwrap_or_default();
        return dry_run(&operator, &world, &way, proof, &hooks).await;
    }
    if context.may_ask() {
        let question = question(&operator, &world, &way).await;
        if context.confirm(&operator.report, &question)? == Answer::No {
            let service = &operator.service;
            let what = format!("roll `{service}` back from {service}@{}", way.from);
            return Err(Error::Declined { what });
        }
        // The answer may have taken long.
        runs = operator.runs().await;
        world = operator.look().await?;
    }
    let known = runs.unwrap_or_else(Runs::unread);
    let target = find(&world, way.to).ok().cloned();
    let ended = roll_back(&operator, wanted, world, &known).await?;
    operator.tell_end(&ended);
    let refused = ended.outcome == Outcome::Stuck && !ended.state.has_moved();
    if let (true, Some(failure)) = (refused, &ended.state.failure) {
        if failure.replicas.is_empty() {
            return Err(Error::PointerRefused {
                what: failure.what.clone(),
                mend: failure.hint.clone(),
            });
        }
        let reasons = failure.replicas.iter();
        let reasons: Vec<String> = reasons
            .flat_map(|replica| replica.reasons.clone())
            .collect();
        return Err(unfit(&operator, target.as_ref(), way.to, reasons).await);
    }
    Ok(exit_of(ended.outcome))
}

/// Rolls back, from `world` as just looked at; `known` are the newest runs, none where the journal
/// is out of reach: it is not waited for again.
///
/// # Errors
/// As [`run`].
pub async fn roll_back(
    operator: &Operator,
    wanted: Wanted,
    world: World,
    known: &Runs,
) -> Result<Ended, Error> {
    let (floor, _) = highest(known, &world, &View::default());
    let (mut held, contended) = seize(operator, floor).await?;
    let unread = known.unread.clone();
    let ended = while_held(operator, wanted, world, contended, unread, &mut held).await;
    operator.let_go(held).await;
    ended
}

/// Whether somebody else had the service just before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contended {
    No,
    Yes,
}

async fn while_held(
    operator: &Operator,
    wanted: Wanted,
    mut world: World,
    contended: Contended,
    unread: Option<JournalError>,
    held: &mut Held,
) -> Result<Ended, Error> {
    if contended == Contended::Yes {
        world = operator.look().await?;
    }
    let way = choose(operator, &world, wanted)?;
    if is_drift(&world) {
        operator.report.warn(&format!(
            "the pointer does not say what stands: {}",
            survey(&world).disagreements.join("; ")
        ));
    }
    let runs = match unread {
        Some(why) => Runs::unread(why),
        None => operator.runs().await.unwrap_or_else(Runs::unread),
    };
    let known = &runs;
    let view = survey(&world);
    let (_, newest) = highest(known, &world, &view);
    let target = match way.to {
        FOREIGN => None,
        to => Some(find(&world, to)?),
    };
    let policy = match target {
        Some(target) => target.labels.policy.clone(),
        None => find(&world, way.from)?.labels.policy.clone(),
    };
    let verb = Verb::Rollback {
        from: way.from,
        to: way.to,
        proof: wanted.proof,
    };
    let mut opened = operator.opening(verb, policy, &world, held.lease.fence(), newest);
    let hooks = for_leaving(known, way.from);
    opened.hooks = hooks.clone().unwrap_or_default();
    let run = known.next;
    // Found before, written after: before the pointer moves only the intent is.
    let mut seen = unrecorded(last_written(known), world.routing.as_ref());
    // No standby is fit without its database, and to join one takes a moment and restarts nothing.
    if let Some(target) = target {
        seen.extend(operator.join_in_passing(target).await);
    }
    let opening = Opening {
        run,
        opened,
        spec: None,
        seen,
        unread: known.unread.clone(),
    };
    let ended = operator.begin(opening, &world, held).await?;
    if hooks.is_none() && ended.state.has_moved() {
        operator.report.warn(&format!(
            "the journal tells nothing of {}@{}: whether it has hooks for a rollback is not known, and none ran",
            operator.service, way.from
        ));
    }
    // Stuck after its move, it has overtaken what was under way all the same.
    let over = matches!(ended.outcome, Outcome::Done | Outcome::Stuck);
    if over && ended.state.has_moved() {
        operator.settle_left(&runs, held).await;
    }
    Ok(ended)
}

/// Takes the lease; from a living holder by asking, from one that does not answer by force.
async fn seize(operator: &Operator, floor: Fence) -> Result<(Held, Contended), Error> {
    let of_engine = |error| Error::of_engine(error, Touched::Nothing);
    let service = &operator.service;
    let holder = match operator.try_acquire(floor, Patience::Now).await? {
        Acquired::Got(lease) => return Ok((operator.listen(lease), Contended::No)),
        Acquired::HeldBy(holder) => holder,
    };
    operator
        .report
        .say(&format!("{holder} holds `{service}`: asking for it"));
    let engine = Arc::clone(&operator.engine);
    let asked = lease::ask(engine, service, &Ask::Yield, &operator.author).await;
    if let Some(asked) = asked.map_err(of_engine)? {
        let reply = asked.answered(ANSWER).await.map_err(of_engine)?;
        if reply == Reply::Silent {
            asked.withdraw().await.map_err(of_engine)?;
            operator
                .report
                .warn(&format!("{holder} does not answer: taking over"));
            return Ok((take_over(operator, floor).await?, Contended::Yes));
        }
    }
    let end = tokio::time::Instant::now() + HAND_OVER;
    while tokio::time::Instant::now() < end {
        if let Acquired::Got(lease) = operator.try_acquire(floor, Patience::Now).await? {
            return Ok((operator.listen(lease), Contended::Yes));
        }
        tokio::time::sleep(LOOK).await;
    }
    operator
        .report
        .warn(&format!("{holder} does not let go: taking over"));
    Ok((take_over(operator, floor).await?, Contended::Yes))
}

async fn take_over(operator: &Operator, floor: Fence) -> Result<Held, Error> {
    let engine = Arc::clone(&operator.engine);
    let (service, who) = (&operator.service, operator.who());
    match lease::take_over(engine, service, &who, floor, operator.terms).await {
        Ok(Acquired::Got(lease)) => Ok(operator.listen(lease)),
        Ok(Acquired::HeldBy(holder)) => {
            let (service, holder) = (service.to_string(), holder.to_string());
            Err(Error::HeldBy { service, holder })
        }
        Err(error) => Err(Error::of_engine(error, Touched::Nothing)),
    }
}

/// Which way a rollback goes, by what stands and what the pointer says.
///
/// # Errors
/// Where there is nothing to go back to, or nothing says that it ever served.
pub fn choose(operator: &Operator, world: &World, wanted: Wanted) -> Result<Way, Error> {
    let view = survey(world);
    let service = operator.service.to_string();
    let nothing = |why: String| Error::NothingToRollBackTo {
        service: service.clone(),
        why,
        kept: kept(world, &view),
    };
    let Some(from) = view.live else {
        return Err(nothing("the pointer names no release of it".into()));
    };
    let to = match wanted.to {
        Some(to) if to == from => return Err(nothing(format!("{service}@{to} is live already"))),
        Some(to) => to,
        None => match view.standby.first().or(view.adopted.as_ref()) {
            Some(&standby) => standby,
            None => match older(world, &view, from) {
                // Marks are gone; only a person can say that this one has served.
                Some(candidate) if wanted.proof == Proof::Trusted => candidate,
                Some(candidate) => return Err(Error::NoMemory { service, candidate }),
                None => return Err(nothing("no older environment is kept".into())),
            },
        },
    };
    if view.adopted == Some(to) {
        return Ok(Way { from, to });
    }
    if !world
        .environments
        .iter()
        .any(|environment| environment.release == to)
    {
        return Err(nothing(format!("no environment of {service}@{to} is kept")));
    }
    let remembered = view.standby.contains(&to) || view.withdrawn.contains(&to);
    if !remembered && wanted.proof == Proof::Round {
        return Err(Error::NoMemory {
            service,
            candidate: to,
        });
    }
    Ok(Way { from, to })
}

/// The newest environment older than the live one of which nothing at all is remembered.
fn older(world: &World, view: &View, live: Release) -> Option<Release> {
    let forgotten = |release: &Release| !view.marks.contains_key(release);
    world
        .environments
        .iter()
        .map(|e| e.release)
        .filter(|r| *r < live)
        .filter(forgotten)
        .max()
}

fn kept(world: &World, view: &View) -> Vec<Kept> {
    let what = |release: Release| {
        if Some(release) == view.adopted {
            return "served before flipside came".to_owned();
        }
        let kind = if Some(release) == view.live {
            "live"
        } else if view.withdrawn.contains(&release) {
            "withdrawn"
        } else if view.standby.contains(&release) {
            "standby"
        } else {
            "never served"
        };
        let found = world.environments.iter().find(|e| e.release == release);
        match found {
            Some(found) if found.is_up() => kind.to_owned(),
            Some(found) => match found_asleep(found, world) {
                Some(mode) => format!("{kind}, {}", word(mode)),
                None => format!("{kind}, down"),
            },
            None => format!("{kind}, down"),
        }
    };
    let stands = world
        .environments
        .iter()
        .map(|environment| environment.release);
    let stands = stands.chain(view.adopted);
    let others = stands.filter(|&release| Some(release) != view.live);
    others
        .map(|release| Kept {
            release,
            what: what(release),
        })
        .collect()
}

/// What stands, once a pointer that somebody has stopped runs again: until then nothing serves.
async fn revived(operator: &Operator) -> Result<World, Error> {
    let ready = operator.pointer.ready(operator.report.as_ref()).await;
    ready.map_err(|error| Error::of_pointer(operator.service.as_str(), error, Touched::Nothing))?;
    operator.look().await
}

/// That a release is not fit, for these reasons and for what it lacks of shared roles.
async fn unfit(
    operator: &Operator,
    target: Option<&Environment>,
    release: Release,
    mut reasons: Vec<String>,
) -> Error {
    let mut mends = Vec::new();
    if let Some(target) = target {
        for (what, mend) in operator.lacks(target).await {
            reasons.push(what);
            mends.push(mend);
        }
        mends.extend(wake(target).map(|wake| format!("start it: {wake}")));
    }
    Error::StandbyUnfit {
        service: operator.service.to_string(),
        release,
        reasons,
        mends,
    }
}

/// The command that starts what has been stopped of a release's exposed replicas. (What is paused is
/// woken by the rollback itself.)
fn wake(environment: &Environment) -> Option<String> {
    let exposed = &environment.labels.exposed.role;
    let ended = |state: &ContainerState| {
        matches!(
            state,
            ContainerState::Exited { .. } | ContainerState::Created
        )
    };
    let replicas = environment.containers.iter();
    let stopped = replicas.filter(|c| c.role == *exposed && ended(&c.state));
    let names: Vec<_> = stopped.map(|container| container.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("docker start {}", names.join(" ")))
}

fn find(world: &World, release: Release) -> Result<&Environment, Error> {
    world
        .environments
        .iter()
        .find(|environment| environment.release == release)
        .ok_or_else(|| Error::Bug {
            what: format!("release {release} was chosen and does not stand"),
        })
}

async fn question(operator: &Operator, world: &World, way: &Way) -> String {
    let service = &operator.service;
    let fit = match find(world, way.to) {
        Err(_) if way.to == FOREIGN => "not flipside's, and not checked".to_owned(),
        Ok(target) => match operator.fitness(&target.at_rest(), world).await {
            Fit::Yes => "fit right now".to_owned(),
            Fit::Asleep(mode) => format!("{}: it is woken and proven first", word(mode)),
            Fit::No(reasons) => format!("NOT fit: {}", reasons.join("; ")),
            Fit::Unknown(why) => format!("not checked: {why}"),
        },
        Err(error) => error.to_string(),
    };
    let (from, to) = (age(operator, world, way.from), age(operator, world, way.to));
    format!(
        "from  {service}@{}  live, {from} old\nto    {service}@{}  {to} old, {fit}\n\
         roll back? [y/N] ",
        way.from, way.to
    )
}

fn age(operator: &Operator, world: &World, release: Release) -> String {
    let created: Option<Millis> = world
        .environments
        .iter()
        .find(|e| e.release == release)
        .map(|e| e.created);
    created.map_or("?".into(), |created| {
        crate::core::words::millis((operator.clock)().saturating_sub(created))
    })
}

async fn dry_run(
    operator: &Operator,
    world: &World,
    way: &Way,
    proof: Proof,
    hooks: &[HookPlan],
) -> Result<Exit, Error> {
    let service = &operator.service;
    let target = match way.to {
        FOREIGN => None,
        to => Some(find(world, to)?),
    };
    let fit = match target {
        Some(target) => operator.fitness(&target.at_rest(), world).await,
        None => Fit::Yes,
    };
    let asleep = match fit {
        Fit::Asleep(mode) => Some(word(mode)),
        Fit::Yes | Fit::No(_) | Fit::Unknown(_) => None,
    };
    let reasons = match fit {
        Fit::Yes | Fit::Asleep(_) => Vec::new(),
        Fit::No(reasons) => reasons,
        Fit::Unknown(why) => vec![why],
    };
    if !reasons.is_empty() && proof == Proof::Round {
        return Err(unfit(operator, target, way.to, reasons).await);
    }
    let workers = Foretold::of(world, &workers::releases(world), way.to);
    let mut value = serde_json::json!({
        "event": "dry-run", "service": service, "from": way.from, "to": way.to,
        "fit": reasons.is_empty() && asleep.is_none(), "asleep": asleep,
        "stops_workers_of": workers.stops, "starts_workers_of": workers.starts,
    });
    let fit = match (asleep, reasons.is_empty()) {
        (Some(mode), _) => format!("{mode} and would be woken and proven first"),
        (None, true) if way.to == FOREIGN => "what served before flipside came".to_owned(),
        (None, true) => "fit".to_owned(),
        (None, false) => format!("NOT fit: {}", reasons.join("; ")),
    };
    if !hooks.is_empty() {
        value["hooks"] = serde_json::json!(hooks);
    }
    let mut text = format!(
        "would roll back from {service}@{} to {service}@{}, which is {fit}",
        way.from, way.to
    );
    if let Some(workers) = workers.words(service) {
        text += &format!("\n{workers}");
    }
    for hook in hooks {
        text += &format!("\n{}", told(hook));
    }
    operator.report.data(&value, &text);
    Ok(Exit::Done)
}
