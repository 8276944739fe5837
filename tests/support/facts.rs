//! One of each: a specimen of every event and action there is.

use std::collections::{BTreeMap, BTreeSet};

use flipside::core::action::{Action, Ask, Move, Proof};
use flipside::core::event::{
    Event, Failure, JobEnd, MarkKeeper, Opened, ReplicaReport, SwitchRefusal, Verb,
};
use flipside::core::hook::{HookEnd, HookKind, HookPlan, HookWord, When};
use flipside::core::late::Clients;
use flipside::core::names::{Release, RoleName, ServiceName, Slot};
use flipside::core::plan::{
    Exposed, GrpcProbe, HeaderField, Host, HttpProbe, ImageSource, JsonValue, Limits, Plan, Policy,
    Pools, Probe, ProbeKind, ProbeTls, Pull, Role, Run, StandbyMode, Text, Verify,
};
use flipside::core::routing::{Deadline, Drained, FOREIGN, Mark, Marks, Route, Routing};
use flipside::core::shared::{GivenBack, Held};
use flipside::core::sharing::Sharing;
use flipside::core::verdict::Outcome;
use flipside::core::world::{Container, ContainerState, Environment, Health, Labels, World};
use flipside::engine::Spec;

/// The service the specimens are about.
pub fn shop() -> ServiceName {
    ServiceName::new("shop").unwrap()
}

/// A role name.
pub fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

/// An opening event of a deploy.
pub fn opened(release: u64) -> Event {
    Event::Opened(Opened {
        verb: Verb::Deploy {
            release: Release(release),
            slot: Slot::Green,
            until_preview: false,
        },
        by: "ann@build".into(),
        version: "0.1.0".into(),
        policy: Policy::default(),
        marks: MarkKeeper::Pointer,
        cached: false,
        live: Some(Release(release - 1)),
        generation: Some(6),
        fence: 11,
        highest: Release(release),
        engine: String::new(),
        live_only: Vec::new(),
        hooks: vec![],
        pointer: None,
        plan: Some(serde_json::json!({"name": "shop"})),
    })
}

/// An opening event of a run that has no plan, at a service whose pointer knows nothing.
fn begun(verb: Verb) -> Event {
    Event::Opened(Opened {
        verb,
        by: "bob@desk".into(),
        version: "0.1.0".into(),
        policy: Policy::default(),
        marks: MarkKeeper::Engine,
        cached: false,
        live: None,
        generation: None,
        fence: 12,
        highest: Release(42),
        engine: String::new(),
        live_only: Vec::new(),
        hooks: vec![],
        pointer: None,
        plan: None,
    })
}

/// A closing event.
pub fn closed(outcome: Outcome) -> Event {
    Event::Closed { outcome }
}

/// Every kind of probe that the first version knew, one of each.
pub fn probes() -> Vec<Probe> {
    let http = HttpProbe {
        port: 8080,
        method: "GET".into(),
        path: "/up".into(),
        headers: vec![
            HeaderField {
                name: "Host".into(),
                value: Some(Text::public("shop.example")),
            },
            HeaderField {
                name: "Authorization".into(),
                value: None,
            },
        ],
        status: vec![(200, 299)],
        contains: Some("ok".into()),
        matches: None,
        json: None,
        tls: Some(ProbeTls {
            server_name: Some("shop.example".into()),
            verify: Verify::None,
        }),
    };
    let kinds = [
        ProbeKind::Http(http),
        ProbeKind::Tcp { port: 8080 },
        ProbeKind::Exec { command: vec![] },
        ProbeKind::Health,
    ];
    kinds.into_iter().map(probe).collect()
}

/// What probes have learnt since.
pub fn later_probes() -> Vec<Probe> {
    let http = HttpProbe {
        port: 8080,
        method: "GET".into(),
        path: "/health".into(),
        headers: vec![],
        status: vec![(200, 299)],
        contains: None,
        matches: Some(r"^ok\b".into()),
        json: Some(Box::new(JsonValue {
            pointer: "/status".into(),
            equals: "UP".into(),
        })),
        tls: None,
    };
    let grpc = GrpcProbe {
        port: 9090,
        service: "shop.v1.Cart".into(),
    };
    vec![probe(ProbeKind::Http(http)), probe(ProbeKind::Grpc(grpc))]
}

/// A probe of `web` with usual numbers.
pub fn probe(kind: ProbeKind) -> Probe {
    Probe {
        role: role("web"),
        kind,
        interval_ms: 1_000,
        timeout_ms: 5_000,
        initial_delay_ms: 0,
        passes: 1,
        failures: 3,
        deadline_ms: 30_000,
    }
}

/// Labels of an environment with these probes.
pub fn labels(probes: Vec<Probe>) -> Labels {
    Labels {
        exposed: Exposed {
            role: role("web"),
            port: 8080,
        },
        probes,
        pointer: serde_json::from_str(r#"{"proxy":{"listen":":8080","hosts":["shop.example"]}}"#)
            .unwrap(),
        policy: Policy::default(),
        sharing: None,
    }
}

fn container(replica: u32, state: ContainerState, health: Health) -> Container {
    Container {
        id: format!("c{replica}"),
        name: format!("shop-42-web-{replica}"),
        role: role("web"),
        replica,
        run: Run::Always,
        image_id: "sha256:aa".into(),
        address: Some(std::net::Ipv4Addr::new(10, 213, 0, 2).into()),
        published: None,
        state,
        health,
    }
}

/// A routing with a live release, a standby and everything else a routing may hold.
pub fn routing() -> Routing {
    let route = |release, slot, weight| Route {
        release: Release(release),
        slot,
        weight,
        endpoints: vec!["10.213.0.2:8080".parse().unwrap()],
    };
    let marks = |served, withdrawn| Marks {
        proven: true,
        served,
        withdrawn,
    };
    Routing {
        generation: 7,
        fence: 11,
        author: "ann@build".into(),
        reason: "deploy shop@42".into(),
        at: 1_700_000_000_000,
        routes: vec![route(42, Slot::Green, 1), route(41, Slot::Blue, 0)],
        marks: BTreeMap::from([
            (Release(41), marks(Some(6), true)),
            (Release(42), marks(None, false)),
        ]),
        deadline: Some(Deadline {
            at: 1_700_000_060_000,
            back_to: vec![route(41, Slot::Blue, 1)],
        }),
        preview: None,
        foreign: None,
    }
}

/// Traffic that goes where it went before flipside came.
pub fn foreign() -> Routing {
    let there = Route {
        release: FOREIGN,
        slot: Slot::Blue,
        weight: 100,
        endpoints: vec!["192.0.2.7:80".parse().unwrap()],
    };
    Routing::foreign(vec![there], "server old 192.0.2.7:80".into())
}

/// A world with containers in every state.
pub fn world() -> World {
    let exited = |code, oom| ContainerState::Exited { code, oom };
    let states = [
        (ContainerState::Created, Health::None),
        (ContainerState::Running, Health::Healthy),
        (ContainerState::Paused, Health::Unhealthy),
        (ContainerState::Restarting, Health::Starting),
        (exited(137, true), Health::None),
        (ContainerState::Gone, Health::None),
    ];
    let containers: Vec<_> = states
        .into_iter()
        .zip(1..)
        .map(|((state, health), n)| container(n, state, health))
        .collect();
    World {
        environments: vec![Environment {
            release: Release(42),
            slot: Slot::Green,
            created: 1_700_000_000_000,
            expected: 6,
            parts: vec!["0-shop-42".into()],
            labels: labels(probes()),
            containers,
        }],
        routing: Some(routing()),
        engine_marks: routing().marks,
    }
}

/// A world with what probes have learnt since the first version.
fn later_world() -> World {
    let mut world = world();
    world.environments[0].labels.probes = later_probes();
    world
}

/// An opening event of a deploy with live-only roles.
fn opened_with_workers(release: u64) -> Event {
    let Event::Opened(mut opened) = opened(release) else {
        unreachable!("it is an opening event");
    };
    opened.live_only = vec![Release(release - 1), Release(release)];
    opened.policy.settle_ms = 30_000;
    opened.policy.grace_ms = 90_000;
    Event::Opened(opened)
}

/// A world whose environment has live-only containers.
pub fn world_with_workers() -> World {
    let mut world = world();
    let environment = &mut world.environments[0];
    let mut worker = environment.containers[0].clone();
    worker.name = "shop-42-worker-1".into();
    worker.id = "w1".into();
    worker.role = role("worker");
    worker.run = Run::LiveOnly;
    environment.containers.push(worker);
    environment.expected += 1;
    world
}

/// Every action of the first version, at least once.
pub fn actions() -> Vec<Action> {
    let release = Release(42);
    let switch = |why, from, expected, proof| Action::Switch {
        to: release,
        from,
        expected,
        why,
        proof,
    };
    let actions = vec![
        Action::Observe,
        Action::Prepare,
        Action::StandUp,
        Action::Prove,
        Action::Mark {
            release,
            mark: Mark::Proven,
        },
        Action::Mark {
            release,
            mark: Mark::Served(7),
        },
        Action::Mark {
            release,
            mark: Mark::Withdrawn,
        },
        switch(Move::Promote, None, None, Proof::Trusted),
        switch(Move::RollBack, Some(Release(43)), Some(8), Proof::Round),
        switch(Move::Revert, Some(Release(43)), Some(8), Proof::Trusted),
        Action::Verify { release },
        Action::Drain { generation: 7 },
        Action::Watch {
            until: 1_700_000_600_000,
        },
        Action::Retire {
            releases: vec![Release(40)],
        },
        Action::TearDown { release },
        Action::Disconnect,
        hook(0),
    ];
    all_have_specimens(&actions);
    actions
}

/// What actions there are since the first version.
fn later_actions() -> Vec<Action> {
    let actions = vec![
        Action::Rest {
            releases: vec![Release(40), Release(41)],
        },
        Action::Work {
            release: Release(42),
        },
    ];
    all_have_specimens(&actions);
    actions
}

fn all_have_specimens(actions: &[Action]) {
    for action in actions {
        // A new action does not compile here; give it a specimen above.
        match action {
            Action::Observe
            | Action::Prepare
            | Action::StandUp
            | Action::Prove
            | Action::Mark { .. }
            | Action::Preview { .. }
            | Action::Hide { .. }
            | Action::Switch { .. }
            | Action::Verify { .. }
            | Action::Drain { .. }
            | Action::Watch { .. }
            | Action::Rest { .. }
            | Action::Work { .. }
            | Action::SeeClients { .. }
            | Action::Retire { .. }
            | Action::Sleep { .. }
            | Action::Wake { .. }
            | Action::TearDown { .. }
            | Action::Hook { .. }
            | Action::Apply { .. }
            | Action::RemoveShared
            | Action::Disconnect => {}
        }
    }
}

/// Every event there is, at least once, every action among them.
pub fn events() -> Vec<Event> {
    let mut events = vec![opened(42)];
    // Lines of the golden file are never moved: what came later stands at its end.
    let later = |action: &Action| matches!(action, Action::Hook { .. });
    let intended = actions().into_iter().filter(|action| !later(action));
    events.extend(intended.map(|action| Event::Intended { action }));
    let refused = |why, found| Event::SwitchRefused { why, found };
    let asked = |ask| Event::Asked {
        ask,
        by: "bob@desk".into(),
    };
    events.extend([
        begun(Verb::Rollback {
            from: Release(42),
            to: Release(41),
            proof: Proof::Round,
        }),
        begun(Verb::Prune {
            releases: vec![Release(40)],
            force: false,
        }),
        begun(Verb::Down {
            releases: vec![Release(41), Release(42)],
            shared: false,
        }),
        Event::Observed {
            world: Box::new(world()),
        },
        Event::Observed {
            world: Box::default(),
        },
        Event::Prepared {
            images: BTreeMap::from([(role("web"), "sha256:aa".into())]),
        },
        Event::StoodUp {
            endpoints: vec!["[fd00::2]:8080".parse().unwrap()],
            jobs: vec![],
        },
        Event::Proven { checks: 5 },
        Event::Marked,
        Event::Switched {
            generation: 7,
            at: 1_700_000_000_500,
            took_us: 900,
            woke_us: None,
        },
        refused(SwitchRefusal::Moved, Some(Box::new(routing()))),
        refused(SwitchRefusal::Fenced, None),
        refused(SwitchRefusal::Drifted, None),
        Event::Verified { took_us: 1_800 },
        Event::Drained(Drained {
            in_flight: Some(3),
            finished: Some(2),
            cut: None,
        }),
        Event::Baked,
        Event::Retired {
            releases: vec![Release(40)],
        },
        Event::TornDown {
            release: Release(42),
        },
        Event::Failed(Failure {
            what: "shop@42 is not fit".into(),
            hint: Some("see `flipside logs shop`".into()),
            replicas: vec![ReplicaReport {
                container: "shop-42-web-1".into(),
                reasons: vec!["connection refused".into()],
                logs: vec![],
            }],
        }),
        Event::Lost {
            why: "the engine did not answer".into(),
        },
        asked(Ask::Yield),
        asked(Ask::Abort),
        asked(Ask::Promote),
        asked(Ask::Leave),
        Event::Disconnected,
        Event::Resumed {
            by: "bob@desk".into(),
        },
        Event::Seen {
            what: "a rollback to 41 without a record".into(),
        },
        closed(Outcome::Interrupted),
        closed(Outcome::Refused),
        closed(Outcome::RolledBack),
        closed(Outcome::Stuck),
        closed(Outcome::Done),
        Event::Observed {
            world: Box::new(later_world()),
        },
        Event::Switched {
            generation: 8,
            at: 1_700_000_000_900,
            took_us: 950,
            woke_us: Some(31_000),
        },
        Event::Intended {
            action: Action::Sleep {
                releases: vec![Release(40), Release(41)],
                mode: StandbyMode::Frozen,
            },
        },
        Event::Intended {
            action: Action::Wake {
                release: Release(42),
            },
        },
        Event::Slept {
            releases: vec![Release(40), Release(41)],
            mode: StandbyMode::Frozen,
        },
        Event::Woken {
            release: Release(42),
            took_us: 29_000,
        },
    ]);
    let intended = later_actions().into_iter();
    events.extend(intended.map(|action| Event::Intended { action }));
    events.extend([
        opened_with_workers(42),
        Event::Rested {
            containers: vec!["shop-41-worker-1".into()],
        },
        Event::Working {
            containers: vec!["shop-42-worker-1".into(), "shop-42-worker-2".into()],
        },
        Event::Observed {
            world: Box::new(world_with_workers()),
        },
    ]);
    events.extend(of_hooks());
    events.push(begun(Verb::HandOver { to: Release(41) }));
    events.extend(of_shared());
    events.extend(of_previews());
    events.extend(of_late_clients());
    for event in &events {
        // A new event does not compile here until it has a specimen above.
        match event {
            Event::Opened(_)
            | Event::Intended { .. }
            | Event::Observed { .. }
            | Event::Prepared { .. }
            | Event::StoodUp { .. }
            | Event::Proven { .. }
            | Event::Marked
            | Event::Previewed { .. }
            | Event::Hidden { .. }
            | Event::Switched { .. }
            | Event::SwitchRefused { .. }
            | Event::Verified { .. }
            | Event::Drained(_)
            | Event::Baked
            | Event::Rested { .. }
            | Event::Working { .. }
            | Event::ClientsSeen { .. }
            | Event::Retired { .. }
            | Event::Slept { .. }
            | Event::Woken { .. }
            | Event::TornDown { .. }
            | Event::Failed(_)
            | Event::Lost { .. }
            | Event::Asked { .. }
            | Event::Seen { .. }
            | Event::Closed { .. }
            | Event::Disconnected
            | Event::HookEnded(_)
            | Event::HookSettled { .. }
            | Event::Applied { .. }
            | Event::SharedRemoved { .. }
            | Event::Resumed { .. } => {}
        }
    }
    events
}

/// What came with previews.
fn of_previews() -> Vec<Event> {
    let release = Release(42);
    let show = |expected| Event::Intended {
        action: Action::Preview { release, expected },
    };
    vec![
        begun(Verb::Deploy {
            release,
            slot: Slot::Blue,
            until_preview: true,
        }),
        show(None),
        show(Some(7)),
        Event::Previewed { generation: 8 },
        Event::Intended {
            action: Action::Hide {
                release,
                expected: 8,
            },
        },
        Event::Hidden { generation: None },
        Event::Hidden {
            generation: Some(9),
        },
    ]
}

/// What came with late clients.
fn of_late_clients() -> Vec<Event> {
    let Event::Opened(opened) = opened(43) else {
        panic!("an opening event");
    };
    let seen = |release, connections, why: Option<&str>| Clients {
        release: Release(release),
        connections,
        why: why.map(str::to_owned),
    };
    vec![
        Event::Opened(Opened {
            cached: true,
            ..opened
        }),
        begun(Verb::Prune {
            releases: vec![Release(40)],
            force: true,
        }),
        Event::Intended {
            action: Action::SeeClients {
                releases: vec![Release(40), Release(41)],
            },
        },
        Event::ClientsSeen {
            clients: vec![
                seen(39, Some(0), None),
                seen(40, Some(2), None),
                seen(41, None, Some("no image of flipside can be built")),
            ],
        },
    ]
}

fn hook(repeat: u32) -> Action {
    Action::Hook {
        name: "warm".into(),
        repeat,
    }
}

/// What came with shared roles.
fn of_shared() -> Vec<Event> {
    let db = || role("db");
    let action = Action::Apply { role: db() };
    vec![
        begun(Verb::Apply {
            roles: vec![db(), role("queue")],
            settles: false,
        }),
        Event::Intended { action },
        Event::Applied {
            role: db(),
            kept: vec![],
            as_it_was: false,
            settled: vec![],
        },
        Event::Applied {
            role: role("queue"),
            kept: vec!["old-queue-1".into()],
            as_it_was: true,
            settled: vec![],
        },
        begun(Verb::Down {
            releases: vec![Release(42)],
            shared: true,
        }),
        Event::Intended {
            action: Action::RemoveShared,
        },
        removed("shop_db", vec![], vec![]),
        Event::SharedRemoved {
            kept: vec![],
            held: vec![],
            back: vec![],
        },
        removed(
            "old_db",
            vec![Held {
                volume: "old_db".into(),
                container: "old-db-1".into(),
            }],
            vec![GivenBack {
                container: "old-db-1".into(),
                policy: "unless-stopped".into(),
            }],
        ),
    ]
}

fn removed(volume: &str, held: Vec<Held>, back: Vec<GivenBack>) -> Event {
    Event::SharedRemoved {
        kept: vec![volume.into()],
        held,
        back,
    }
}

/// What came with jobs and hooks.
fn of_hooks() -> Vec<Event> {
    let name = || "warm".to_owned();
    let plan = |when, kind, idempotent| HookPlan {
        name: name(),
        when,
        kind,
        idempotent,
    };
    let Event::Opened(mut opened) = opened(43) else {
        unreachable!("an opening record");
    };
    opened.hooks = vec![
        plan(When::BeforeSwitch, HookKind::Container, false),
        plan(When::AfterSwitch, HookKind::Command, true),
        plan(When::OnRollback, HookKind::Http, false),
    ];
    let settled = |word| Event::HookSettled {
        name: name(),
        word,
        by: "bob@desk".into(),
    };
    vec![
        Event::Opened(opened),
        Event::StoodUp {
            endpoints: vec![],
            jobs: vec![JobEnd {
                role: role("migrate"),
                code: 0,
                took_ms: 900,
                output: "migrated 3 tables".into(),
            }],
        },
        Event::Intended { action: hook(0) },
        Event::HookEnded(HookEnd {
            name: name(),
            code: Some(3),
            took_ms: 20,
            output: "cannot warm".into(),
            failure: Some(Failure {
                what: "the hook `warm` exited with 3".into(),
                ..Failure::default()
            }),
            ..HookEnd::default()
        }),
        Event::HookEnded(HookEnd {
            name: name(),
            status: Some(204),
            stopped: true,
            skipped: true,
            ..HookEnd::default()
        }),
        Event::Intended { action: hook(1) },
        settled(HookWord::Done),
        settled(HookWord::Again),
    ]
}

/// A role with an image and this many replicas, and nothing else said.
pub fn some_role(replicas: u32) -> Role {
    Role {
        run: Run::Always,
        image: ImageSource::Pull("shop:1".into()),
        pull: Pull::Missing,
        command: None,
        entrypoint: None,
        environment: BTreeMap::new(),
        files: vec![],
        mounts: vec![],
        tmpfs: BTreeMap::new(),
        healthcheck: None,
        depends_on: BTreeMap::new(),
        timeout_ms: 60_000,
        replicas,
        limits: Limits::default(),
        stop_signal: None,
        stop_grace_ms: 10_000,
        user: None,
        working_dir: None,
        read_only: false,
        cap_add: vec![],
        cap_drop: vec![],
        security_opt: vec![],
        ulimits: BTreeMap::new(),
        labels: BTreeMap::new(),
        init: None,
        extra_hosts: vec![],
        dns: vec![],
        networks: vec![],
        hostname: None,
        expose: vec![],
        aliases: vec![],
        network_of: None,
        tty: false,
        stdin_open: false,
        sysctls: BTreeMap::new(),
        logging: None,
        group_add: vec![],
        dns_search: vec![],
        platform: None,
        host: Host::default(),
    }
}

/// A plan of `shop` with these roles and probes.
pub fn plan(roles: &[(&str, u32)], probes: Vec<Probe>) -> Plan {
    let said = labels(probes);
    let roles = roles.iter();
    Plan {
        service: shop(),
        roles: roles
            .map(|&(name, replicas)| (role(name), some_role(replicas)))
            .collect(),
        shared: BTreeMap::new(),
        project: None,
        compose_files: Vec::new(),
        external_networks: BTreeMap::new(),
        external_volumes: BTreeSet::new(),
        exposed: said.exposed,
        probes: said.probes,
        hooks: vec![],
        pointer: said.pointer,
        policy: said.policy,
        engine: None,
        pools: Pools::default(),
        hidden: Vec::new(),
    }
}

/// What one release of a plan shall be.
pub fn spec(release: u64, plan: &Plan) -> Spec {
    Spec {
        release: Release(release),
        slot: if release.is_multiple_of(2) {
            Slot::Green
        } else {
            Slot::Blue
        },
        labels: Labels {
            exposed: plan.exposed.clone(),
            probes: plan.probes.clone(),
            pointer: plan.pointer.clone(),
            policy: plan.policy.clone(),
            sharing: Some(Sharing::of(plan)),
        },
        plan: plan.clone(),
        opened_with: 1,
    }
}
