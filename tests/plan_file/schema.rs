//! The JSON Schema that editors get, held to the reader: the same keys at every place, and every plan
//! that any test here finds good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use flipside::plan::SCHEMA;
use jsonschema::Validator;
use serde_json::Value;

use super::fixture::Fixture;

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema()).unwrap());

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// What the schema has against a plan, a line each.
fn against(text: &str) -> Vec<String> {
    let mut options = serde_saphyr::Options::default();
    // YAML 1.2: `n` and `off` are text.
    options.strict_booleans = true;
    let plan: Value = serde_saphyr::from_str_with_options(text, options).unwrap();
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
        "/properties/pointer/properties/proxy",
        "pointer: {proxy: {listen: ':80', STRANGE: 1}}",
    ),
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
