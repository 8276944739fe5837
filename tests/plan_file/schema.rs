//! The JSON Schema that editors get, held to the reader: the same keys at every place, and every plan
//! that any test here finds good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use flipside::plan::schema;
use jsonschema::Validator;
use serde_json::Value;

use super::fixture::Fixture;

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema()).unwrap());

fn parsed(text: &str) -> Value {
    let mut options = serde_saphyr::Options::default();
    // YAML 1.2: `n` and `off` are text.
    options.strict_booleans = true;
    serde_saphyr::from_str_with_options(text, options).unwrap()
}

/// What the schema has against a plan, a line each.
fn against(text: &str) -> Vec<String> {
    let plan = parsed(text);
    let errors = VALIDATOR.iter_errors(&plan);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// Holds the schema to a plan that the reader has accepted.
pub fn accepts(text: &str, name: Option<&str>) {
    // The name may come from the command line, which an editor does not know.
    let named = match name {
        Some(_) if !text.contains("\nname:") && !text.starts_with("name:") => {
            format!("name: x\n{text}")
        }
        _ => text.to_owned(),
    };
    assert_eq!(against(&named), [""; 0], "of a plan that is good:\n{text}");
}

/// A plan with `STRANGE` where a key is that nobody knows, for each map in the schema.
const PLACES: &[(&str, &str)] = &[
    ("", "STRANGE: 1"),
    ("/properties/stand_up", "stand_up: {STRANGE: 1}"),
    ("/properties/rollback", "rollback: {STRANGE: 1}"),
    ("/properties/standby", "standby: {STRANGE: 1}"),
    ("/properties/pools", "pools: {STRANGE: 1}"),
    ("/properties/drain/anyOf/1", "drain: {STRANGE: 1}"),
    (
        "/properties/volumes/additionalProperties/anyOf/0",
        "volumes: {a: {STRANGE: 1}}",
    ),
    (
        "/properties/secrets/additionalProperties",
        "secrets: {a: {STRANGE: 1}}",
    ),
    (
        "/properties/configs/additionalProperties",
        "configs: {a: {STRANGE: 1}}",
    ),
    (
        "/properties/networks/additionalProperties/anyOf/0",
        "networks: {a: {STRANGE: 1}}",
    ),
    ("/probe/http", "probes: [{http: {STRANGE: 1}}]"),
    (
        "/probe/http/properties/json",
        "probes: [{http: {json: {STRANGE: 1}}}]",
    ),
    (
        "/probe/http/properties/tls/anyOf/1",
        "probes: [{http: {tls: {STRANGE: 1}}}]",
    ),
    ("/probe/grpc", "probes: [{grpc: {STRANGE: 1}}]"),
    ("/probe/tcp", "probes: [{tcp: {STRANGE: 1}}]"),
    ("/probe/exec", "probes: [{exec: {STRANGE: 1}}]"),
    ("/probe/health", "probes: [{health: {STRANGE: 1}}]"),
    ("/$defs/role", "web: {STRANGE: 1}"),
    (
        "/$defs/role/properties/build/anyOf/1",
        "web: {build: {STRANGE: 1}}",
    ),
    (
        "/$defs/role/properties/env_file/anyOf/1/items/anyOf/1",
        "web: {env_file: [{STRANGE: 1}]}",
    ),
    (
        "/$defs/role/properties/volumes/items/anyOf/1",
        "web: {volumes: [{STRANGE: 1}]}",
    ),
    (
        "/$defs/role/properties/volumes/items/anyOf/1/properties/tmpfs",
        "web: {volumes: [{type: tmpfs, target: /t, tmpfs: {STRANGE: 1}}]}",
    ),
    (
        "/$defs/role/properties/volumes/items/anyOf/1/properties/bind",
        "web: {volumes: [{type: bind, source: ./site, target: /t, bind: {STRANGE: 1}}]}",
    ),
    (
        "/$defs/role/properties/ports/items/anyOf/1",
        "web: {ports: [{target: 80, STRANGE: 1}]}",
    ),
    (
        "/$defs/role/properties/devices/items/anyOf/1",
        "web: {devices: [{source: /dev/fuse, STRANGE: 1}]}",
    ),
    (
        "/$defs/role/properties/logging",
        "web: {logging: {STRANGE: 1}}",
    ),
    (
        "/$defs/role/properties/networks/anyOf/1/additionalProperties",
        "web: {networks: {default: {STRANGE: 1}}}",
    ),
    (
        "/$defs/role/properties/healthcheck",
        "web: {healthcheck: {STRANGE: 1}}",
    ),
    (
        "/$defs/role/properties/depends_on/anyOf/1/additionalProperties",
        "web: {depends_on: {a: {STRANGE: 1}}}",
    ),
    (
        "/$defs/role/properties/deploy",
        "web: {deploy: {STRANGE: 1}}",
    ),
    (
        "/$defs/role/properties/deploy/properties/resources",
        "web: {deploy: {resources: {STRANGE: 1}}}",
    ),
    (
        "/$defs/role/properties/deploy/properties/resources/properties/limits",
        "web: {deploy: {resources: {limits: {STRANGE: 1}}}}",
    ),
    (
        "/$defs/role/properties/deploy/properties/resources/properties/reservations",
        "web: {deploy: {resources: {reservations: {STRANGE: 1}}}}",
    ),
    (
        "/$defs/role/properties/ulimits/additionalProperties/anyOf/1",
        "web: {ulimits: {nofile: {STRANGE: 1}}}",
    ),
    ("/$defs/reach", "pointer: {exec: {reach: {STRANGE: 1}}}"),
    (
        "/$defs/reach/properties/slot",
        "pointer: {exec: {reach: {slot: {STRANGE: 1}}}}",
    ),
    ("/properties/hooks", "hooks: {STRANGE: 1}"),
    (
        "/$defs/hook",
        "hooks: {before_switch: [{run: [a], STRANGE: 1}]}",
    ),
    (
        "/$defs/hook/properties/env_file/anyOf/1/items/anyOf/1",
        "hooks: {before_switch: [{run: [a], env_file: [{STRANGE: 1}]}]}",
    ),
    (
        "/$defs/hook/properties/http",
        "hooks: {before_switch: [{name: a, http: {STRANGE: 1}}]}",
    ),
    (
        "/$defs/grants/items/anyOf/1",
        "web: {configs: [{STRANGE: 1}]}",
    ),
];

/// Choices that the reader makes by their kind, not as keys of a map.
const KINDS: &[&str] = &["/properties/pointer", "/properties/probes/anyOf/1/items"];

const PROBES: &str = "/properties/probes/anyOf/1/items/properties";

/// Every place in the schema that names keys.
fn places(at: &str, schema: &Value, found: &mut BTreeMap<String, BTreeSet<String>>) {
    match schema {
        Value::Object(fields) => {
            let keys = fields.get("properties").and_then(Value::as_object);
            if let (Some(keys), true) = (keys, fields.contains_key("additionalProperties")) {
                found.insert(at.to_owned(), keys.keys().cloned().collect());
            }
            for (name, inner) in fields {
                places(&format!("{at}/{name}"), inner, found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                places(&format!("{at}/{index}"), inner, found);
            }
        }
        _ => {}
    }
}

/// A plan with `text` in it: a section of the top level, or a role.
fn plan(text: &str) -> String {
    let mut sections = BTreeMap::from([
        ("name", "name: shop"),
        ("services", "services: {web: {image: 'a:1'}}"),
        ("expose", "expose: web:8080"),
        ("probes", "probes: none"),
        ("pointer", "pointer: {proxy: {listen: ':80'}}"),
    ]);
    let role = format!("services: {{{text}}}");
    let (key, _) = text.split_once(':').unwrap();
    match key {
        "web" => sections.insert("services", &role),
        key => sections.insert(key, text),
    };
    sections
        .into_values()
        .map(|line| format!("{line}\n"))
        .collect()
}

/// What the reader says is known where a strange key stands.
fn known(fixture: &Fixture, text: &str) -> BTreeSet<String> {
    let said = fixture.said(plan(text).replace("STRANGE", "qqqqqqqqqqqq"));
    let (_, rest) = said
        .split_once("`qqqqqqqqqqqq` is not a key of")
        .unwrap_or_else(|| panic!("not refused: {text}\n{said}"));
    let (_, list) = rest.split_once("known here: ").unwrap();
    let list = list.lines().next().unwrap();
    let names = list.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn it_has_the_readers_keys_and_no_others() {
    let fixture = Fixture::new();
    let mut schemas = BTreeMap::new();
    places("", &schema(), &mut schemas);
    for (place, text) in PLACES {
        let place = place.replace("/probe", PROBES);
        let keys = schemas.remove(&place);
        let keys = keys.unwrap_or_else(|| panic!("the schema has no keys at {place}"));
        assert_eq!(keys, known(&fixture, text), "{place}");
        let wrong = plan(text).replace("STRANGE", "qqqqqqqqqqqq");
        assert_ne!(against(&wrong), [""; 0], "accepted by the schema: {wrong}");
    }
    for section in flipside::pointer::SECTIONS {
        let place = format!("/properties/pointer/properties/{}", section.kind);
        let text = format!("pointer: {{{}: {{STRANGE: 1}}}}", section.kind);
        assert_eq!(schemas.remove(&place).unwrap(), known(&fixture, &text));
    }
    for kind in KINDS {
        assert!(schemas.remove(*kind).is_some(), "{kind}");
    }
    let left: Vec<_> = schemas.keys().collect();
    assert_eq!(
        left, [""; 0],
        "places in the schema that are compared with nothing"
    );
}

#[test]
fn it_says_what_a_hand_gets_wrong() {
    for (text, place) in [
        ("bake: 30", "/bake"),
        ("web: {image: 'a:1', run: alwyas}", "/services/web"),
        ("web: {command: []}", "/services/web"),
        ("probes: []", "/probes"),
        ("probes: [{http: {}, tcp: {}}]", "/probes"),
        ("probes: [{exec: {}}]", "/probes"),
        ("pointer: {}", "/pointer"),
        ("standby: {keep: -1}", "/standby/keep"),
        ("web: {image: 'a:1', mem_limit: 256}", "/services/web"),
    ] {
        let plan = plan(text);
        let said = against(&plan);
        assert!(
            said.iter().any(|line| line.starts_with(place)),
            "{plan}{said:?}"
        );
        assert!(
            !Fixture::new().said(&plan).starts_with("accepted"),
            "{plan}"
        );
    }
}

/// Plans with about every key: of roles, of what is laid over Compose files, and of the rest.
const OF_ROLES: &str = "{name: shop, services: {web: {build: {context: app, args: {A: '1'}, target: x}, \
     pull_policy: missing, command: [a, b], entrypoint: [c], environment: {A: '1', B: 2}, \
     env_file: [{path: app.env, required: true}], expose: [8080], \
     volumes: [{type: volume, source: data, target: /d, read_only: true}, \
     {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: '0700'}}, \
     {type: bind, source: ./site, target: /s}], tmpfs: [/x], \
     secrets: [{source: key, target: k, uid: 1, gid: 2, mode: '0400'}], configs: [conf], \
     healthcheck: {test: [CMD, a], interval: 1s, timeout: 1s, start_period: 2s, retries: 3, \
     disable: false}, depends_on: {job: {condition: service_completed_successfully, \
     required: true}}, deploy: {replicas: 2, resources: {limits: {cpus: 1, memory: 64m, pids: 9}, \
     reservations: {memory: 32m, cpus: 1}}}}, \
     job: {image: 'a:1', run: once, timeout: 2m, cpus: 1, mem_limit: 64m, pids_limit: 9, \
     shm_size: 1m, restart: on-failure, stop_signal: SIGTERM, stop_grace_period: 3s, user: '1', \
     working_dir: /w, read_only: true, cap_add: [CHOWN], cap_drop: [ALL], \
     security_opt: ['no-new-privileges:true'], ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}, \
     labels: {a: b}, init: true, extra_hosts: {h: 192.0.2.1}, dns: [192.0.2.2], \
     networks: {inner: {aliases: [other], ipv4_address: 10.0.0.2, priority: 1}}, hostname: h, \
     dns_search: [a.example], tty: true, stdin_open: true, group_add: ['7'], \
     sysctls: {net.core.somaxconn: '9'}, logging: {driver: local, options: {max-size: 1m}}, \
     mem_reservation: 32m, memswap_limit: 128m, platform: linux/amd64, container_name: c, \
     links: ['off:o'], attach: false, develop: {watch: []}, profiles: [p], scale: 1}, \
     off: {image: 'a:1', profiles: [p, q], network_mode: 'service:side', ports: ['80', {target: 81, \
     published: '8081', host_ip: 127.0.0.1, protocol: tcp, mode: host}]}, side: {image: 'a:1', \
     deploy: {mode: replicated, placement: {}, update_config: {}}}, \
     db: {image: 'a:1', run: shared, restart: always, privileged: true, devices: [/dev/fuse, \
     {source: /dev/null, target: /dev/n, permissions: r}], pid: host, ipc: host, ports: ['5432:5432', \
     {target: 53, protocol: udp}], network_mode: host}}, expose: 'web:8080', \
     profiles: [p], ignore: [start_interval], copied_paths: [./site], \
     volumes: {data: {keep: across-releases}}, networks: {inner: {driver: bridge, ipam: {}, labels: {a: b}}}, \
     secrets: {key: {file: tls.key}}, configs: {conf: {content: x}}, \
     probes: none, pointer: {proxy: {listen: ':80'}}}";
const OVER_FILES: &str = "{name: shop, compose: [base.yaml], project: shop, services: {worker: {run: live-only, \
     volumes: ['data:/d', './site:/s', '/srv/a:/sa'], networks: [a, c], configs: [a], secrets: [b], \
     labels: {a: b}, environment: {C: d}}, \
     debug: {run: never}, db: {ports: null}}, volumes: {data: {keep: per-release}}, \
     expose: 'web:8080', probes: none, pointer: {proxy: {listen: ':80'}}, shared_paths: [/srv], \
     copied_paths: [./site, /srv/a], profiles: debug, ignore: start_interval, bake: 1s, \
     drain: 2s, networks: {a: {external: true, name: b}, c: {}}, \
     configs: {a: {content: x}}, secrets: {b: {file: tls.key}}}";
const OF_THE_REST: &str = "{name: shop, services: {web: {image: 'a:1'}}, expose: 'web:8080', \
     probes: [{http: {port: 80, path: /up, method: GET, headers: {a: b}, status: [200, 300-399], \
     contains: x, matches: y, json: {pointer: /a, equals: b}, tls: {verify: full}, interval: 1s, \
     timeout: 1s, initial_delay: 0s, deadline: 9s, passes: 1, failures: 2, role: web}}, \
     {grpc: {service: a}}, {tcp: {port: 80}}, {exec: {command: [a]}}], \
     hooks: {before_switch: [{name: a, role: web, command: [a]}], \
     after_switch: [{name: b, run: [a], environment: {A: b}, env_file: [app.env], \
     idempotent: true, timeout: 1m}], on_rollback: [{name: c, http: {url: 'http://h/', \
     method: PUT, headers: {a: b}, body: x, status: 204}}]}, \
     pointer: {proxy: {listen: ':80', host: a.example}}, bake: 1s, drain: {limit: 1s}, settle: 1s, \
     strategy: all-at-once, stand_up: {deadline: 1m}, rollback: {proof: 1s}, \
     standby: {keep: 1, for: 1h, max: 2, mode: running}, pools: {networks: 10.0.0.0/16}}";

/// Every place below, as a JSON pointer.
fn below(at: &str, value: &Value, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, it)| (key.clone(), it)).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, it)| (i.to_string(), it))
            .collect(),
        _ => return,
    };
    for (key, value) in inner {
        let at = format!("{at}/{}", key.replace('/', "~1"));
        below(&at, value, found);
        found.push(at);
    }
}

// Each is some thousands of plans: apart, they run side by side.
#[test]
fn what_the_reader_takes_of_roles_is_good() {
    changed_in_one_place(OF_ROLES);
}

#[test]
fn what_the_reader_takes_over_compose_files_is_good() {
    changed_in_one_place(OVER_FILES);
}

#[test]
fn what_the_reader_takes_of_the_rest_is_good() {
    changed_in_one_place(OF_THE_REST);
}

/// Puts every kind of value at every place of a plan: what the reader takes then, the schema does too.
fn changed_in_one_place(text: &str) {
    let fixture = Fixture::new();
    let put = [
        "null",
        "''",
        "[]",
        "{}",
        "[[]]",
        "'a'",
        "a",
        "['a']",
        "{a: b}",
        "0",
        "-1",
        "1.5",
        "true",
        "True",
        "'true'",
        "on",
        "1s",
        "'1m30s'",
        "1m",
        "1 GiB",
        "8080",
        "'${WORD}'",
        "'${REPLICAS}'",
        "/a",
        "none",
        "web",
        "[null]",
        "{a: null}",
        "{a: {}}",
    ];
    let (mut taken, mut wrong) = (0, Vec::new());
    let plan = parsed(text);
    assert_eq!(
        fixture.said(plan.to_string()).lines().next(),
        Some("accepted"),
        "{text}"
    );
    let mut places = Vec::new();
    below("", &plan, &mut places);
    assert!(places.len() > 30);
    for place in places {
        for value in put {
            let mut changed = plan.clone();
            let here = changed.pointer_mut(&place).unwrap();
            // Where text is meant an editor asks for quotes; the reader takes it as written.
            let bare = parsed(value).is_number() || parsed(value).is_boolean();
            if (here.is_string() || here.is_array()) && bare {
                continue;
            }
            *here = Value::from("HERE");
            let text = changed.to_string().replace("\"HERE\"", value);
            std::fs::write(fixture.path(), &text).unwrap();
            if flipside::plan::load(&fixture.path(), &fixture.inputs()).is_ok() {
                taken += 1;
                let against = against(&text);
                if !against.is_empty() {
                    wrong.push(format!("{place} = {value}: {}", against[0]));
                }
            }
        }
    }
    assert!(taken > 100, "{taken}");
    let list = wrong.join("\n");
    assert!(
        wrong.is_empty(),
        "the reader takes, and the schema does not:\n{list}"
    );
}

/// Whether the schema takes a value at its place, and what the reader says of it.
fn taken(fixture: &Fixture, text: &str, value: &str) -> (bool, String) {
    let plan = plan(&text.replace("VALUE", &Value::from(value).to_string()));
    (against(&plan).is_empty(), fixture.said(&plan))
}

proptest::proptest! {
    #[test]
    fn durations_and_sizes_are_what_the_reader_takes(
        duration in "([0-9]{0,2}[.]?[0-9]{0,2}(ms|s|m|h|d|w|S)?){1,3}",
        size in "[0-9]{0,3}[.]?[0-9]{0,2} ?[bkKmMgGtTiIxB]{0,3}",
    ) {
        let fixture = Fixture::new();
        let places = [
            ("bake: VALUE", &duration, "longer than ten years"),
            ("web: {image: 'a:1', shm_size: VALUE}", &size, "more than any machine has"),
        ];
        for (text, value, beyond) in places {
            let (valid, said) = taken(&fixture, text, value);
            // A pattern knows no limit.
            let read = said.starts_with("accepted") || said.contains(beyond);
            proptest::prop_assert_eq!(read, valid, "{} with {}: {}", text, value, said);
        }
    }
}
