//! `kill -9` in the middle of `shared apply`: whoever comes next brings it to an end.

use super::{apply, containers, db, inspect, policy, runs, stage, variable};
use crate::real_verbs::kit::Stage;

/// Kills an apply as soon as `when` is true of the containers.
fn killed(stage: &Stage, set: &[&str], when: impl Fn(&[String]) -> bool) {
    let mut words = vec!["shared", "apply", "--yes"];
    words.extend(set.iter().flat_map(|pair| ["--set", pair]));
    super::killed(stage, &words, when);
}

fn is_whole(stage: &Stage, version: &str) {
    let db = db(stage);
    assert_eq!(containers(stage), [db.as_str()]);
    assert!(runs(&db));
    assert_eq!(variable(&db, "VERSION"), version);
    let now = inspect(&db);
    assert_eq!(now["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
    let volume = format!("{}_data", stage.service);
    assert_eq!(now["Mounts"][0]["Name"], volume);
}

fn with(suffix: &'static str) -> impl Fn(&[String]) -> bool {
    move |names| names.iter().any(|name| name.ends_with(suffix))
}

/// The new container is there, and has the old one's name: it is starting.
fn renamed(names: &[String]) -> bool {
    names.len() == 2
        && names.iter().any(|name| name.ends_with("-db"))
        && names.iter().any(|name| name.ends_with(".old"))
}

#[test]
fn resume_goes_on_with_it() {
    let stage = stage();
    stage.deploy(&[]);
    killed(&stage, &["DB=2"], with(".new"));
    stage.expect(0, &["resume", &stage.service, "--set", "DB=2"]);
    is_whole(&stage, "2");
    killed(&stage, &["DB=3", "DB_DELAY=2000"], renamed);
    let set = ["--set", "DB=3", "--set", "DB_DELAY=2000"];
    let mut words = vec!["resume", &stage.service];
    words.extend(set);
    stage.expect(0, &words);
    is_whole(&stage, "3");
}

#[test]
fn a_second_apply_goes_on_with_it_or_begins_anew() {
    let stage = stage();
    stage.deploy(&[]);
    killed(&stage, &["DB=2", "DB_DELAY=3000"], with(".old"));
    apply(&stage, 0, &["DB=2", "DB_DELAY=3000"]);
    is_whole(&stage, "2");
    // With other settings than those that were being applied.
    killed(&stage, &["DB=3", "DB_DELAY=3000"], renamed);
    apply(&stage, 0, &["DB=4"]);
    is_whole(&stage, "4");
}

#[test]
fn a_deploy_settles_it() {
    let stage = stage();
    stage.deploy(&[]);
    killed(&stage, &["DB=2", "DB_DELAY=2000"], with(".old"));
    stage.deploy(&["DB=2", "DB_DELAY=2000"]);
    is_whole(&stage, "2");
    assert_eq!(stage.releases().0, Some(2));
    // One that cannot read the plan again which was being applied puts the old container back, and
    // says that it differs.
    killed(&stage, &["DB=3", "DB_DELAY=600000"], with(".old"));
    let words = ["deploy", "--set", "DB=3", "--set", "VERSION=two"];
    stage
        .expect(4, &words)
        .says(&["was put back", "flipside shared apply"]);
    is_whole(&stage, "2");
}

#[test]
fn prune_puts_the_old_one_back_where_the_journal_is_gone() {
    let stage = stage();
    stage.deploy(&[]);
    killed(&stage, &["DB=2", "DB_DELAY=60000"], renamed);
    // Until it is put back, the engine does not start it by itself beside the new one.
    let old = format!("{}.old", db(&stage));
    assert!(!runs(&old));
    assert_eq!(policy(&old), "no");
    std::fs::remove_dir_all(stage.state()).unwrap();
    let status = stage.expect(0, &["status", &stage.service]);
    status.says(&["halfway", "flipside shared apply"]);
    let pruned = stage.expect(0, &["prune", &stage.service]);
    pruned.says(&["the old container of the shared role `db` was put back"]);
    is_whole(&stage, "1");
    let history = stage.expect(0, &["history", &stage.service]);
    history.says(&["see to shared db", "done"]);
}
