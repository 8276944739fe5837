//! Bad days in the middle of a verb, with a name server behind a relay: as all kinds meet them, and
//! what only DNS has.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::kit::{Config, NAME, PREVIEW, SECRET, Server, ZONE, key};
use super::relay::{Relay, Trouble};
use crate::real_crash::kit::Stage;
use crate::support::backends::{named_at, until};
use crate::support::docker;
use crate::support::held::{Held, Moment};
use crate::support::ports::free_port;
use crate::support::verb_scenes::{Kind, Scene, Stood, Users, verb_scenes};

/// At which port releases answer.
const PORT: u16 = 8080;

/// A primary, and what flipside has to pass to come to it. Users ask it directly.
pub struct Primary {
    pub server: Server,
    relay: Relay,
    /// Takes what shall not be done.
    decoy: Mutex<Option<Server>>,
}

/// Where the name leads, by the server at `at`.
async fn leads(at: SocketAddr) -> SocketAddr {
    let found = tokio::process::Command::new("dig")
        .args([&format!("@{}", at.ip()), "-p", &at.port().to_string()])
        .args(["+short", "+norec", "+time=1", "+tries=3", NAME, "A"])
        .output()
        .await
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let address: IpAddr = found.trim().parse().unwrap_or_else(|_| panic!("{found:?}"));
    (address, PORT).into()
}

impl Primary {
    async fn with(config: Config) -> Self {
        let server = Server::start_with(config).await;
        Self {
            relay: Relay::start(server.at(), Trouble::None).await,
            server,
            decoy: Mutex::default(),
        }
    }
}

impl Kind for Primary {
    const NAME: &'static str = "dns";

    async fn start(_: &Stage, stood: Stood) -> Self {
        let lines = match stood {
            Stood::Nothing => String::new(),
            Stood::Old => format!("shop 2 A {}\n", old().await),
        };
        Self::with(Config {
            lines,
            ..Config::default()
        })
        .await
    }

    fn section(&self) -> String {
        let section = json!({"dns": {
            "server": self.relay.at.to_string(),
            "zone": ZONE,
            "name": NAME,
            "ttl": "1s",
            "key_file": self.server.path().join("key"),
            "servers": [self.server.at().to_string()],
            "url": format!("http://{NAME}:{PORT}"),
            "preview_host": PREVIEW,
        }});
        section.to_string()
    }

    fn asks(&self) -> String {
        format!("curl http://{PREVIEW}:{PORT}/")
    }

    async fn preview(&self, _: &Stage) -> Option<String> {
        let address = self.server.dig(PREVIEW, "A").concat();
        let address: IpAddr = address.parse().ok()?;
        Some(docker::get((address, PORT).into(), "/").await.unwrap().1)
    }

    fn hold(&self, moment: Moment) -> Held {
        self.relay.kept().hold((), moment)
    }

    /// Another server with the same zone takes the updates.
    async fn pretends(&self, pretends: bool) {
        let record = format!("_flipside.{NAME}");
        let lines = [(NAME, "A"), (&record, "TXT")].map(|(name, kind)| {
            let lines = self.server.lines(name, kind);
            lines.join("\n")
        });
        let decoy = match pretends {
            false => None,
            true => Some(
                Server::start_with(Config {
                    lines: lines.join("\n") + "\n",
                    ..Config::default()
                })
                .await,
            ),
        };
        self.relay.tells(decoy.as_ref().map(Server::at));
        *self.decoy.lock().unwrap() = decoy;
    }

    fn asked(&self) -> usize {
        self.relay.asked()
    }

    async fn stop(&mut self) {
        self.server.stop();
        self.relay.stop().await;
    }

    async fn again(&mut self) {
        self.server.restart().await;
        self.relay.again().await;
    }

    async fn by_hand(&self, there: SocketAddr) {
        let orders = format!("delete {NAME} A\nadd {NAME} 1 A {}", there.ip());
        self.server.by_hand(&orders);
    }

    async fn table(&self) -> String {
        self.server.lines(NAME, "A").join("\n")
    }

    async fn answer(&self, _: &Stage) -> String {
        let at = leads(self.server.at()).await;
        docker::get(at, "/").await.unwrap().1
    }

    async fn users(&self, _: &Stage) -> Users {
        let at = self.server.at();
        Users::by(move || leads(at))
    }
}

/// The address of one that answers `old` where releases would.
async fn old() -> IpAddr {
    let (host, listener) = until("an address", async || {
        let mut bytes = [0; 2];
        getrandom::fill(&mut bytes).unwrap();
        let [one, two] = bytes.map(|byte| byte.clamp(1, 250));
        let host = IpAddr::from([127, 79, one, two]);
        Some((host, TcpListener::bind((host, PORT)).await.ok()?))
    })
    .await;
    named_at(listener, "old");
    host
}

verb_scenes!(Primary:
    one_that_is_killed_after_its_write_is_gone_on_with,
    a_write_that_outlives_its_writer_comes_too_late,
    one_that_is_down_is_told_before_anything_is_stood_up,
    one_that_goes_down_in_the_write_is_out_of_reach_until_it_is_back,
    one_that_goes_down_after_the_write_has_moved_when_it_is_back,
    a_restart_between_the_switch_and_the_first_answer_changes_nothing,
    one_that_accepts_and_does_not_apply_is_found_out,
    one_that_stood_still_before_its_write_moves_nothing,
    one_that_stood_still_after_its_write_finds_that_others_have_moved_on,
    of_two_at_once_one_is_told_who_has_the_service,
    what_a_hand_has_moved_is_shown_and_left,
    what_stood_there_is_taken_over_and_put_back,
    a_release_is_shown_to_those_who_ask_and_to_nobody_else,
    labels_alone_are_shown_and_lead_nowhere_without_trust,
);

/// What is found out before anything is stood up or moved: users stay where they are, nothing is left
/// unfinished, and `mend` is all that has to be done.
async fn is_refused(scene: &mut Scene<Primary>, words: &[&str], mend: impl AsyncFn(&mut Primary)) {
    let (serial, table) = (scene.kind.server.serial(), scene.kind.table().await);
    for verb in ["deploy", "rollback"] {
        let ran = match verb {
            "deploy" => scene.start_deploy("3").ended().await,
            verb => scene.verb(verb).await,
        };
        assert!([4, 7].contains(&ran.code), "{verb}: {ran:#?}");
        let said = format!("{:?} {}", ran.lines, ran.talk);
        for words in words {
            assert!(said.contains(words), "{verb}: {words}: {said}");
        }
        assert!(!said.contains(SECRET), "{said}");
        scene.serves("2").await;
        let status = scene.status().await;
        assert_eq!(status["candidate"], Value::Null, "{status:#}");
        assert_eq!(status["unfinished"], Value::Null, "{status:#}");
        // Reads are signed as well: with a wrong key it is not known who is live.
        let away = status["pointer"]["away"].as_str().map(str::to_owned);
        match away {
            Some(away) => assert!(words.iter().all(|word| away.contains(word)), "{away}"),
            None => assert_eq!(status["live"]["release"], 2, "{status:#}"),
        }
    }
    assert_eq!(scene.kind.table().await, table);
    assert_eq!(scene.kind.server.serial(), serial);
    mend(&mut scene.kind).await;
    scene.is_live(2).await;
    scene.deploy("3").await;
    scene.verb("rollback").await.ends(0);
    scene.is_live(2).await;
}

/// Somebody has given the server another key, or has changed the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_wrong_moves_nothing_until_it_is_right() {
    let mut scene = Scene::<Primary>::new().await;
    let file = scene.kind.server.path().join("key");
    let wrong = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    std::fs::write(&file, key("hmac-sha256", wrong)).unwrap();
    let shown = file.display().to_string();
    is_refused(&mut scene, &["NOTAUTH", "BADSIG", &shown], async |_| {
        std::fs::write(&file, key("hmac-sha256", SECRET)).unwrap();
    })
    .await;
    scene.end().await;
}

/// The policy of the server has become narrower.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_outside_the_policy_moves_nothing_until_it_is_allowed() {
    let mut scene = Scene::<Primary>::new().await;
    let allow = async |primary: &mut Primary, policy| {
        primary.server.config.policy = policy;
        primary.server.configure();
        primary.server.restart().await;
    };
    let narrow = "grant shop name other.example.org. A;";
    allow(&mut scene.kind, narrow).await;
    let wide = Config::default().policy;
    let grant = format!("grant shop. name _flipside.{NAME} TXT;");
    is_refused(&mut scene, &["REFUSED", &grant], async |primary| {
        allow(primary, wide).await;
    })
    .await;
    scene.end().await;
}

/// One of two servers hears of nothing while a rollback moves the name: it is named, and once it hears
/// again all say the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_of_which_a_server_does_not_hear_is_told_and_gone_on_with() {
    let [one, two] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let primary = Primary::with(Config {
        at: one,
        notifies: vec![two],
        ..Config::default()
    })
    .await;
    let secondary = Server::start_with(Server::secondary(two, one)).await;
    let mut scene = Scene::<Primary>::before(Stood::Nothing).await;
    let both = format!("\"servers\":[\"{one}\",\"{two}\"]");
    let section = primary.section();
    let only = format!("\"servers\":[\"{one}\"]");
    assert!(section.contains(&only), "{section}");
    scene.settings.pointer = Some(section.replace(&only, &both));
    scene.kind = primary;
    scene.deploy("1").await;
    scene.deploy("2").await;
    let heard = async |address: Vec<String>| {
        until("the secondary", async || {
            (secondary.dig(NAME, "A") == address).then_some(())
        })
        .await;
    };
    heard(scene.kind.server.dig(NAME, "A")).await;
    scene.kind.server.gives_away(false).await;
    let ran = scene.verb("rollback").await;
    let said = format!("{:?} {}", ran.lines, ran.talk);
    assert!(said.contains(&format!("{two} still says")), "{said}");
    // A way back is not turned round: those who hear of it are served by it.
    scene.serves("1").await;
    scene.says(1).await;
    scene.kind.server.gives_away(true).await;
    let status = scene.status().await;
    if !status["unfinished"].is_null() {
        scene.verb("resume").await.ends(0);
    }
    scene.is_live(1).await;
    scene.deploy("3").await;
    scene.is_live(3).await;
    heard(scene.kind.server.dig(NAME, "A")).await;
    scene.end().await;
}
