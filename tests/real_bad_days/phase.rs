//! A deploy that stays in one of its phases until it is let go.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::relay::{Gate, Relay};
use crate::real_crash::daemon::Host;
use crate::real_crash::small::Small;
use crate::real_verbs::kit::{LONG, Ran, Running, Stage, docker};
use crate::support::docker::hello_tag;

/// The machine's engine.
const HERE: &str = "unix:///var/run/docker.sock";

/// What a deploy goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Prepare,
    StandUp,
    Prove,
    Switch,
    Bake,
    Drain,
    Retire,
}

impl Phase {
    /// Whether traffic goes to the new release by then.
    pub fn is_switched(self) -> bool {
        matches!(self, Self::Bake | Self::Drain | Self::Retire)
    }
}

/// A service that a version `old` serves, and the plan of its next release.
pub struct Rig {
    pub stage: Stage,
    phase: Phase,
    /// How long the phase of the next release lasts, in milliseconds.
    wait: u32,
    /// The engine.
    url: String,
    /// The way to it.
    pub engine: Relay,
    /// Reached once a container is asked to stop.
    stopping: Arc<Gate>,
}

/// A deploy of version `new` that has come to its phase.
pub struct Held {
    pub running: Running,
    gate: Arc<Gate>,
    /// Asked for, and not answered yet.
    _slow: Option<TcpStream>,
    /// The pointer's socket as this deploy sees it.
    pointer: Relay,
}

impl Rig {
    /// One whose next release stays in `phase` for `wait` milliseconds, where it ends by itself.
    pub fn new(phase: Phase, wait: u32) -> Self {
        Self::of(phase, wait, Stage::new(), HERE)
    }

    /// One whose journal is on a small disk.
    pub fn on_small_disk(phase: Phase, wait: u32) -> (Self, Small) {
        let stage = Stage::new();
        let disk = Small::on(stage.state(), "1m");
        (Self::of(phase, wait, stage, HERE), disk)
    }

    /// One on a host of its own, which has the image.
    pub fn on(host: &Host, phase: Phase, wait: u32) -> Self {
        let stage = Stage::new();
        let port = stage.port;
        let rig = Self::of(phase, wait, stage, &host.url());
        // Not before: it holds the port here, where the proxy does there.
        host.door(port);
        rig
    }

    fn of(phase: Phase, wait: u32, mut stage: Stage, url: &str) -> Self {
        let socket = stage.path().join("engine.sock");
        let stopping = Arc::new(Gate::default());
        stopping.open();
        let seen = Arc::clone(&stopping);
        let engine = Relay::with(
            &socket,
            url.trim_start_matches("unix://").as_ref(),
            Arc::new(move |said| {
                if said.contains("/stop?") || said.contains("/stop ") {
                    seen.pass();
                }
                said
            }),
            Arc::new(|said| said),
        );
        stage.engine = Some(format!("unix://{}", socket.display()));
        let grace = if phase == Phase::Retire { "4s" } else { "2s" };
        let plan = stage
            .plan()
            .replace("limit: 5s", "limit: 30s")
            .replace(
                "stop_grace_period: 2s",
                &format!("stop_grace_period: {grace}"),
            )
            .replace(
                "    environment:\n",
                "    environment:\n      DEAF: \"${DEAF:-}\"\n",
            );
        stage.write("flipside.yaml", plan);
        let rig = Self {
            stage,
            phase,
            wait,
            url: url.into(),
            engine,
            stopping,
        };
        if phase == Phase::Retire {
            // The one that is retired takes its time.
            rig.stage.deploy(&["VERSION=oldest", "DEAF=1"]);
        }
        rig.stage.deploy(&["VERSION=old"]);
        rig.plan_next();
        rig
    }

    /// What makes the next release stay in the phase.
    fn plan_next(&self) {
        let Self { stage, phase, .. } = self;
        let plan = std::fs::read_to_string(stage.path().join("flipside.yaml")).unwrap();
        let image = format!("image: ${{IMAGE:-{}}}", stage.image);
        let plan = match phase {
            Phase::Prepare => {
                // Its container does nothing until it is ended.
                let file = format!(
                    "FROM {}\nLABEL of={}\nRUN [\"/hello\", \"sleep\"]\n",
                    hello_tag(),
                    stage.service
                );
                stage.write("slow/Dockerfile", file);
                plan.replace(&image, "build: slow")
            }
            Phase::StandUp => {
                let backend = format!(
                    "  backend:\n    image: {}\n    environment: {{ START_DELAY_MS: \"${{WAIT}}\" }}\n    \
                     stop_grace_period: 2s\n    healthcheck: {{ test: [\"CMD\", \"/hello\", \"check\"], \
                     interval: 200ms, timeout: 1s, retries: 1000 }}\nexpose:",
                    stage.image
                );
                plan.replace(
                    "    environment:\n",
                    "    depends_on: { backend: { condition: service_healthy } }\n    environment:\n",
                )
                .replace("expose:", &backend)
            }
            _ => plan,
        };
        stage.write("next.yaml", plan);
    }

    /// The pointer's socket.
    fn control(&self, directory: &str) -> PathBuf {
        let place = self.stage.path().join(directory).join(&self.stage.proxy);
        place.join("control.sock")
    }

    /// What the next release is deployed with, and resumed before its switch.
    fn set(&self) -> Vec<String> {
        let wait = self.wait;
        let own = match self.phase {
            Phase::StandUp => vec![format!("WAIT={wait}")],
            Phase::Prove => vec![
                format!("START_DELAY_MS={wait}"),
                "DEADLINE=60s".into(),
                "DEAF=1".into(),
            ],
            Phase::Bake => vec![format!("BAKE={wait}ms")],
            Phase::Prepare | Phase::Switch | Phase::Drain | Phase::Retire => vec![],
        };
        let all = ["VERSION=new".to_owned()].into_iter().chain(own);
        all.flat_map(|pair| ["--set".to_owned(), pair]).collect()
    }

    /// Goes on with the deploy, and what is typed for it.
    pub fn resume(&self) -> (&'static str, Ran) {
        let set = self.set();
        let mut words = vec!["resume", &self.stage.service];
        if self.phase.is_switched() {
            return ("flipside resume shop", self.stage.run(&words));
        }
        words.extend(set.iter().map(String::as_str));
        let typed = "flipside resume shop --set VERSION=new";
        (typed, self.stage.run(&words))
    }

    /// Starts the deploy and waits until it is in the phase, where it stays for as long as it lasts,
    /// or until [`Rig::go_on`].
    pub fn hold(&self) -> Held {
        let (stage, phase) = (&self.stage, self.phase);
        let gate = Arc::new(Gate::default());
        if phase != Phase::Switch {
            gate.open();
        }
        let pass = Arc::clone(&gate);
        // A directory of its own for each: the one before may still be shutting.
        let directory = format!("p{:04x}", getrandom::u32().unwrap() & 0xffff);
        let pointer = Relay::with(
            &self.control(&directory),
            &self.control("run"),
            Arc::new(move |said| {
                if said.contains("\"op\":\"write\"") {
                    pass.pass();
                }
                said
            }),
            Arc::new(|said| said),
        );
        let set = self.set();
        let mut words = vec!["deploy", "next.yaml"];
        words.extend(set.iter().map(String::as_str));
        let slow = (phase == Phase::Drain).then(|| self.ask_slowly());
        let mut command = stage.command(&words);
        command.env("FLIPSIDE_RUN_DIR", stage.path().join(directory));
        let mut running = Running::start(command);
        match phase {
            Phase::Prepare => {
                running.until_shown("building the image of");
                self.step();
            }
            Phase::StandUp => running.until_shown("stands up in slot"),
            Phase::Prove => running.until_shown("replica started"),
            Phase::Switch => gate.until_reached(),
            Phase::Bake => running.until_shown("bakes for"),
            Phase::Drain => running.until_shown("answered through the pointer"),
            Phase::Retire => self.stopping.until_reached(),
        }
        Held {
            running,
            gate,
            _slow: slow,
            pointer,
        }
    }

    /// Lets the deploy go on.
    pub fn go_on(&self, held: &Held) {
        held.gate.open();
        if self.phase == Phase::Prepare {
            self.docker(&["stop", "--time", "10", &self.step()]);
        }
    }

    fn docker(&self, words: &[&str]) -> String {
        docker(&[&["--host", &self.url], words].concat())
    }

    /// The container of the build's step, once it runs.
    fn step(&self) -> String {
        let label = format!("label=of={}", self.stage.service);
        let deadline = Instant::now() + LONG;
        loop {
            let found = self.docker(&["ps", "--quiet", "--filter", &label]);
            if let Some(id) = found.lines().next() {
                return id.into();
            }
            assert!(Instant::now() < deadline, "the build does not get there");
        }
    }

    /// A request that the old release answers when the phase is over.
    fn ask_slowly(&self) -> TcpStream {
        let at = SocketAddr::from(([127, 0, 0, 1], self.stage.port));
        let mut stream = TcpStream::connect(at).unwrap();
        let request = format!("GET /slow?ms={} HTTP/1.1\r\nHost: test\r\n\r\n", self.wait);
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Nothing is left of what has not served, and the live release answers.
    pub fn is_tidy(&self) {
        let stage = &self.stage;
        stage.expect(0, &["prune", &stage.service]);
        let status = stage.status();
        assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
        for field in ["unfinished", "lease", "candidate"] {
            assert_eq!(status[field], serde_json::Value::Null, "{status:#}");
        }
    }
}

impl Held {
    /// Waits for the deploy's end.
    pub fn end(self) -> Ran {
        let ran = self.running.end();
        // What was held and has nobody who waits for it any more does not come to pass.
        drop(self.pointer);
        self.gate.open();
        ran
    }
}
