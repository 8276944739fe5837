//! `deploy`: one after the other, refused, and rehearsed.

use super::kit::Stage;

#[test]
fn releases_follow_each_other_and_the_oldest_is_retired() {
    let stage = Stage::new();
    let first = stage.deploy(&["VERSION=one"]);
    first.says(&["nothing is live yet", "@1 is live"]);
    stage.serves("one");
    assert_eq!(stage.releases(), (Some(1), vec![]));

    let second = stage.deploy(&["VERSION=two"]);
    second.says(&["@1 is live", "@2 is live", "stays up as standby"]);
    stage.serves("two");
    assert_eq!(stage.releases(), (Some(2), vec![1]));

    let third = stage.expect(0, &["deploy", "--set", "VERSION=three", "--output", "json"]);
    let finished = third.finished();
    assert_eq!(finished["outcome"], "done");
    assert_eq!(finished["service"], stage.service);
    assert_eq!(
        (&finished["release"], &finished["live"]),
        (&3.into(), &3.into())
    );
    assert_eq!(finished["requests_cut"], 0);
    stage.serves("three");
    assert_eq!(stage.releases(), (Some(3), vec![2]));
    stage.nothing_left_of(1);
}
