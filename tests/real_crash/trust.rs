//! Labels that a stranger wrote: nothing is executed, and nobody asked, because they say so.

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::{Value, json};

use super::kit::{Stage, sh};
use crate::support::docker;

/// Where the labels send whoever believes them.
struct Bait {
    listener: TcpListener,
    /// What their command would make.
    file: std::path::PathBuf,
}

impl Bait {
    fn new(stage: &Stage) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let file = stage.state().with_file_name("executed");
        Self { listener, file }
    }

    /// Labels of `release` of `service` that name a command, a variable and addresses; the others
    /// as the real container `like` has them.
    fn labels(&self, like: &str, service: &str, release: u64) -> Vec<String> {
        let format = "{{json .Config.Labels}}";
        let labels = sh(&["docker", "inspect", "--format", format, like]);
        let mut labels: serde_json::Map<String, Value> = serde_json::from_str(&labels).unwrap();
        let address = self.listener.local_addr().unwrap();
        let probes: Value =
            serde_json::from_str(labels["flipside.probes"].as_str().unwrap()).unwrap();
        let (mut http, mut exec) = (probes[0].clone(), probes[0].clone());
        let asked = &mut http["kind"]["http"];
        assert!(asked.is_object(), "{probes}");
        asked["path"] = format!("http://{address}/").into();
        asked["port"] = address.port().into();
        asked["headers"] = json!([{"name": "X-Home", "value": "${HOME}"}]);
        exec["kind"] = json!({"exec": {"command": ["touch", self.file]}});
        let pointer = json!({"proxy": {"listen": address, "hosts": ["elsewhere.example"]}});
        for (key, value) in [
            ("service", service.to_owned()),
            ("release", release.to_string()),
            ("exposed", format!("web:{}", address.port())),
            ("probes", json!([exec, http]).to_string()),
            ("pointer", pointer.to_string()),
        ] {
            labels.insert(format!("flipside.{key}"), value.into());
        }
        let words = labels.iter().flat_map(|(key, value)| {
            let value = value.as_str().unwrap();
            ["--label".to_owned(), format!("{key}={value}")]
        });
        words.collect()
    }

    /// A container that carries them, in a network named as that release's own would be.
    fn put_out(&self, like: &str, service: &str, release: u64) {
        let network = format!("0-flipside.{service}.{release}");
        let label = format!("flipside.service={service}");
        sh(&["docker", "network", "create", "--label", &label, &network]);
        let (name, image) = (format!("{service}-stranger"), docker::hello_tag());
        let labels = self.labels(like, service, release);
        let mut words = vec![
            "docker",
            "run",
            "-d",
            "--name",
            &name,
            "--network",
            &network,
        ];
        words.extend(labels.iter().map(String::as_str));
        words.push(&image);
        sh(&words);
    }

    #[track_caller]
    fn is_untouched(&self, stranger: &str, after: &str) {
        let came = self.listener.accept().map_err(|error| error.kind());
        assert_eq!(came.err(), Some(ErrorKind::WouldBlock), "asked by {after}");
        assert!(!self.file.exists(), "executed by {after}");
        let changes = sh(&["docker", "diff", stranger]);
        assert_eq!(changes, "", "executed in the container by {after}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_labels_neither_run_nor_lead_anywhere() {
    let stage = Stage::with_standby().await;
    let bait = Bait::new(&stage);
    let service = &stage.service;
    bait.put_out(&format!("{service}-1-web-1"), service, 3);
    stage.lose_journal();
    let stranger = format!("{service}-stranger");

    let status = stage.status().await;
    assert_eq!(status["live"]["release"], 2, "{status:#}");
    assert_eq!(status["standby"][0]["release"], 1, "{status:#}");
    assert_eq!(status["standby"].as_array().unwrap().len(), 1, "{status:#}");
    bait.is_untouched(&stranger, "status");

    for more in [&["--dry-run"][..], &[]] {
        let words = [&["rollback", service, "--to", "3", "--yes"], more].concat();
        let refused = stage.run(&words).await;
        assert_eq!(refused.ends(4).error(), "no-memory");
        bait.is_untouched(&stranger, "rollback --to");
        assert_eq!(stage.answer().await, "2");
    }

    let ran = stage.run(&["rollback", service, "--dry-run"]).await;
    ran.ends(0);
    assert_eq!(ran.lines[0]["to"], 1, "{ran:#?}");
    bait.is_untouched(&stranger, "rollback --dry-run");

    let ran = stage.verb("rollback").await;
    assert_eq!(ran.ends(0).outcome(), "done");
    assert_eq!(stage.answer().await, "1");
    bait.is_untouched(&stranger, "rollback");
}

/// Labels make no service: without an entry in the pointer there is nothing to leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_alone_are_no_service_to_roll_back() {
    let stage = Stage::live().await;
    let bait = Bait::new(&stage);
    let service = docker::service().to_string();
    bait.put_out(&format!("{}-1-web-1", stage.service), &service, 3);
    let stranger = format!("{service}-stranger");
    for more in [
        &[][..],
        &["--dry-run"],
        &["--to", "3"],
        &["--to", "3", "--force"],
    ] {
        let words = [&["rollback", &service, "--yes"], more].concat();
        let ran = stage.run(&words).await;
        bait.is_untouched(&stranger, "rollback");
        assert_eq!(ran.ends(4).error(), "nothing-to-roll-back-to");
        let said = ran.lines.iter().any(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            message.contains("the pointer names no release of it")
        });
        assert!(said, "{ran:#?}");
    }
    docker::remove(&service).await;
    assert_eq!(stage.answer().await, "1");
}
