//! A machine of its own: its engine restarted, its volumes pruned, its disk full.

use crate::bad_days::Day;
use crate::real_crash::daemon::Host;
use crate::real_crash::small::Small;
use crate::real_verbs::kit::{Ran, Stage};
use crate::support::docker::hello_binary;

/// A stage whose plan builds its image on that machine, with a secret in a file.
fn stage(host: &Host) -> Stage {
    let mut stage = Stage::new();
    stage.engine = Some(host.url());
    let plan = stage.plan();
    let line = plan.lines().find(|line| line.contains("image:")).unwrap();
    let plan = plan.replace(line, "    build: .\n    secrets: [token]");
    stage.write(
        "flipside.yaml",
        plan + "secrets: { token: { file: ./token } }\n",
    );
    std::fs::copy(hello_binary(), stage.path().join("hello")).unwrap();
    stage.write(
        "Dockerfile",
        "FROM scratch\nCOPY hello /hello\nENTRYPOINT [\"/hello\"]\n",
    );
    stage
}

fn deploy(stage: &Stage, version: &str) -> Ran {
    stage.write("token", format!("token of {version}"));
    stage.run(&["deploy", "--set", &format!("VERSION={version}")])
}

/// Waits until `version` answers, with its own secret.
fn serves(stage: &Stage, host: &Host, version: &str) {
    let front = format!("127.0.0.1:{}", stage.port);
    let since = std::time::Instant::now();
    host.soon(
        since,
        || host.get(&front, "/"),
        |said| said.as_deref() == Some(version),
    );
    let secret = host.get(&front, "/file?/run/secrets/token");
    assert_eq!(secret, Some(format!("token of {version}")));
}

#[test]
fn its_volumes_are_pruned_its_engine_restarted_and_the_checkout_gone() {
    let mut host = Host::start();
    let stage = stage(&host);
    for version in ["oldest", "old"] {
        deploy(&stage, version).ended(0);
    }
    let pruned = host.docker(&["volume", "prune", "--force"]).status();
    assert!(pruned.unwrap().success());
    let back = stage.run(&["rollback", &stage.service, "--yes"]);
    let day = Day::of("volumes-pruned", &stage).saw("flipside rollback shop", &back);
    serves(&stage, &host, "oldest");
    day.told("the new one");
    back.ended(0);

    deploy(&stage, "new").ended(0);
    for file in ["token", "flipside.yaml", "Dockerfile", "hello"] {
        std::fs::remove_file(stage.path().join(file)).unwrap();
    }
    host.stop_daemon();
    host.start_daemon();
    serves(&stage, &host, "new");
    let status = stage.run(&["status", &stage.service]);
    let day = Day::of("engine-restarts", &stage).saw("flipside status shop", &status);
    day.told("as before");
    status.ended(0);
    let back = stage.run(&["rollback", &stage.service, "--yes"]);
    let day = Day::of("checkout-gone", &stage).saw("flipside rollback shop", &back);
    serves(&stage, &host, "oldest");
    day.told("the new one");
    back.ended(0);
    stage.run(&["down", &stage.service, "--yes"]).ended(0);
}

#[test]
fn its_disk_fills() {
    let mut disk = None;
    let host = Host::with(|data| disk = Some(Small::on(data, "700m")));
    let disk = disk.unwrap();
    let stage = stage(&host);
    for version in ["oldest", "old"] {
        deploy(&stage, version).ended(0);
    }
    disk.fill();
    let refused = deploy(&stage, "new");
    let day = Day::of("engine-disk-full", &stage).saw("flipside deploy", &refused);
    serves(&stage, &host, "old");
    day.told("as before");
    refused.ended(3);

    disk.free();
    deploy(&stage, "new").ended(0);
    disk.fill();
    let back = stage.run(&["rollback", &stage.service, "--yes"]);
    let day = Day::of("engine-disk-full-rollback", &stage).saw("flipside rollback shop", &back);
    serves(&stage, &host, "old");
    day.told("the new one");
    back.ended(0);
    disk.free();
    stage.run(&["down", &stage.service, "--yes"]).ended(0);
    drop(host);
}
