//! Workers that do not stop when they are told to.

use std::time::{Duration, Instant};

use crate::bad_days::{Day, Serves};
use crate::real_verbs::kit::{LONG, Stage, docker};

/// How long they are given.
const GRACE: Duration = Duration::from_secs(6);

/// A service with a worker in `plan`, which notes in a file that all releases share when it begins
/// and ends, or finds another at work. It takes `stop` of its time to end.
pub fn with_worker(stage: &Stage, plan: &str, grace: &str, stop: &str) -> String {
    let work = stage.path().join("work");
    std::fs::create_dir_all(&work).unwrap();
    let (work, web) = (work.display(), plan.find("    image: ").unwrap());
    let image = plan[web..].lines().next().unwrap();
    let worker = format!(
        "  worker:\n    run: live-only\n{image}\n    command: [work]\n    stop_grace_period: {grace}\n    \
         volumes: [\"{work}:/queue\"]\n    environment: {{ WORK: /queue/{}, VERSION: \"${{VERSION:-1}}\", \
         STOP_MS: \"{stop}\" }}\nexpose:",
        log_of(plan),
    );
    plan.replace("expose:", &worker) + &format!("shared_paths: [\"{work}\"]\nsettle: 1s\n")
}

/// The name of the file that the workers of a plan's service write to.
fn log_of(plan: &str) -> &str {
    plan.lines().next().unwrap().trim_start_matches("name: ")
}

/// What the workers of `service` have written.
pub fn log(stage: &Stage, service: &str) -> Vec<String> {
    let log = std::fs::read_to_string(stage.path().join("work").join(service));
    log.unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn a_stop_that_takes_its_whole_grace_delays_no_switch_and_no_rollback() {
    let stage = Stage::new();
    let grace = format!("{}s", GRACE.as_secs());
    let plan = with_worker(&stage, &stage.plan(), &grace, "600000");
    stage.write("flipside.yaml", plan);
    let worker = |release: u32, what: &str| {
        let name = format!("{}-{release}-worker-1", stage.service);
        docker(&["inspect", "--format", what, &name])
    };
    // Traffic has moved while the worker that was told to stop is still there.
    let moves = |words: &[&str], version: &str, old: u32| {
        let began = Instant::now();
        let running = stage.start(words);
        while stage.get("/").1 != version {
            assert!(began.elapsed() < LONG, "`{version}` does not answer");
        }
        assert_eq!(worker(old, "{{.State.Running}}"), "true");
        let ran = running.end();
        assert!(began.elapsed() >= GRACE, "{ran}");
        assert_eq!(
            worker(old, "{{.State.Running}} {{.State.ExitCode}}"),
            "false 137"
        );
        ran
    };
    stage.deploy(&["VERSION=old"]);
    let ran = moves(&["deploy", "--set", "VERSION=new"], "new", 1);
    let day = Day::of("worker-deaf-deploy", &stage).saw("flipside deploy", &ran);
    day.serves(Serves::New("new"));
    ran.ended(0);
    let back = moves(&["rollback", &stage.service, "--yes"], "old", 2);
    let day = Day::of("worker-deaf-rollback", &stage).saw("flipside rollback shop", &back);
    day.serves(Serves::New("old"));
    back.ended(0);
    let begun = ["old begins", "new begins", "old begins"];
    assert_eq!(log(&stage, &stage.service), begun);
}
