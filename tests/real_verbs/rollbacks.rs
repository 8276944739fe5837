//! `rollback`: asked, refused, forced, and never where the last one came from.

use super::kit::{Stage, docker, get};
use crate::bad_days::{Day, Serves};

#[test]
fn it_shows_both_ends_and_asks_on_a_terminal() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=one"]);
    stage.deploy(&["VERSION=two"]);
    let no = stage.on_terminal(80, &["rollback", &stage.service], "roll back? [y/N]", "n\n");
    no.says(&[
        "from",
        "@2",
        "to",
        "@1",
        "old",
        "fit right now",
        "did not roll `",
    ]);
    no.ended(4);
    stage.serves("two");
    let yes = stage.on_terminal(80, &["rollback", &stage.service], "roll back? [y/N]", "y\n");
    yes.ended(0);
    yes.says(&["pointer moved to", "rollback ", "in all", "withdrawn"]);
    stage.serves("one");
}

#[test]
fn it_asks_nobody_where_there_is_no_terminal_and_never_goes_where_it_came_from() {
    let stage = Stage::new();
    for version in ["VERSION=one", "VERSION=two"] {
        stage.deploy(&[version]);
    }
    let ran = stage.expect(0, &["rollback", &stage.service, "--output", "json"]);
    ran.never_says("[y/N]");
    let finished = ran.finished();
    assert_eq!(finished["outcome"], "done");
    assert_eq!(
        (&finished["release"], &finished["live"]),
        (&1.into(), &1.into())
    );
    assert!(finished["rollback_us"].as_u64().is_some(), "{finished}");
    stage.serves("one");

    let again = stage.expect(4, &["rollback", &stage.service, "--yes"]);
    again.says(&["cannot be rolled back", "@2: withdrawn", "--to 2"]);
    stage.serves("one");
    let json = stage.expect(4, &["rollback", &stage.service, "--output", "json"]);
    assert_eq!(json.error()["error"], "nothing-to-roll-back-to");

    stage.expect(0, &["rollback", &stage.service, "--to", "2"]);
    stage.serves("two");
    assert_eq!(stage.releases(), (Some(2), vec![]));
    let none = stage.expect(4, &["rollback", &stage.service, "--to", "9"]);
    none.says(&["no environment of", "@9"]);
    let same = stage.expect(4, &["rollback", &stage.service, "--to", "2"]);
    same.says(&["is live already"]);
}

#[test]
fn a_dry_run_says_whether_it_would_work() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=one"]);
    stage.deploy(&["VERSION=two"]);
    let dry = stage.expect(0, &["rollback", &stage.service, "--dry-run"]);
    dry.says(&["would roll back from", "which is fit"]);
    let forced = ["rollback", &stage.service, "--dry-run", "--force"];
    let forced = stage.expect(0, &forced);
    forced.says(&["would roll back from", "which is fit"]);
    stage.serves("two");

    let standby = stage.container(1);
    docker(&["stop", "-t", "0", &standby]);
    let why = ["is not fit", "exited with", "--force"];
    stage
        .expect(4, &["rollback", &stage.service, "--dry-run"])
        .says(&why);
    let refused = stage.expect(4, &["rollback", &stage.service, "--yes"]);
    refused.says(&["is not fit", "--force", "docker start "]);
    let json = stage.expect(4, &["rollback", &stage.service, "--output", "json"]);
    assert_eq!(json.finished()["outcome"], "stuck");
    stage.serves("two");
    assert_eq!(stage.releases(), (Some(2), vec![1]));
    docker(&["start", &standby]);

    // What somebody has paused is woken.
    docker(&["pause", &standby]);
    stage
        .expect(0, &["rollback", &stage.service, "--dry-run"])
        .says(&["would roll back from", "which is frozen", "woken"]);
    let back = stage.expect(0, &["rollback", &stage.service, "--yes"]);
    back.says(&["woke in", "wake ", "rollback "]);
    let day = Day::of("standby-paused", &stage).saw("flipside rollback shop", &back);
    day.serves(Serves::New("one"));
}

#[test]
fn force_goes_back_to_what_is_not_fit() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=one"]);
    stage.deploy(&["VERSION=two"]);
    let standby = stage.status()["standby"][0]["endpoints"][0].clone();
    let standby = standby.as_str().unwrap().parse().unwrap();
    assert_eq!(get(standby, "test", "/break").0, 200);
    let refused = stage.expect(4, &["rollback", &stage.service]);
    refused.says(&["answered 503", "--force"]);
    let day = Day::of("standby-unfit", &stage).saw("flipside rollback shop", &refused);
    day.serves(Serves::Before("two"));
    // What was forced is told with its price, and is not done.
    let forced = ["rollback", &stage.service, "--dry-run", "--force"];
    let told = stage.expect(0, &forced);
    told.says(&["would roll back from", "which is NOT fit", "answered 503"]);
    let told = stage.expect(0, &[&forced[..], &["--output", "json"]].concat());
    assert_eq!(told.json()[0]["fit"], false);
    stage.serves("two");
    assert_eq!(stage.releases(), (Some(2), vec![1]));
    stage.expect(0, &["rollback", &stage.service, "--force"]);
    stage.serves("one");
}
