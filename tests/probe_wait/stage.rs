//! An engine and a vantage that play what a test of probes writes down.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use flipside::core::event::Failure;
use flipside::core::names::{Millis, Release, RoleName, ServiceName, Slot};
use flipside::core::plan::{
    Exposed, HeaderField, HttpProbe, Plan, PointerPlan, Policy, Probe, ProbeKind, Run, StandbyMode,
    Text,
};
use flipside::core::progress::{Progress, Sink};
use flipside::core::routing::{Mark, Marks};
use flipside::core::shared::{Applied, Removed, Shared};
use flipside::core::workers::Rival;
use flipside::core::world::{Container, ContainerState, Cost, Environment, Health, Labels};
use flipside::engine::{
    Built, ContainerHook, End, Engine, EngineError, Executed, Images, LogLine, Ran, Spec, Token,
};
use flipside::probe::{Proving, Question, Unfit, Vantage, VantageError};
use tokio::time::Instant;

pub(super) type Said = Result<Result<(), String>, VantageError>;
/// Address, how many checks of it came before, time since the start.
pub(super) type Script = Box<dyn Fn(IpAddr, u32, Millis) -> Said + Send + Sync>;

/// Containers at 10.0.0.1, 10.0.0.2 …, and what they answer.
pub(super) struct Stage {
    pub(super) start: Instant,
    pub(super) service: ServiceName,
    pub(super) environment: Environment,
    pub(super) probes: Vec<Probe>,
    pub(super) answer: Script,
    pub(super) asked: Mutex<Vec<(IpAddr, Millis)>>,
    pub(super) calls: Mutex<Vec<String>>,
    /// Container id → when it ends, with which code, for want of memory or not.
    pub(super) ends: BTreeMap<String, (Millis, i64, bool)>,
    /// Whether the engine starts what has ended again before anybody looks.
    pub(super) revives: bool,
    /// What a HEALTHCHECK says from when on.
    pub(super) health: Vec<(Millis, Health)>,
    pub(super) exec: Box<dyn Fn(u32) -> Result<Executed, EngineError> + Send + Sync>,
    pub(super) silent_logs: bool,
    /// Until when the engine is out of reach.
    pub(super) engine_away: Millis,
    pub(super) told: Mutex<Vec<Progress>>,
}

pub(super) fn passes(_: IpAddr, _: u32, _: Millis) -> Said {
    Ok(Ok(()))
}

pub(super) fn refused(_: IpAddr, _: u32, _: Millis) -> Said {
    Ok(Err("connection refused at 10.0.0.9:8080".into()))
}

pub(super) fn away(_: IpAddr, _: u32, _: Millis) -> Said {
    Err(VantageError::Away {
        place: "proxy p".into(),
        why: "it is gone".into(),
    })
}

impl Stage {
    pub(super) fn new(replicas: u32, probes: Vec<Probe>, answer: impl Into<Script>) -> Self {
        let containers = (1..=replicas).map(|n| container("web", n)).collect();
        let labels = Labels {
            exposed: Exposed {
                role: role("web"),
                port: 8080,
            },
            probes: probes.clone(),
            pointer: PointerPlan::default(),
            policy: Policy::default(),
            sharing: None,
        };
        Self {
            start: Instant::now(),
            service: ServiceName::new("shop").unwrap(),
            environment: Environment {
                release: Release(3),
                slot: Slot::Blue,
                created: 0,
                containers,
                expected: replicas,
                parts: Vec::new(),
                labels,
            },
            probes,
            answer: answer.into(),
            asked: Mutex::default(),
            calls: Mutex::default(),
            ends: BTreeMap::new(),
            revives: false,
            health: vec![(0, Health::None)],
            exec: Box::new(|_| {
                Ok(Executed {
                    code: 0,
                    output: String::new(),
                })
            }),
            silent_logs: false,
            engine_away: 0,
            told: Mutex::default(),
        }
    }

    pub(super) fn proving(&self) -> Proving<'_> {
        Proving {
            engine: self,
            vantage: self,
            service: &self.service,
            environment: &self.environment,
            probes: &self.probes,
            sink: self,
        }
    }

    pub(super) async fn prove(&self) -> Result<u64, Unfit> {
        self.proving().prove().await
    }

    pub(super) async fn prove_failing(&self) -> Failure {
        failure(self.prove().await)
    }

    pub(super) fn now(&self) -> Millis {
        u64::try_from(self.start.elapsed().as_millis()).unwrap()
    }

    pub(super) fn asked_at(&self) -> Vec<Millis> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(_, at)| *at).collect()
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn call(&self, name: &str, container: &str) -> Result<(), EngineError> {
        let mut calls = self.calls.lock().unwrap();
        calls.push(format!("{name} {container}"));
        if self.now() < self.engine_away {
            return Err(EngineError::OutOfReach {
                engine: "unix".into(),
                why: "no socket".into(),
            });
        }
        Ok(())
    }
}

pub(super) fn failure<T: std::fmt::Debug>(result: Result<T, Unfit>) -> Failure {
    match result {
        Err(Unfit::Failed(failure)) => failure,
        other => panic!("no failure: {other:?}"),
    }
}

pub(super) fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

pub(super) fn container(name: &str, replica: u32) -> Container {
    Container {
        id: format!("{name}{replica}"),
        name: format!("shop-3-{name}-{replica}"),
        role: role(name),
        replica,
        run: Run::Always,
        image_id: "sha256:0".into(),
        address: Some(format!("10.0.0.{replica}").parse().unwrap()),
        published: None,
        state: ContainerState::Running,
        health: Health::None,
    }
}

pub(super) fn probe(kind: ProbeKind) -> Probe {
    Probe {
        role: role("web"),
        kind,
        interval_ms: 1_000,
        timeout_ms: 5_000,
        initial_delay_ms: 0,
        passes: 1,
        failures: 3,
        deadline_ms: 60_000,
    }
}

pub(super) fn up() -> Probe {
    probe(ProbeKind::Http(http_up()))
}

pub(super) fn http_up() -> HttpProbe {
    HttpProbe {
        port: 8080,
        method: "GET".into(),
        path: "/up".into(),
        headers: Vec::new(),
        status: vec![(200, 299)],
        contains: None,
        matches: None,
        json: None,
        tls: None,
    }
}

pub(super) fn exec() -> Probe {
    probe(ProbeKind::Exec {
        command: vec![Text::public("ready"), Text::secret("hunter2")],
    })
}

pub(super) fn secret_up() -> Probe {
    let mut http = http_up();
    http.headers.push(HeaderField {
        name: "Authorization".into(),
        value: None,
    });
    probe(ProbeKind::Http(http))
}

pub(super) fn script(
    answer: impl Fn(IpAddr, u32, Millis) -> Said + Send + Sync + 'static,
) -> Script {
    Box::new(answer)
}

pub(super) fn last(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => 0,
    }
}

#[async_trait]
impl Vantage for Stage {
    fn place(&self) -> String {
        "this machine".into()
    }

    async fn check(&self, address: SocketAddr, _: &Question, _: Millis) -> Said {
        let before = {
            let mut asked = self.asked.lock().unwrap();
            let before = asked.iter().filter(|(ip, _)| *ip == address.ip()).count();
            asked.push((address.ip(), self.now()));
            u32::try_from(before).unwrap()
        };
        (self.answer)(address.ip(), before, self.now())
    }
}

impl Sink for Stage {
    fn progress(&self, step: Progress) {
        self.told.lock().unwrap().push(step);
    }
}

fn unplayed<T>() -> Result<T, EngineError> {
    Err(EngineError::Failed(Failure {
        what: "this engine only plays what probes need".into(),
        ..Failure::default()
    }))
}

#[async_trait]
impl Engine for Stage {
    fn address(&self) -> &str {
        "unix"
    }
    async fn prepare(&self, _: &Spec, _: &dyn Sink) -> Result<Images, EngineError> {
        unplayed()
    }
    async fn stand_up(
        &self,
        _: &Spec,
        _: &Images,
        _: &dyn Sink,
    ) -> Result<Environment, EngineError> {
        unplayed()
    }
    async fn shared(&self, _: &ServiceName, _: Option<&Plan>) -> Result<Vec<Shared>, EngineError> {
        unplayed()
    }
    async fn apply_shared(
        &self,
        _: &Plan,
        _: &RoleName,
        _: &dyn Sink,
    ) -> Result<Applied, EngineError> {
        unplayed()
    }
    async fn rivals(&self, _: &ServiceName, _: Option<&Plan>) -> Result<Vec<Rival>, EngineError> {
        unplayed()
    }
    async fn left_of_shared(&self, _: &ServiceName) -> Result<Vec<String>, EngineError> {
        unplayed()
    }
    async fn settle_shared(&self, _: &ServiceName) -> Result<Vec<String>, EngineError> {
        unplayed()
    }
    async fn join_shared(&self, _: &ServiceName) -> Result<Vec<String>, EngineError> {
        unplayed()
    }
    async fn tear_down_shared(&self, _: &ServiceName) -> Result<Removed, EngineError> {
        unplayed()
    }
    async fn rest(&self, _: &ServiceName, _: Release) -> Result<Vec<String>, EngineError> {
        unplayed()
    }
    async fn work(&self, _: &ServiceName, _: Release) -> Result<Vec<String>, EngineError> {
        unplayed()
    }
    async fn inspect(&self, _: &ServiceName) -> Result<Vec<Environment>, EngineError> {
        unplayed()
    }
    async fn container(&self, id: &str) -> Result<Option<Container>, EngineError> {
        self.call("container", id)?;
        let mut containers = self.environment.containers.iter();
        let mut found = containers.find(|found| found.id == id).cloned();
        if let (Some(found), Some(&(at, code, oom))) = (&mut found, self.ends.get(id))
            && self.now() >= at
            && !self.revives
        {
            found.state = ContainerState::Exited { code, oom };
        }
        if let Some(found) = &mut found {
            let mut health = self.health.iter().rev();
            found.health = health.find(|(from, _)| self.now() >= *from).unwrap().1;
        }
        Ok(found)
    }
    async fn services(&self) -> Result<Vec<ServiceName>, EngineError> {
        unplayed()
    }
    async fn freeze(&self, _: &ServiceName, _: Release, _: StandbyMode) -> Result<(), EngineError> {
        unplayed()
    }
    async fn wake(&self, _: &ServiceName, _: Release, _: &dyn Sink) -> Result<(), EngineError> {
        unplayed()
    }
    async fn cost(&self, _: &[Container], _: Millis) -> Result<Cost, EngineError> {
        unplayed()
    }
    async fn clients(
        &self,
        _: &ServiceName,
        _: &[Environment],
        _: Millis,
    ) -> Result<Vec<Result<u64, EngineError>>, EngineError> {
        unplayed()
    }
    async fn images(&self, _: &ServiceName) -> Result<Vec<Built>, EngineError> {
        Ok(Vec::new())
    }

    async fn drop_image(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn tear_down(&self, _: &ServiceName, _: Release) -> Result<(), EngineError> {
        unplayed()
    }
    async fn logs(&self, id: &str, tail: u32) -> Result<Vec<String>, EngineError> {
        self.call("logs", id)?;
        assert_eq!(tail, 50);
        match self.silent_logs {
            true => unplayed(),
            false => Ok(vec![format!("{id} says hello")]),
        }
    }
    async fn follow(
        &self,
        _: &[String],
        _: u32,
        _: tokio::sync::mpsc::Sender<LogLine>,
    ) -> Result<(), EngineError> {
        unplayed()
    }
    async fn exec(&self, id: &str, _: &[Text]) -> Result<Executed, EngineError> {
        let before = self
            .calls()
            .iter()
            .filter(|c| c.starts_with("exec"))
            .count();
        self.call("exec", id)?;
        (self.exec)(u32::try_from(before).unwrap())
    }
    async fn marks(&self, _: &ServiceName) -> Result<BTreeMap<Release, Marks>, EngineError> {
        unplayed()
    }
    async fn mark(&self, _: &ServiceName, _: Release, _: Mark) -> Result<(), EngineError> {
        unplayed()
    }
    async fn claim(&self, _: &ServiceName, _: &Token) -> Result<Token, EngineError> {
        unplayed()
    }
    async fn tokens(&self, _: &ServiceName) -> Result<Vec<Token>, EngineError> {
        unplayed()
    }
    async fn drop_token(&self, _: &ServiceName, _: &str) -> Result<(), EngineError> {
        unplayed()
    }
    async fn hook(
        &self,
        _: &Spec,
        _: &str,
        _: &ContainerHook,
        _: &dyn Sink,
    ) -> Result<Ran, EngineError> {
        unreachable!("no probe runs a hook")
    }

    async fn stop_hook(
        &self,
        _: &ServiceName,
        _: Release,
        _: &ContainerHook,
        _: u64,
    ) -> Result<(), EngineError> {
        unreachable!("no probe stops a hook")
    }

    async fn ran(&self, id: &str) -> Result<Ran, EngineError> {
        self.call("ran", id)?;
        let End { code, oom } = self.ended(id).await?;
        Ok(Ran {
            code,
            oom,
            took_ms: 0,
            output: String::new(),
        })
    }

    async fn ended(&self, id: &str) -> Result<End, EngineError> {
        self.call("ended", id)?;
        let Some(&(at, code, oom)) = self.ends.get(id) else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(self.start + Duration::from_millis(at)).await;
        Ok(End { code, oom })
    }
}
