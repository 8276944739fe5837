//! Reports in a CI service's log: what is folded, what is marked, and what must not be obeyed.

use std::sync::atomic::Ordering;

use flipside::core::action::Action;
use flipside::core::event::{Event, Failure, ReplicaReport};
use flipside::core::progress::Progress;
use flipside::error::Error;
use flipside::report::{Loudness, Pipeline};

use super::check;
use super::desk::{Desk, PLAIN, Setup, failed_deploy};
use super::{intended, whole_deploy};

const GITHUB: Setup = Setup {
    pipeline: Some(Pipeline::GitHub),
    ..PLAIN
};

fn says(desk: &Desk, line: &str) {
    let (role, line) = ("web".to_owned(), line.to_owned());
    desk.report.progress(Progress::Build { role, line });
}

/// A deploy whose images are built, as far as its environment stands.
fn built(setup: Setup) -> String {
    let desk = Desk::new(Setup {
        loudness: Loudness::Verbose,
        ..setup
    });
    let events = whole_deploy();
    desk.show_all(&events[..2]);
    says(&desk, "Step 1/2 : FROM a");
    says(&desk, "::stop-commands::x");
    desk.report.warn("careful");
    says(&desk, "Step 2/2 : RUN b");
    desk.report.close();
    let first = desk.err.text();
    let desk = Desk::new(setup);
    desk.show_all(&events[..2]);
    says(&desk, "Step 1/2 : FROM a");
    desk.show_all(&events[2..4]);
    desk.report.close();
    first + "---\n" + &desk.err.text()
}

#[test]
fn what_comes_while_something_is_under_way_is_a_group() {
    check(
        &built(GITHUB),
        r"
        [  0.0s] deploy shop@2, begun by `ana@ci`; shop@1 is live
        ::group::preparing images
        [  0.2s] building the image of `web`
        [  0.2s] `web`: Step 1/2 : FROM a
        [  0.2s] `web`: ::stop-commands::x
        ::endgroup::
        ::warning title=flipside::careful
        ::group::preparing images
        [  0.2s] `web`: Step 2/2 : RUN b
        ::endgroup::
        ---
        [  0.0s] deploy shop@2, begun by `ana@ci`; shop@1 is live
        ::group::preparing images
        [  0.2s] building the image of `web`
        ::endgroup::
        [  0.2s] 1 image ready and pinned after 100 ms
        [  0.3s] shop@2 stands up in slot green
    ",
    );
}

#[test]
fn what_comes_while_something_is_under_way_is_a_section() {
    let began_s = 1_700_000_000;
    let pipeline = Some(Pipeline::GitLab { began_s });
    let text = built(Setup { pipeline, ..PLAIN });
    let text = text.replace('\u{1b}', "ESC").replace('\r', "CR");
    check(
        &text,
        r"
        [  0.0s] deploy shop@2, begun by `ana@ci`; shop@1 is live
        ESC[0Ksection_start:1700000000:flipside_1CRESC[0Kpreparing images
        [  0.2s] building the image of `web`
        [  0.2s] `web`: Step 1/2 : FROM a
        [  0.2s] `web`: ::stop-commands::x
        ESC[0Ksection_end:1700000000:flipside_1CRESC[0K
        [  0.2s] warning: careful
        ESC[0Ksection_start:1700000000:flipside_2CRESC[0Kpreparing images
        [  0.2s] `web`: Step 2/2 : RUN b
        ESC[0Ksection_end:1700000000:flipside_2CRESC[0K
        ---
        [  0.0s] deploy shop@2, begun by `ana@ci`; shop@1 is live
        ESC[0Ksection_start:1700000000:flipside_1CRESC[0Kpreparing images
        [  0.2s] building the image of `web`
        ESC[0Ksection_end:1700000000:flipside_1CRESC[0K
        [  0.2s] 1 image ready and pinned after 100 ms
        [  0.3s] shop@2 stands up in slot green
    ",
    );
}

#[test]
fn failures_are_annotations_and_nothing_said_is_a_command() {
    let desk = Desk::new(GITHUB);
    desk.show_all(&failed_deploy()[..2]);
    desk.show_all(&[Event::Failed(Failure {
        what: "shop@2: 100% bad\nreally".into(),
        hint: None,
        replicas: vec![ReplicaReport {
            container: "shop-2-web-1".into(),
            reasons: vec!["exit 1".into()],
            logs: vec!["::add-mask::a".into(), "x ##[error]b".into()],
        }],
    })]);
    desk.report.say("::set-env name=A::b");
    desk.report.error(&Error::NoService);
    desk.report.close();
    check(
        &desk.err.text(),
        r"
        [  0.0s] deploy shop@2, begun by `ana@ci`; shop@1 is live
        ::error title=flipside::shop@2: 100%25 bad really
                   `shop-2-web-1`: exit 1
                     its last 2 log lines:
                       | ::add-mask::a
                       x ## [error]b
        [  0.2s] shop@1 still serves
        | ::set-env name=A::b
        ::error title=flipside::no service is deployed here%0Ahint: flipside deploy PLAN
    ",
    );
}

#[test]
fn a_fold_that_is_open_is_closed_at_the_end() {
    let desk = Desk::new(GITHUB);
    desk.show_all(&[intended(Action::Prepare)]);
    says(&desk, "Step 1/2 : FROM a");
    desk.clock.now.fetch_add(100, Ordering::Relaxed);
    desk.report.close();
    assert!(
        desk.err.text().ends_with("::endgroup::\n"),
        "{}",
        desk.err.text()
    );
}

#[test]
fn a_terminal_and_json_have_no_folds() {
    for width in [Some(80), None] {
        let output = match width {
            Some(_) => PLAIN.output,
            None => flipside::report::Output::Json,
        };
        let text = built(Setup {
            width,
            output,
            ..GITHUB
        });
        assert!(!text.contains("::group"), "{text}");
        assert!(!text.contains("::endgroup"), "{text}");
        assert!(!text.contains("::warning"), "{text}");
    }
}

#[test]
fn the_service_is_told_by_its_variable() {
    let of = |name: &'static str, value: &'static str| {
        Pipeline::of(|asked| (asked == name).then(|| value.to_owned()), 7)
    };
    assert_eq!(of("GITHUB_ACTIONS", "true"), Some(Pipeline::GitHub));
    assert_eq!(
        of("GITLAB_CI", "true"),
        Some(Pipeline::GitLab { began_s: 7 })
    );
    for (name, value) in [
        ("CI", "true"),
        ("GITHUB_ACTIONS", ""),
        ("GITLAB_CI", "false"),
    ] {
        assert_eq!(of(name, value), None, "{name}={value}");
    }
}
