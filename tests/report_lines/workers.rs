//! What is said of live-only roles.

use flipside::core::action::Action;
use flipside::core::event::Event;
use flipside::core::names::Release;
use flipside::report::tables::{Does, WorkerView, status_json, status_text};

use super::tables::view;
use super::{NOON, check, deploy, intended, switch, switched, told};
use flipside::core::action::Move;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn a_hand_over_of_workers_is_told_in_words() {
    let rest = |release| {
        intended(Action::Rest {
            releases: vec![Release(release)],
        })
    };
    let work = || {
        intended(Action::Work {
            release: Release(2),
        })
    };
    let events = [
        deploy(Some(1)),
        switch(2, Some(1), Move::Promote),
        switched(),
        rest(1),
        Event::Rested {
            containers: names(&["shop-1-worker-1"]),
        },
        work(),
        Event::Working {
            containers: names(&["shop-2-cron-1", "shop-2-worker-1"]),
        },
        rest(1),
        Event::Rested { containers: vec![] },
        work(),
        Event::Working {
            containers: names(&["shop-2-worker-1"]),
        },
    ];
    check(
        &told(&events),
        r#"
        . deploy shop@2, begun by `ana@ci`; shop@1 is live
        + pointer moved to shop@2 in 1.9 ms
        ~ generation 4
        . `shop-1-worker-1` stopped after 100 ms
        + `shop-2-cron-1` and `shop-2-worker-1` run and have settled after 100 ms
        + `shop-2-worker-1` runs and has settled after 100 ms
    "#,
    );
}

#[test]
fn status_says_which_workers_run_and_which_rest() {
    let worker = |container: &str, does| WorkerView {
        container: container.into(),
        does,
    };
    let mut view = view();
    let live = view.live.as_mut().unwrap();
    live.workers = vec![
        worker("shop-2-cron-1", Does::Rest),
        worker("shop-2-worker-1", Does::Run),
        worker("shop-2-worker-2", Does::Run),
    ];
    view.standby[0].workers = vec![worker("shop-1-worker-1", Does::Rest)];
    check(
        &status_text(&view, NOON, 100),
        r#"
        shop@2 is live since 2026-11-23 11:45:57 UTC (14m 3s ago)
        the proxy pointer agrees, generation 4, written by `ana@ci`: deploy shop@2

                 release  slot   stood up  fit  endpoints
        live     shop@2   green  1h ago    yes  10.213.2.2:8080
                                                10.213.2.3:8080
        standby  shop@1   blue   2h ago    yes  10.213.1.2:8080
                                                10.213.1.3:8080
        workers of shop@2 that run: `shop-2-worker-1` and `shop-2-worker-2`
        workers of shop@2 that rest: `shop-2-cron-1`
        workers of shop@1 that rest: `shop-1-worker-1`

        roll back with: flipside rollback shop
    "#,
    );
    let json = status_json(&view);
    let said = serde_json::json!([{"container": "shop-1-worker-1", "runs": false}]);
    assert_eq!(json["standby"][0]["workers"], said);
}
