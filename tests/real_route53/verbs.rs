//! The verbs through Route 53, and bad days in the middle of one: as all kinds meet them, and what only
//! Route 53 has.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::kit::{NAME, PREVIEW};
use crate::real_crash::kit::Stage;
use crate::support::aws::{self, Asked, Fault};
use crate::support::backends::{named_at, until};
use crate::support::docker;
use crate::support::held::{Held, Moment};
use crate::support::route53::{ID, Route53};
use crate::support::verb_scenes::{self, Kind, Stood, Users, verb_scenes};

/// At which port releases answer.
const PORT: u16 = 8080;

pub type Scene = verb_scenes::Scene<Route53>;

/// A batch that moves something, and not one that only finds out.
pub fn is_a_move(asked: &Asked) -> bool {
    asked.changes() && asked.body.contains("<Action>CREATE</Action>")
}

/// What stands at the name, for addresses alone.
fn only(address: IpAddr) -> String {
    format!(
        "<TTL>2</TTL><ResourceRecords><ResourceRecord><Value>{address}</Value></ResourceRecord></ResourceRecords>"
    )
}

/// The one address that users are given.
fn leads(shares: &[(String, i64)]) -> SocketAddr {
    let [(address, _)] = shares else {
        panic!("{shares:?}");
    };
    (address.parse::<IpAddr>().unwrap(), PORT).into()
}

impl Kind for Route53 {
    const NAME: &'static str = "route53";

    async fn start(_: &Stage, stood: Stood) -> Self {
        let server = Self::start().await;
        if stood == Stood::Old {
            let (host, listener) = until("an address", async || {
                let mut bytes = [0; 2];
                getrandom::fill(&mut bytes).unwrap();
                let [one, two] = bytes.map(|byte| byte.clamp(1, 250));
                let host = IpAddr::from([127, 78, one, two]);
                Some((host, TcpListener::bind((host, PORT)).await.ok()?))
            })
            .await;
            named_at(listener, "old");
            server.by_hand(NAME, "A", &only(host));
        }
        server
    }

    fn section(&self) -> String {
        let section = json!({"route53": {
            "zone": ID,
            "name": NAME,
            "ttl": "1s",
            "servers": [self.server.to_string()],
            "url": format!("http://{NAME}:{PORT}"),
            "preview_host": PREVIEW,
            "endpoint": self.api.endpoint(),
        }});
        section.to_string()
    }

    fn asks(&self) -> String {
        format!("curl http://{PREVIEW}:{PORT}/")
    }

    async fn preview(&self, _: &Stage) -> Option<String> {
        let shares = self.shares(PREVIEW, "A");
        let at = (!shares.is_empty()).then(|| leads(&shares))?;
        Some(docker::get(at, "/").await.unwrap().1)
    }

    fn hold(&self, moment: Moment) -> Held {
        Held::Gate(self.api.hold(
            is_a_move,
            match moment {
                Moment::Before => Fault::Held,
                Moment::After => Fault::HeldAfter,
            },
        ))
    }

    async fn pretends(&self, pretends: bool) {
        let taken = "<?xml version=\"1.0\"?>\n<ChangeResourceRecordSetsResponse><ChangeInfo>\
                     <Id>/change/C0</Id><Status>PENDING</Status>\
                     <SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo>\
                     </ChangeResourceRecordSetsResponse>";
        self.api.heals();
        if pretends {
            let says = Fault::Says((200, taken.into()));
            self.api.fault(is_a_move, usize::MAX, says);
        }
    }

    fn asked(&self) -> usize {
        self.api.count(|_| true)
    }

    /// Users ask name servers, which go on answering.
    async fn stop(&mut self) {
        self.api.stop().await;
    }

    async fn again(&mut self) {
        self.api.restart().await;
    }

    async fn by_hand(&self, there: SocketAddr) {
        self.without(NAME, "A");
        self.by_hand(NAME, "A", &only(there.ip()));
    }

    async fn table(&self) -> String {
        self.sets(NAME, "A").join("\n")
    }

    async fn answer(&self, _: &Stage) -> String {
        let at = leads(&self.shares(NAME, "A"));
        docker::get(at, "/").await.unwrap().1
    }

    async fn users(&self, _: &Stage) -> Users {
        let shares = self.watch(NAME, "A");
        Users::by(move || {
            let at = leads(&shares());
            async move { at }
        })
    }

    fn dress(&self, command: &mut Command) {
        aws::dress(command);
    }
}

verb_scenes!(Route53:
    one_that_is_killed_after_its_write_is_gone_on_with,
    a_write_that_outlives_its_writer_comes_too_late,
    one_that_is_down_is_told_before_anything_is_stood_up,
    one_that_goes_down_in_the_write_is_out_of_reach_until_it_is_back,
    one_that_accepts_and_does_not_apply_is_found_out,
    one_that_stood_still_before_its_write_moves_nothing,
    of_two_at_once_one_is_told_who_has_the_service,
    what_a_hand_has_moved_is_shown_and_left,
    what_stood_there_is_taken_over_and_put_back,
    a_release_is_shown_to_those_who_ask_and_to_nobody_else,
    labels_alone_are_shown_and_lead_nowhere_without_trust,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_released_and_rolled_back_behind_it() {
    let scene = Scene::before(Stood::Nothing).await;
    scene.kind.pending(2);
    scene.deploy("1").await;
    scene.deploy("2").await;
    scene.verb("rollback").await.ends(0);
    scene.serves("1").await;
    scene.deploy("3").await;
    scene.is_live(3).await;
    let status = scene.status().await;
    assert_eq!(status["standby"][0]["release"], 1, "{status:#}");
    scene.verb("down").await.ends(0);
    assert_eq!(scene.kind.all(), [""; 0]);
}

/// Users ask name servers, which go on answering.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_goes_down_after_the_write_is_waited_for() {
    let mut scene = Scene::new().await;
    scene.kind.pending(1);
    let is_a_look: fn(&Asked) -> bool = |asked| asked.path.contains("/change/");
    let held = scene.kind.api.hold(is_a_look, Fault::Held);
    let running = scene.start(&["rollback", &scene.stage.service, "--yes"]);
    held.came().await;
    scene.kind.stop().await;
    scene.serves("1").await;
    scene.kind.again().await;
    running.ended().await.ends(0);
    scene.is_live(1).await;
    scene.end().await;
}

/// As long as AWS says that it takes at most, and somewhat longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_pending_for_a_minute_is_waited_for() {
    let scene = Scene::new().await;
    let users = scene.kind.users(&scene.stage).await;
    scene.kind.pending(19);
    let looks = || {
        scene
            .kind
            .api
            .count(|asked| asked.path.contains("/change/"))
    };
    let (before, began) = (looks(), Instant::now());
    let running = scene.start(&["rollback", &scene.stage.service, "--yes"]);
    until("a look at the change", async || {
        (looks() > before).then_some(())
    })
    .await;
    scene.says(1).await;
    running.ended().await.ends(0);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(60), "{took:?}");
    assert!(looks() - before >= 20);
    scene.is_live(1).await;
    users.stop().await;
    scene.end().await;
}

/// AWS's name for the change dies with whoever was killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_killed_with_its_change_pending_is_gone_on_with() {
    let scene = Scene::new().await;
    let (running, held) = scene.rolls_back_until(Moment::After).await;
    running.kill().await;
    held.go();
    scene.says(1).await;
    scene.kind.pending(2);
    scene.verb("resume").await.ends(0);
    scene.is_live(1).await;
    scene.end().await;
}
