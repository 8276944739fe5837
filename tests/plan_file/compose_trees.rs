//! Compose files made of known keys, in any mixture: every value of theirs is accounted for, and
//! merging keeps its laws.

use std::collections::BTreeMap;

use flipside::plan::{self, Fate, Loaded};
use proptest::prelude::*;

use super::compose::Case;
use super::fixture::{Fixture, MARKER};

thread_local! {
    /// One directory for all cases of a test.
    static FIXTURE: Fixture = Fixture::new();
}

/// Keys of a role with values that are good, odd or wrong, each list of a kind that can be merged.
const KEYS: &[(&str, &[&str])] = &[
    ("image", &["app:1", "app:2", "'app:${TAG}'", "~"]),
    (
        "command",
        &["a", "[a, b]", "''", "[]", "~", "['${PASSWORD}']"],
    ),
    ("entrypoint", &["a", "[a, b]", "''"]),
    (
        "environment",
        &[
            "{A: 1, B: '2'}",
            "[A=3, C=4, A=5]",
            "{A: , D: '${PASSWORD}'}",
            "[A]",
            "~",
        ],
    ),
    (
        "labels",
        &["{a: 1}", "[a=2, b, traefik.x=y]", "{a: , traefik.x: y}"],
    ),
    (
        "depends_on",
        &[
            "[db]",
            "[db, db]",
            "{db: {condition: service_started, restart: true}}",
            "{gone: {required: false}}",
        ],
    ),
    (
        "networks",
        &[
            "[default]",
            "{default: {aliases: [x, y]}}",
            "{default: {aliases: [y], priority: 1}}",
        ],
    ),
    (
        "ports",
        &[
            "[8080]",
            "['80:8080', 9]",
            "[{target: 8080, published: 81}]",
            "['80-82:80-82']",
        ],
    ),
    ("expose", &["[8080]", "['8080', 9/tcp, 9/udp]"]),
    (
        "volumes",
        &[
            "['./site:/srv:ro']",
            "['/srv', '/a:/b']",
            "[{type: tmpfs, target: /srv}]",
            "['data:/srv']",
        ],
    ),
    ("tmpfs", &["/run", "[/run, '/x:size=1m']"]),
    ("dns", &["192.0.2.1", "[192.0.2.1, 192.0.2.2]"]),
    (
        "extra_hosts",
        &["['a:192.0.2.1']", "{a: 192.0.2.1, b: [192.0.2.2]}"],
    ),
    (
        "healthcheck",
        &[
            "{test: a, interval: 5s}",
            "{test: [CMD, b]}",
            "{disable: true}",
            "{test: }",
        ],
    ),
    (
        "logging",
        &[
            "{driver: local}",
            "{options: {a: b}}",
            "{driver: x, options: {a: c}}",
        ],
    ),
    ("ulimits", &["{nofile: 3}", "{nofile: {soft: 1, hard: 2}}"]),
    (
        "deploy",
        &[
            "{replicas: 2}",
            "{mode: global, placement: {a: [b]}}",
            "{resources: {limits: {memory: 64m}}}",
        ],
    ),
    ("scale", &["2", "1"]),
    (
        "sysctls",
        &["{net.core.somaxconn: 1}", "[net.core.somaxconn=2]"],
    ),
    (
        "build",
        &["app", "{context: app, args: [A=1]}", "{args: {A: 2}}"],
    ),
    ("profiles", &["[on]", "[off]", "on"]),
    ("restart", &["always", "'no'"]),
    ("container_name", &["a", "web"]),
    ("links", &["[db]", "['db:x']"]),
    ("network_mode", &["bridge", "service:db"]),
    ("group_add", &["[1]", "[1, users]"]),
    ("cap_add", &["[CHOWN]", "[CHOWN, ALL]"]),
    (
        "env_file",
        &["app.env", "[app.env, {path: nope, required: false}]"],
    ),
    ("x-mine", &["1", "{a: [b, {c: d}]}"]),
    ("develop", &["{watch: []}", "{watch: [{a: b}]}"]),
    ("attach", &["false"]),
    ("privileged", &["false", "true"]),
    ("strange", &["1", "{a: b}"]),
    ("tty", &["true", "'false'"]),
];

/// Some keys of a role, each with a value.
fn keys() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    let key = proptest::sample::select(KEYS)
        .prop_flat_map(|(key, values)| (Just(key), proptest::sample::select(values)));
    proptest::collection::vec(key, 0..7).prop_map(|pairs| pairs.into_iter().collect())
}

/// A Compose file of a role `web`, and `db` where that is wanted.
fn file(web: &BTreeMap<&str, &str>, db: bool) -> String {
    let mut text = "services:\n  web:\n".to_owned();
    for (key, value) in web {
        text += &format!("    {key}: {value}\n");
    }
    if web.is_empty() {
        text += "    {}\n";
    }
    if db {
        text += "  db: {image: \"pg:1\"}\n";
    }
    text
}

fn read(top: &str, files: &[&str]) -> Result<Loaded, String> {
    FIXTURE.with(|fixture| {
        let named = files.iter().enumerate();
        let named = named.map(|(index, text)| (format!("{index}.yaml"), (*text).to_owned()));
        let case = Case::given(&format!("profiles: [on]\n{top}"), named.collect());
        case.with(fixture, |plan| {
            let read = fixture.load(plan);
            let accounted = plan::account(&fixture.path(), &fixture.inputs());
            for (index, text) in files.iter().enumerate() {
                let name = format!("{index}.yaml");
                let told = accounted.entries.iter();
                let told = told.filter(|entry| entry.file.ends_with(&name)).count();
                let parsed: serde_json::Value = serde_saphyr::from_str(text).unwrap();
                assert_eq!(told, leaves(&parsed), "{text}");
            }
            match read {
                Ok(mut loaded) => {
                    // In which files it stands is not what it says.
                    loaded.plan.compose_files.clear();
                    Ok(loaded)
                }
                Err(error) => {
                    assert!(!error.to_string().contains(MARKER), "{error}");
                    Err(error.to_string())
                }
            }
        })
    })
}

/// How many values there are, what is empty counted as one.
fn leaves(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => map.values().map(leaves).sum(),
        serde_json::Value::Array(items) if !items.is_empty() => items.iter().map(leaves).sum(),
        _ => 1,
    }
}

/// What is said of a plan without the places, which may be another file's.
fn notes(loaded: &Loaded) -> Vec<&str> {
    let mut said: Vec<_> = loaded.notes.iter().map(|note| &*note.message).collect();
    said.sort_unstable();
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_is_accounted_for_and_an_empty_file_changes_nothing(mut web in keys()) {
        web.entry("image").or_insert("app:1");
        let text = file(&web, true);
        let alone = read("", &[&text]);
        for files in [["{}", &text], [&text, "services: {}"], [&text, "services: {web: }"]] {
            match (&alone, &read("", &files)) {
                (Ok(alone), Ok(both)) => {
                    prop_assert_eq!(&alone.plan, &both.plan);
                    prop_assert_eq!(notes(alone), notes(both));
                }
                (Err(_), Err(_)) => {}
                (Ok(_), Err(error)) => prop_assert!(false, "refused with an empty file: {}", error),
                (Err(error), Ok(_)) => prop_assert!(false, "taken with an empty file: {}", error),
            }
        }
    }

    #[test]
    fn the_plan_is_the_last_file_and_files_merge_in_any_grouping(
        mut one in keys(), two in keys(), three in keys(),
    ) {
        one.entry("image").or_insert("app:1");
        let (one, two, three) = (file(&one, true), file(&two, false), file(&three, false));
        let files = read("", &[&one, &two, &three]);
        let last = read(&three, &[&one, &two]);
        // The plan's own words are read more strictly.
        if let (Ok(files), Ok(last)) = (&files, &last) {
            prop_assert_eq!(&files.plan, &last.plan);
        }
        if last.is_ok() {
            prop_assert!(files.is_ok(), "{:?}", files.map(|loaded| loaded.plan));
        }
    }
}

#[test]
fn a_value_that_is_refused_says_so() {
    let fixture = Fixture::new();
    let text = "services:\n  web:\n    strange: {a: b}\n    image: app:1\n    user: '1'\n";
    let case = Case::given("", vec![("compose.yaml".into(), text.into())]);
    case.with(&fixture, |plan| {
        std::fs::write(fixture.path(), plan).unwrap();
        let accounted = plan::account(&fixture.path(), &fixture.inputs());
        let fate = |key: &str| {
            let mut entries = accounted.entries.iter();
            let entry = entries.find(|entry| entry.path.iter().any(|part| part == key));
            entry.unwrap().fate
        };
        assert_eq!(fate("strange"), Fate::Refused);
        assert_eq!(fate("user"), Fate::Used);
        assert!(accounted.loaded.is_err());
    });
}

#[test]
fn huge_deep_and_odd_files_end() {
    let fixture = Fixture::new();
    let lines = |line: &dyn Fn(usize) -> String| (0..20_000).map(line).collect::<String>();
    let web = |key: &str, lines: String| {
        format!("services:\n  web:\n    image: app:1\n    {key}:\n{lines}")
    };
    let good = "services: {web: {image: \"app:1\"}}\n".to_owned();
    let mut bomb = String::from("x-0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("x-{level}: &a{level} [{items}]\n");
    }
    let cases: &[(Vec<String>, &str)] = &[
        (
            vec![
                web("environment", lines(&|n| format!("      K{n}: {n}\n"))),
                web("environment", lines(&|n| format!("      - K{n}=x\n"))),
            ],
            "accepted",
        ),
        (
            vec![
                web("labels", lines(&|n| format!("      - l{n}={n}\n"))),
                web("labels", lines(&|n| format!("      l{n}: x\n"))),
            ],
            "accepted",
        ),
        (
            vec![
                web("cap_add", lines(&|_| "      - CHOWN\n".to_owned())),
                web("cap_add", lines(&|n| format!("      - C{n}\n"))),
            ],
            "1.yaml:5:9: `C0` is not a capability",
        ),
        (
            vec![good.clone(), bomb.clone()],
            "1.yaml:5:31: this plan has more than 50000 values or 4 MiB of text, what anchors and aliases repeat included",
        ),
        (
            vec![
                good.clone(),
                good.replace("services", "x-a: &a 1\nservices"),
                "x-b: *a\n".into(),
            ],
            "2.yaml:1:6: this is not valid YAML: while parsing node, found unknown anchor",
        ),
        (
            vec![good.clone(), format!("x-a: {}", "[".repeat(9999))],
            "1.yaml:1:70: this is nested more than 64 levels deep",
        ),
        (
            vec![good.clone(), format!("# {}", "x".repeat(2 << 20))],
            "1.yaml:1:1: this is larger than 1 MiB, which no plan is",
        ),
        (
            vec![good.clone(), "x-a: \0".into()],
            "1.yaml:1:6: this is a binary file",
        ),
        (
            vec![good.clone(); 40],
            "this plan names more than 32 Compose files",
        ),
    ];
    for (files, expected) in cases {
        let named = files.iter().enumerate();
        let named = named.map(|(index, text)| (format!("{index}.yaml"), text.clone()));
        let case = Case::given("", named.collect());
        let began = std::time::Instant::now();
        let said = case.with(&fixture, |plan| fixture.said(plan));
        let first = said.lines().next().unwrap();
        assert!(first.contains(expected), "{expected}\n{first}");
        assert!(began.elapsed() < std::time::Duration::from_secs(30));
    }
    let link = fixture.file("loop.yaml");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    let said =
        Case::given("compose: loop.yaml", Vec::new()).with(&fixture, |plan| fixture.said(plan));
    assert!(
        said.contains(
            "the Compose file `loop.yaml` cannot be read: Too many levels of symbolic links"
        ),
        "{said}"
    );
}
