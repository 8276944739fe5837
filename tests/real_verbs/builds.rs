//! Images that a plan builds.

use std::time::{Duration, Instant};

use super::kit::{Stage, docker};
use crate::bad_days::{Day, Serves};
use crate::support::docker::hello_binary;

/// A stage whose plan builds its image from a `Dockerfile`, beside which lies `hello`.
fn stage() -> Stage {
    let stage = Stage::new();
    let plan = stage.plan();
    let line = plan.lines().find(|line| line.contains("image:")).unwrap();
    stage.write("flipside.yaml", plan.replace(line, "    build: ."));
    std::fs::copy(hello_binary(), stage.path().join("hello")).unwrap();
    stage
}

#[test]
fn images_are_built_and_what_the_builder_says_is_shown() {
    let stage = stage();
    stage.write("Dockerfile", "FROM scratch\nCOPY nothing /hello\n");
    let ran = stage.expect(3, &["deploy"]);
    ran.says(&[
        "the build of `web` failed at `Step 3/",
        "COPY nothing /hello",
        "stat nothing: file does not exist",
    ]);
    let day = Day::of("build-fails", &stage).saw("flipside deploy", &ran);
    day.serves(Serves::Nothing);
    stage.write(
        "Dockerfile",
        "FROM scratch\nRUN --mount=type=cache,target=/c true\n",
    );
    let ran = stage.run(&["deploy"]);
    ran.says(&["Dockerfile:2", "--mount", "BuildKit"]);
    assert_eq!(ran.code, 2, "{ran}");
    stage.write(
        "Dockerfile",
        "FROM scratch\nCOPY hello /hello\nENTRYPOINT [\"/hello\"]\n",
    );
    stage.expect(0, &["deploy", "-v"]).says(&["FROM scratch"]);
    stage.serves("1");
}

#[test]
fn a_terminal_shows_the_step_of_a_build() {
    let stage = stage();
    let many: String = (0..12)
        .map(|n| format!("ENV STEP_{n}={}\n", stage.service))
        .collect();
    stage.write(
        "Dockerfile",
        format!("FROM scratch\nCOPY hello /hello\n{many}ENTRYPOINT [\"/hello\"]\n"),
    );
    let ran = stage.on_terminal(100, &["deploy"], "", "");
    ran.ended(0);
    ran.says(&["preparing images", "=>", "`web`: Step "]);
}

#[test]
fn prune_removes_what_a_build_that_was_killed_has_left() {
    let stage = stage();
    let good = "FROM scratch AS base\nCOPY hello /hello\nFROM base\nENTRYPOINT [\"/hello\"]\n";
    stage.write("Dockerfile", good);
    stage.deploy(&["VERSION=good"]);
    let label = format!("label=flipside.service={}", stage.service);
    let images = || {
        let words = ["images", "--quiet", "--no-trunc", "--filter", &label];
        let listed = docker(&words);
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let live = images();
    assert_eq!(live.len(), 1, "{live:?}");
    let endless = good.replace(
        "FROM base\n",
        "FROM base\nENV A=1\nRUN [\"/hello\", \"sleep\"]\n",
    );
    stage.write("Dockerfile", endless);
    let mut building = stage.start(&["deploy", "-v"]);
    building.until_shown(": RUN [");
    let deadline = Instant::now() + Duration::from_secs(60);
    let step = [
        &["ps", "--quiet", "--filter", &label][..],
        &["--filter", "label=flipside.kind=step"],
    ];
    while docker(&step.concat()).is_empty() {
        assert!(Instant::now() < deadline, "the build does not get there");
    }
    drop(building);
    assert!(images().len() > 1, "the killed build has left nothing");
    // A step that still ends as its client is gone ends in an image, some time later.
    while images() != live {
        let ran = stage.expect(0, &["prune", &stage.service]);
        assert!(Instant::now() < deadline, "{ran} leaves {:?}", images());
    }
    stage
        .expect(0, &["prune", &stage.service])
        .says(&["nothing to remove"]);
    stage.serves("good");
}
