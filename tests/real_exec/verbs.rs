//! Bad days in the middle of a verb, with the example's command before a HAProxy: as all kinds meet
//! them, and a command that fails at any of its calls.

use std::net::SocketAddr;

use serde_json::json;

use super::kit::{script, words};
use crate::real_crash::kit::Stage;
use crate::real_haproxy::kit::{Config, Haproxy};
use crate::support::backends::named;
use crate::support::held::{Held, Moment, WAITS};
use crate::support::verb_scenes::{Kind, Scene, Stood, verb_scenes};

/// The example, which may be kept waiting, may be down, and may fail at a call by what stands in
/// `first-OP` and `then-OP`.
const SEEN: &str = r#"dir=${0%/*}
read -r request
op=${request#*'"op":"'}
op=${op%%'"'*}
echo "$op" >>"$dir/asked"
is_up() { [ ! -e "$dir/down" ] || { echo "nobody is there" >&2; exit 1; }; }
meets() { [ ! -e "$dir/$1" ] || . "$dir/$1"; }
is_up
meets "first-$op"
wait_at "$op-before"
is_up
answer=$(printf '%s\n' "$request" | "$@")
code=$?
wait_at "$op-after"
is_up
meets "then-$op"
printf '%s\n' "$answer"
exit $code"#;

/// The example behind [`SEEN`], before a HAProxy of its own.
struct Seen {
    haproxy: Haproxy,
    program: String,
}

impl Seen {
    /// What happens at each call of `op` from now on, before it does anything, or when it has.
    fn trouble(&self, when: When, op: &str, text: &str) {
        std::fs::write(self.path(when, op), text).unwrap();
    }

    fn mended(&self, when: When, op: &str) {
        std::fs::remove_file(self.path(when, op)).unwrap();
    }

    fn path(&self, when: When, op: &str) -> std::path::PathBuf {
        let when = match when {
            When::First => "first",
            When::Then => "then",
        };
        self.haproxy.path().join(format!("{when}-{op}"))
    }

    /// How often it was called for this.
    fn calls(&self, op: &str) -> usize {
        let asked = std::fs::read_to_string(self.haproxy.path().join("asked"));
        let asked = asked.unwrap_or_default();
        asked.lines().filter(|line| *line == op).count()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    First,
    Then,
}

impl Kind for Seen {
    const NAME: &'static str = "exec";

    async fn start(stage: &Stage, stood: Stood) -> Self {
        let stood = match stood {
            Stood::Nothing => Vec::new(),
            Stood::Old => vec![
                format!("server old {} weight 7", named("old").await),
                "server oldest 127.0.0.1:1 weight 5 disabled".into(),
            ],
        };
        let haproxy = Haproxy::start_with(Config {
            port: stage.port,
            stood,
            ..Config::default()
        })
        .await;
        let program = script(haproxy.path(), &format!("{WAITS}{SEEN}"));
        Self { haproxy, program }
    }

    fn section(&self) -> String {
        let mut command = vec![self.program.clone()];
        command.extend(words(&self.haproxy));
        let url = self.haproxy.plan().url;
        json!({"exec": {"command": command, "timeout": "9s", "url": url}}).to_string()
    }

    fn hold(&self, moment: Moment) -> Held {
        Held::script(self.haproxy.path(), "write", moment)
    }

    async fn pretends(&self, pretends: bool) {
        match pretends {
            true => self.trouble(When::First, "write", "echo '{\"ok\": true}'; exit"),
            false => self.mended(When::First, "write"),
        }
    }

    fn asked(&self) -> usize {
        ["capabilities", "read", "write", "settled", "remove"]
            .map(|op| self.calls(op))
            .iter()
            .sum()
    }

    /// The command is; HAProxy goes on.
    async fn stop(&mut self) {
        std::fs::write(self.haproxy.path().join("down"), "").unwrap();
    }

    async fn again(&mut self) {
        std::fs::remove_file(self.haproxy.path().join("down")).unwrap();
    }

    async fn by_hand(&self, there: SocketAddr) {
        self.haproxy.sends_to(there).await;
    }

    async fn table(&self) -> String {
        self.haproxy.table().await
    }
}

verb_scenes!(Seen:
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

/// As the plans of before there were previews: without the URL the example shows none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_shows_no_preview_is_told_before_anything_is_stood_up() {
    let mut scene = Scene::<Seen>::before(Stood::Nothing).await;
    let url = format!(",\"{}\"]", scene.kind.haproxy.plan().url);
    let pointer = scene.settings.pointer.as_mut().unwrap();
    *pointer = pointer.replace(&url, "]");
    scene.deploy("1").await;
    scene.stage.write_plan("2", &scene.settings);
    let refused = scene.run(&["deploy", "--until-preview"]).await;
    assert_ne!(refused.code, 0, "{refused:#?}");
    let said = format!("{:?}", refused.lines) + &refused.talk;
    assert!(said.contains("preview"), "{said}");
    scene.is_live(1).await;
    assert_eq!(scene.kind.calls("write"), 2, "{said}");
    scene.deploy("2").await;
    scene.end().await;
}

/// In which call of its own a rollback meets the trouble, and what it ends with.
const CALLS: [(When, &str); 5] = [
    (When::First, "capabilities"),
    (When::First, "read"),
    (When::First, "write"),
    (When::Then, "write"),
    (When::First, "settled"),
];

/// A rollback meets `trouble` at each of its calls: what served or what shall serve is served, which of
/// them `status` knows, and the next command goes on.
async fn fails(trouble: &str) {
    let mut scene = Scene::<Seen>::before(Stood::Nothing).await;
    let pointer = scene.settings.pointer.as_mut().unwrap();
    *pointer = pointer.replace("\"9s\"", "\"5s\"");
    scene.deploy("1").await;
    scene.deploy("2").await;
    let users = scene.kind.users(&scene.stage).await;
    let (mut live, mut other) = (2, 1);
    for (when, op) in CALLS {
        scene.kind.trouble(when, op, trouble);
        let before = scene.kind.calls(op);
        let to = other.to_string();
        let back = ["rollback", &scene.stage.service, "--to", &to, "--yes"];
        let ran = scene.run(&back).await;
        assert!(scene.kind.calls(op) > before, "{op}");
        scene.kind.mended(when, op);
        let moved = (when, op) == (When::Then, "write") || op == "settled";
        let ends: &[i32] = match op {
            _ if moved => &[0, 4, 6],
            "write" => &[4, 6, 7],
            // Nothing has been touched.
            _ => &[4, 7],
        };
        assert!(ends.contains(&ran.code), "{when:?} {op}: {ran:#?}");
        if moved {
            (live, other) = (other, live);
        }
        scene.serves(&live.to_string()).await;
        scene.says(live).await;
        let status = scene.status().await;
        match status["unfinished"].is_null() {
            true if moved => {}
            true => {
                scene.run(&back).await.ends(0);
                (live, other) = (other, live);
            }
            false => {
                scene.verb("resume").await.ends(0);
                if !moved {
                    (live, other) = (other, live);
                }
            }
        }
        scene.is_live(live).await;
    }
    users.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_end_in_time_is_gone_on_with() {
    fails("sleep 600").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_ends_badly_is_gone_on_with() {
    fails("echo no luck >&2; exit 3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_answers_what_is_no_json_is_gone_on_with() {
    fails("echo so be it; exit 0").await;
}

/// A service whose command does not forget it is still there, and is taken away later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_forget_a_service_is_told_and_asked_again() {
    let scene = Scene::<Seen>::new().await;
    for trouble in ["echo no luck >&2; exit 3", "echo so be it; exit 0"] {
        scene.kind.trouble(When::First, "remove", trouble);
        let ran = scene.verb("down").await;
        assert_ne!(ran.code, 0, "{ran:#?}");
    }
    scene.kind.mended(When::First, "remove");
    scene.verb("down").await.ends(0);
    assert_eq!(scene.kind.table().await, "");
}
