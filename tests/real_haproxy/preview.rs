//! A release that is shown to those who ask for it, behind a HAProxy that is reloaded meanwhile.

use flipside::pointer::outside::Outside;

use super::kit::{Config, Haproxy};
use crate::real_crash::kit::{Settings, Stage};

struct Scene {
    stage: Stage,
    haproxy: Haproxy,
    settings: Settings,
}

impl Scene {
    /// Release 1 is live.
    async fn new() -> Self {
        let stage = Stage::new().await;
        let config = Config {
            port: stage.port,
            ..Config::default()
        };
        let haproxy = Haproxy::start_with(config).await;
        let settings = Settings {
            pointer: Some(haproxy.section()),
            replicas: 2,
            ..Settings::default()
        };
        stage.start_deploy("1", &settings).ended().await.ends(0);
        Self {
            stage,
            haproxy,
            settings,
        }
    }

    async fn preview(&self, version: &str) {
        self.stage.write_plan(version, &self.settings);
        let ran = self.stage.run(&["deploy", "--until-preview"]).await;
        ran.ends(0);
        self.shows("1", version).await;
    }

    /// What users are answered by, and what those who ask for the preview are.
    async fn shows(&self, live: &str, preview: &str) {
        let url = format!("http://127.0.0.1:{}", self.stage.port);
        let outside = Outside::new(&url, None).unwrap();
        for _ in 0..8 {
            assert_eq!(self.stage.answer().await, live);
            let asked = outside.text("/", &[("x-preview", "yes")]).await;
            assert_eq!(asked.unwrap(), (200, preview.to_owned()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_outlives_a_reload_and_is_promoted_without_a_lost_request() {
    let scene = Scene::new().await;
    let stage = &scene.stage;
    scene.preview("2").await;
    scene.haproxy.reload().await;
    scene.shows("1", "2").await;
    let status = stage.status().await;
    assert_eq!(status["pointer"]["routing"]["preview"], 2);
    assert!(status["pointer"]["preview"].is_string(), "{status}");
    let load = stage.load().await;
    stage.verb("promote").await.ends(0);
    assert_eq!(stage.answer().await, "2");
    load.stop().await;
    stage.verb("rollback").await.ends(0);
    assert_eq!(stage.answer().await, "1");
    stage.verb("down").await.ends(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_given_up_and_shown_no_more() {
    let scene = Scene::new().await;
    scene.preview("2").await;
    scene.stage.verb("abort").await.ends(0);
    scene.shows("1", "1").await;
    scene.preview("3").await;
    scene.stage.verb("down").await.ends(0);
}
