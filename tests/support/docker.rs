//! The real engine in tests: an image to run, and a service name whose every part is removed when
//! its test ends, also by a panic.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::query_parameters::{
    ListContainersOptions, ListImagesOptions, ListNetworksOptions, ListVolumesOptions,
    RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions,
};
use flipside::core::names::ServiceName;
use flipside::core::plan::ImageSource;
use flipside::docker::{Client, OwnImage, ScratchFile, ScratchImage};
use flipside::engine::docker::Docker;
use sha2::{Digest, Sha256};

const IMAGE: &str = "flipside-test-hello";

/// What older test runs have left is removed after this time.
const LEFTOVER_S: i64 = 30 * 60;
const LEFTOVER_IMAGE_S: i64 = 6 * 60 * 60;

/// The example server's binary, beside the test's own.
pub fn hello_binary() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().and_then(|deps| deps.parent()).unwrap();
    let binary = profile.join("examples/hello");
    assert!(
        binary.exists(),
        "{} is missing: run `cargo build --example hello`",
        binary.display()
    );
    binary
}

/// The name of the image with the example server as its entrypoint: it changes with the binary.
pub fn hello_tag() -> String {
    let bytes = std::fs::read(hello_binary()).unwrap();
    let hash: String = Sha256::digest(&bytes)[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{IMAGE}:{hash}")
}

/// The id of that image; built where it is missing.
pub async fn hello_image(client: &Client) -> String {
    let (binary, tag) = (hello_binary(), hello_tag());
    if let Ok(image) = api().inspect_image(&tag).await {
        return image.id.unwrap();
    }
    let image = ScratchImage {
        name: tag.clone(),
        files: vec![ScratchFile {
            path: "/hello".into(),
            source: binary,
            mode: 0o755,
        }],
        entrypoint: vec!["/hello".into()],
        labels: [("flipside.test".to_owned(), "hello".to_owned())].into(),
        machine: machine().await,
    };
    client.load_scratch_image(image).await.unwrap();
    api().inspect_image(&tag).await.unwrap().id.unwrap()
}

/// The engine's machine, in its own words: `amd64`.
pub async fn machine() -> String {
    api().version().await.unwrap().arch.unwrap()
}

/// The engine's API, spoken without any code of ours.
pub fn api() -> bollard::Docker {
    let version = bollard::ClientVersion {
        major_version: 1,
        minor_version: 41,
    };
    bollard::Docker::connect_with_unix(&socket(), 120, &version).unwrap()
}

/// The path of the engine's socket.
pub fn socket() -> String {
    let address = std::env::var("DOCKER_HOST");
    let address = address.unwrap_or_else(|_| "unix:///var/run/docker.sock".into());
    address.trim_start_matches("unix://").to_owned()
}

/// One test's service on the real engine.
pub struct Scope {
    /// Its name: `t-`, the run's digits, and eight of its own.
    pub service: ServiceName,
    /// The engine.
    pub engine: Docker,
    /// The example server's image.
    pub image: ImageSource,
}

impl Scope {
    pub async fn new() -> Self {
        let own_image = OwnImage {
            given: None,
            binary: env!("CARGO_BIN_EXE_flipside").into(),
        };
        let engine = Docker::connect(None).await.unwrap();
        let engine = engine.with_own_image(own_image);
        sweep_once().await;
        let image = ImageSource::Pull(hello_image(engine.client()).await);
        Self {
            service: service(),
            engine,
            image,
        }
    }

    /// Everything on the engine that carries this service's label, by name.
    pub async fn parts(&self) -> Vec<String> {
        parts(self.service.as_str()).await
    }
}

/// Four digits that the test command gives to its run, so that it finds again what is its own.
pub fn run() -> String {
    std::env::var("FLIPSIDE_TEST_RUN").unwrap_or_default()
}

/// A service name of a test's own.
pub fn service() -> ServiceName {
    let number = getrandom::u32().unwrap();
    ServiceName::new(format!("t-{}{number:08x}", run())).unwrap()
}

impl Drop for Scope {
    fn drop(&mut self) {
        let service = self.service.to_string();
        // A runtime of its own: the test's may be ending, or be single-threaded and blocked here.
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(remove(&service));
        });
        cleaner.join().ok();
    }
}

fn filter(label: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![label.to_owned()])])
}

/// Everything that carries a service's label, by name.
pub async fn parts(service: &str) -> Vec<String> {
    let api = api();
    let filters = Some(filter(&format!("flipside.service={service}")));
    let containers = ListContainersOptions {
        all: true,
        filters: filters.clone(),
        ..Default::default()
    };
    let containers = api.list_containers(Some(containers)).await.unwrap();
    let networks = ListNetworksOptions {
        filters: filters.clone(),
    };
    let networks = api.list_networks(Some(networks)).await.unwrap();
    let volumes = ListVolumesOptions { filters };
    let volumes = api.list_volumes(Some(volumes)).await.unwrap();
    let mut names: Vec<String> = Vec::new();
    names.extend(containers.into_iter().filter_map(|c| c.names?.pop()));
    names.extend(networks.into_iter().filter_map(|n| n.name));
    names.extend(
        volumes
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|v| v.name),
    );
    names.sort();
    names
}

/// Removes everything that carries a service's label.
pub async fn remove(service: &str) {
    let api = api();
    let filters = Some(filter(&format!("flipside.service={service}")));
    let options = ListContainersOptions {
        all: true,
        filters: filters.clone(),
        ..Default::default()
    };
    // A container that a dropped call is still having made is listed before it can be removed.
    for _ in 0..200 {
        let left = api.list_containers(Some(options.clone())).await.unwrap();
        if left.is_empty() {
            break;
        }
        for container in left {
            let options = RemoveContainerOptions {
                force: true,
                v: true,
                ..Default::default()
            };
            let id = container.id.unwrap();
            api.remove_container(&id, Some(options)).await.ok();
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    // Before the networks: a container that carries no label of ours may be in one of them.
    remove_named(&api, service).await;
    let options = ListNetworksOptions {
        filters: filters.clone(),
    };
    for network in api.list_networks(Some(options)).await.unwrap() {
        api.remove_network(&network.id.unwrap()).await.ok();
    }
    let options = ListVolumesOptions { filters };
    let volumes = api.list_volumes(Some(options)).await.unwrap().volumes;
    for volume in volumes.unwrap_or_default() {
        api.remove_volume(&volume.name, None::<RemoveVolumeOptions>)
            .await
            .ok();
    }
    let options = ListImagesOptions {
        filters: Some(filter(&format!("flipside.service={service}"))),
        ..Default::default()
    };
    for image in api.list_images(Some(options)).await.unwrap() {
        let options = Some(RemoveImageOptions {
            force: true,
            ..Default::default()
        });
        api.remove_image(&image.id, options, None).await.ok();
    }
}

/// Removes what a test has made by hand, or the engine for a mount, and named after its service.
async fn remove_named(api: &bollard::Docker, service: &str) {
    let filters = Some(HashMap::from([("name".into(), vec![service.to_owned()])]));
    let options = ListContainersOptions {
        all: true,
        filters: filters.clone(),
        ..Default::default()
    };
    for container in api.list_containers(Some(options)).await.unwrap() {
        let is_proxy = |name: &String| name.ends_with("-proxy");
        if container.names.iter().flatten().any(is_proxy) {
            continue;
        }
        let options = RemoveContainerOptions {
            force: true,
            v: true,
            ..Default::default()
        };
        let id = container.id.unwrap();
        api.remove_container(&id, Some(options)).await.ok();
    }
    let options = ListVolumesOptions { filters };
    let volumes = api.list_volumes(Some(options)).await.unwrap().volumes;
    for volume in volumes.unwrap_or_default() {
        api.remove_volume(&volume.name, None::<RemoveVolumeOptions>)
            .await
            .ok();
    }
}

/// Removes a proxy of a test's, its table, and its image unless another proxy uses that.
pub fn remove_proxy(proxy: &str) {
    let docker = |words: &[&str]| {
        let output = std::process::Command::new("docker").args(words).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    // By its name, and by its id, as another build may have taken the name.
    let image = docker(&[
        "inspect",
        "--format",
        "{{.Config.Image}}\n{{.Image}}",
        proxy,
    ]);
    docker(&["rm", "-f", "-v", proxy]);
    docker(&["volume", "rm", "-f", &format!("{proxy}.table")]);
    for image in image.lines().filter(|name| !name.is_empty()) {
        docker(&["rmi", image]);
    }
}

/// Removes what killed test runs have left, at the first call of a process.
pub async fn sweep_once() {
    static SWEEP: Once = Once::new();
    let mut first = false;
    SWEEP.call_once(|| first = true);
    if first {
        sweep().await;
    }
}

async fn sweep() {
    let api = api();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let now = i64::try_from(now).unwrap();
    let mut old = Vec::new();
    let options = ListContainersOptions {
        all: true,
        filters: Some(filter("flipside.service")),
        ..Default::default()
    };
    for container in api.list_containers(Some(options)).await.unwrap() {
        if now - container.created.unwrap_or(now) > LEFTOVER_S {
            old.extend(container.labels);
        }
    }
    let aged = |text: Option<String>| {
        let at: Option<jiff::Timestamp> = text.and_then(|text| text.parse().ok());
        at.is_some_and(|at| now - at.as_second() > LEFTOVER_S)
    };
    let options = ListNetworksOptions {
        filters: Some(filter("flipside.service")),
    };
    for network in api.list_networks(Some(options)).await.unwrap() {
        if aged(network.created) {
            old.extend(network.labels);
        }
    }
    let options = ListVolumesOptions {
        filters: Some(filter("flipside.service")),
    };
    let volumes = api.list_volumes(Some(options)).await.unwrap().volumes;
    for volume in volumes.unwrap_or_default() {
        if aged(volume.created_at) {
            old.push(volume.labels);
        }
    }
    for labels in old {
        if let Some(service) = labels.get("flipside.service").filter(|name| is_test(name)) {
            remove(service).await;
        }
    }
    sweep_proxies(&api, now).await;
    let options = ListImagesOptions {
        filters: Some(filter("flipside.test")),
        ..Default::default()
    };
    for image in api.list_images(Some(options)).await.unwrap() {
        // The server's own, which all share, was made at no time; the test command removes it.
        if image.created > 0 && now - image.created > LEFTOVER_IMAGE_S {
            api.remove_image(&image.id, None::<RemoveImageOptions>, None)
                .await
                .ok();
        }
    }
}

/// Proxies carry no service's label.
async fn sweep_proxies(api: &bollard::Docker, now: i64) {
    let options = ListContainersOptions {
        all: true,
        ..Default::default()
    };
    let all = api.list_containers(Some(options)).await.unwrap();
    let old = all
        .into_iter()
        .filter(|container| now - container.created.unwrap_or(now) > LEFTOVER_S)
        .filter_map(|container| container.names?.pop());
    for name in old {
        let name = name.trim_start_matches('/').to_owned();
        if name.strip_suffix("-proxy").is_some_and(is_test) {
            let removing = tokio::task::spawn_blocking(move || remove_proxy(&name));
            removing.await.unwrap();
        }
    }
}

fn is_test(service: &str) -> bool {
    let digits = service.strip_prefix("t-").unwrap_or_default();
    [8, 12].contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// One GET over a connection of its own: status, and body.
pub async fn get(address: std::net::SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let wrong = || std::io::Error::other(answer.clone());
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(wrong)?, body.to_owned()))
}

/// Tries until `look` answers, at most 20 s.
pub async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let tries = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
    };
    let limit = std::time::Duration::from_secs(20);
    let found = tokio::time::timeout(limit, tries).await;
    found.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

/// The body of a GET, once it is answered.
pub async fn get_soon(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    until(&format!("{address}{path}"), || async {
        get(address, path).await.ok()
    })
    .await
}
