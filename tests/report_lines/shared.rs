//! What is said of shared roles.

use flipside::core::action::{Action, Ask};
use flipside::core::event::{Event, Failure, ReplicaReport, Verb};
use flipside::core::names::{Release, RoleName};
use flipside::core::plan::Run;
use flipside::core::shared::{Beside, GivenBack, Held, Owner, Reach, Shared, Taker};
use flipside::core::sharing::Gone;
use flipside::core::verdict::Outcome;
use flipside::core::world::{Container, ContainerState, Health};
use flipside::report::tables::{status_json, status_text};

use super::tables::view;
use super::{NOON, check, intended, opened, told};

fn role(name: &str) -> RoleName {
    RoleName::new(name).unwrap()
}

fn apply(roles: &[&str]) -> Event {
    let roles = roles.iter().map(|name| role(name)).collect();
    let settles = false;
    opened(Verb::Apply { roles, settles }, Some(2))
}

#[test]
fn an_apply_is_told_in_words() {
    let events = [
        apply(&["db", "queue"]),
        intended(Action::Apply { role: role("db") }),
        Event::Applied {
            role: role("db"),
            kept: vec!["proj-db-1".into()],
            as_it_was: false,
            settled: vec![],
        },
        intended(Action::Apply {
            role: role("queue"),
        }),
        Event::Applied {
            role: role("queue"),
            kept: vec![],
            as_it_was: true,
            settled: vec![],
        },
        Event::Closed {
            outcome: Outcome::Done,
        },
    ];
    check(
        &told(&events),
        r#"
        . apply the plan to the shared roles `db` and `queue`, begun by `ana@ci`
        + the shared role `db` runs with the plan's settings after 100 ms
        | `proj-db-1` of the Compose project is stopped, never started again by the engine (`restart: no`), and kept; once nothing is missing: docker rm proj-db-1
        . the shared role `queue` is as the plan has it
        + the shared roles are as the plan has them, 500 ms after the start
    "#,
    );
}

#[test]
fn an_apply_that_fails_is_told_with_its_logs() {
    let events = [
        apply(&["db"]),
        intended(Action::Apply { role: role("db") }),
        Event::Failed(Failure {
            what: "the shared role `db` did not come up".into(),
            hint: None,
            replicas: vec![ReplicaReport {
                container: "shop-shared-db".into(),
                reasons: vec!["exited with 1".into()],
                logs: vec!["FATAL: no such option".into()],
            }],
        }),
        Event::Closed {
            outcome: Outcome::Refused,
        },
    ];
    check(
        &told(&events),
        r#"
        . apply the plan to the shared role `db`, begun by `ana@ci`
        x the shared role `db` did not come up
        | `shop-shared-db`: exited with 1
        |   its last log line:
        |     FATAL: no such option
        + shop@2 still serves
        x not all of the plan was applied, after 300 ms; shop@2 serves
    "#,
    );
}

#[test]
fn who_asks_an_apply_to_stop_is_told_what_comes_first() {
    let asked = |by: &str| Event::Asked {
        ask: Ask::Leave,
        by: by.into(),
    };
    let events = [
        apply(&["db"]),
        asked("SIGTERM"),
        intended(Action::Apply { role: role("db") }),
        asked("SIGINT"),
    ];
    check(
        &told(&events),
        r#"
        . apply the plan to the shared role `db`, begun by `ana@ci`
        ! `SIGTERM` asks to stop
        ! `SIGINT` asks to stop; `db` is not left halfway
    "#,
    );
}

#[test]
fn what_stays_of_removed_shared_roles_is_named() {
    let verb = Verb::Down {
        releases: vec![Release(2)],
        shared: true,
    };
    let removed = |kept: &[&str], back: Vec<GivenBack>, held: Vec<Held>| Event::SharedRemoved {
        kept: kept.iter().map(|&name| name.to_owned()).collect(),
        held,
        back,
    };
    let held = |container: &str| Held {
        volume: "old_db".into(),
        container: container.into(),
    };
    let back = GivenBack {
        container: "old-db-1".into(),
        policy: "on-failure:5".into(),
    };
    let events = [
        opened(verb, Some(2)),
        intended(Action::RemoveShared),
        removed(&["shop_db", "shop_queue"], vec![], vec![]),
        intended(Action::RemoveShared),
        removed(&[], vec![], vec![]),
        intended(Action::RemoveShared),
        removed(
            &["old_db", "shop_queue"],
            vec![back],
            vec![held("old-db-1"), held("shell")],
        ),
    ];
    check(
        &told(&events),
        r#"
        . take `shop` down, begun by `ana@ci`
        . removed the shared roles and their network
        . their data is still there, in `shop_db` and `shop_queue`; this removes it for good: docker volume rm shop_db shop_queue
        . removed the shared roles and their network
        . removed the shared roles and their network
        . `old-db-1` of the Compose project has its place back: stopped, with `restart: on-failure:5`; start it: docker start old-db-1
        . their data is still there, in `shop_queue`; this removes it for good: docker volume rm shop_queue
        . their data is still there, in `old_db`, which `old-db-1` and `shell` still have: only without them can it be removed
    "#,
    );
}

#[test]
fn what_was_cut_short_is_told_to_be_at_its_end() {
    let verb = Verb::Apply {
        roles: vec![role("db")],
        settles: true,
    };
    let settled = "the old container of the shared role `db` was put back";
    let events = [
        opened(verb, Some(2)),
        intended(Action::Apply { role: role("db") }),
        Event::Applied {
            role: role("db"),
            kept: vec![],
            as_it_was: false,
            settled: vec![settled.into()],
        },
        Event::Closed {
            outcome: Outcome::Done,
        },
    ];
    check(
        &told(&events),
        r#"
        . see to the shared role `db`, begun by `ana@ci`
        . the old container of the shared role `db` was put back
    "#,
    );
}

#[test]
fn one_whose_place_another_has_taken_is_not_to_be_started() {
    let ended = ContainerState::Exited {
        code: 0,
        oom: false,
    };
    let project = Owner::Project("old".into());
    let mut one = standing("db", ended, Health::None, project);
    one.container.name = "old-db-1".into();
    assert_eq!(one.way_on(), "start it: docker start old-db-1");
    one.taker = Some(Taker {
        container: "blog-shared-db".into(),
        service: "blog".into(),
        volume: "old_data".into(),
    });
    let mut view = view();
    view.shared = vec![one];
    let text = status_text(&view, NOON, 100);
    let told = "`old-db-1` has stopped; do not start it: `blog-shared-db`, a shared role of `blog`, has \
                its volume `old_data` open, and both would write to it; use that one, with `run: never` \
                at `db` and its network `flipside.blog.shared` as an external one, or take it back: \
                flipside down blog --shared, then docker start old-db-1";
    assert!(text.contains(told), "{text}");
}

fn standing(name: &str, state: ContainerState, health: Health, owner: Owner) -> Shared {
    Shared {
        container: Container {
            id: "id".into(),
            name: format!("shop-shared-{name}"),
            role: role(name),
            replica: 1,
            run: Run::Shared,
            image_id: "sha256:11".into(),
            address: None,
            published: None,
            state,
            health,
        },
        since: Some(NOON - 7_200_000),
        owner,
        reach: Reach::Own,
        joined: true,
        taker: None,
        beside: None,
        halfway: false,
        differs: Vec::new(),
    }
}

#[test]
fn status_shows_shared_roles_and_what_a_person_has_to_do() {
    let mut view = view();
    let ended = ContainerState::Exited {
        code: 1,
        oom: false,
    };
    let project = Owner::Project("old".into());
    let mut halfway = standing(
        "search",
        ContainerState::Created,
        Health::None,
        Owner::Flipside,
    );
    (halfway.halfway, halfway.since) = (true, None);
    view.shared = vec![
        standing("cache", ContainerState::Running, Health::None, project),
        standing(
            "db",
            ContainerState::Running,
            Health::Healthy,
            Owner::Flipside,
        ),
        standing("queue", ended, Health::None, Owner::Flipside),
        halfway,
    ];
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

        shared role  container           state                            since   whose
        cache        shop-shared-cache   running                          2h ago  Compose project old
        db           shop-shared-db      healthy                          2h ago  flipside
        queue        shop-shared-queue   exited with 1                    2h ago  flipside
        search       shop-shared-search  created, never started, halfway  -       flipside
        halfway: a `shared apply` was cut short; go on with: flipside shared apply
        `shop-shared-queue` has stopped; start it: docker start shop-shared-queue

        roll back with: flipside rollback shop
    "#,
    );
    let json = &status_json(&view)["shared"];
    assert_eq!(json[0]["project"], "old");
    assert_eq!(
        json[2].to_string(),
        r#"{"role":"queue","container":"shop-shared-queue","state":{"exited":{"code":1,"oom":false}},"health":"none","since":1795428000000,"project":null,"halfway":false,"joined":true,"beside":null}"#
    );
}

#[test]
fn status_says_what_releases_do_not_reach_and_what_mends_it() {
    let project = || Owner::Project("old".into());
    let (running, none) = (ContainerState::Running, Health::None);
    let killed = ContainerState::Exited {
        code: 137,
        oom: false,
    };
    let mut apart = standing("cache", running.clone(), none, project());
    let mut ended = standing("db", killed, none, project());
    (apart.joined, ended.joined) = (false, false);
    let mut beside = standing("search", running, none, Owner::Flipside);
    beside.beside = Some(Beside {
        container: "old-search-1".into(),
        data: "old_search".into(),
    });
    let gone = |name: &str, releases: &[u64], project: Option<&str>| Gone {
        role: role(name),
        releases: releases.iter().map(|&number| Release(number)).collect(),
        project: project.map(str::to_owned),
    };
    let mut view = view();
    view.shared = vec![apart, ended, beside];
    view.gone = vec![
        gone("queue", &[1, 2], None),
        gone("store", &[2], Some("old")),
    ];
    view.unused = Some("the shared role `mail` stays".into());
    let text = status_text(&view, NOON, 200);
    let at = text.find("shared role").unwrap();
    check(
        &text[at..],
        r#"
        shared role  container           state                        since   whose
        cache        shop-shared-cache   running, not joined          2h ago  Compose project old
        db           shop-shared-db      exited with 137, not joined  2h ago  Compose project old
        search       shop-shared-search  running                      2h ago  flipside
        queue        -                   gone                         -       -
        store        -                   gone                         -       -
        `shop-shared-cache` is not on the network `flipside.shop.shared`, and no release reaches `cache`; join it, which restarts nothing: flipside resume shop
        `shop-shared-db` has stopped; start it: docker start shop-shared-db, then join it: flipside resume shop
        `old-search-1` runs beside `shop-shared-search`, and both have `old_search` open: of two databases on one directory neither knows of the other; stop it, and see that nothing starts it again: docker update --restart=no old-search-1 && docker stop old-search-1
        nothing stands for `queue`, which shop@1 and shop@2 use; a deploy makes one on its volumes: flipside deploy
        nothing stands for `store`, which shop@2 uses; where Compose had made its container: docker compose up -d store, then flipside resume shop; else a deploy makes one on its volumes: flipside deploy
        the shared role `mail` stays

        roll back with: flipside rollback shop
    "#,
    );
    let json = status_json(&view);
    assert_eq!(json["shared"][0]["joined"], false);
    assert_eq!(json["shared"][2]["beside"], "old-search-1");
    let gone = r#"[{"role":"queue","releases":[1,2]},{"role":"store","releases":[2]}]"#;
    assert_eq!(json["shared_gone"].to_string(), gone);
}
