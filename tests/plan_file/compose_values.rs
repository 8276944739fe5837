//! What reaches a container of what Compose files say, and what a resumed run reads again.

use std::collections::{BTreeMap, BTreeSet};

use flipside::core::plan::{
    Condition, ImageSource, Logging, MountSource, Plan, Restart, Role, Run, Text,
};
use flipside::plan::{self, Loaded};

use super::compose::Case;
use super::fixture::{Fixture, MARKER};

fn loaded(fixture: &Fixture, top: &str, files: &[(&str, &str)]) -> Loaded {
    let files = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let case = Case::given(top, files.collect());
    case.with(fixture, |plan| {
        fixture.load(plan).unwrap_or_else(|error| panic!("{error}"))
    })
}

fn role<'a>(plan: &'a Plan, name: &str) -> &'a Role {
    let all = plan.roles.iter().chain(&plan.shared);
    let mut all = all.filter(|(known, _)| known.as_str() == name);
    all.next().unwrap().1
}

fn shown(map: &BTreeMap<String, Text>) -> Vec<(&str, &str)> {
    let texts = map.iter();
    texts
        .map(|(name, text)| (name.as_str(), text.reveal()))
        .collect()
}

fn words(words: &Option<Vec<Text>>) -> Vec<&str> {
    words.as_ref().unwrap().iter().map(Text::reveal).collect()
}

#[test]
fn scalars_reach_a_container_as_they_are_written() {
    let fixture = Fixture::new();
    let compose = "services:\n  web:\n    image: app:1\n    command: [22:22, no, off, yes, 1.10, 0x1F, 010, on]\n    \
                   entrypoint: \"\"\n    platform: ${EMPTY}\n    environment: {A: 22:22, B: no, C: 1.10, D: True, E: '', F: 1_000}\n    \
                   labels: {a: \"b\tc\", n: 1.10}\r\n";
    let loaded = loaded(&fixture, "", &[("compose.yaml", compose)]);
    let web = role(&loaded.plan, "web");
    let expected = ["22:22", "no", "off", "yes", "1.10", "0x1F", "010", "on"];
    assert_eq!(words(&web.command), expected);
    assert_eq!(words(&web.entrypoint), [""; 0]);
    assert_eq!(web.platform, None);
    assert_eq!(
        shown(&web.environment),
        [
            ("A", "22:22"),
            ("B", "no"),
            ("C", "1.10"),
            ("D", "True"),
            ("E", ""),
            ("F", "1_000")
        ]
    );
    assert_eq!(web.labels["a"], "b\tc");
    assert_eq!(web.labels["n"], "1.10");
}

/// As in Compose, where to be empty is to be unset; and a run that is resumed reads the same, whatever
/// the variables are by then.
#[test]
fn what_is_empty_in_a_compose_file_is_unset() {
    let mut fixture = Fixture::new();
    let compose = "services:\n  web:\n    image: app:1\n    hostname: ${EMPTY}\n    user: ''\n    \
                   stop_signal: ${NONE:-}\n    mem_limit: ${NONE-}\n    pull_policy: ''\n    restart: ${EMPTY}\n    \
                   environment: {A: '${EMPTY}'}\n    labels: {a: ''}\n    configs: [c]\nconfigs: {c: {content: ''}}\n";
    let first = loaded(&fixture, "", &[("compose.yaml", compose)]);
    let web = role(&first.plan, "web");
    assert_eq!(
        (&web.hostname, &web.user, &web.stop_signal),
        (&None, &None, &None)
    );
    assert_eq!(web.limits.memory, None);
    assert_eq!(shown(&web.environment), [("A", "")]);
    assert_eq!(web.labels["a"], "");
    assert_eq!(web.files.len(), 1);
    fixture.vars.insert("NONE".into(), "KILL".into());
    let again = plan::reload(&first.record, &fixture.inputs()).unwrap();
    assert_eq!(again.plan, first.plan);
    assert_eq!(again.record, first.record);
}

#[test]
fn what_docker_takes_for_no_limit_and_for_yes_is_taken_so_here() {
    let fixture = Fixture::new();
    let compose = "services:\n  web:\n    image: app:1\n    pids_limit: 0\n    init: yes\n    tty: Off\n    \
                   healthcheck: {test: [CMD-SHELL, 'a $$0', b], retries: 0}\n  \
                   other: {image: 'app:1', healthcheck: {test: [], interval: 5s}}\n";
    let loaded = loaded(&fixture, "", &[("compose.yaml", compose)]);
    let web = role(&loaded.plan, "web");
    assert_eq!(web.limits.pids, Some(-1));
    assert_eq!((web.init, web.tty), (Some(true), false));
    let check = web.healthcheck.as_ref().unwrap();
    let test: Vec<_> = check.test.iter().map(Text::reveal).collect();
    assert_eq!(test, ["CMD-SHELL", "a $0", "b"]);
    assert_eq!(check.retries, None);
    let other = role(&loaded.plan, "other").healthcheck.as_ref().unwrap();
    assert_eq!((other.test.len(), other.interval_ms), (0, Some(5000)));
}

/// Compose substitutes an entry of a list as a whole.
#[test]
fn a_variable_may_give_the_name_of_a_variable() {
    let fixture = Fixture::new();
    let compose = "services:\n  web:\n    image: app:1\n    environment: ['${NONE:-P}=1', 'A_${WORD}=${PASSWORD}', '${NONE:-B=2=3}', '${NONE:-WORD}']\n";
    let other = "services: {web: {environment: {P: '2'}}}\n";
    let alone = loaded(&fixture, "", &[("compose.yaml", compose)]);
    let web = role(&alone.plan, "web");
    let expected = [("A_abc", MARKER), ("B", "2=3"), ("P", "1"), ("WORD", "abc")];
    assert_eq!(shown(&web.environment), expected);
    assert!(web.environment["A_abc"].is_secret());
    let json = serde_json::to_string(&alone.record).unwrap();
    assert!(!json.contains(MARKER), "a secret is in the record: {json}");
    let compose = "services: {web: {image: 'app:1', environment: ['${NONE:-P}=1']}}\n";
    let both = loaded(
        &fixture,
        "",
        &[("compose.yaml", compose), ("prod.yaml", other)],
    );
    assert_eq!(shown(&role(&both.plan, "web").environment), [("P", "2")]);
}

#[test]
fn two_files_and_the_plan_say_one_thing() {
    let fixture = Fixture::new();
    let base = "services:\n  web:\n    image: app:1\n    command: [serve]\n    environment: {A: '1', B: '2', WORD: x}\n    \
                labels: [a=1, b=2]\n    depends_on: {db: {condition: service_healthy}, cache: {condition: service_healthy}}\n    \
                dns: 192.0.2.1\n    extra_hosts: [a=192.0.2.1]\n    ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}\n    \
                logging: {driver: json-file, options: {max-size: 1m}}\n    cap_add: [CHOWN]\n    tmpfs: /run\n    \
                healthcheck: {test: a, interval: 5s}\n  \
                db: {image: 'pg:1', healthcheck: {test: a}}\n  cache: {image: 'redis:1', healthcheck: {test: a}}\n";
    let prod = "services:\n  web:\n    environment: [B=3, C=4, WORD]\n    labels: {b: '3', c: }\n    depends_on: [db]\n    \
                dns: [192.0.2.2]\n    extra_hosts: {a: 192.0.2.3}\n    ulimits: {nofile: 4}\n    \
                logging: {driver: syslog, options: {tag: t}}\n    cap_add: [CHOWN, KILL]\n    tmpfs: [/run:size=1m]\n    \
                healthcheck: {test: b}\n";
    let top = "services: {web: {command: !override work, environment: {A: !reset null}}, db: {run: shared}}";
    let loaded = loaded(
        &fixture,
        top,
        &[("compose.yaml", base), ("prod.yaml", prod)],
    );
    let web = role(&loaded.plan, "web");
    assert_eq!(words(&web.command), ["work"]);
    let expected = [("B", "3"), ("C", "4"), ("WORD", "abc")];
    assert_eq!(shown(&web.environment), expected);
    let labels: Vec<_> = web.labels.iter().map(|(a, b)| (&**a, &**b)).collect();
    assert_eq!(labels, [("a", "1"), ("b", "3"), ("c", "")]);
    let waits: Vec<_> = web
        .depends_on
        .iter()
        .map(|(a, b)| (a.as_str(), *b))
        .collect();
    let expected = [("cache", Condition::Healthy), ("db", Condition::Started)];
    assert_eq!(waits, expected);
    assert_eq!(web.dns.len(), 2);
    let hosts: Vec<_> = web
        .extra_hosts
        .iter()
        .map(|(_, address)| &**address)
        .collect();
    assert_eq!(hosts, ["192.0.2.1", "192.0.2.3"]);
    assert_eq!(web.ulimits["nofile"], (4, 4));
    assert_eq!(web.ulimits["nproc"], (3, 3));
    let Some(Logging { driver, options }) = &web.logging else {
        panic!("no log driver")
    };
    assert_eq!(
        (driver.as_str(), shown(options)),
        ("syslog", vec![("tag", "t")])
    );
    assert_eq!(web.cap_add, ["CHOWN", "KILL"]);
    assert_eq!(web.tmpfs["/run"], "size=1m");
    let check = web.healthcheck.as_ref().unwrap();
    assert_eq!(check.test[1].reveal(), "b");
    assert_eq!(check.interval_ms, Some(5000));
    assert_eq!(role(&loaded.plan, "db").run, Run::Shared);
}

#[test]
fn volumes_are_adopted_by_name_and_a_shared_role_has_what_it_asks_for() {
    let fixture = Fixture::new();
    let compose = "name: site\nservices:\n  web: {image: 'app:1', volumes: ['up:/up', 'tmp:/tmp']}\n  \
                   db: {image: 'pg:1', volumes: ['data:/data', '/var/lib/more'], ports: ['127.0.0.1:5432:5432', '53:53/udp'], \
                   restart: on-failure:3, privileged: true, container_name: the-db}\nvolumes: {up: , tmp: , data: }\n";
    let top = "services: {db: {run: shared}}\nvolumes:\n  up: {keep: across-releases, name: site_up}\n  \
               tmp: {keep: per-release}\n";
    let loaded = loaded(&fixture, top, &[("compose.yaml", compose)]);
    let sources = |name: &str| -> Vec<MountSource> {
        let mounts = role(&loaded.plan, name).mounts.iter();
        mounts.map(|mount| mount.source.clone()).collect()
    };
    assert_eq!(
        sources("web"),
        [
            MountSource::Shared("site_up".into()),
            MountSource::PerRelease(Some("tmp".into()))
        ]
    );
    assert_eq!(
        sources("db"),
        [
            MountSource::Shared("shop_data".into()),
            MountSource::PerRelease(None)
        ]
    );
    let db = role(&loaded.plan, "db");
    assert!(db.host.privileged);
    assert_eq!(db.host.restart, Restart::OnFailure(Some(3)));
    let ports = db.host.ports.iter();
    let ports: Vec<_> = ports
        .map(|port| (port.published, port.target, port.udp))
        .collect();
    assert_eq!(ports, [(Some(5432), 5432, false), (Some(53), 53, true)]);
    assert_eq!(db.aliases, ["the-db"]);
    assert_eq!(loaded.plan.project.as_deref(), Some("site"));
}

/// What they are called on the engine, so that it can be asked for them; and a run that is resumed asks
/// for the same.
#[test]
fn external_volumes_are_known_by_their_names_on_the_engine() {
    let fixture = Fixture::new();
    let compose = "services:\n  web: {image: 'app:1', volumes: ['a:/a', 'b:/b', 'c:/c', 'd:/d', 'e:/e']}\n\
                   volumes:\n  a: {external: true}\n  b: {external: true, name: of-b}\n  c: {external: {name: of-c}}\n  \
                   d: {external: true}\n  e: {external: false}\n";
    let top = "volumes:\n  d: {external: !reset null, keep: across-releases}\n  e: {keep: across-releases}\n";
    let loaded = loaded(&fixture, top, &[("compose.yaml", compose)]);
    let expected: BTreeSet<String> = ["a", "of-b", "of-c"].map(str::to_owned).into();
    assert_eq!(loaded.plan.external_volumes, expected);
    let again = plan::reload(&loaded.record, &fixture.inputs()).unwrap();
    assert_eq!(again.plan.external_volumes, expected);
}

/// What is found under another name is told only of a project that nobody has named.
#[test]
fn a_project_is_decided_where_the_plan_calls_it_otherwise_than_compose() {
    let fixture = Fixture::new();
    let compose = "services: {web: {image: 'app:1'}}\n";
    let directory = fixture.path().parent().unwrap().canonicalize().unwrap();
    let files = |top: &str, name: &str| {
        let text = format!("{name}{compose}");
        let at = "my.app/compose.yaml";
        let loaded = loaded(&fixture, &format!("compose: {at}\n{top}"), &[(at, &text)]);
        loaded.plan.compose_files
    };
    let own = directory.join("my.app/compose.yaml");
    for (top, name) in [
        ("", ""),
        ("project: myapp\n", ""),
        ("", "name: other\n"),
        ("project: other\n", "name: other\n"),
    ] {
        assert!(files(top, name).contains(&own), "{top}{name}");
    }
    assert!(files("project: other\n", "").is_empty());
    assert!(files("project: myapp\n", "name: other\n").is_empty());
}

#[test]
fn the_project_is_called_as_compose_would_call_it() {
    let mut fixture = Fixture::new();
    let compose = "services: {web: {image: 'app:1'}}\n";
    let named = format!("name: from-file\n{compose}");
    let project = |fixture: &Fixture, top: &str, name: &str, text: &str| {
        loaded(fixture, top, &[(name, text)]).plan.project
    };
    let at = "My App/compose.yaml";
    let quoted = "compose: \"My App/compose.yaml\"";
    assert_eq!(project(&fixture, quoted, at, compose).unwrap(), "myapp");
    assert_eq!(project(&fixture, quoted, at, &named).unwrap(), "from-file");
    fixture
        .vars
        .insert("COMPOSE_PROJECT_NAME".into(), "from-var".into());
    assert_eq!(project(&fixture, quoted, at, &named).unwrap(), "from-var");
    let given = format!("project: given\n{quoted}");
    assert_eq!(project(&fixture, &given, at, &named).unwrap(), "given");
    // Under another name it is another service, and what Compose runs is not its.
    fixture.name = Some("shop".into());
    assert_eq!(project(&fixture, &given, at, &named).unwrap(), "given");
    fixture.name = Some("shop-staging".into());
    assert_eq!(project(&fixture, &given, at, &named), None);
    fixture.name = None;
}

#[test]
fn a_resumed_run_reads_the_compose_files_of_its_record() {
    let mut fixture = Fixture::new();
    let base = "services:\n  web:\n    image: \"app:${TAG}${ONE}${TWO}\"\n    environment: {PASSWORD: , TOKEN: \"t-${PASSWORD}\"}\n    \
                env_file: web.env\n";
    let prod = "services: {web: {command: [a, \"${PASSWORD}\"]}}\n";
    let files = [
        ("deploy/compose.yaml", base),
        ("deploy/prod.yaml", prod),
        ("deploy/.env", "ONE=-1\nTWO=-2\n"),
        (".env", "TWO=-3\n"),
    ];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let env = ("deploy/web.env".to_owned(), format!("A={MARKER}\n"));
    let case = Case::given("", files.into_iter().chain([env.clone()]).collect());
    let first = case.with(&fixture, |plan| fixture.load(plan).unwrap());
    let image = ImageSource::Pull("app:1.2-1-3".into());
    assert_eq!(role(&first.plan, "web").image, image);
    let texts: Vec<_> = first
        .record
        .compose
        .iter()
        .map(|file| &*file.text)
        .collect();
    assert_eq!(texts, [base, prod]);
    let json = serde_json::to_string(&first.record).unwrap();
    assert!(!json.contains(MARKER), "a secret is in the record: {json}");

    // Edited, or gone: all that is read is the secrets' own file.
    let edited = ("deploy/compose.yaml".to_owned(), "services: [".to_owned());
    let case = Case::given("", vec![env, edited]);
    fixture.vars.insert("TAG".into(), "9".into());
    let again = case.with(&fixture, |_| plan::reload(&first.record, &fixture.inputs()));
    let again = again.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.plan, first.plan);
    assert_eq!(again.record, first.record);

    let gone = plan::reload(&first.record, &fixture.inputs()).unwrap_err();
    assert!(gone.to_string().contains("web.env"), "{gone}");
}

#[test]
fn hooks_alone_know_the_variables_beside_the_compose_file() {
    let fixture = Fixture::new();
    let hook = "hooks: {on_rollback: [{name: tell, run: [tell, \"${ONE}\"]}]}";
    let files = [
        ("deploy/compose.yaml", "services: {web: {image: 'app:1'}}\n"),
        ("deploy/.env", "ONE=1\n"),
    ];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let case = Case::given(hook, files.into());
    case.with(&fixture, |plan| {
        let first = fixture.load(plan).unwrap();
        std::fs::write(fixture.file("deploy/compose.yaml"), "[").unwrap();
        let (hooks, error) = plan::reload_hooks(&first.record, &fixture.inputs());
        assert_eq!(error, None);
        assert_eq!(hooks, first.plan.hooks);
    });
}
