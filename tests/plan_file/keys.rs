//! What the keys of a good plan become: numbers, limits, probes, the top level.

use std::collections::BTreeMap;

use flipside::core::hook::{HookKind, When};
use flipside::core::plan::{Condition, GrpcProbe, HookAct, ProbeKind, Run, Text, Verify};
use flipside::core::{RoleName, ServiceName};
use serde_json::json;

use super::contents::words;
use super::fixture::{Fixture, MARKER, with_top};

fn web() -> RoleName {
    RoleName::new("web").unwrap()
}

#[test]
fn health_checks() {
    let fixture = Fixture::new();
    let check = |lines: &str| {
        fixture
            .role(&format!("healthcheck: {lines}"))
            .healthcheck
            .unwrap()
    };
    let shell = check(
        "{test: \"curl -f localhost || exit 1\", interval: 1m30s, timeout: 500ms, retries: 3, start_period: 1.5s}",
    );
    assert_eq!(
        words(&shell.test),
        ["CMD-SHELL", "curl -f localhost || exit 1"]
    );
    assert_eq!(
        (shell.interval_ms, shell.timeout_ms),
        (Some(90_000), Some(500))
    );
    assert_eq!(
        (shell.start_period_ms, shell.retries),
        (Some(1_500), Some(3))
    );
    let list = check("{test: [CMD, curl, \"${PASSWORD}\"]}");
    assert_eq!(words(&list.test), ["CMD", "curl", MARKER]);
    assert!(list.test[2].is_secret());
    assert_eq!(words(&check("{disable: true}").test), ["NONE"]);
    assert_eq!(words(&check("{interval: 5s}").test), [""; 0]);
}

#[test]
fn limits_and_replicas() {
    let fixture = Fixture::new();
    let role = fixture.role("cpus: 0.5\nmem_limit: 256m\npids_limit: 100\nshm_size: 64MiB\ndeploy: {replicas: \"${REPLICAS}\"}");
    assert_eq!(role.replicas, 3);
    assert_eq!(role.limits.nano_cpus, Some(500_000_000));
    assert_eq!(role.limits.memory, Some(256 << 20));
    assert_eq!(
        (role.limits.pids, role.limits.shm),
        (Some(100), Some(64 << 20))
    );
    let deploy = fixture.role(
        "deploy: {resources: {limits: {cpus: '1.5', memory: 1g, pids: -1}, reservations: {memory: 512mb}}}\n\
         ulimits: {nofile: 1024, core: {soft: 0, hard: -1}}",
    );
    assert_eq!(deploy.limits.nano_cpus, Some(1_500_000_000));
    assert_eq!(
        (deploy.limits.memory, deploy.limits.memory_reservation),
        (Some(1 << 30), Some(512 << 20))
    );
    assert_eq!(deploy.limits.pids, Some(-1));
    assert_eq!(deploy.ulimits["nofile"], (1024, 1024));
    assert_eq!(deploy.ulimits["core"], (0, -1));
}

#[test]
fn the_plain_keys() {
    let fixture = Fixture::new();
    let role = fixture.role(
        "restart: \"no\"\nstop_signal: quit\nstop_grace_period: 1m\nuser: 1000:1000\nworking_dir: /srv\nread_only: true\n\
         cap_add: [cap_net_admin]\ncap_drop: [ALL]\nsecurity_opt: [\"no-new-privileges:false\"]\nlabels: {a: 1, b: }\n\
         init: true\nextra_hosts: [\"a:192.0.2.1\", \"b=[2001:db8::1]\", \"c:2001:db8::2\"]\ndns: 192.0.2.53\n\
         expose: [80, \"443/tcp\"]\nnetworks: [default, edge]\nx-mine: {anything: goes}\n---\n\
         networks: {edge: {external: true, name: edge-net}, default: }",
    );
    assert_eq!(role.stop_signal.as_deref(), Some("SIGQUIT"));
    for signal in [
        "SIGTTOU",
        "SIGSEGV",
        "SIGRTMIN+3",
        "SIGRTMAX-14",
        "SIGRTMAX",
    ] {
        let role = fixture.role(&format!("stop_signal: {signal}"));
        assert_eq!(role.stop_signal.as_deref(), Some(signal));
    }
    assert_eq!(role.stop_grace_ms, 60_000);
    assert_eq!(role.user.as_deref(), Some("1000:1000"));
    assert_eq!(role.working_dir.as_deref(), Some("/srv"));
    assert!(role.read_only);
    assert_eq!(
        (role.cap_add, role.cap_drop),
        (vec!["NET_ADMIN".to_owned()], vec!["ALL".to_owned()])
    );
    assert_eq!(role.security_opt, ["no-new-privileges:false"]);
    assert_eq!(
        role.labels,
        BTreeMap::from([("a".into(), "1".into()), ("b".into(), String::new())])
    );
    assert_eq!(role.init, Some(true));
    let hosts: Vec<_> = role
        .extra_hosts
        .iter()
        .map(|(name, address)| format!("{name} {address}"))
        .collect();
    assert_eq!(hosts, ["a 192.0.2.1", "b 2001:db8::1", "c 2001:db8::2"]);
    assert_eq!(
        role.dns,
        ["192.0.2.53".parse::<std::net::IpAddr>().unwrap()]
    );
    let named = fixture.role("hostname: web-1.example\nnetworks: [default]");
    assert_eq!(named.hostname.as_deref(), Some("web-1.example"));
    assert_eq!(role.expose, [80, 443]);
    assert_eq!(role.networks, ["edge"]);
    let map = fixture.role("labels: [a=1, b]\nextra_hosts: {a: 192.0.2.1, b: [192.0.2.2, 192.0.2.3]}\nnetworks: {edge: }\n---\nnetworks: {edge: {external: true}}");
    assert_eq!(map.labels.len(), 2);
    assert_eq!(map.extra_hosts.len(), 3);
    assert_eq!(map.networks, ["edge"]);
    let defaults = fixture.role("");
    assert_eq!((defaults.stop_grace_ms, defaults.replicas), (10_000, 1));
}

#[test]
fn dependencies_as_a_list_and_a_map_and_roles_left_out() {
    let fixture = Fixture::new();
    let text = with_top(
        "services:\n  web: {image: \"app:1\", depends_on: {db: {condition: service_healthy, required: true}, cache: {condition: service_started}}}\n  \
         cache: {image: \"redis:7\", depends_on: [db]}\n  db: {image: \"pg:1\"}\n  \
         old: {run: never, ports: [\"80:80\"], image: \"${NOT_SET}\"}",
    );
    let plan = fixture.load(text).unwrap().plan;
    let names: Vec<_> = plan.roles.keys().map(RoleName::as_str).collect();
    assert_eq!(names, ["cache", "db", "web"]);
    let db = RoleName::new("db").unwrap();
    assert_eq!(plan.roles[&web()].depends_on[&db], Condition::Healthy);
    assert_eq!(
        plan.roles[&RoleName::new("cache").unwrap()].depends_on[&db],
        Condition::Started
    );
}

#[test]
fn a_job_and_who_waits_for_it() {
    let fixture = Fixture::new();
    let text = with_top(
        "services:\n  web: {image: \"app:1\", depends_on: {migrate: {condition: service_completed_successfully}}}\n  \
         migrate: {image: \"app:1\", run: once, restart: \"no\", timeout: 90s, depends_on: [db]}\n  \
         seed: {image: \"app:1\", run: once}\n  db: {image: \"pg:1\"}",
    );
    let plan = fixture.load(text).unwrap().plan;
    let name = |name: &str| RoleName::new(name).unwrap();
    let (migrate, seed) = (&plan.roles[&name("migrate")], &plan.roles[&name("seed")]);
    assert_eq!((migrate.run, migrate.timeout_ms), (Run::Once, 90_000));
    assert_eq!((seed.run, seed.timeout_ms), (Run::Once, 600_000));
    let waits = plan.roles[&web()].depends_on[&name("migrate")];
    assert_eq!(waits, Condition::Completed);
}

#[test]
fn hooks_of_every_kind() {
    let fixture = Fixture::new();
    let text = with_top(
        "hooks:\n  after_switch:\n    - {name: warm, run: [./warm.sh, \"${WORD}\"], environment: {A: \"${WORD}\"}, idempotent: true}\n  \
         before_switch:\n    - {name: check, role: web, command: bin/check -v, timeout: 2m}\n  \
         on_rollback:\n    - name: tell\n      http: {url: \"https://chat.example/${WORD}\", headers: {X: \"${WORD}\"}, body: gone, status: [200, 204]}",
    );
    let hooks = fixture.load(text).unwrap().plan.hooks;
    let plans = hooks.iter().map(|hook| {
        let plan = &hook.plan;
        (
            plan.name.as_str(),
            plan.when,
            plan.kind,
            plan.idempotent,
            hook.timeout_ms,
        )
    });
    let expected = [
        (
            "check",
            When::BeforeSwitch,
            HookKind::Container,
            false,
            120_000,
        ),
        ("warm", When::AfterSwitch, HookKind::Command, true, 300_000),
        ("tell", When::OnRollback, HookKind::Http, false, 300_000),
    ];
    assert_eq!(plans.collect::<Vec<_>>(), expected);
    let secret = |at: usize| {
        let texts = hooks[at].act.texts().into_iter();
        texts.map(Text::is_secret).collect::<Vec<_>>()
    };
    assert_eq!(secret(0), [false, false]);
    // The program, its argument, its variable.
    assert_eq!(secret(1), [false, true, true]);
    // The header, the body, the address.
    assert_eq!(secret(2), [true, false, true]);
    let HookAct::Http(request) = &hooks[2].act else {
        panic!("{:?}", hooks[2]);
    };
    assert_eq!(request.method, "POST");
    assert_eq!(request.status, [(200, 200), (204, 204)]);
}

#[test]
fn a_command_as_a_pointer_is_beside_the_plan() {
    let fixture = Fixture::new();
    let settings = |command: &str| {
        let text = format!("pointer: {{exec: {{command: {command}, url: 'http://h'}}}}");
        fixture.load(with_top(&text)).unwrap().plan.pointer.settings
    };
    let beside = fixture.file("bin/switch").display().to_string();
    let found = settings("[./bin/switch, a/b, 'c d']");
    assert_eq!(found["command"], serde_json::json!([beside, "a/b", "c d"]));
    assert_eq!(found["timeout"], 5_000);
    let found = settings("switch 'a b' c");
    assert_eq!(found["command"], serde_json::json!(["switch", "a b", "c"]));
}

#[test]
fn probes_and_their_defaults() {
    let fixture = Fixture::new();
    let text = with_top(
        "services: {web: {image: \"app:1\"}, db: {image: \"pg:1\", expose: [5432]}}\n\
         pointer: {proxy: {listen: \":80\", hosts: [Shop.Example., b.example, shop.example]}}\n\
         probes:\n  - http:\n  - http: {path: \"/up?a=b\", port: 81, method: HEAD, headers: {X: \"${PASSWORD}\"}, host: h, status: [200, 300-399], contains: ok, tls: {server_name: n, verify: none}, interval: 2s, timeout: 1s, initial_delay: 1s, passes: 2, failures: 4, deadline: 10s}\n  \
         - tcp: {role: db}\n  - exec: {role: db, command: pg_isready -U \"a b\"}\n  - health: {role: db}\n  - http: {status: 200-299, tls: true}",
    );
    let plan = fixture.load(text).unwrap().plan;
    let [first, second, tcp, exec, health, tls] = plan.probes.as_slice() else {
        panic!()
    };
    assert_eq!(
        (first.interval_ms, first.timeout_ms, first.initial_delay_ms),
        (1_000, 5_000, 0)
    );
    assert_eq!(
        (first.passes, first.failures, first.deadline_ms),
        (1, 3, 60_000)
    );
    let ProbeKind::Http(http) = &first.kind else {
        panic!()
    };
    assert_eq!(
        (http.port, http.method.as_str(), http.path.as_str()),
        (8080, "GET", "/")
    );
    assert_eq!(http.status, [(200, 299)]);
    assert_eq!(http.headers.len(), 1);
    assert_eq!(http.headers[0].name, "Host");
    assert_eq!(http.headers[0].value, Some(Text::public("shop.example")));
    let ProbeKind::Http(http) = &second.kind else {
        panic!()
    };
    assert_eq!(
        (http.port, http.method.as_str(), http.path.as_str()),
        (81, "HEAD", "/up?a=b")
    );
    assert_eq!(http.status, [(200, 200), (300, 399)]);
    assert_eq!(http.contains.as_deref(), Some("ok"));
    assert_eq!(http.tls.as_ref().unwrap().verify, Verify::None);
    assert_eq!(http.headers[0].value, Some(Text::secret(MARKER)));
    assert_eq!(http.headers[1].value, Some(Text::public("h")));
    assert_eq!(
        (second.passes, second.failures, second.deadline_ms),
        (2, 4, 10_000)
    );
    assert_eq!(
        (tcp.role.as_str(), &tcp.kind),
        ("db", &ProbeKind::Tcp { port: 5432 })
    );
    let ProbeKind::Exec { command } = &exec.kind else {
        panic!()
    };
    assert_eq!(words(command), ["pg_isready", "-U", "a b"]);
    assert_eq!(health.kind, ProbeKind::Health);
    let ProbeKind::Http(http) = &tls.kind else {
        panic!()
    };
    assert_eq!(http.tls.as_ref().unwrap().verify, Verify::Full);
    let hosts: Vec<&str> = plan.pointer.hosts().collect();
    assert_eq!(hosts, ["shop.example", "b.example"]);
    let short = fixture.load(with_top("probes: [{http: {deadline: 500ms}}]"));
    let short = &short.unwrap().plan.probes[0];
    assert_eq!(
        (short.timeout_ms, short.interval_ms, short.deadline_ms),
        (500, 500, 500),
        "what is not written gives way"
    );
}

#[test]
fn what_a_body_must_say() {
    let mut fixture = Fixture::new();
    fixture.vars.insert("DIGITS".into(), "7".into());
    let equals = |written: &str| {
        let body = format!(
            "matches: '^ok\\b'\n      json:\n        pointer: /a~1b/0\n        equals: {written}"
        );
        let text = with_top(&format!("probes:\n  - http:\n      {body}"));
        let loaded = fixture.load(text).unwrap_or_else(|error| panic!("{error}"));
        let ProbeKind::Http(http) = &loaded.plan.probes[0].kind else {
            panic!()
        };
        assert_eq!(http.matches.as_deref(), Some("^ok\\b"));
        let json = http.json.clone().unwrap();
        assert_eq!(json.pointer, "/a~1b/0");
        json.equals
    };
    for (written, meant) in [
        ("UP", json!("UP")),
        ("'true'", json!("true")),
        ("true", json!(true)),
        ("False", json!(false)),
        ("3", json!(3)),
        ("-1.5e3", json!(-1500.0)),
        ("\"3\"", json!("3")),
        ("null", json!(null)),
        ("~", json!(null)),
        ("''", json!("")),
        ("${DIGITS}", json!(7)),
        ("'${DIGITS}'", json!("7")),
        ("1.2.3", json!("1.2.3")),
    ] {
        assert_eq!(equals(written), meant, "{written}");
    }
    let whole = with_top("probes: [{http: {json: {pointer: '', equals: UP}}}]");
    let plan = fixture.load(whole).unwrap().plan;
    let ProbeKind::Http(http) = &plan.probes[0].kind else {
        panic!()
    };
    assert_eq!(http.json.as_ref().unwrap().pointer, "");
}

#[test]
fn grpc_probes() {
    let text = with_top(
        "services: {web: {image: \"app:1\"}, cart: {image: \"cart:1\", expose: [9090]}}\n\
         probes:\n  - http:\n  - grpc: {role: cart}\n  \
         - grpc: {role: cart, port: 9091, service: shop.v1.Cart, deadline: 2s}\n  - grpc:",
    );
    let plan = Fixture::new().load(text).unwrap().plan;
    let kinds: Vec<_> = plan.probes[1..].iter().map(|probe| &probe.kind).collect();
    let grpc = |port, service: &str| {
        ProbeKind::Grpc(GrpcProbe {
            port,
            service: service.into(),
        })
    };
    let expected = [grpc(9090, ""), grpc(9091, "shop.v1.Cart"), grpc(8080, "")];
    assert_eq!(kinds, expected.each_ref());
    assert_eq!(
        (plan.probes[2].timeout_ms, plan.probes[2].deadline_ms),
        (2_000, 2_000)
    );
}

#[test]
fn the_top_level() {
    let mut fixture = Fixture::new();
    let text = with_top(
        "engine: ssh://root@${WORD}\nstrategy: all-at-once\nbake: 10m\ndrain: {limit: 0s}\nstand_up: {deadline: 1h}\n\
         rollback: {proof: 2s}\nstandby: {keep: 2, for: 1d, max: 5, mode: running}\npools: {networks: 10.0.0.0/8}\n\
         networks: {e: {external: true, name: edge}}\nx-mine: [1]",
    );
    let plan = fixture.load(&text).unwrap().plan;
    assert_eq!(plan.service.as_str(), "shop");
    assert_eq!(plan.engine.as_deref(), Some("ssh://root@abc"));
    assert_eq!(
        (
            plan.policy.bake_ms,
            plan.policy.drain_ms,
            plan.policy.stand_up_ms
        ),
        (600_000, 0, 3_600_000)
    );
    assert_eq!(
        (
            plan.policy.proof_ms,
            plan.policy.keep,
            plan.policy.keep_for_ms,
            plan.policy.max
        ),
        (2_000, 2, 86_400_000, Some(5))
    );
    assert_eq!(plan.pools.networks.1, 8);
    assert_eq!(
        plan.external_networks,
        BTreeMap::from([("e".into(), "edge".into())])
    );
    assert_eq!(
        fixture
            .load(with_top("drain: 5s"))
            .unwrap()
            .plan
            .policy
            .drain_ms,
        5_000
    );
    fixture.name = Some("shop-staging".into());
    assert_eq!(
        fixture.load(&text).unwrap().plan.service,
        ServiceName::new("shop-staging").unwrap()
    );
    fixture.name = Some("No".into());
    assert!(
        fixture
            .said(&text)
            .starts_with("flipside.yaml:1:1: `--name No` is not a service name")
    );
}

#[test]
fn anchors_merges_quotes_byte_order_marks_and_line_ends() {
    let fixture = Fixture::new();
    let text = "\u{feff}---\r\nname: 'shop'\r\nx-base: &base\r\n  image: app:1 # a comment\r\n  init: true\r\n  environment: {A: 1}\r\n\
                services:\r\n  web:\r\n    <<: *base\r\n    init: false\r\n  api: {<<: [*base, {user: me}]}\r\nexpose: web:80\r\n\
                probes: none\r\npointer: {proxy: {listen: :80}}\r\n...\r\n";
    let plan = fixture.load(text).unwrap().plan;
    assert_eq!(plan.roles[&web()].init, Some(false));
    assert_eq!(plan.roles[&web()].environment["A"].reveal(), "1");
    let api = &plan.roles[&RoleName::new("api").unwrap()];
    assert_eq!((api.init, api.user.as_deref()), (Some(true), Some("me")));
    let said = fixture.said(text.replace("init: false", "inti: false"));
    assert!(
        said.starts_with("flipside.yaml:10:5: `inti` is not a key of `services.web`\n"),
        "{said}"
    );
    assert!(
        said.contains("\n 10 |     inti: false\n    |     ^^^^\n"),
        "{said}"
    );
}
