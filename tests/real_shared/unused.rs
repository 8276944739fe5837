//! Shared roles that a release has left which was given up: told, shown, in nobody's way, and removed by
//! what is said.

use super::{db, killed, runs, stage};
use crate::real_verbs::kit::{Stage, docker};

/// A first deploy whose database never gets healthy.
const UNHEALTHY: [&str; 5] = ["deploy", "--set", "DB_DELAY=60000", "--set", "DEADLINE=3s"];

fn told(stage: &Stage) -> String {
    let service = &stage.service;
    format!(
        "the shared role `db` stays, with the data, and no release uses it; this removes it, but for the \
         data: flipside down {service} --shared"
    )
}

/// It is shown, nothing is wrong with it, and it can be removed.
fn is_in_nobodys_way(stage: &Stage) {
    let service = stage.service.as_str();
    let status = stage.expect(0, &["status", service]);
    status.says(&[&db(stage), &told(stage)]);
    let pruned = stage.expect(0, &["prune", service]);
    pruned.says(&["nothing"]);
    assert!(runs(&db(stage)));
    let words = ["down", service, "--shared", "--yes", "--confirm", service];
    let down = stage.expect(0, &words);
    down.says(&[&format!("docker volume rm {service}_data")]);
    assert_eq!(stage.parts(), [""; 0]);
    let status = stage.expect(0, &["status", service]);
    status.says(&["nothing is live"]);
    status.never_says("shared role");
}

#[test]
fn a_first_deploy_that_is_given_up_says_which_shared_role_stays() {
    let stage = stage();
    let refused = stage.expect(3, &UNHEALTHY);
    refused.says(&[&told(&stage)]);
    let json = stage.expect(3, &[&UNHEALTHY[..], &["--output", "json"]].concat());
    json.finished();
    is_in_nobodys_way(&stage);
}

#[test]
fn one_that_is_aborted_says_so_too() {
    let stage = stage();
    let db = db(&stage);
    let stands = |names: &[String]| names.contains(&db) && runs(&db);
    killed(&stage, &["deploy", "--set", "DB_DELAY=60000"], stands);
    let aborted = stage.expect(0, &["abort", &stage.service]);
    aborted.says(&[&told(&stage)]);
    is_in_nobodys_way(&stage);
}

/// What the live release uses is not to be taken down for it.
#[test]
fn one_that_a_later_deploy_has_left_is_removed_alone() {
    let stage = stage();
    let plan = std::fs::read_to_string(stage.path().join("flipside.yaml")).unwrap();
    stage.deploy(&[]).never_says("no release uses");
    let image = &stage.image;
    let more = format!("services:\n  queue: {{ image: \"{image}\", run: shared }}\n");
    let plan = plan.replacen("services:\n", &more, 1);
    stage.write(
        "flipside.yaml",
        plan.replace("path: /up", "path: /fail, deadline: 2s")
            .replace(", deadline: 20s", ""),
    );
    let refused = stage.expect(3, &["deploy"]);
    let queue = format!("{}-shared-queue", stage.service);
    let removes = format!("docker stop {queue} && docker rm {queue}");
    refused.says(&["the shared role `queue` stays, with the data", &removes]);
    stage
        .expect(0, &["status", &stage.service])
        .says(&[&removes]);
    docker(&["stop", "-t", "1", &queue]);
    docker(&["rm", &queue]);
    let status = stage.expect(0, &["status", &stage.service]);
    status.never_says("queue");
    assert!(runs(&db(&stage)));
}
