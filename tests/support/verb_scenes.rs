//! Bad days in the middle of a verb, as every kind of pointer meets them: the service is served all
//! along, `status` tells the truth, and the next command goes on.
//!
//! What differs is told by [`Kind`]; what only one kind has is in its own tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flipside::pointer::outside::Outside;
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::held::{Held, Moment};
use crate::real_crash::kit::{Settings, Stage};
use crate::real_crash::running::{Ran, Running};

/// A kind of pointer, with the real thing that a test has started of it.
pub trait Kind: Sized {
    /// Its name in a plan.
    const NAME: &'static str;

    /// One that knows nothing of the service; where something serves already, that answers `old`.
    async fn start(stage: &Stage, stood: Stood) -> Self;

    /// As a plan's `pointer`.
    fn section(&self) -> String;

    /// Keeps waiting what moves it next.
    fn hold(&self, moment: Moment) -> Held;

    /// What would move it is answered as if it had been done, or is no longer.
    async fn pretends(&self, pretends: bool);

    /// How often flipside has asked it for anything.
    fn asked(&self) -> usize;

    /// Down.
    async fn stop(&mut self);

    /// Up again, with what it had.
    async fn again(&mut self);

    /// Sends all users to `there`, where a release answers, behind flipside's back.
    async fn by_hand(&self, there: SocketAddr);

    /// What it sends users to, in its own words, without flipside's notes.
    async fn table(&self) -> String;

    /// Who answers its users.
    async fn answer(&self, stage: &Stage) -> String {
        stage.answer().await
    }

    /// Asks as users do, all the time.
    async fn users(&self, stage: &Stage) -> Users {
        Users::at(([127, 0, 0, 1], stage.port).into())
    }

    /// How a person is told to ask for the preview.
    fn asks(&self) -> String {
        "curl -H 'X-Preview: yes'".into()
    }

    /// Who answers those that ask for the preview; none where they are led nowhere.
    async fn preview(&self, stage: &Stage) -> Option<String> {
        let outside = Outside::new(&format!("http://127.0.0.1:{}", stage.port), None).unwrap();
        let (status, text) = outside.text("/", &[("x-preview", "yes")]).await.unwrap();
        assert_eq!(status, 200, "{text}");
        Some(text)
    }

    /// Gives a command what it needs.
    fn dress(&self, _: &mut Command) {}
}

/// What serves when flipside comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stood {
    Nothing,
    Old,
}

/// Those who ask the service all the time, each time on a connection of its own.
pub struct Users {
    over: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Users {
    /// Who ask at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self::by(move || async move { address })
    }

    /// Who find out each time where to ask.
    pub fn by<F>(find: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = SocketAddr> + Send,
    {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let task = tokio::spawn(async move {
            let mut asked = 0;
            while !ends.load(Ordering::Relaxed) {
                let answer = super::docker::get(find().await, "/").await;
                assert!(matches!(answer, Ok((200, _))), "{answer:?}");
                asked += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            asked
        });
        Self { over, task }
    }

    /// Each of their requests must have been answered well.
    pub async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        assert!(self.task.await.unwrap() > 0);
    }
}

/// A service on a pointer of this kind.
pub struct Scene<K> {
    pub stage: Stage,
    pub kind: K,
    pub settings: Settings,
}

impl<K: Kind> Scene<K> {
    /// Nothing is released yet.
    pub async fn before(stood: Stood) -> Self {
        let stage = Stage::new().await;
        let kind = K::start(&stage, stood).await;
        let settings = Settings {
            pointer: Some(kind.section()),
            ..Settings::default()
        };
        Self {
            stage,
            kind,
            settings,
        }
    }

    /// Release 2 is live, 1 stands by.
    pub async fn new() -> Self {
        let scene = Self::before(Stood::Nothing).await;
        scene.deploy("1").await;
        scene.deploy("2").await;
        scene
    }

    pub fn start(&self, words: &[&str]) -> Running {
        let mut command = self.stage.command(words);
        self.kind.dress(&mut command);
        Running::start(command)
    }

    pub async fn run(&self, words: &[&str]) -> Ran {
        self.start(words).ended().await
    }

    pub async fn verb(&self, verb: &str) -> Ran {
        self.run(&[verb, &self.stage.service, "--yes"]).await
    }

    pub fn start_deploy(&self, version: &str) -> Running {
        self.stage.write_plan(version, &self.settings);
        self.start(&["deploy"])
    }

    pub async fn deploy(&self, version: &str) {
        self.start_deploy(version).ended().await.ends(0);
        self.serves(version).await;
    }

    pub async fn serves(&self, version: &str) {
        assert_eq!(self.kind.answer(&self.stage).await, version);
    }

    pub async fn status(&self) -> Value {
        let ran = self.run(&["status", &self.stage.service]).await;
        ran.ends(0);
        ran.lines[0].clone()
    }

    /// By the word of `status` the pointer sends traffic to this release, whatever else is told.
    pub async fn says(&self, release: u64) {
        let status = self.status().await;
        let routes = status["pointer"]["routing"]["routes"].as_array();
        let routes = routes.unwrap_or_else(|| panic!("{status:#}"));
        let serving = routes.iter().filter(|route| route["weight"] != 0);
        let serving: Vec<&Value> = serving.map(|route| &route["release"]).collect();
        assert_eq!(serving, [release], "{status:#}");
    }

    /// All agree that this release is live.
    pub async fn is_live(&self, release: u64) {
        self.serves(&release.to_string()).await;
        self.says(release).await;
        let status = self.status().await;
        assert_eq!(status["pointer"]["kind"], K::NAME, "{status:#}");
        assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
        assert_eq!(status["live"]["release"], release, "{status:#}");
        assert_eq!(status["unfinished"], Value::Null, "{status:#}");
    }

    /// `status` says that it is out of reach.
    pub async fn is_away(&self) {
        let status = self.status().await;
        assert!(status["pointer"]["away"].is_string(), "{status:#}");
        assert_eq!(status["candidate"], Value::Null, "{status:#}");
    }

    /// Keeps what moves it waiting, and starts a rollback that comes to it.
    pub async fn rolls_back_until(&self, moment: Moment) -> (Running, Held) {
        let held = self.kind.hold(moment);
        let running = self.start(&["rollback", &self.stage.service, "--yes"]);
        held.came().await;
        (running, held)
    }

    pub async fn end(self) {
        self.verb("down").await.ends(0);
    }
}

/// A test of each of these scenes, with a pointer of this kind.
macro_rules! verb_scenes {
    ($kind:ty: $($scene:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $scene() {
            $crate::support::verb_scenes::$scene::<$kind>().await;
        }
    )+};
}
pub(crate) use verb_scenes;

/// `kill -9` between the write and the look at it.
pub async fn one_that_is_killed_after_its_write_is_gone_on_with<K: Kind>() {
    let scene = Scene::<K>::new().await;
    let users = scene.kind.users(&scene.stage).await;
    let (running, held) = scene.rolls_back_until(Moment::After).await;
    running.kill().await;
    held.go();
    scene.serves("1").await;
    scene.says(1).await;
    scene.verb("resume").await.ends(0);
    scene.is_live(1).await;
    users.stop().await;
    scene.end().await;
}

/// What a killed one has sent off arrives when others have moved on. Where the guard is the server's it
/// moves nothing.
pub async fn a_write_that_outlives_its_writer_comes_too_late<K: Kind>() {
    let scene = Scene::<K>::new().await;
    let users = scene.kind.users(&scene.stage).await;
    let (running, held) = scene.rolls_back_until(Moment::Before).await;
    running.kill().await;
    scene.serves("2").await;
    scene.says(2).await;
    scene.verb("rollback").await.ends(0);
    scene.is_live(1).await;
    scene.deploy("3").await;
    let table = scene.kind.table().await;
    held.went().await;
    scene.is_live(3).await;
    assert_eq!(scene.kind.table().await, table);
    scene.verb("rollback").await.ends(0);
    scene.is_live(1).await;
    users.stop().await;
    scene.end().await;
}

/// Down before the write.
pub async fn one_that_is_down_is_told_before_anything_is_stood_up<K: Kind>() {
    let mut scene = Scene::<K>::new().await;
    scene.kind.stop().await;
    scene.start_deploy("3").ended().await.ends(7);
    scene.is_away().await;
    scene.verb("rollback").await.ends(7);
    scene.kind.again().await;
    scene.is_live(2).await;
    scene.deploy("3").await;
    scene.is_live(3).await;
    scene.end().await;
}

/// Down in the write, which never arrives.
pub async fn one_that_goes_down_in_the_write_is_out_of_reach_until_it_is_back<K: Kind>() {
    let mut scene = Scene::<K>::new().await;
    let (running, held) = scene.rolls_back_until(Moment::Before).await;
    scene.kind.stop().await;
    held.go();
    let cut_short = running.ended().await;
    cut_short.ends(6);
    let said = format!("{:?}", cut_short.lines);
    assert!(said.contains("go on with: flipside resume"), "{said}");
    scene.is_away().await;
    scene.kind.again().await;
    scene.serves("2").await;
    scene.says(2).await;
    scene.verb("resume").await.ends(0);
    scene.is_live(1).await;
    scene.end().await;
}

/// Down after the write, before its answer.
pub async fn one_that_goes_down_after_the_write_has_moved_when_it_is_back<K: Kind>() {
    let mut scene = Scene::<K>::new().await;
    let (running, held) = scene.rolls_back_until(Moment::After).await;
    scene.kind.stop().await;
    held.go();
    running.ended().await.ends(6);
    scene.is_away().await;
    scene.kind.again().await;
    scene.serves("1").await;
    scene.says(1).await;
    scene.verb("resume").await.ends(0);
    scene.is_live(1).await;
    scene.end().await;
}

pub async fn a_restart_between_the_switch_and_the_first_answer_changes_nothing<K: Kind>() {
    let mut scene = Scene::<K>::new().await;
    let (running, held) = scene.rolls_back_until(Moment::After).await;
    scene.kind.stop().await;
    scene.kind.again().await;
    held.go();
    running.ended().await.ends(0);
    scene.is_live(1).await;
    scene.end().await;
}

/// It says that it has moved, and has not.
pub async fn one_that_accepts_and_does_not_apply_is_found_out<K: Kind>() {
    let scene = Scene::<K>::new().await;
    let users = scene.kind.users(&scene.stage).await;
    scene.kind.pretends(true).await;
    let ran = scene.verb("rollback").await;
    assert_ne!(ran.code, 0, "{ran:#?}");
    scene.serves("2").await;
    scene.says(2).await;
    let ran = scene.start_deploy("3").ended().await;
    assert_ne!(ran.code, 0, "{ran:#?}");
    scene.serves("2").await;
    scene.says(2).await;
    scene.kind.pretends(false).await;
    scene.deploy("4").await;
    let status = scene.status().await;
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    assert_eq!(status["unfinished"], Value::Null, "{status:#}");
    scene.verb("rollback").await.ends(0);
    scene.is_live(2).await;
    users.stop().await;
    scene.end().await;
}

/// One stands still in a rollback, while others roll back and deploy; then it wakes.
async fn stands_still<K: Kind>(moment: Moment) {
    let scene = Scene::<K>::new().await;
    let users = scene.kind.users(&scene.stage).await;
    let (stood, held) = scene.rolls_back_until(moment).await;
    stood.signal(Signal::STOP);
    // The one that stands still has moved nothing, or has moved to 1.
    let to = match moment {
        Moment::Before => "1",
        Moment::After => "2",
    };
    // Nobody has told yet that 2 has served, where the one that left it stands still.
    let words = ["rollback", &scene.stage.service, "--to", to, "--force"];
    scene.run(&words).await.ends(0);
    scene.serves(to).await;
    scene.deploy("3").await;
    scene.is_live(3).await;
    held.go();
    stood.signal(Signal::CONT);
    let late = stood.ended().await;
    assert!([4, 5, 6].contains(&late.code), "{late:#?}");
    scene.is_live(3).await;
    scene.verb("rollback").await.ends(0);
    scene.serves(to).await;
    users.stop().await;
    scene.end().await;
}

pub async fn one_that_stood_still_before_its_write_moves_nothing<K: Kind>() {
    stands_still::<K>(Moment::Before).await;
}

pub async fn one_that_stood_still_after_its_write_finds_that_others_have_moved_on<K: Kind>() {
    stands_still::<K>(Moment::After).await;
}

pub async fn of_two_at_once_one_is_told_who_has_the_service<K: Kind>() {
    let scene = Scene::<K>::new().await;
    let held = scene.kind.hold(Moment::Before);
    let first = scene.start_deploy("3");
    held.came().await;
    scene.run(&["deploy"]).await.ends(5);
    held.go();
    first.ended().await.ends(0);
    scene.is_live(3).await;
    scene.end().await;
}

/// Shown with what it should be, and left until somebody says otherwise.
pub async fn what_a_hand_has_moved_is_shown_and_left<K: Kind>() {
    let scene = Scene::<K>::new().await;
    let status = scene.status().await;
    let at = |of: &Value| -> SocketAddr { of["endpoints"][0].as_str().unwrap().parse().unwrap() };
    let (right, wrong) = (at(&status["live"]), at(&status["standby"][0]));
    scene.kind.by_hand(wrong).await;
    scene.serves("1").await;
    let status = scene.status().await;
    assert_eq!(status["pointer"]["agrees"], false, "{status:#}");
    let by_hand = scene.kind.table().await;
    let refused = scene.start_deploy("3").ended().await;
    assert_eq!(refused.ends(4).error(), "drifted", "{refused:#?}");
    for shown in [right, wrong] {
        let message = refused.message();
        assert!(message.contains(&shown.to_string()), "{shown}: {message}");
    }
    assert_eq!(scene.kind.table().await, by_hand);
    scene.serves("1").await;
    scene.run(&["deploy", "--force"]).await.ends(0);
    scene.is_live(3).await;
    scene.end().await;
}

/// Release 0: taken over when somebody says so, and put back as it was.
pub async fn what_stood_there_is_taken_over_and_put_back<K: Kind>() {
    let scene = Scene::<K>::before(Stood::Old).await;
    scene.serves("old").await;
    let before = scene.kind.table().await;
    let refused = scene.start_deploy("1").ended().await;
    refused.ends(4);
    for words in ["something that is not flipside's serves", "deploy --adopt"] {
        assert!(refused.talk.contains(words), "{}", refused.talk);
    }
    assert_eq!(scene.kind.table().await, before);
    let users = scene.kind.users(&scene.stage).await;
    scene.run(&["deploy", "--adopt"]).await.ends(0);
    scene.is_live(1).await;
    scene.deploy("2").await;
    let status = scene.status().await;
    assert_eq!(status["foreign"]["live"], false, "{status:#}");
    let back = ["rollback", &scene.stage.service, "--to", "0", "--yes"];
    scene.run(&back).await.ends(0);
    scene.serves("old").await;
    assert_eq!(scene.kind.table().await, before);
    let status = scene.status().await;
    assert_eq!(status["foreign"]["live"], true, "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    scene.deploy("3").await;
    scene.is_live(3).await;
    users.stop().await;
    scene.end().await;
}

/// Before the switch; then given up, or promoted.
pub async fn a_release_is_shown_to_those_who_ask_and_to_nobody_else<K: Kind>() {
    let scene = Scene::<K>::new().await;
    let asks = scene.kind.asks();
    let preview = async |version: &str| {
        scene.stage.write_plan(version, &scene.settings);
        let ran = scene.run(&["deploy", "--until-preview"]).await;
        ran.ends(0);
        let said = format!("{:?}", ran.lines) + &ran.talk;
        for words in [asks.as_str(), "flipside promote"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    };
    let shows = async |preview: &str| {
        let shown = scene.kind.preview(&scene.stage).await;
        assert_eq!(shown.as_deref(), Some(preview));
        scene.serves("2").await;
    };
    // Those who ask then get what all get, or nothing.
    let is_over = async |live: &str| {
        let shown = scene.kind.preview(&scene.stage).await;
        assert!(
            shown.as_deref().is_none_or(|shown| shown == live),
            "{shown:?}"
        );
        scene.is_live(live.parse().unwrap()).await;
    };
    let users = scene.kind.users(&scene.stage).await;
    preview("3").await;
    shows("3").await;
    scene.says(2).await;
    let status = scene.status().await;
    assert_eq!(status["pointer"]["routing"]["preview"], 3, "{status:#}");
    let how = status["pointer"]["preview"].as_str();
    assert!(how.is_some_and(|how| how.contains(&asks)), "{status:#}");
    assert_eq!(status["pointer"]["agrees"], true, "{status:#}");
    scene.verb("abort").await.ends(0);
    is_over("2").await;
    preview("4").await;
    shows("4").await;
    scene.verb("promote").await.ends(0);
    is_over("4").await;
    scene.verb("rollback").await.ends(0);
    is_over("2").await;
    users.stop().await;
    scene.end().await;
}

/// Where only labels name it, which anyone on the engine can write, it is shown, and asked nothing,
/// until somebody trusts them.
pub async fn labels_alone_are_shown_and_lead_nowhere_without_trust<K: Kind>() {
    let scene = Scene::<K>::new().await;
    let service = scene.stage.service.clone();
    let users = scene.kind.users(&scene.stage).await;
    scene.stage.lose_journal();
    std::fs::remove_file(scene.stage.checkout().join("flipside.yaml")).unwrap();
    let (table, asked) = (scene.kind.table().await, scene.kind.asked());
    for words in [
        &["rollback", &service, "--yes"][..],
        &["rollback", &service, "--dry-run"],
        &["rollback", &service, "--to", "1", "--force", "--yes"],
        &["status", &service],
        &["prune", &service, "--yes"],
        &["down", &service, "--yes"],
    ] {
        let refused = scene.run(words).await;
        assert_eq!(
            refused.ends(4).error(),
            "untrusted",
            "{words:?}: {refused:#?}"
        );
        let message = refused.message();
        for shown in [K::NAME, &service] {
            assert!(message.contains(shown), "{words:?}: {message}");
        }
        let said = format!("{:?}", refused.lines) + &refused.talk;
        assert!(said.contains("--trust-labels"), "{words:?}: {said}");
        assert_eq!(scene.kind.asked(), asked, "{words:?}");
    }
    assert_eq!(scene.kind.table().await, table);
    scene.serves("2").await;
    let trusting = ["rollback", &service, "--yes", "--trust-labels"];
    scene.run(&trusting).await.ends(0);
    scene.serves("1").await;
    assert!(scene.kind.asked() > asked);
    scene.deploy("3").await;
    scene.is_live(3).await;
    users.stop().await;
    scene.end().await;
}
