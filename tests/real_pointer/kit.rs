//! A proxy of a test's own on the real engine, and servers behind it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use flipside::core::names::{Release, ServiceName, Slot};
use flipside::core::plan::Slots;
use flipside::core::progress::Silent;
use flipside::core::routing::{Route, Routing};
use flipside::docker::Client;
use flipside::pointer::preview::Asking;
use flipside::pointer::proxy::{Control, Newer, ProxyOptions, ProxyPlan, ProxyPointer, Site};
use flipside::pointer::{Pointer, PointerError};
use tempfile::TempDir;

pub use crate::support::backends::{gated, get, named, until};
pub use crate::support::ports::free_port;

/// The program under test.
pub const FLIPSIDE: &str = env!("CARGO_BIN_EXE_flipside");

/// How long anything may take before a test gives up.
pub const LONG: Duration = Duration::from_secs(30);

/// A proxy of the test's own: removed when it is dropped, also by a panic.
pub struct Rig {
    pub site: Site,
    _run: TempDir,
}

impl Rig {
    /// A name and a directory; nothing on the engine yet.
    pub async fn new() -> Self {
        let run = tempfile::tempdir().unwrap();
        let client = Client::connect(None).await.unwrap();
        let name = format!("t-{:08x}-proxy", getrandom::u32().unwrap());
        let mut site = Site::new(client, name);
        site.run_dir = run.path().to_owned();
        site.image.binary = FLIPSIDE.into();
        Self { site, _run: run }
    }

    /// One that runs.
    pub async fn started() -> Self {
        let rig = Self::new().await;
        ready(&rig.pointer()).await.unwrap();
        rig
    }

    /// The same proxy, spoken to in another way.
    pub fn spoken_to(&self, control: Control) -> Seen {
        let site = self.site.clone();
        Seen(Site { control, ..site })
    }

    /// The pointer of a new service on a free port.
    pub fn pointer(&self) -> ProxyPointer {
        self.spoken_to(Control::Auto).pointer()
    }

    /// The pointer of a new service on `port`, answering for `hosts`.
    pub fn on(&self, port: u16, hosts: &[&str]) -> ProxyPointer {
        self.spoken_to(Control::Auto).on(port, hosts)
    }

    pub fn name(&self) -> &str {
        &self.site.name
    }

    pub fn socket(&self) -> PathBuf {
        self.site.run_dir.join(self.name()).join("control.sock")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let image = inspect(self.name(), "{{.Config.Image}}");
        let volume = format!("{}.table", self.name());
        docker(&["rm", "-f", "-v", self.name()]);
        docker(&["volume", "rm", "-f", &volume]);
        // The last test to end takes the image away; the engine refuses it to the others.
        if image.starts_with("flipside-proxy:") {
            docker(&["rmi", &image]);
        }
    }
}

/// A proxy seen in one way.
pub struct Seen(pub Site);

impl Seen {
    pub fn pointer(&self) -> ProxyPointer {
        self.on(free_port(), &[])
    }

    pub fn on(&self, port: u16, hosts: &[&str]) -> ProxyPointer {
        self.of(&service(), port, hosts)
    }

    pub fn of(&self, service: &ServiceName, port: u16, hosts: &[&str]) -> ProxyPointer {
        let plan = ProxyPlan {
            listen: format!("127.0.0.1:{port}"),
            hosts: hosts.iter().map(|&host| host.into()).collect(),
            preview: Asking {
                header: Some("X-Preview: yes".into()),
                hosts: Vec::new(),
            },
            slots: None,
        };
        self.with(service, Some(plan))
    }

    /// The pointer of a new service with slots at two free ports, and these.
    pub fn at_slots(&self) -> (ProxyPointer, Slots) {
        let at = || ([127, 0, 0, 1], free_port()).into();
        let slots = Slots {
            blue: at(),
            green: at(),
        };
        (self.with(&service(), Some(ProxyPlan::at(slots))), slots)
    }

    pub fn with(&self, service: &ServiceName, plan: Option<ProxyPlan>) -> ProxyPointer {
        ProxyPointer::new(ProxyOptions {
            site: self.0.clone(),
            service: service.clone(),
            plan,
            newer: Newer::Refuse,
        })
    }
}

pub fn service() -> ServiceName {
    ServiceName::new(format!("t-{:08x}", getrandom::u32().unwrap())).unwrap()
}

pub async fn ready(pointer: &ProxyPointer) -> Result<(), PointerError> {
    let ready = tokio::time::timeout(LONG, pointer.ready(&Silent));
    ready.await.expect("ready within half a minute")
}

/// All traffic to `release`, answered at `at`.
pub fn to(release: u64, at: SocketAddr) -> Routing {
    Routing {
        generation: 0,
        fence: 1,
        author: "ann@here".into(),
        reason: format!("deploy shop@{release}"),
        at: 1_700_000_000_000,
        routes: vec![Route {
            release: Release(release),
            slot: Slot::Blue,
            weight: 100,
            endpoints: vec![at],
        }],
        marks: [].into(),
        deadline: None,
        preview: None,
        foreign: None,
    }
}

pub fn docker(words: &[&str]) -> Output {
    Command::new("docker").args(words).output().unwrap()
}

/// `docker inspect` with a template.
pub fn inspect(name: &str, template: &str) -> String {
    let output = docker(&["inspect", "--format", template, name]);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
