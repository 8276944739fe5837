//! Volumes that a plan takes for granted: never made in silence, whoever would mount them.

use super::{apply, containers, docker, stage};
use crate::real_verbs::kit::Stage;

fn replace(stage: &Stage, from: &str, to: &str) {
    let plan = std::fs::read_to_string(stage.path().join("flipside.yaml")).unwrap();
    assert!(plan.contains(from), "{plan}");
    stage.write("flipside.yaml", plan.replace(from, to));
}

fn is_there(volume: &str) -> bool {
    let listed = docker(&["volume", "ls", "-q", "--filter", &format!("name={volume}")]);
    listed.lines().any(|name| name == volume)
}

#[test]
fn a_missing_external_volume_is_refused_before_anything_is_touched() {
    let stage = stage();
    let volume = format!("{}-outer", stage.service);
    let external = format!("{{ data: {{ external: true, name: {volume} }} }}");
    replace(&stage, "{ data: { keep: across-releases } }", &external);
    // Without the engine it cannot be known.
    stage.expect(0, &["check"]).never_says(&volume);
    let expected = format!(
        "error: `db` would begin with a new, empty volume `{volume}`: the plan says that it is \
         external, and it is not on the engine\n\nhint: make it, if it shall begin empty: docker volume \
         create {volume}; or drop its `external: true`\n"
    );
    for words in [
        vec!["deploy"],
        vec!["deploy", "--dry-run"],
        vec!["shared", "apply", "--yes"],
    ] {
        let refused = stage.expect(4, &words);
        assert!(refused.err.ends_with(&expected), "{}", refused.err);
        assert_eq!(stage.parts(), [""; 0]);
        assert!(!is_there(&volume));
    }
    docker(&["volume", "create", &volume]);
    stage.deploy(&[]);
    assert_eq!(containers(&stage).len(), 1);
}

/// A role that comes to have one later is a release's, or is applied to what stands.
#[test]
fn nor_is_one_made_by_a_later_release_or_an_apply() {
    let stage = stage();
    stage.deploy(&[]);
    let (before, volume) = (stage.parts(), format!("{}-outer", stage.service));
    let outer = format!("outer: {{ external: true, name: {volume} }}, data: {{ keep");
    replace(&stage, "data: { keep", &outer);
    let plan = std::fs::read_to_string(stage.path().join("flipside.yaml")).unwrap();
    replace(
        &stage,
        "    depends_on",
        "    volumes: [\"outer:/outer\"]\n    depends_on",
    );
    let refused = stage.expect(4, &["deploy"]);
    refused.says(&[
        &format!("`web` would begin with a new, empty volume `{volume}`"),
        &format!("docker volume create {volume}"),
    ]);
    stage.write(
        "flipside.yaml",
        plan.replace("[\"data:/data\"]", "[\"data:/data\", \"outer:/o\"]"),
    );
    let refused = apply(&stage, 4, &[]);
    refused.says(&[&format!(
        "`db` would begin with a new, empty volume `{volume}`"
    )]);
    assert_eq!(stage.parts(), before);
    assert!(!is_there(&volume));
    docker(&["volume", "create", &volume]);
    apply(&stage, 0, &[]);
}
