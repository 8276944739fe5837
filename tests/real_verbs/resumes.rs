//! `resume`, as `status` advises it: of a run that `kill -9` has cut short.

use std::collections::BTreeMap;

use super::kit::{Ran, Stage};

/// The words after `flipside` of the way on that `shown` names, with these values put in.
#[track_caller]
fn advised(shown: &Ran, values: &[(&str, &str)]) -> Vec<String> {
    let values: BTreeMap<_, _> = values.iter().copied().collect();
    let lines = shown.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let advice = lines.split("go on with: flipside ").nth(1);
    let advice = advice.unwrap_or_else(|| panic!("no advice: {shown}"));
    let mut words = advice.split(' ');
    let mut given = vec![words.next().unwrap().into(), words.next().unwrap().into()];
    while let Some("--set") = words.next() {
        let (name, open) = words.next().unwrap().split_once('=').unwrap();
        assert_eq!(open, "…", "a value is shown");
        given.extend(["--set".to_owned(), format!("{name}={}", values[name])]);
    }
    given
}

fn run(stage: &Stage, words: &[String]) -> Ran {
    stage.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn before_the_switch_the_advice_names_what_has_to_be_given_again() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=old"]);
    let values = [("VERSION", "quite-new"), ("START_DELAY_MS", "3000")];
    let mut words = vec!["deploy".to_owned()];
    let public = ("DEADLINE", "30s");
    for (name, value) in values.iter().chain([&public]) {
        words.extend(["--set".to_owned(), format!("{name}={value}")]);
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut deploying = stage.start(&words);
    deploying.until_shown("replica started");
    deploying.kill();
    let status = stage.expect(0, &["status", &stage.service]);
    let advice = advised(&status, &values);
    // What was read into a public place is in the journal.
    assert_eq!(advice.len(), 2 + 2 * values.len(), "{status}");
    let history = stage.expect(0, &["history", &stage.service]);
    assert_eq!(advised(&history, &values), advice);
    // Without them it says which is missing, and leaves the run as it is.
    stage
        .expect(2, &["resume", &stage.service])
        .says(&["this release was begun with it", "--set"]);
    run(&stage, &advice).ended(0);
    stage.serves("quite-new");
    stage.keeps_unrecorded(&["quite-new"]);
}

#[test]
fn after_the_switch_the_advice_is_enough_as_it_is() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=old"]);
    let mut baking = stage.start(&["deploy", "--set", "VERSION=new", "--set", "BAKE=5s"]);
    baking.until_shown("bakes for");
    baking.kill();
    let status = stage.expect(0, &["status", &stage.service]);
    let advice = advised(&status, &[]);
    assert_eq!(advice, ["resume", &stage.service]);
    run(&stage, &advice).ended(0);
    stage.serves("new");
}
