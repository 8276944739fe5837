//! `flipside shared apply`: give the shared roles the plan's settings; and what `deploy` asks of them
//! before it begins, and `prune` and `down` beside the releases.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli;
use crate::core::event::{Event, Verb};
use crate::core::names::{RoleName, ServiceName, Slot};
use crate::core::plan::Plan;
use crate::core::shared::{
    ALIASES, Owner, Shared, awaited, differences, in_order, is_alone, network, stopped, unreached,
};
use crate::core::sharing::{gone, unused};
use crate::core::survey::survey;
use crate::core::verdict::Outcome;
use crate::core::words::{clean, list};
use crate::core::world::{Environment, World};
use crate::error::{Error, Exit, Touched, exit_of};

use super::clear::{by_live_plan, hold};
use super::context::{Answer, Context, Digests, Told};
use super::operator::{Held, Operator, Runs, highest};
use super::run::{Ended, Opening, spec_of};
use super::settle::{Ahead, stops};

/// How long shared roles are looked after while something more urgent waits.
const IN_PASSING: Duration = Duration::from_secs(2);

/// Runs the verb.
///
/// # Errors
/// Where the plan has no shared role, the engine cannot be asked, somebody else holds the service, or
/// it would have to ask and cannot.
pub async fn run(context: &Context, args: &cli::SharedApply) -> Result<Exit, Error> {
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
    if loaded.plan.shared.is_empty() {
        return Err(Error::BadFlags {
            what: format!("the plan of `{}` has no shared role", operator.service),
            instead: Some("`run: shared` makes one; see: flipside help shared".into()),
        });
    }
    let found = look(&operator, &loaded.plan).await?;
    found.say(&operator);
    if found.roles.is_empty() || args.dry_run {
        return Ok(Exit::Done);
    }
    let what = format!("apply the plan to {}", quoted(&found.roles));
    if !context.common.yes {
        if !context.may_ask() {
            return Err(Error::NeedsYes { what });
        }
        if context.confirm(&operator.report, &format!("{what}? [y/N] "))? == Answer::No {
            return Err(Error::Declined { what });
        }
    }
    let record = serde_json::to_value(&loaded.record).map_err(|error| Error::Bug {
        what: format!("the plan cannot be recorded: {error}"),
    })?;
    let Some(ended) = apply(&operator, loaded.plan, record).await? else {
        return Ok(Exit::Done);
    };
    if ended.outcome == Outcome::Interrupted {
        operator.tell_end(&ended);
    }
    Ok(exit_of(ended.outcome))
}

/// Gives the shared roles the settings of `plan`, without asking; `record` is what a resumed run reads
/// it back from. `None` where nothing is left to apply.
///
/// # Errors
/// As [`run`].
pub async fn apply(operator: &Operator, plan: Plan, record: Value) -> Result<Option<Ended>, Error> {
    let mut held = hold(operator).await?;
    let ended = while_held(operator, plan, record, &mut held).await;
    operator.let_go(held).await;
    ended
}

async fn while_held(
    operator: &Operator,
    plan: Plan,
    record: Value,
    held: &mut Held,
) -> Result<Option<Ended>, Error> {
    let runs = operator.need_runs().await?;
    if let Some(ended) = operator.settle(&runs, Ahead::Other, held).await? {
        return Ok(Some(ended));
    }
    let runs = operator.need_runs().await?;
    // What was cut short may have come to its end just now.
    let roles = look(operator, &plan).await?.roles;
    if roles.is_empty() {
        operator.report.say("nothing is left to apply");
        return Ok(None);
    }
    let world = operator.look_or_absent().await?;
    let (_, newest) = highest(&runs, &world, &survey(&world));
    let settles = false;
    let (verb, policy) = (Verb::Apply { roles, settles }, plan.policy.clone());
    let mut opened = operator.opening(verb, policy, &world, held.lease.fence(), newest);
    opened.plan = Some(record);
    let release = opened.live.unwrap_or_default();
    let spec = spec_of(plan, release, Slot::Blue, &opened);
    let opening = Opening {
        run: runs.next,
        opened,
        spec: Some(spec),
        seen: Vec::new(),
        unread: None,
    };
    let ended = operator.begin(opening, &world, held).await?;
    Ok(Some(stops(ended.clone()).unwrap_or(ended)))
}

/// What there is to apply.
struct Found {
    /// To which roles, each after those that it depends on.
    roles: Vec<RoleName>,
    lines: Vec<String>,
    value: Vec<Value>,
}

async fn look(operator: &Operator, plan: &Plan) -> Result<Found, Error> {
    let standing = operator.engine.shared(&operator.service, Some(plan)).await;
    let standing = standing.map_err(|error| Error::of_engine(error, Touched::Nothing))?;
    let mut found = Found {
        roles: Vec::new(),
        lines: Vec::new(),
        value: Vec::new(),
    };
    for name in in_order(plan) {
        let of: Vec<&Shared> = standing
            .iter()
            .filter(|one| one.container.role == *name)
            .collect();
        let owner = plan.shared[name].network_of.as_ref();
        let owner = owner.filter(|owner| found.roles.contains(owner));
        found.take(name, &of, owner);
    }
    Ok(found)
}

impl Found {
    /// `owner` is the role whose network it uses, where that one's container is made anew.
    fn take(&mut self, name: &RoleName, of: &[&Shared], owner: Option<&RoleName>) {
        let differs = of.iter().find(|one| !one.differs.is_empty());
        let project = of.iter().find_map(|one| match &one.owner {
            Owner::Project(project) => Some(project),
            Owner::Flipside => None,
        });
        let differs = differs.map_or(&[][..], |one| &one.differs);
        let halfway = of.iter().any(|one| one.halfway);
        let with_owner = owner.filter(|_| differs.is_empty());
        let line = match (of, project) {
            ([], _) => format!("`{name}` is not there yet: the next deploy stands it up"),
            (_, Some(project)) => {
                let containers: Vec<_> = of
                    .iter()
                    .map(|one| format!("`{}`", clean(&one.container.name)))
                    .collect();
                let mut line = format!(
                    "`{name}` is {} of the Compose project `{}`: a container of flipside's own \
                     takes its place, with the volumes that the plan names; the old one is stopped \
                     and kept",
                    list(&containers),
                    clean(project)
                );
                if !differs.is_empty() {
                    line += &format!("; it differs in {}", differences(differs));
                }
                line
            }
            _ if halfway => format!("`{name}` is halfway: a `shared apply` was cut short"),
            _ if with_owner.is_some() => {
                let owner = with_owner.map_or("", RoleName::as_str);
                format!("`{name}` uses the network of `{owner}`, and is made anew with it")
            }
            _ if differs.is_empty() => format!("`{name}` is as the plan has it"),
            _ => format!("`{name}` differs in {}", differences(differs)),
        };
        let with_owner = owner.is_some() && !of.is_empty();
        if project.is_some() || halfway || !differs.is_empty() || with_owner {
            self.roles.push(name.clone());
        }
        self.lines.push(line);
        self.value.push(json!({
            "role": name,
            "differs": differs,
            "project": project,
            "halfway": halfway,
            "absent": of.is_empty(),
        }));
    }

    fn say(&self, operator: &Operator) {
        let mut lines = self.lines.clone();
        match self.roles.as_slice() {
            [] => lines.push("nothing to apply".into()),
            roles => lines.extend(roles.iter().map(|name| {
                format!(
                    "`{name}` stops for as long as it takes to start again; every release that uses \
                     it sees it gone"
                )
            })),
        }
        let value = json!({
            "event": "shared",
            "service": operator.service,
            "roles": self.value,
        });
        operator.report.data(&value, &lines.join("\n"));
    }
}

fn quoted(roles: &[RoleName]) -> String {
    list(
        &roles
            .iter()
            .map(|role| format!("`{role}`"))
            .collect::<Vec<_>>(),
    )
}

/// What a deploy would do to shared roles, and what a person should know of them.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    /// Those that would be stood up.
    pub(super) absent: Vec<RoleName>,
    /// What a person should know and no deploy mends, with what does: those that have stopped and that
    /// no release waits for, those that releases do not reach, and those that were joined under fewer
    /// names than they have now.
    pub(super) cautions: Vec<String>,
}

impl Operator {
    /// Refuses a plan whose shared roles stand with other settings, or have stopped though its
    /// release waits for them, and one beside whose live-only roles a Compose project's own run.
    pub(super) async fn foresee_shared(&self, plan: &Plan) -> Result<Foreseen, Error> {
        if is_alone(plan) {
            return Ok(Foreseen::default());
        }
        let rivals = self.engine.rivals(&self.service, Some(plan)).await;
        let rivals = rivals.map_err(|error| Error::of_engine(error, Touched::Nothing))?;
        if let Some(rival) = rivals.first() {
            return Err(Error::EngineRefused(rival.refusal()));
        }
        let standing = self.engine.shared(&self.service, Some(plan)).await;
        let standing = standing.map_err(|error| Error::of_engine(error, Touched::Nothing))?;
        let ours = standing.iter().filter(|one| one.owner == Owner::Flipside);
        let differing = ours.filter(|one| !one.halfway && !one.differs.is_empty());
        let differing: Vec<_> = differing
            .map(|one| (one.container.role.to_string(), one.differs.clone()))
            .collect();
        if !differing.is_empty() {
            return Err(Error::SharedDiffers {
                service: self.service.to_string(),
                roles: differing,
            });
        }
        let awaited = awaited(plan);
        let mut foreseen = Foreseen::default();
        // What is halfway is brought to an end before this counts.
        for one in stopped(&standing).filter(|one| !one.halfway) {
            let (role, name) = (&one.container.role, clean(&one.container.name));
            let what = format!(
                "the shared role `{role}` does not run: `{name}` {}",
                one.does()
            );
            if awaited.iter().any(|(waited_for, _)| *waited_for == role) {
                return Err(Error::Stuck {
                    service: self.service.to_string(),
                    what: format!("{what}; nothing was touched"),
                    next: Some(match &one.taker {
                        None => format!("see why: docker logs {name}; then {}", one.way_on()),
                        Some(_) => one.way_on(),
                    }),
                });
            }
            foreseen.cautions.push(format!("{what}; {}", one.way_on()));
        }
        let network = network(self.service.as_str());
        let unreached = unreached(plan, &standing, &network);
        foreseen.cautions.extend(unreached);
        foreseen
            .cautions
            .extend(standing.iter().filter_map(unnamed));
        let stands = |role: &RoleName| standing.iter().any(|one| one.container.role == *role);
        let absent = in_order(plan).into_iter().filter(|role| !stands(role));
        foreseen.absent = absent.cloned().collect();
        Ok(foreseen)
    }

    /// Ends, in a run of its own, what a `shared apply` has left of which no journal here knows; `runs`
    /// are looked at again after it. Answers how that ended, unless all is well.
    pub(super) async fn settle_shared(
        &self,
        runs: &mut Runs,
        world: &World,
        held: &mut Held,
    ) -> Result<Option<Ended>, Error> {
        let halfway = |one: &Shared| one.halfway;
        let Some(ended) = self.see_to(halfway, runs, world, held).await? else {
            return Ok(None);
        };
        let stop = match ended.outcome {
            Outcome::Done => stops(ended),
            _ => Some(ended),
        };
        if stop.is_none() {
            *runs = self.need_runs().await?;
        }
        Ok(stop)
    }

    /// Sees, in a run of its own, to the shared roles of which one of `these` stands: ends what is halfway,
    /// and joins what releases do not reach. `None` where there is none.
    pub(super) async fn see_to(
        &self,
        these: impl Fn(&Shared) -> bool,
        runs: &Runs,
        world: &World,
        held: &mut Held,
    ) -> Result<Option<Ended>, Error> {
        let standing = self.shared().await?;
        let these = standing.iter().filter(|one| these(one));
        let roles: BTreeSet<_> = these.map(|one| one.container.role.clone()).collect();
        if roles.is_empty() {
            return Ok(None);
        }
        let verb = Verb::Apply {
            roles: roles.into_iter().collect(),
            settles: true,
        };
        let ended = by_live_plan(self, verb, runs, world, held).await?;
        Ok(Some(ended))
    }

    /// Joins what stands for shared roles that a release was made for and does not reach, as far as that
    /// is quickly done: the proof that follows says whether it was enough. Answers what was done.
    pub(super) async fn join_in_passing(&self, target: &Environment) -> Vec<Event> {
        let said = target.labels.sharing.as_ref();
        if said.is_none_or(|said| said.roles.is_empty()) {
            return Vec::new();
        }
        let join = async {
            let standing = self.shared().await?;
            if !standing.iter().any(Shared::is_apart) {
                return Ok(Vec::new());
            }
            let joined = self.engine.join_shared(&self.service).await;
            joined.map_err(|error| Error::of_engine(error, Touched::Something))
        };
        let joined = match tokio::time::timeout(IN_PASSING, join).await {
            Ok(Ok(joined)) => joined,
            Ok(Err(error)) => {
                let why = format!("shared roles were not looked after: {error}");
                self.report.warn(&why);
                Vec::new()
            }
            Err(_) => {
                let seconds = IN_PASSING.as_secs();
                let why = format!("shared roles were not looked after within {seconds} s");
                self.report.warn(&why);
                Vec::new()
            }
        };
        joined
            .into_iter()
            .map(|what| Event::Seen { what })
            .collect()
    }

    /// What keeps a release from its shared roles, and what a person does about each.
    pub(super) async fn lacks(&self, target: &Environment) -> Vec<(String, String)> {
        let Some(said) = &target.labels.sharing else {
            return Vec::new();
        };
        let service = self.service.as_str();
        let asked = tokio::time::timeout(IN_PASSING, self.shared());
        let Ok(Ok(standing)) = asked.await else {
            return Vec::new();
        };
        let gone = gone([target], &standing).into_iter().map(|gone| {
            let what = format!("nothing stands for the shared role `{}`", gone.role);
            (what, gone.mend(service))
        });
        let used = standing
            .iter()
            .filter(|one| said.roles.contains_key(&one.container.role));
        let troubled = used.filter_map(|one| {
            let (role, what) = (&one.container.role, one.trouble(service)?);
            Some((
                format!("the shared role `{role}`: {what}"),
                one.mend(service)?,
            ))
        });
        gone.chain(troubled).collect()
    }

    /// Tells which shared roles a release that was given up has left behind, since no release uses
    /// them.
    pub(super) async fn tell_unused(&self, ended: &Ended) {
        let deploys = matches!(ended.state.opened.verb, Verb::Deploy { .. });
        if !deploys || ended.state.has_moved() || ended.outcome == Outcome::Interrupted {
            return;
        }
        let (environments, standing) =
            tokio::join!(self.engine.inspect(&self.service), self.shared());
        let (Ok(environments), Ok(standing)) = (environments, standing) else {
            return;
        };
        if let Some(said) = unused_words(&self.service, &environments, &standing) {
            self.report.say(&said);
        }
    }

    /// What stands for shared roles, whatever the plan.
    pub(super) async fn shared(&self) -> Result<Vec<Shared>, Error> {
        let standing = self.engine.shared(&self.service, None).await;
        standing.map_err(|error| Error::of_engine(error, Touched::Nothing))
    }
}

/// What is to be said of a Compose project's container that releases do not reach by all its names.
fn unnamed(one: &Shared) -> Option<String> {
    let Owner::Project(project) = &one.owner else {
        return None;
    };
    let names = one.differs.iter().find(|differs| differs.place == ALIASES);
    let (had, has) = names?.change.as_ref()?;
    Some(format!(
        "`{}` of the Compose project `{}`, which stands for the shared role `{}`, was joined as {} and \
         not as {}; to add a name means a downtime: flipside shared apply",
        clean(&one.container.name),
        clean(project),
        one.container.role,
        clean(had),
        clean(has)
    ))
}

/// The shared roles of which flipside's own containers stand, in words.
pub(super) fn own_roles(standing: &[Shared]) -> Option<String> {
    let ours = standing.iter().filter(|one| one.owner == Owner::Flipside);
    let mut roles: Vec<RoleName> = ours.map(|one| one.container.role.clone()).collect();
    roles.dedup();
    (!roles.is_empty()).then(|| quoted(&roles))
}

/// That flipside's own containers stand for shared roles which no release that stands was made for, and
/// what removes them; `None` where none does.
pub(super) fn unused_words(
    service: &ServiceName,
    environments: &[Environment],
    standing: &[Shared],
) -> Option<String> {
    let roles: Vec<_> = unused(environments, standing).into_iter().collect();
    if roles.is_empty() {
        return None;
    }
    let (what, uses) = match roles.len() {
        1 => (format!("the shared role {} stays", quoted(&roles)), "it"),
        _ => (format!("the shared roles {} stay", quoted(&roles)), "them"),
    };
    let ours = standing
        .iter()
        .filter(|one| one.owner == Owner::Flipside && roles.contains(&one.container.role));
    let names: Vec<_> = ours.map(|one| clean(&one.container.name)).collect();
    let names = names.join(" ");
    let removes = match environments {
        [] => format!("flipside down {service} --shared"),
        _ => format!("docker stop {names} && docker rm {names}"),
    };
    Some(format!(
        "{what}, with the data, and no release uses {uses}; this removes {uses}, but for the data: \
         {removes}"
    ))
}
