//! Shared roles of the fake world: containers that outlive releases, those of a Compose project
//! included, and what an apply that was cut short leaves of two.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use flipside::core::event::Failure;
use flipside::core::event::ReplicaReport;
use flipside::core::names::{Release, RoleName, ServiceName};
use flipside::core::plan::{Condition, MountSource, Plan, Role, Run};
use flipside::core::shared::{Applied, Owner, Reach, Removed, Shared, awaited, in_order};
use flipside::core::world::{Container, ContainerState, Health};
use flipside::engine::{EngineError, Images, Settings};

use super::fake_engine::{FakeEngine, failed};
use super::fake_world::{FakeContainer, FakeWorld, lock};
use super::faults::Op;

/// How often a container that shall become something is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A container of a shared role.
#[derive(Debug, Clone)]
pub struct FakeShared {
    /// Whose.
    pub service: ServiceName,
    /// Whose it is: flipside's, or a Compose project's.
    pub owner: Owner,
    /// Itself.
    pub container: FakeContainer,
    /// What its label says it was made with.
    pub settings: String,
    /// The volumes that outlive releases which it has.
    pub volumes: Vec<String>,
    /// The Compose file that it comes from.
    pub file: Option<PathBuf>,
    /// Whether it is on the shared network.
    pub connected: bool,
    /// What it takes the place of, until that is certain.
    pub old: Option<Box<FakeShared>>,
    /// How often it has been started.
    pub starts: u32,
    /// How many were made before it.
    pub number: u32,
}

/// What is known of something that is waited for.
enum Comes {
    Now,
    Later,
    Never(String),
}

impl FakeShared {
    fn is(&self, service: &ServiceName, role: &RoleName) -> bool {
        self.service == *service && self.container.fixed.role == *role
    }

    fn is_ours(&self) -> bool {
        self.owner == Owner::Flipside
    }

    fn stop(&mut self) {
        self.container.stop();
    }

    /// How many containers run of its role: itself, and what it takes the place of.
    pub fn running(&self) -> usize {
        let runs = self.container.now().state == ContainerState::Running;
        usize::from(runs) + self.old.as_ref().map_or(0, |old| old.running())
    }

    fn start(&mut self) {
        self.starts += 1;
        self.container.start();
    }

    fn told(&self, plan: Option<&Plan>, halfway: bool) -> Shared {
        let settings = plan.and_then(|plan| {
            let role = plan.shared.get(&self.container.fixed.role)?;
            Some(Settings::of(plan, role).unwrap())
        });
        Shared {
            container: self.container.now(),
            since: Some(0),
            owner: self.owner.clone(),
            reach: Reach::Own,
            joined: self.connected,
            taker: None,
            beside: None,
            halfway,
            differs: match (settings, self.is_ours()) {
                (Some(settings), true) => settings.differences(&self.settings),
                (Some(settings), false) => settings.image_differs(&self.settings),
                (None, _) => Vec::new(),
            },
        }
    }

    fn is_as(&self, plan: &Plan, role: &Role) -> bool {
        let settings = Settings::of(plan, role).unwrap();
        self.is_ours() && settings.differences(&self.settings).is_empty()
    }

    /// Whether it can be kept.
    fn verdict(&self) -> Comes {
        let now = self.container.now();
        match (now.state, now.health) {
            (ContainerState::Running, Health::Starting) => Comes::Later,
            (ContainerState::Running, Health::Unhealthy) => Comes::Never("unhealthy".into()),
            (ContainerState::Running, _) => Comes::Now,
            (state, _) => Comes::Never(format!("{state:?}")),
        }
    }
}

fn volumes(role: &Role) -> Vec<String> {
    let mounts = role.mounts.iter();
    let named = mounts.filter_map(|mount| match &mount.source {
        MountSource::Shared(name) => Some(name.clone()),
        MountSource::PerRelease(_) | MountSource::Host(_) => None,
    });
    named.collect()
}

impl FakeWorld {
    fn make_shared(&self, plan: &Plan, name: &RoleName, image: Option<&String>) -> FakeShared {
        let role = &plan.shared[name];
        let called = format!("{}-shared-{name}", plan.service);
        let fixed = Container {
            id: format!("id-{called}-{}", self.made_shared),
            name: called,
            role: name.clone(),
            replica: 1,
            run: Run::Shared,
            image_id: image
                .cloned()
                .unwrap_or_else(|| format!("sha256:{name}-shared")),
            address: Some([10, 213, 255, 2].into()),
            published: None,
            state: ContainerState::Running,
            health: Health::None,
        };
        FakeShared {
            service: plan.service.clone(),
            owner: Owner::Flipside,
            container: FakeContainer::of(fixed, self.behaviour(Release(0), name, 1)),
            settings: Settings::of(plan, role).unwrap().sealed(&[1; 16]),
            volumes: volumes(role),
            file: None,
            connected: true,
            old: None,
            starts: 1,
            number: self.made_shared,
        }
    }

    /// A container of a Compose project that runs, with a volume of its own.
    pub fn run_project(&mut self, service: &ServiceName, project: &str, role: &str, image: &str) {
        let name = format!("{project}-{role}-{}", self.shared.len() + 1);
        let role = RoleName::new(role).unwrap();
        let fixed = Container {
            id: format!("id-{name}"),
            name,
            role: role.clone(),
            replica: 1,
            run: Run::Shared,
            image_id: format!("sha256:{image}"),
            address: None,
            published: None,
            state: ContainerState::Running,
            health: Health::None,
        };
        self.shared.push(FakeShared {
            service: service.clone(),
            owner: Owner::Project(project.into()),
            container: FakeContainer::of(fixed, self.behaviour(Release(0), &role, 1)),
            settings: image.into(),
            volumes: Vec::new(),
            file: None,
            connected: false,
            old: None,
            starts: 1,
            number: 0,
        });
    }

    /// What stands for shared roles, see [`flipside::engine::Engine::shared`].
    pub fn shared_of(&self, service: &ServiceName, plan: Option<&Plan>) -> Vec<Shared> {
        let of_service = || self.shared.iter().filter(|one| one.service == *service);
        let said = self.environments(service).into_iter();
        let said: Vec<_> = said.filter_map(|one| one.labels.sharing).collect();
        let is_meant = |one: &FakeShared| {
            let of = |project: &Option<String>| project.clone().map(Owner::Project);
            let role = &one.container.fixed.role;
            let mut said = said.iter();
            said.any(|said| {
                of(&said.project).as_ref() == Some(&one.owner) && said.roles.contains_key(role)
            })
        };
        let is_ours = |role: &RoleName| {
            of_service().any(|one| one.is_ours() && one.container.fixed.role == *role)
        };
        let mut told = Vec::new();
        for one in of_service() {
            let role = &one.container.fixed.role;
            if one.is_ours() {
                let halfway = one.old.is_some();
                told.push(one.told(plan, halfway));
                let old = one.old.iter().filter(|old| old.is_ours());
                told.extend(old.map(|old| old.told(plan, true)));
                continue;
            }
            let meant = match plan {
                None => one.connected || is_meant(one),
                Some(plan) => {
                    let project = plan.project.clone().map(Owner::Project);
                    project.as_ref() == Some(&one.owner) && plan.shared.contains_key(role)
                }
            };
            if meant && !is_ours(role) {
                told.push(one.told(plan, false));
            }
        }
        told.sort_by_key(|one| (one.container.role.clone(), one.container.name.clone()));
        told
    }

    /// Makes at most `limit` containers of shared roles; answers how many more may be made.
    fn stand_up_shared(&mut self, plan: &Plan, images: &Images, limit: usize) -> usize {
        let mut left = limit;
        let standing = self.shared_of(&plan.service, Some(plan));
        let project = plan.project.clone().map(Owner::Project);
        for name in in_order(plan) {
            if standing.iter().any(|one| one.container.role == *name) {
                let theirs = self.shared.iter_mut().filter(|one| {
                    one.is(&plan.service, name) && Some(&one.owner) == project.as_ref()
                });
                let is_theirs =
                    |one: &Shared| one.container.role == *name && one.owner != Owner::Flipside;
                if standing.iter().any(is_theirs) {
                    theirs.for_each(|one| one.connected = true);
                }
                continue;
            }
            if left == 0 {
                break;
            }
            left -= 1;
            self.made_shared += 1;
            let made = self.make_shared(plan, name, images.get(name));
            self.data.extend(made.volumes.iter().cloned());
            self.shared.push(made);
        }
        left
    }

    /// Whether what the release waits for has come about.
    fn waits_for(&self, plan: &Plan) -> Comes {
        let standing = self.shared_of(&plan.service, Some(plan));
        let mut all = Comes::Now;
        for (name, condition) in awaited(plan) {
            let mut of = standing.iter().filter(|one| one.container.role == *name);
            let Some(one) = of.next() else {
                return Comes::Never(format!("nothing stands for `{name}`"));
            };
            let not = |why: &str| {
                Comes::Never(format!(
                    "the shared role `{name}`, which others wait for, does not run: {why}"
                ))
            };
            match (&one.container.state, one.container.health) {
                (ContainerState::Running, Health::Starting) if condition == Condition::Healthy => {
                    all = Comes::Later;
                }
                (ContainerState::Running, Health::Unhealthy | Health::None)
                    if condition == Condition::Healthy =>
                {
                    return not("unhealthy");
                }
                (ContainerState::Running, _) => {}
                (_, _) => return not(&one.does()),
            }
        }
        all
    }

    fn find_shared(&mut self, service: &ServiceName, role: &RoleName) -> Option<&mut FakeShared> {
        let mut all = self.shared.iter_mut();
        all.find(|one| one.is_ours() && one.is(service, role))
    }

    /// Stops what stands for a role and puts a new container in its place, on trial; at most `limit`
    /// of both.
    fn exchange(&mut self, plan: &Plan, name: &RoleName, limit: usize) {
        let service = &plan.service;
        let project = plan.project.clone().map(Owner::Project);
        let ours = self.find_shared(service, name).is_some();
        let at = self.shared.iter().position(|one| {
            let owner = if ours {
                Some(&Owner::Flipside)
            } else {
                project.as_ref()
            };
            one.is(service, name) && Some(&one.owner) == owner
        });
        let Some(at) = at else { return };
        self.shared[at].stop();
        let old = self.shared.remove(at);
        self.made_shared += 1;
        let mut new = self.make_shared(plan, name, None);
        new.old = Some(Box::new(old));
        if limit < 2 {
            new.container.started = None;
        }
        self.data.extend(new.volumes.iter().cloned());
        self.shared.push(new);
    }

    /// Ends a trial one way or the other; says whether the new one was kept.
    fn end_trial(&mut self, service: &ServiceName, role: &RoleName) -> bool {
        let Some(new) = self.find_shared(service, role) else {
            return false;
        };
        let keep = matches!(new.verdict(), Comes::Now);
        let Some(mut old) = new.old.take() else {
            return keep;
        };
        if keep {
            if !old.is_ours() {
                old.connected = false;
                self.shared.push(*old);
            }
            return true;
        }
        let is_new = |one: &FakeShared| one.is_ours() && one.is(service, role);
        self.shared.retain(|one| !is_new(one));
        old.start();
        self.shared.push(*old);
        false
    }

    /// Ends every trial; a sentence each.
    fn settle_shared(&mut self, service: &ServiceName) -> Vec<String> {
        let trials = self.shared.iter();
        let trials = trials.filter(|one| one.service == *service && one.old.is_some());
        let roles: Vec<_> = trials.map(|one| one.container.fixed.role.clone()).collect();
        let end = |role: RoleName| match self.end_trial(service, &role) {
            true => format!("the new container of the shared role `{role}` was kept"),
            false => format!("the old container of the shared role `{role}` was put back"),
        };
        roles.into_iter().map(end).collect()
    }

    /// Connects what stands and is not; a sentence each.
    fn join_shared(&mut self, service: &ServiceName) -> Vec<String> {
        let told = self.shared_of(service, None).into_iter();
        let apart: Vec<_> = told.filter(Shared::is_apart).collect();
        let mut did = Vec::new();
        for one in &mut self.shared {
            let found = |apart: &&Shared| apart.container.id == one.container.fixed.id;
            if apart.iter().any(|apart| found(&apart)) {
                one.connected = true;
                did.push(format!("`{}` has been joined", one.container.fixed.name));
            }
        }
        did
    }

    fn tear_down_shared(&mut self, service: &ServiceName) -> Removed {
        // What was to take the place of a Compose project's, and has not, gives it back.
        for one in self.shared.iter_mut().filter(|one| one.service == *service) {
            if one.old.as_ref().is_some_and(|old| !old.is_ours()) {
                one.stop();
            }
        }
        let halfway = self.shared.iter().filter(|one| one.service == *service);
        let theirs = halfway.filter(|one| one.old.as_ref().is_some_and(|old| !old.is_ours()));
        let theirs: Vec<_> = theirs.map(|one| one.container.fixed.role.clone()).collect();
        for role in theirs {
            self.end_trial(service, &role);
        }
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.shared)
            .into_iter()
            .partition(|one| one.service == *service && one.is_ours());
        self.shared = kept;
        for one in self.shared.iter_mut().filter(|one| one.service == *service) {
            one.connected = false;
        }
        let mut volumes: Vec<_> = gone.into_iter().flat_map(|one| one.volumes).collect();
        volumes.sort_unstable();
        volumes.dedup();
        Removed {
            kept: volumes,
            ..Removed::default()
        }
    }

    /// Why the plan would begin with other data than is meant.
    pub(super) fn refuses(&self, plan: &Plan) -> Option<String> {
        let roles = plan.roles.values().chain(plan.shared.values());
        let mut wanted = roles.flat_map(volumes);
        let missing =
            |volume: &String| plan.external_volumes.contains(volume) && !self.data.contains(volume);
        if let Some(volume) = wanted.find(missing) {
            return Some(format!("the external volume `{volume}` is not there"));
        }
        if let Some(there) = self.left_aside(plan) {
            return Some(format!("the project has its data in `{there}`"));
        }
        if let Some(former) = self.former(plan) {
            return Some(format!("the former shared role `{former}` still runs"));
        }
        self.elsewhere(plan)
    }

    /// A role that was shared, still runs, and would get company by this plan.
    fn former(&self, plan: &Plan) -> Option<RoleName> {
        let of_service = self.shared.iter();
        let of_service = of_service.filter(|one| one.service == plan.service && one.is_ours());
        let stands = |name: &RoleName| {
            let mut all = of_service.clone();
            all.any(|one| one.container.fixed.role == *name)
        };
        let absent = plan.shared.iter().filter(|(name, _)| !stands(name));
        let made: Vec<_> = absent.flat_map(|(_, role)| volumes(role)).collect();
        let mut former = of_service.clone().filter(|one| {
            let (role, state) = (&one.container.fixed.role, one.container.now().state);
            let beside = one.volumes.iter().any(|volume| made.contains(volume));
            state == ContainerState::Running
                && !plan.shared.contains_key(role)
                && (plan.roles.contains_key(role) || beside)
        });
        former.next().map(|one| one.container.fixed.role.clone())
    }

    /// A Compose project's volume that the plan would leave aside for a new one.
    fn left_aside(&self, plan: &Plan) -> Option<String> {
        let project = plan.project.as_ref()?;
        let before = format!("{}_", plan.service);
        let roles = plan.roles.values().chain(plan.shared.values());
        let wanted: Vec<_> = roles.flat_map(volumes).collect();
        wanted.into_iter().find_map(|volume| {
            let key = volume.strip_prefix(&before)?;
            let there = format!("{project}_{key}");
            (self.data.contains(&there) && !self.data.contains(&volume)).then_some(there)
        })
    }
}

fn failure(what: String, container: &str, logs: Vec<String>) -> EngineError {
    EngineError::Failed(Failure {
        replicas: vec![ReplicaReport {
            container: container.into(),
            reasons: vec![what.clone()],
            logs,
        }],
        what,
        hint: None,
    })
}

/// What of shared roles an engine does.
#[async_trait]
pub(super) trait SharedRoles {
    async fn look_shared(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Shared>, EngineError>;
    async fn apply(&self, plan: &Plan, role: &RoleName) -> Result<Applied, EngineError>;
    async fn settle(&self, service: &ServiceName) -> Result<Vec<String>, EngineError>;
    async fn join(&self, service: &ServiceName) -> Result<Vec<String>, EngineError>;
    async fn remove(&self, service: &ServiceName) -> Result<Removed, EngineError>;
}

impl FakeEngine {
    /// Makes what is missing of shared roles; answers how much of the environment may be made now, or
    /// `None` where something is still waited for.
    pub(super) fn begin_shared(
        world: &mut FakeWorld,
        plan: &Plan,
        images: &Images,
        limit: usize,
    ) -> Option<usize> {
        let left = world.stand_up_shared(plan, images, limit);
        matches!(world.waits_for(plan), Comes::Now).then_some(left)
    }

    /// Waits for the shared roles that the release waits for.
    pub(super) async fn until_shared(&self, plan: &Plan) -> Result<(), EngineError> {
        loop {
            let comes = lock(&self.world).waits_for(plan);
            match comes {
                Comes::Now => return Ok(()),
                Comes::Never(why) => {
                    return Err(failure(why, "shared", vec!["cannot go on".into()]));
                }
                Comes::Later => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

#[async_trait]
impl SharedRoles for FakeEngine {
    async fn look_shared(
        &self,
        service: &ServiceName,
        plan: Option<&Plan>,
    ) -> Result<Vec<Shared>, EngineError> {
        let (service, plan) = (service.clone(), plan.cloned());
        let look = move |world: &mut FakeWorld, _| {
            let refusal = plan.as_ref().and_then(|plan| world.refuses(plan));
            match refusal {
                Some(why) => Err(failed(why)),
                None => Ok(world.shared_of(&service, plan.as_ref())),
            }
        };
        self.call(Op::Shared, look).await?
    }

    async fn apply(&self, plan: &Plan, role: &RoleName) -> Result<Applied, EngineError> {
        let Some(wanted) = plan.shared.get(role).cloned() else {
            return Err(failed(format!("no shared role `{role}`")));
        };
        let (own, name) = (plan.clone(), role.clone());
        let begun = self.call(Op::ApplyShared, move |world, limit| {
            let service = own.service.clone();
            let there = world.find_shared(&service, &name);
            let halfway = there.is_some_and(|one| one.old.is_some() && !one.is_as(&own, &wanted));
            if halfway {
                world.end_trial(&service, &name);
            }
            let there = world.find_shared(&service, &name).map(|one| {
                // What a killed call had made, and not started.
                if one.old.is_some() && one.container.started.is_none() {
                    one.container.start();
                }
                (one.is_as(&own, &wanted), one.old.is_some())
            });
            let stands = !world.shared_of(&service, Some(&own)).is_empty();
            match there {
                Some((true, false)) => return false,
                Some((true, true)) => {}
                _ if !stands => return false,
                _ => world.exchange(&own, &name, limit),
            }
            if limit > 1
                && let Some(new) = world.find_shared(&service, &name)
            {
                // A call whose answer is lost still comes to its end.
                if new.old.as_ref().is_some_and(|old| old.is_ours())
                    && matches!(new.verdict(), Comes::Now)
                {
                    world.end_trial(&service, &name);
                }
            }
            true
        });
        if !begun.await? {
            return Ok(Applied {
                as_it_was: true,
                ..Applied::default()
            });
        }
        loop {
            let done = {
                let mut world = lock(&self.world);
                let service = plan.service.clone();
                let Some(new) = world.find_shared(&service, role) else {
                    return Err(failed(format!("`{role}` has vanished")));
                };
                let (verdict, logs) = (new.verdict(), new.container.logs());
                let kept = new.old.iter().filter(|old| !old.is_ours());
                let kept: Vec<_> = kept.map(|old| old.container.fixed.name.clone()).collect();
                let called = new.container.fixed.name.clone();
                match verdict {
                    Comes::Later => None,
                    Comes::Now => {
                        world.end_trial(&service, role);
                        Some(Ok(Applied {
                            kept,
                            as_it_was: false,
                        }))
                    }
                    Comes::Never(why) => {
                        world.end_trial(&service, role);
                        let what = format!(
                            "`{role}` did not come up, and the old one was put back: {why}"
                        );
                        Some(Err(failure(what, &called, logs)))
                    }
                }
            };
            match done {
                Some(done) => return done,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn settle(&self, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        let service = service.clone();
        self.call(Op::SettleShared, move |world, _| {
            world.settle_shared(&service)
        })
        .await
    }

    async fn join(&self, service: &ServiceName) -> Result<Vec<String>, EngineError> {
        let service = service.clone();
        self.call(Op::JoinShared, move |world, _| world.join_shared(&service))
            .await
    }

    async fn remove(&self, service: &ServiceName) -> Result<Removed, EngineError> {
        let service = service.clone();
        self.call(Op::TearDownShared, move |world, _| {
            world.tear_down_shared(&service)
        })
        .await
    }
}
