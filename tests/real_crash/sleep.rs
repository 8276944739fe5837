//! Standbys that sleep: put to sleep after the bake, woken by a rollback, mended by `prune`.

use serde_json::Value;

use super::kit::{Ran, Settings, Stage, sh};

const MODES: [(&str, &str); 2] = [
    ("frozen", "{ mode: frozen }"),
    ("stopped", "{ mode: stopped }"),
];

fn sleeping(standby: &'static str) -> Settings {
    Settings {
        standby,
        replicas: 2,
        ..Settings::default()
    }
}

impl Stage {
    /// Deploys a version whose standby sleeps.
    async fn deploy_over(&self, version: &str, standby: &'static str) -> Ran {
        self.write_plan(version, &sleeping(standby));
        self.run(&["deploy"]).await
    }

    /// Release 2 is live, and release 1 sleeps.
    async fn with_sleeper(standby: &'static str) -> Self {
        let stage = Self::new().await;
        for version in ["1", "2"] {
            stage.deploy_over(version, standby).await.ends(0);
        }
        stage
    }

    /// What the containers of a release do, in the engine's words.
    fn states(&self, release: u64) -> Vec<String> {
        let service = format!("label=flipside.service={}", self.service);
        let release = format!("label=flipside.release={release}");
        let words = [
            "docker", "ps", "-a", "--filter", &service, "--filter", &release,
        ];
        let listed = sh(&[&words[..], &["--format", "{{.State}}"]].concat());
        listed.lines().map(str::to_owned).collect()
    }

    fn container(&self, release: u64, replica: u64) -> String {
        format!("{}-{release}-web-{replica}", self.service)
    }

    /// A rollback under load, which loses nothing and finds the older release awake.
    async fn wakes(&self) -> Ran {
        let load = self.load().await;
        let ran = self.verb("rollback").await;
        assert_eq!(ran.ends(0).outcome(), "done");
        load.stop().await;
        assert_eq!(self.answer().await, "1");
        assert_eq!(self.states(1), ["running"; 2]);
        assert_eq!(self.states(2), ["running"; 2], "what was left runs on");
        let switched = ran.lines.iter().find(|line| line["event"] == "switched");
        let woke = &switched.unwrap()["woke_us"];
        assert!(woke.as_u64() > Some(0), "{ran:#?}");
        assert_eq!(ran.lines.last().unwrap()["woke_us"], *woke, "{ran:#?}");
        ran
    }
}

/// The engine's word for one that sleeps so.
fn engines(mode: &str) -> [&str; 2] {
    match mode {
        "frozen" => ["paused"; 2],
        _ => ["exited"; 2],
    }
}

fn disagreements(status: &Value) -> Vec<&str> {
    let all = status["disagreements"].as_array().unwrap().iter();
    all.map(|it| it.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_sleeps_as_the_plan_says_and_a_rollback_under_load_wakes_it() {
    for (mode, standby) in MODES {
        let stage = Stage::with_sleeper(standby).await;
        assert_eq!(stage.states(1), engines(mode), "{mode}");
        assert_eq!(stage.states(2), ["running"; 2], "{mode}");
        let status = stage.status().await;
        let sleeper = &status["standby"][0];
        assert_eq!(sleeper["asleep"], mode, "{status:#}");
        assert_eq!(sleeper["fit"], Value::Null, "{status:#}");
        assert_eq!(disagreements(&status), [""; 0], "{status:#}");
        let idle = &sleeper["idle"];
        let memory = idle["memory_bytes"].as_u64();
        assert_eq!(memory > Some(0), mode == "frozen", "{status:#}");
        assert!(memory.is_some(), "{status:#}");
        assert_eq!(idle["cpu_cores"], 0.0, "{status:#}");
        assert!(idle["disk_bytes"].is_u64(), "{status:#}");
        let pruned = stage.verb("prune").await;
        assert_eq!(
            pruned.ends(0).lines.last().unwrap()["asleep"],
            Value::Array(vec![])
        );
        let dry = stage.run(&["rollback", &stage.service, "--dry-run"]).await;
        assert_eq!(dry.ends(0).lines[0]["asleep"], mode, "{dry:#?}");
        assert_eq!(stage.states(1), engines(mode), "{mode}");

        let back = stage.wakes().await;
        stage.deploy_over("3", standby).await.ends(0);
        assert_eq!(stage.states(1), engines(mode), "{mode}");
        let status = stage.status().await;
        let again = &status["standby"][0];
        assert_eq!(
            (&again["release"], &again["asleep"]),
            (&1.into(), &mode.into())
        );
        let woke = &back.lines.last().unwrap()["woke_us"];
        assert_eq!(again["idle"]["last_wake_us"], *woke, "{status:#}");
        stage.is_tidy(mode).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_somebody_wakes_is_reported_and_put_to_sleep_again_by_prune() {
    let stage = Stage::with_sleeper("{ mode: frozen }").await;
    sh(&["docker", "unpause", &stage.container(1, 2)]);
    let status = stage.status().await;
    let told = format!(
        "standby {0}@1 runs, and the plan says frozen: flipside prune {0}",
        stage.service
    );
    assert_eq!(disagreements(&status), [&told], "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    let dry = stage.run(&["prune", &stage.service, "--dry-run"]).await;
    assert_eq!(dry.ends(0).lines[0]["asleep"], serde_json::json!([1]));
    assert!(stage.states(1).contains(&"running".into()));
    let pruned = stage.verb("prune").await;
    assert_eq!(
        pruned.ends(0).lines.last().unwrap()["asleep"],
        serde_json::json!([1])
    );
    assert_eq!(stage.states(1), ["paused"; 2]);
    assert_eq!(disagreements(&stage.status().await), [""; 0]);
    // Half awake, it is gone back to as well.
    sh(&["docker", "unpause", &stage.container(1, 1)]);
    stage.wakes().await;
    // What serves and is paused is reported, and mended too.
    sh(&["docker", "pause", &stage.container(1, 1)]);
    let status = stage.status().await;
    let told = format!(
        "{0}@1 gets the traffic and sleeps: flipside prune {0}",
        stage.service
    );
    assert!(
        disagreements(&status).contains(&told.as_str()),
        "{status:#}"
    );
    let pruned = stage.verb("prune").await;
    assert_eq!(pruned.ends(0).lines.last().unwrap()["woken"], 1);
    assert_eq!(stage.states(1), ["running"; 2]);
    stage.end().await;
}

/// Killed at the moment that an act has been written down, or some way into it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_it_falls_asleep_or_wakes_is_gone_back_from() {
    for (mode, standby) in MODES {
        let stage = Stage::new().await;
        stage.deploy_over("1", standby).await.ends(0);
        let mut deploy = stage.start_deploy("2", &sleeping(standby));
        deploy.intends("sleep").await;
        let killed = deploy.kill().await;
        assert_eq!(killed.code, 137, "{mode}: {killed:#?}");
        assert_eq!(stage.answer().await, "2");
        let mut rollback = stage.start(&["rollback", &stage.service, "--yes"]);
        rollback.intends("switch").await;
        rollback.kill().await;
        let load = stage.load().await;
        let resumed = stage.verb("resume").await;
        assert_eq!(resumed.ends(0).outcome(), "done", "{mode}");
        load.stop().await;
        assert_eq!(stage.answer().await, "1", "{mode}");
        assert_eq!(stage.states(1), ["running"; 2], "{mode}");
        stage.is_tidy(mode).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_not_fit_when_it_wakes_is_refused_and_stays_awake() {
    let stage = Stage::new().await;
    let running = Settings {
        replicas: 2,
        ..Settings::default()
    };
    stage.write_plan("1", &running);
    stage.run(&["deploy"]).await.ends(0);
    let status = stage.status().await;
    let at = status["live"]["endpoints"][0].as_str().unwrap();
    let at = at.parse().unwrap();
    stage.write_plan("2", &running);
    stage.run(&["deploy"]).await.ends(0);
    crate::support::docker::get(at, "/break").await.unwrap();
    for replica in [1, 2] {
        sh(&["docker", "pause", &stage.container(1, replica)]);
    }
    let refused = stage.verb("rollback").await;
    assert_eq!(refused.ends(4).outcome(), "stuck");
    let told = &refused.talk;
    assert!(told.contains("answered 503"), "{told}");
    assert!(
        told.contains("it was frozen, has been woken, and stays awake"),
        "{told}"
    );
    assert_eq!(stage.answer().await, "2");
    assert_eq!(stage.states(1), ["running"; 2]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_images_of_what_sleeps_are_kept_through_deploys_and_prunes() {
    for (mode, _) in MODES {
        let standby = match mode {
            "frozen" => "{ mode: frozen, keep: 2 }",
            _ => "{ mode: stopped, keep: 2 }",
        };
        let stage = Stage::new().await;
        for version in ["1", "2", "3"] {
            stage.deploy_over(version, standby).await.ends(0);
            stage.verb("prune").await.ends(0);
        }
        let status = stage.status().await;
        for sleeper in status["standby"].as_array().unwrap() {
            assert_eq!(sleeper["asleep"], mode, "{status:#}");
            for image in sleeper["image_ids"].as_array().unwrap() {
                sh(&["docker", "image", "inspect", image.as_str().unwrap()]);
            }
        }
        let back = stage.run(&["rollback", &stage.service, "--to", "1"]).await;
        assert_eq!(back.ends(0).outcome(), "done", "{mode}");
        assert_eq!(stage.answer().await, "1", "{mode}");
        assert_eq!(stage.states(2), engines(mode), "the other one sleeps on");
        stage.end().await;
    }
}
