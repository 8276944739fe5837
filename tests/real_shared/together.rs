//! Shared roles on another's network are made anew with it, and put back with it.

use flipside::core::plan::{Condition, Run};
use flipside::core::progress::Silent;
use flipside::engine::{Engine, EngineError, Spec};

use super::project::refusal;
use super::{docker, exists, inspect, life, policy, runs};
use crate::support::docker::{Scope, get_soon, until};
use crate::support::sample::{depends, role, role_name, set, spec};

/// `db`, with this version, and `side` on its network.
fn two(scope: &Scope, version: &str) -> Spec {
    let web = role(scope.image.clone());
    let mut spec = spec(&scope.service, 1, vec![("web", web)]);
    let mut db = role(scope.image.clone());
    db.run = Run::Shared;
    set(&mut db, "VERSION", version);
    let mut side = db.clone();
    side.network_of = Some(role_name("db"));
    set(&mut side, "VERSION", "side");
    set(&mut side, "PORT", "8081");
    depends(&mut side, "db", Condition::Started);
    spec.plan.shared.insert(role_name("db"), db);
    spec.plan.shared.insert(role_name("side"), side);
    spec
}

async fn up(scope: &Scope, spec: &Spec) {
    let images = scope.engine.prepare(spec, &Silent).await.unwrap();
    scope.engine.stand_up(spec, &images, &Silent).await.unwrap();
}

async fn apply(scope: &Scope, spec: &Spec) -> Result<bool, EngineError> {
    let db = role_name("db");
    let applied = scope.engine.apply_shared(&spec.plan, &db, &Silent).await;
    applied.map(|applied| !applied.as_it_was)
}

fn names(scope: &Scope) -> [String; 2] {
    ["db", "side"].map(|name| format!("{}-shared-{name}", scope.service))
}

/// Both run, as one after the other, and answer on one address.
async fn are_whole(scope: &Scope, version: &str) {
    let [db, side] = names(scope);
    for name in [&db, &side] {
        assert!(runs(name), "{name}");
        assert_eq!(policy(name), "unless-stopped");
        for rest in ["new", "old"] {
            assert!(!exists(&format!("{name}.{rest}")), "{name}.{rest}");
        }
    }
    let now = inspect(&db);
    let id = now["Id"].as_str().unwrap();
    let mode = &inspect(&side)["HostConfig"]["NetworkMode"];
    assert_eq!(mode, &format!("container:{id}"));
    let network = format!("flipside.{}.shared", scope.service);
    let ip = now["NetworkSettings"]["Networks"][&network]["IPAddress"].clone();
    let at = |port: u16| format!("{}:{port}", ip.as_str().unwrap()).parse().unwrap();
    assert_eq!(get_soon(at(8080), "/").await.1, version);
    assert_eq!(get_soon(at(8081), "/").await.1, "side");
}

#[tokio::test]
async fn what_uses_its_network_is_made_anew_with_it() {
    let scope = Scope::new().await;
    up(&scope, &two(&scope, "1")).await;
    are_whole(&scope, "1").await;
    assert_eq!(apply(&scope, &two(&scope, "1")).await, Ok(false));
    assert_eq!(apply(&scope, &two(&scope, "2")).await, Ok(true));
    are_whole(&scope, "2").await;
    // Nothing is left to do for the other one.
    let side = role_name("side");
    let second = two(&scope, "2");
    let applied = scope
        .engine
        .apply_shared(&second.plan, &side, &Silent)
        .await;
    assert!(applied.unwrap().as_it_was);
}

#[tokio::test]
async fn where_one_does_not_come_up_both_are_put_back() {
    let scope = Scope::new().await;
    up(&scope, &two(&scope, "1")).await;
    let before = names(&scope).map(|name| life(&name).0);
    let mut spec = two(&scope, "2");
    let side = spec.plan.shared.get_mut(&role_name("side")).unwrap();
    set(side, "EXIT_AT_START", "3");
    let (what, _) = refusal(apply(&scope, &spec).await);
    assert!(what.contains("`side` did not come up"), "{what}");
    assert!(what.contains("the old containers were put back"), "{what}");
    are_whole(&scope, "1").await;
    assert_eq!(names(&scope).map(|name| life(&name).0), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_leaves_both_to_be_put_back() {
    let scope = Scope::new().await;
    up(&scope, &two(&scope, "1")).await;
    let mut spec = two(&scope, "2");
    let db = spec.plan.shared.get_mut(&role_name("db")).unwrap();
    set(db, "EXIT_AT_START", "3");
    let [db, side] = names(&scope);
    let applying = {
        let engine = flipside::engine::docker::Docker::connect(None)
            .await
            .unwrap();
        tokio::spawn(async move {
            let db = role_name("db");
            engine.apply_shared(&spec.plan, &db, &Silent).await
        })
    };
    until("the old ones are stopped", || async {
        let stopped = exists(&format!("{db}.old")) && exists(&format!("{side}.old"));
        (stopped && !runs(&format!("{side}.old"))).then_some(())
    })
    .await;
    applying.abort();
    applying.await.ok();
    let settled = scope.engine.settle_shared(&scope.service).await;
    // By then it may have come to its end.
    assert!(settled.unwrap().len() != 1);
    are_whole(&scope, "1").await;
}

#[tokio::test]
async fn a_stranger_is_not_left_on_a_network_that_is_gone() {
    let scope = Scope::new().await;
    up(&scope, &two(&scope, "1")).await;
    let before = names(&scope).map(|name| life(&name));
    let stranger = format!("{}-stranger", scope.service);
    let network = format!("container:{}", names(&scope)[0]);
    let image = inspect(&names(&scope)[0])["Image"].clone();
    let image = image.as_str().unwrap();
    docker(&[
        "run",
        "-d",
        "--name",
        &stranger,
        "--network",
        &network,
        "-e",
        "PORT=8082",
        image,
    ]);
    let (what, hint) = refusal(apply(&scope, &two(&scope, "2")).await);
    assert!(
        what.contains(&format!("`{stranger}` uses the network of")),
        "{what}"
    );
    assert!(hint.contains(&format!("docker stop {stranger}")), "{hint}");
    assert_eq!(names(&scope).map(|name| life(&name)), before);
    assert!(!exists(&format!("{}.new", names(&scope)[0])));
}

/// What a hand has done to the one whose network it uses shows as a difference.
#[tokio::test]
async fn one_on_a_network_that_is_gone_differs_and_is_mended() {
    let scope = Scope::new().await;
    up(&scope, &two(&scope, "1")).await;
    docker(&["rm", "-f", &names(&scope)[0]]);
    let mut again = two(&scope, "1");
    again.release = flipside::core::names::Release(2);
    up(&scope, &again).await;
    let told = scope.engine.shared(&scope.service, Some(&again.plan)).await;
    let told = told.unwrap();
    let places = |at: usize| {
        told[at]
            .differs
            .iter()
            .map(|one| one.place.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!((places(0), places(1)), (vec![], vec!["network_mode"]));
    let side = role_name("side");
    let applied = scope.engine.apply_shared(&again.plan, &side, &Silent).await;
    assert!(!applied.unwrap().as_it_was);
    are_whole(&scope, "1").await;
}
