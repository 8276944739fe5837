//! What a deploy costs beside the engine itself: from the start of the process to the first answer
//! of the new environment through the proxy, against the bare API calls for the same containers
//! with the same settings, in alternating rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig,
    NetworkCreateRequest, NetworkingConfig,
};
use bollard::query_parameters::{CreateContainerOptions, UploadToContainerOptions};
use common::{Bounds, Figures, Length, Poller, Stage, docker, ms};
use futures_util::future::join_all;

mod common;

/// Between two questions of the client that waits for the new release.
const PAUSE: Duration = Duration::from_millis(1);

/// What is deployed, and what it may cost.
struct Case {
    name: &'static str,
    replicas: u32,
    files: usize,
    rounds: (usize, usize),
    bound: f64,
}

const CASES: &[Case] = &[
    Case {
        name: "one container without files",
        replicas: 1,
        files: 0,
        rounds: (25, 5),
        bound: 1.25,
    },
    Case {
        name: "one container with three files",
        replicas: 1,
        files: 3,
        rounds: (25, 5),
        bound: 1.35,
    },
    Case {
        name: "ten replicas",
        replicas: 10,
        files: 0,
        rounds: (25, 2),
        bound: 1.15,
    },
    Case {
        name: "twenty replicas",
        replicas: 20,
        files: 0,
        rounds: (7, 1),
        bound: 1.15,
    },
];

fn main() -> ExitCode {
    common::main("deploy against the bare API", |length, bounds| {
        for case in CASES {
            measure(case, length, bounds);
        }
    })
}

fn measure(case: &Case, length: Length, bounds: &mut Bounds) {
    let (web, top) = plan_of(case);
    let stage = Stage::new(&web, &top);
    for n in 0..case.files {
        std::fs::write(stage.directory().join(format!("file{n}")), text(n)).unwrap();
    }
    stage.start_deploy(1).finish();
    let bare = Bare::like(&stage, case);
    let (mut ours, mut whole, mut theirs): (Figures, Figures, Figures) = Default::default();
    let mut version = 1;
    for round in 0..length.rounds(case.rounds.0, case.rounds.1) {
        for turn in [round % 2, (round + 1) % 2] {
            if turn == 0 {
                version += 1;
                deploy(&stage, version, &mut ours, &mut whole);
            } else {
                theirs.add(bare.stand_up());
                bare.remove();
            }
        }
    }
    println!("{}", case.name);
    println!("  flipside, to the first answer  {ours}");
    println!("  flipside, to its end           {whole}");
    println!("  the bare API                   {theirs}");
    let ratio = ours.median() / theirs.median();
    bounds.at_most("ratio of medians", ratio, case.bound, " ×");
}

fn deploy(stage: &Stage, version: u64, ours: &mut Figures, whole: &mut Figures) {
    let mut poller = Poller::new(stage.address, PAUSE);
    poller.ask().unwrap();
    let begun = Instant::now();
    let deploying = stage.start_deploy(version);
    ours.add(poller.until(Some(&version.to_string()), begun));
    deploying.finish();
    whole.add(ms(begun));
}

fn text(n: usize) -> String {
    format!("the content of file {n}\n")
}

fn target(n: usize) -> String {
    format!("/etc/app/file{n}")
}

fn plan_of(case: &Case) -> (String, String) {
    let used: Vec<String> = (0..case.files)
        .map(|n| format!("{{ source: file{n}, target: {} }}", target(n)))
        .collect();
    let web = format!(
        "deploy: {{ replicas: {} }}, configs: [{}],",
        case.replicas,
        used.join(", ")
    );
    let made: Vec<String> = (0..case.files)
        .map(|n| format!("  file{n}: {{ file: ./file{n} }}\n"))
        .collect();
    let top = match made.is_empty() {
        true => String::new(),
        false => format!("configs:\n{}", made.concat()),
    };
    (web, top)
}

/// The same containers without flipside.
struct Bare<'a> {
    runtime: tokio::runtime::Runtime,
    api: bollard::Docker,
    service: &'a str,
    replicas: u32,
    body: ContainerCreateBody,
    labels: HashMap<String, String>,
    files: Option<Vec<u8>>,
}

impl<'a> Bare<'a> {
    /// Takes the settings from a container that flipside has made.
    fn like(stage: &'a Stage, case: &Case) -> Self {
        let runtime = common::runtime();
        let api = docker::api();
        let name = format!("{}-1-web-1", stage.service());
        let found = runtime
            .block_on(api.inspect_container(&name, None))
            .unwrap();
        let config = found.config.unwrap();
        let mut labels = config.labels.unwrap();
        labels.insert("flipside.service".into(), stage.bare().into());
        let body = ContainerCreateBody {
            image: found.image,
            env: config.env,
            exposed_ports: config.exposed_ports,
            labels: Some(labels.clone()),
            stop_timeout: config.stop_timeout,
            host_config: found.host_config,
            ..ContainerCreateBody::default()
        };
        Self {
            runtime,
            api,
            service: stage.bare(),
            replicas: case.replicas,
            body,
            labels,
            files: (case.files > 0).then(|| archive(case.files)),
        }
    }

    /// From the first call to the first answer, in milliseconds.
    fn stand_up(&self) -> f64 {
        let begun = Instant::now();
        self.runtime.block_on(async {
            let network = format!("0-{}", self.service);
            let request = NetworkCreateRequest {
                name: network.clone(),
                driver: Some("bridge".into()),
                ipam: Some(Ipam {
                    config: Some(vec![IpamConfig {
                        subnet: Some("10.214.77.0/26".into()),
                        gateway: Some("10.214.77.1".into()),
                        ..IpamConfig::default()
                    }]),
                    ..Ipam::default()
                }),
                labels: Some(self.labels.clone()),
                ..NetworkCreateRequest::default()
            };
            self.api.create_network(request).await.unwrap();
            let containers = (0..self.replicas).map(|n| self.container(n, &network));
            join_all(containers).await;
        });
        let address = SocketAddr::new(self.address(0).parse().unwrap(), 8080);
        Poller::new(address, PAUSE).until(None, begun)
    }

    async fn container(&self, replica: u32, network: &str) {
        let name = format!("{}-web-{}", self.service, replica + 1);
        let mut body = self.body.clone();
        if let Some(host) = &mut body.host_config {
            host.network_mode = Some(network.to_owned());
        }
        let endpoint = EndpointSettings {
            aliases: Some(vec!["web".into()]),
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(self.address(replica)),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        };
        body.networking_config = Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])),
        });
        let options = CreateContainerOptions {
            name: Some(name.clone()),
            ..CreateContainerOptions::default()
        };
        self.api
            .create_container(Some(options), body)
            .await
            .unwrap();
        if let Some(files) = &self.files {
            let options = UploadToContainerOptions {
                path: "/".into(),
                ..UploadToContainerOptions::default()
            };
            let body = bollard::body_full(files.clone().into());
            let put = self.api.upload_to_container(&name, Some(options), body);
            put.await.unwrap();
        }
        self.api.start_container(&name, None).await.unwrap();
    }

    fn address(&self, replica: u32) -> String {
        format!("10.214.77.{}", replica + 2)
    }

    fn remove(&self) {
        self.runtime.block_on(docker::remove(self.service));
    }
}

fn archive(files: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for n in 0..files {
        let bytes = text(n).into_bytes();
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o444);
        let path = target(n);
        tar.append_data(&mut header, path.trim_start_matches('/'), bytes.as_slice())
            .unwrap();
    }
    tar.into_inner().unwrap()
}
