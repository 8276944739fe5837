//! What of a shared role comes from outside the plan's text is nowhere but in its container.

use super::{apply, db, inspect, life, runs, stage};
use crate::real_verbs::kit::{Ran, Stage};

const MARKS: [&str; 4] = [
    "mark-of-the-variable-51c2",
    "mark-of-the-first-tag-a8e0",
    "mark-of-the-next-tag-77bd",
    "mark-of-the-size-0f3a",
];

fn unsaid(ran: &Ran) {
    for mark in MARKS {
        let said = ran.out.contains(mark) || ran.err.contains(mark);
        assert!(!said, "`{mark}` is said: {}{}", ran.out, ran.err);
    }
}

fn unrecorded(stage: &Stage) {
    let labels = inspect(&db(stage))["Config"]["Labels"].to_string();
    assert!(!MARKS.iter().any(|mark| labels.contains(mark)), "{labels}");
    stage.keeps_unrecorded(&MARKS);
}

#[test]
fn options_of_its_log_are_kept_to_themselves_and_its_name_is_said() {
    let stage = stage();
    let plan = std::fs::read_to_string(stage.path().join("flipside.yaml")).unwrap();
    let logging = "    run: shared
    logging: { driver: json-file, options: { tag: \"${TAG}\", max-size: \"${SIZE:-1m}\" } }
";
    let plan = plan.replace("    run: shared\n", logging);
    // One secret is the role's own name.
    let plan = plan.replace(
        "EXIT_AT_START: ${DB_EXIT:-}",
        "NAME: ${NAME:-db}\n      TOKEN: ${TOKEN}",
    );
    stage.write("flipside.yaml", plan);
    let [token, first, next, size] = MARKS;
    let set = |tag: &str| {
        [
            format!("TOKEN={token}"),
            format!("TAG={tag}"),
            "NAME=db".to_owned(),
        ]
    };
    let first = set(first);
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    let mut words = vec!["deploy"];
    words.extend(first.iter().flat_map(|pair| ["--set", pair]));
    unsaid(&stage.expect(0, &words));
    let container = db(&stage);
    let tag = |of: &str| inspect(of)["HostConfig"]["LogConfig"]["Config"]["tag"].clone();
    assert_eq!(tag(&container), MARKS[1]);
    unrecorded(&stage);

    let next = set(next);
    let mut next: Vec<&str> = next.iter().map(String::as_str).collect();
    let mut words = vec!["deploy"];
    words.extend(next.iter().flat_map(|pair| ["--set", pair]));
    let differs = stage.expect(4, &words);
    differs.says(&["`db`: `logging.options.tag`"]);
    unsaid(&differs);
    let applied = apply(&stage, 0, &next);
    applied.says(&["the shared role `db` runs with the plan's settings"]);
    unsaid(&applied);
    assert_eq!(tag(&container), MARKS[2]);
    unrecorded(&stage);

    // What the engine repeats of one is hidden.
    let before = life(&container);
    let size = format!("SIZE={size}");
    next.push(&size);
    let refused = apply(&stage, 3, &next);
    refused.says(&["[secret]", "`db`"]);
    unsaid(&refused);
    unsaid(&stage.expect(0, &["history", &stage.service]));
    unsaid(&stage.expect(0, &["status", &stage.service]));
    unrecorded(&stage);
    // The engine looks at it only when the new one starts: the old one was put back.
    assert_eq!(life(&container).0, before.0);
    assert!(runs(&container));
}
