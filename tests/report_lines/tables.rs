//! What `status` and `history` say.

use flipside::core::event::Verb;
use flipside::core::names::{Release, Slot};
use flipside::core::plan::StandbyMode;
use flipside::core::routing::{Route, Routing};
use flipside::core::verdict::Outcome;
use flipside::core::world::Cost;
use flipside::report::foreign::ForeignView;
use flipside::report::idle::Idle;
use flipside::report::tables::{
    EnvironmentView, Fit, HistoryRow, PointerView, StatusView, history_json, history_text,
    status_json, status_text,
};

use serde_json::Value::Null;

use super::{NOON, check};

fn environment(release: u64, slot: Slot, fit: Fit) -> EnvironmentView {
    let place = |replica| format!("10.213.{release}.{replica}:8080").parse().unwrap();
    EnvironmentView {
        release: Release(release),
        slot,
        created: NOON - 7_200_000 / release,
        fit,
        endpoints: vec![place(2), place(3)],
        image_ids: vec![format!("sha256:{release}{release}")],
        workers: Vec::new(),
        idle: None,
    }
}

fn routing(live: u64) -> Routing {
    Routing {
        generation: 4,
        fence: 7,
        author: "ana@ci".into(),
        reason: format!("deploy shop@{live}"),
        at: NOON - 843_000,
        routes: vec![Route {
            release: Release(live),
            slot: Slot::Green,
            weight: 100,
            endpoints: vec!["10.213.2.2:8080".parse().unwrap()],
        }],
        marks: [].into(),
        deadline: None,
        preview: None,
        foreign: None,
    }
}

pub fn view() -> StatusView {
    StatusView {
        shared: Vec::new(),
        gone: Vec::new(),
        unused: None,
        service: "shop".into(),
        live: Some(environment(2, Slot::Green, Fit::Yes)),
        standby: vec![environment(1, Slot::Blue, Fit::Yes)],
        candidate: None,
        foreign: None,
        withdrawn: Vec::new(),
        unplaced: Vec::new(),
        pointer: PointerView {
            preview: None,
            kind: "proxy".into(),
            routing: Some(routing(2)),
            away: None,
            agrees: true,
        },
        lease: None,
        disagreements: Vec::new(),
        unfinished: None,
        again: Vec::new(),
    }
}

#[test]
fn status_says_what_is_live_and_how_to_roll_back() {
    check(
        &status_text(&view(), NOON, 100),
        r#"
        shop@2 is live since 2026-11-23 11:45:57 UTC (14m 3s ago)
        the proxy pointer agrees, generation 4, written by `ana@ci`: deploy shop@2

                 release  slot   stood up  fit  endpoints
        live     shop@2   green  1h ago    yes  10.213.2.2:8080
                                                10.213.2.3:8080
        standby  shop@1   blue   2h ago    yes  10.213.1.2:8080
                                                10.213.1.3:8080

        roll back with: flipside rollback shop
    "#,
    );
}

/// A standby that sleeps, and what is known of what it holds.
fn asleep(mode: StandbyMode, cost: Cost, last_wake_us: Option<u64>) -> StatusView {
    let mut view = view();
    view.standby[0].fit = Fit::Asleep(mode);
    view.standby[0].idle = Some(Idle { cost, last_wake_us });
    view
}

#[test]
fn status_says_what_sleeps_and_what_it_holds() {
    let cost = Cost {
        memory: Some(24 << 20),
        cpu: Some(0.0),
        disk: Some(3 << 20),
    };
    let frozen = asleep(StandbyMode::Frozen, cost, Some(31_400));
    check(
        &status_text(&frozen, NOON, 100),
        r#"
        shop@2 is live since 2026-11-23 11:45:57 UTC (14m 3s ago)
        the proxy pointer agrees, generation 4, written by `ana@ci`: deploy shop@2

                 release  slot   stood up  fit     endpoints
        live     shop@2   green  1h ago    yes     10.213.2.2:8080
                                                   10.213.2.3:8080
        standby  shop@1   blue   2h ago    frozen  10.213.1.2:8080
                                                   10.213.1.3:8080

        idle: shop@1 holds 24 MiB of memory, 0 % CPU, 3 MiB of disk beside image and volumes; last wake 31
          ms

        roll back with: flipside rollback shop
    "#,
    );
    let json = status_json(&frozen)["standby"][0].clone();
    assert_eq!((&json["fit"], &json["asleep"]), (&Null, &"frozen".into()));
    assert_eq!(
        json["idle"].to_string(),
        r#"{"memory_bytes":25165824,"cpu_cores":0.0,"disk_bytes":3145728,"last_wake_us":31400}"#
    );
}

#[test]
fn what_the_engine_does_not_say_of_a_standby_is_unknown() {
    let line = |cost, wake| {
        let text = status_text(&asleep(StandbyMode::Stopped, cost, wake), NOON, 200);
        let mut lines = text.lines().filter(|line| line.starts_with("idle: "));
        lines.next().unwrap().to_owned()
    };
    let unknown = Cost::default();
    assert_eq!(
        line(unknown, Some(2_500_000)),
        "idle: what shop@1 holds is unknown; last wake 2.5 s"
    );
    for (share, told) in [
        (0.0, "0 %"),
        (0.0004, "below 0.1 %"),
        (0.0123, "1.2 %"),
        (1.5, "150 %"),
    ] {
        let cost = Cost {
            cpu: Some(share),
            ..unknown
        };
        let told = format!(
            "idle: shop@1 holds unknown of memory, {told} CPU, unknown of disk beside image and volumes"
        );
        assert_eq!(line(cost, None), told);
    }
}

#[test]
fn status_fits_a_narrow_terminal() {
    let text = status_text(&view(), NOON, 46);
    check(
        &text,
        r#"
        shop@2 is live since 2026-11-23 11:45:57 UTC
          (14m 3s ago)
        the proxy pointer agrees, generation 4,
          written by `ana@ci`: deploy shop@2

                   live
        release    shop@2
        slot       green
        stood up   1h ago
        fit        yes
        endpoints  10.213.2.2:8080
                   10.213.2.3:8080

                   standby
        release    shop@1
        slot       blue
        stood up   2h ago
        fit        yes
        endpoints  10.213.1.2:8080
                   10.213.1.3:8080

        roll back with: flipside rollback shop
    "#,
    );
}

#[test]
fn status_shows_what_is_wrong_and_what_is_under_way() {
    let mut view = view();
    view.pointer.routing = Some(routing(1));
    view.pointer.agrees = false;
    view.standby.clear();
    let refused = "`shop-3-web-1`: connection refused at 10.213.3.2:8080";
    view.candidate = Some(environment(3, Slot::Blue, Fit::No(vec![refused.into()])));
    let asleep = "nothing here reaches it";
    view.withdrawn = vec![environment(1, Slot::Blue, Fit::Unknown(asleep.into()))];
    view.lease = Some("bob@laptop".into());
    view.unfinished = Some("deploy shop@3, begun by `bob@laptop`".into());
    view.disagreements = vec!["the journal says shop@2 is live, the pointer names shop@1".into()];
    check(
        &status_text(&view, NOON, 100),
        r#"
        shop@2 is live
        the proxy pointer disagrees and names shop@1, generation 4, written by `ana@ci`: deploy shop@1

                   release  slot   stood up  fit      endpoints
        live       shop@2   green  1h ago    yes      10.213.2.2:8080
                                                      10.213.2.3:8080
        candidate  shop@3   blue   40m ago   no       10.213.3.2:8080
                                                      10.213.3.3:8080
        withdrawn  shop@1   blue   2h ago    unknown  10.213.1.2:8080
                                                      10.213.1.3:8080

        warning: shop@3 is not fit: `shop-3-web-1`: connection refused at 10.213.3.2:8080
        warning: whether shop@1 is fit is not known: nothing here reaches it
        warning: the journal says shop@2 is live, the pointer names shop@1

        held by `bob@laptop`
        under way: deploy shop@3, begun by `bob@laptop`
        no standby; back to a withdrawn one: flipside rollback shop --to 1
    "#,
    );
}

#[test]
fn status_of_nothing_says_how_to_begin() {
    let view = StatusView {
        live: None,
        standby: Vec::new(),
        pointer: PointerView {
            preview: None,
            kind: "proxy".into(),
            routing: None,
            away: None,
            agrees: true,
        },
        unfinished: Some("deploy shop@1, begun by `ana@ci`".into()),
        again: vec!["TAG".into(), "TOKEN".into()],
        ..view()
    };
    check(
        &status_text(&view, NOON, 100),
        r#"
        nothing is live for `shop`
        the proxy pointer knows nothing of it

        unfinished: deploy shop@1, begun by `ana@ci`; go on with: flipside resume shop --set TAG=… --set TOKEN=…
        deploy it with: flipside deploy
    "#,
    );
}

#[test]
fn status_of_a_pointer_that_is_away_guesses_nothing() {
    let why = "pointer proxy p is out of reach: its container is stopped";
    let view = StatusView {
        live: None,
        standby: Vec::new(),
        unplaced: vec![environment(2, Slot::Green, Fit::Unknown(why.into()))],
        pointer: PointerView {
            preview: None,
            kind: "proxy".into(),
            routing: None,
            away: Some(why.into()),
            agrees: false,
        },
        disagreements: vec![why.into()],
        ..view()
    };
    check(
        &status_text(&view, NOON, 100),
        r#"
        it is not known what is live for `shop`
        the proxy pointer does not answer, so perhaps nothing is served

                release  slot   stood up  fit      endpoints
        stands  shop@2   green  1h ago    unknown  10.213.2.2:8080
                                                   10.213.2.3:8080

        warning: pointer proxy p is out of reach: its container is stopped

        start the pointer as the warning says, then look again: flipside status shop
    "#,
    );
    assert_eq!(status_json(&view)["unplaced"][0]["release"], 2);
}

#[test]
fn status_tells_what_served_before() {
    let mut view = view();
    let foreign = |is_live| ForeignView {
        is_live,
        endpoints: vec!["10.0.0.7:80".parse().unwrap()],
    };
    view.foreign = Some(foreign(false));
    view.standby = Vec::new();
    let text = status_text(&view, NOON, 100);
    let lines = "\
shop@0 (foreign), from before flipside came, is remembered at 10.0.0.7:80

back to what served before flipside came: flipside rollback shop
";
    assert!(text.ends_with(lines), "{text}");
    view.foreign = Some(foreign(true));
    view.live = None;
    let mut there = routing(0);
    (there.generation, there.foreign) = (0, Some(Null));
    view.pointer.routing = Some(there);
    check(
        &status_text(&view, NOON, 100),
        r#"
        `shop` is served by what stood there before flipside came
        the proxy pointer has nothing of flipside's on record

        shop@0 (foreign), from before flipside came, gets the traffic at 10.0.0.7:80

        take over what serves now, as release 0, with: flipside deploy --adopt
    "#,
    );
}

#[test]
fn status_is_one_object_for_pipelines() {
    let value = status_json(&view());
    let keys: Vec<_> = value.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "service",
            "live",
            "standby",
            "foreign",
            "candidate",
            "withdrawn",
            "unplaced",
            "shared",
            "shared_gone",
            "pointer",
            "lease",
            "unfinished",
            "disagreements"
        ]
    );
    assert_eq!(
        value["standby"].to_string(),
        r#"[{"release":1,"slot":"blue","created":1795428000000,"fit":true,"asleep":null,"reasons":[],"endpoints":["10.213.1.2:8080","10.213.1.3:8080"],"image_ids":["sha256:11"],"workers":[],"idle":null}]"#
    );
    assert_eq!(value["pointer"]["kind"], "proxy");
    assert_eq!(value["pointer"]["routing"]["generation"], 4);
    assert_eq!(value["pointer"]["agrees"], true);
    assert!(value["candidate"].is_null());
}

fn rows() -> Vec<HistoryRow> {
    let row = |run, verb| HistoryRow {
        run,
        verb,
        by: "ana@ci".into(),
        started: NOON + run * 60_000,
        took_ms: Some(run * 15_500),
        outcome: Some(Outcome::Done),
        cut: Some(0),
        trouble: None,
        again: Vec::new(),
    };
    let deploy = |release, slot| Verb::Deploy {
        release: Release(release),
        slot,
        until_preview: false,
    };
    let back = Verb::Rollback {
        from: Release(2),
        to: Release(1),
        proof: flipside::core::action::Proof::Round,
    };
    vec![
        HistoryRow {
            took_ms: None,
            outcome: None,
            cut: None,
            trouble: Some("record 3 is damaged".into()),
            ..row(12, deploy(4, Slot::Green))
        },
        HistoryRow {
            took_ms: Some(31),
            by: "bob@laptop".into(),
            ..row(4, back)
        },
        HistoryRow {
            outcome: Some(Outcome::RolledBack),
            cut: Some(3),
            ..row(3, deploy(2, Slot::Green))
        },
        row(1, deploy(1, Slot::Blue)),
    ]
}

#[test]
fn history_is_a_table() {
    check(
        &history_text("shop", &rows(), 100),
        r#"
        run  what                       by          started (UTC)        took    outcome          cut
         12  deploy shop@4              ana@ci      2026-11-23 12:12:00  -       unfinished   unknown
          4  rollback shop@2 to shop@1  bob@laptop  2026-11-23 12:04:00  31 ms   done               0
          3  deploy shop@2              ana@ci      2026-11-23 12:03:00  46.5 s  rolled back        3
          1  deploy shop@1              ana@ci      2026-11-23 12:01:00  15.5 s  done               0

        warning: run 12: record 3 is damaged

        go on with: flipside resume shop
    "#,
    );
}

#[test]
fn history_fits_a_narrow_terminal() {
    let text = history_text("shop", &rows(), 40);
    assert!(
        text.lines().all(|line| line.chars().count() <= 40),
        "{text}"
    );
}

#[test]
fn history_of_nothing_says_how_to_begin() {
    check(
        &history_text("shop", &[], 100),
        r#"
        nothing is recorded of `shop`

        deploy it with: flipside deploy
    "#,
    );
}

#[test]
fn history_is_one_object_for_pipelines() {
    let value = history_json("shop", &rows()[1..2]);
    assert_eq!(
        value.to_string(),
        r#"{"service":"shop","runs":[{"run":4,"verb":"rollback","release":1,"from":2,"by":"bob@laptop","started":1795435440000,"took_ms":31,"outcome":"done","requests_cut":0,"trouble":null}]}"#
    );
}
