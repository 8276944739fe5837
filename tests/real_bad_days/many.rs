//! Many at once, and one of many.

use crate::bad_days::{Day, Serves};
use crate::real_verbs::kit::Stage;

#[test]
fn sixteen_deploys_of_sixteen_services() {
    let mut stage = Stage::new();
    let names: Vec<String> = (0..16).map(|_| stage.another()).collect();
    let plan = stage.plan();
    let listen = format!("\"127.0.0.1:{}\"", stage.port);
    let runs: Vec<_> = names
        .iter()
        .map(|name| {
            let own = format!("{listen}, host: {name}.example");
            let plan = plan.replace(&listen, &own).replace(&stage.service, name);
            let file = format!("{name}.yaml");
            stage.write(&file, plan);
            let version = format!("VERSION={name}");
            stage.start(&["deploy", &file, "--set", &version, "--set", "DEADLINE=60s"])
        })
        .collect();
    let ends: Vec<_> = runs.into_iter().map(|run| run.end()).collect();
    for (ran, name) in ends.iter().zip(&names) {
        ran.ended(0);
        let answer = stage.get_for(&format!("{name}.example"), "/");
        assert_eq!(answer, (200, name.clone()));
    }
    let day = Day::of("sixteen-at-once", &stage).naming(&names[15], "shop");
    let day = day.saw("flipside deploy", &ends[15]);
    day.told("the new one");
}

#[test]
fn one_replica_of_five_is_bad() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=old"]);
    let before = stage.parts();
    // They start one after the other, and one of them finds that it is not the first.
    let plan = stage.plan().replace(
        "    mem_limit: 64m\n",
        "    deploy: { replicas: 5 }\n    mem_limit: 64m\n",
    );
    stage.write("flipside.yaml", plan);
    let mut deploy = stage.start(&["deploy", "--set", "START_DELAY_MS=2000"]);
    deploy.until_shown("stands up in slot");
    let bad = format!("{}-2-web-4", stage.service);
    let deadline = std::time::Instant::now() + crate::real_verbs::kit::LONG;
    while crate::real_verbs::kit::docker(&["kill", &bad]) != bad {
        assert!(std::time::Instant::now() < deadline, "{bad} does not run");
    }
    let ran = deploy.end();
    let day = Day::of("one-of-five", &stage).saw("flipside deploy", &ran);
    day.serves(Serves::Before("old"));
    ran.ended(3);
    assert_eq!(stage.parts(), before);
}

#[test]
fn roles_that_wait_for_each_other() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=old"]);
    let before = stage.parts();
    let plan = stage
        .plan()
        .replace(
            "    environment:\n",
            "    depends_on: [cache]\n    environment:\n",
        )
        .replace(
            "expose:",
            &format!(
                "  cache:\n    image: {}\n    depends_on: [web]\nexpose:",
                stage.image
            ),
        );
    stage.write("flipside.yaml", plan);
    let ran = stage.expect(2, &["deploy"]);
    assert_eq!(stage.parts(), before);
    let day = Day::of("dependency-cycle", &stage).saw("flipside deploy", &ran);
    day.serves(Serves::Before("old"));
}
