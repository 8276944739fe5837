//! What of a plan is hidden in foreign text: every value from outside at a place that may be secret,
//! and nothing that the plan shows.

use flipside::core::mask::Mask;

use super::fixture::Fixture;

const PLAN: &str = "\
name: shop
services:
  web:
    image: \"reg.example/shop:${VERSION}\"
    command: /bin/server --token ${ARGUMENT}
    entrypoint: [\"${ENTRY}\"]
    environment: {URL: \"db://me:${PART}@db/shop\", VERSION: \"${VERSION}\", HOST: \"${HOST}\", SHORT: \"${SHORT}\"}
    env_file: hidden.env
    configs: [made]
    healthcheck: {test: \"curl -u ${CHECK} localhost\"}
  side:
    build: {context: app, args: {TOKEN: \"${BUILD}\"}}
configs: {made: {content: \"pw=${CONTENT}\"}}
expose: web:8080
probes:
  - http: {path: /up, headers: {Authorization: \"Bearer ${HEADER}\"}}
  - exec: {role: side, command: [ready, \"${EXEC}\"]}
pointer: {proxy: {listen: \":8080\", host: \"${HOST}\"}}
";

/// Variables of the plan that end in a secret place.
const SECRET: [&str; 8] = [
    "ARGUMENT", "ENTRY", "PART", "CHECK", "CONTENT", "BUILD", "HEADER", "EXEC",
];

fn mask() -> Mask {
    let mut fixture = Fixture::new();
    std::fs::write(fixture.file("hidden.env"), "FROM_FILE=value-of-FILE\n").unwrap();
    let mut set = |name: &str, value: &str| fixture.vars.insert(name.into(), value.into());
    for name in SECRET {
        set(name, &format!("value-of-{name}"));
    }
    set("VERSION", "release-7");
    set("HOST", "shop.example");
    set("SHORT", "8080");
    let loaded = fixture.load(PLAN).unwrap_or_else(|error| panic!("{error}"));
    Mask::of_plan(&loaded.plan)
}

#[test]
fn every_value_from_outside_is_hidden_wherever_it_went() {
    let mask = mask();
    for name in SECRET.iter().chain(&["FILE"]) {
        let said = mask.hide(&format!("no login for value-of-{name}, sorry"));
        assert_eq!(said, "no login for [secret], sorry", "{name}");
    }
}

#[test]
fn what_the_plan_shows_or_writes_itself_is_not_hidden() {
    let mask = mask();
    for plain in [
        "the image `reg.example/shop:release-7` does not exist",
        "301 to https://shop.example/up",
        "connection refused at 10.213.0.2:8080",
        "exec: \"/bin/server\": no such file or directory",
        "unknown flag --token",
    ] {
        assert_eq!(mask.hide(plain), plain);
    }
}
