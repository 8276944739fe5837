//! Every expected error: its exit code, its words, its way out.

use std::process::ExitCode;

use flipside::core::event::{Failure, ReplicaReport, SwitchRefusal};
use flipside::core::names::Release;
use flipside::core::shared::Difference;
use flipside::core::verdict::Outcome;
use flipside::engine::EngineError;
use flipside::error::{Error, Exit, Kept, Touched, exit_of};
use flipside::pointer::PointerError;

use super::check;

#[test]
fn outcomes_have_the_exit_codes_of_the_manual() {
    let table = [
        (Outcome::Done, 0),
        (Outcome::RolledBack, 3),
        (Outcome::Unsure, 4),
        (Outcome::Refused, 3),
        (Outcome::Stuck, 4),
        (Outcome::Interrupted, 6),
    ];
    for (outcome, code) in table {
        assert_eq!(exit_of(outcome).code(), code, "{outcome:?}");
    }
    assert_eq!(ExitCode::from(Exit::Decide), ExitCode::from(4));
    assert_eq!(Exit::Bug.code(), 1);
}

fn differs(place: &str, shown: bool) -> Difference {
    Difference {
        place: place.into(),
        change: shown.then(|| ("old".into(), "new".into())),
    }
}

fn all() -> Vec<Error> {
    let text = str::to_owned;
    let shop = || text("shop");
    let (engine, why) = (text("unix:///run/docker.sock"), text("connection refused"));
    let pointer = text("proxy flipside-proxy (:8080)");
    let mut all = vec![
        Error::BadFlags {
            what: text("`--to` and `--force` name nothing"),
            instead: Some(text("--to N")),
        },
        Error::NoPlan {
            looked: vec![text("flipside.yaml"), text("plans/*.yaml")],
        },
        Error::PlanRefused {
            rendered: text("shop.yaml:3:5: unknown key `imgae`; did you mean `image`?\n"),
            problems: vec![serde_json::json!({"line": 3})],
        },
    ];
    for touched in [Touched::Nothing, Touched::Something] {
        all.push(Error::EngineOutOfReach {
            engine: engine.clone(),
            why: why.clone(),
            touched,
        });
        all.push(Error::PointerOutOfReach {
            pointer: pointer.clone(),
            why: why.clone(),
            touched,
        });
        all.push(Error::StoreOutOfReach {
            store: text("state"),
            why: text("no space left on device"),
            touched,
        });
        all.push(Error::Io {
            doing: text("reading `a.env`"),
            why: text("permission denied"),
            touched,
        });
    }
    all.extend([
        Error::AnswerLost {
            of: text("engine here"),
            why: text("connection reset"),
        },
        Error::EngineLacks(Failure {
            what: text("role `web`: `healthcheck.start_interval` needs API 1.44"),
            hint: Some(text("write `ignore: [start_interval]` in the plan")),
            replicas: vec![],
        }),
        Error::EngineRefused(Failure {
            what: text("image `web:2` is not there"),
            hint: Some(text("docker build -t web:2 .")),
            replicas: vec![ReplicaReport {
                container: text("web-1"),
                reasons: vec![text("exit 1")],
                logs: Vec::new(),
            }],
        }),
        Error::PointerRefused {
            what: text("port 8080 is taken"),
            mend: Some(text("choose another `listen:`")),
        },
        Error::HeldBy {
            service: shop(),
            holder: text("bob@laptop"),
        },
        Error::TakenOver { service: shop() },
        Error::NothingToRollBackTo {
            service: shop(),
            why: text("shop@2 is the first that ever served"),
            kept: vec![Kept {
                release: Release(1),
                what: text("withdrawn"),
            }],
        },
        Error::NothingToRollBackTo {
            service: shop(),
            why: text("shop@1 was retired"),
            kept: Vec::new(),
        },
        Error::StandbyUnfit {
            service: shop(),
            release: Release(1),
            reasons: vec![text(
                "`shop-1-web-1`: connection refused at 10.213.0.2:8080",
            )],
            mends: vec![],
        },
        Error::StandbyUnfit {
            service: shop(),
            release: Release(1),
            reasons: vec![text("it exited with 0")],
            mends: vec![text("start it: docker start shop-1-web-1")],
        },
        Error::NoMemory {
            service: shop(),
            candidate: Release(1),
        },
        Error::Untrusted {
            service: shop(),
            pointer: text("haproxy (socket: /run/haproxy/admin.sock)"),
        },
        Error::Foreign {
            service: shop(),
            found: text(" at 10.0.0.7:80"),
        },
        Error::Drifted {
            service: shop(),
            expected: text("shop@2"),
            found: text("shop@1"),
        },
        Error::SharedDiffers {
            service: shop(),
            roles: vec![(
                text("db"),
                vec![differs("image", true), differs("user", false)],
            )],
        },
        Error::Stuck {
            service: shop(),
            what: text("the engine refused to remove shop@2"),
            next: Some(text("flipside abort shop")),
        },
        Error::NothingUnderWay {
            service: shop(),
            verb: text("promote"),
        },
        Error::Interrupted {
            service: shop(),
            again: vec![text("TOKEN")],
        },
        Error::CutShort {
            service: shop(),
            live: Some(Release(1)),
            moving: Some(Release(2)),
            again: Vec::new(),
            why: Box::new(Error::StoreOutOfReach {
                store: text("state"),
                why: text("the disk is full"),
                touched: Touched::Something,
            }),
        },
        Error::CutShort {
            service: shop(),
            live: Some(Release(1)),
            moving: None,
            again: vec![text("TAG"), text("TOKEN")],
            why: Box::new(Error::EngineOutOfReach {
                engine: text("here"),
                why: text("connection refused"),
                touched: Touched::Something,
            }),
        },
        Error::UnknownService {
            name: text("shpo"),
            known: vec![text("blog"), shop()],
        },
        Error::UnknownService {
            name: text("x"),
            known: Vec::new(),
        },
        Error::NoService,
        Error::SeveralServices {
            known: vec![text("blog"), shop()],
        },
        Error::NeedsYes {
            what: text("roll `shop` back from shop@2 to shop@1"),
        },
        Error::Declined {
            what: text("roll `shop` back"),
        },
        Error::TooNew {
            what: text("run 4 of `shop`"),
            found: 3,
            known: 1,
        },
        Error::Bug {
            what: text("an outcome without an intent"),
        },
    ]);
    all
}

#[test]
fn every_error_says_what_why_and_the_way_out() {
    let mut text = String::new();
    for error in all() {
        text += &format!(
            "{} {}: {}\n",
            error.exit().code(),
            error.kind(),
            error.message()
        );
        if let Some(hint) = error.hint() {
            text += &format!("  hint: {hint}\n");
        }
    }
    check(
        &text,
        r#"
        2 bad-flags: `--to` and `--force` name nothing
          hint: --to N
        2 no-plan: no plan found; looked for `flipside.yaml` and `plans/*.yaml`
          hint: name it: flipside deploy PLAN
        2 plan-refused: shop.yaml:3:5: unknown key `imgae`; did you mean `image`?
        7 engine-out-of-reach: engine `unix:///run/docker.sock` is out of reach: connection refused
          hint: is it running? name another with --engine URL
        7 pointer-out-of-reach: pointer `proxy flipside-proxy (:8080)` is out of reach: connection refused
          hint: nothing was touched; see `flipside status`
        7 store-out-of-reach: the journal in `state` is out of reach: no space left on device
          hint: name another place with --state URL; `flipside rollback` needs none
        7 io: reading `a.env`: permission denied
        6 engine-out-of-reach: engine `unix:///run/docker.sock` is out of reach: connection refused
          hint: flipside resume
        6 pointer-out-of-reach: pointer `proxy flipside-proxy (:8080)` is out of reach: connection refused
          hint: flipside resume
        6 store-out-of-reach: the journal in `state` is out of reach: no space left on device
          hint: flipside resume
        6 io: reading `a.env`: permission denied
          hint: flipside resume
        6 answer-lost: engine here did not answer to the end, so it is not known what became of the call: connection reset
          hint: flipside resume
        2 engine-lacks: role `web`: `healthcheck.start_interval` needs API 1.44
          hint: write `ignore: [start_interval]` in the plan
        4 engine-refused: image `web:2` is not there
          `web-1`: exit 1
          hint: docker build -t web:2 .
        4 pointer-refused: port 8080 is taken
          hint: choose another `listen:`
        5 held-by: `shop` is held by `bob@laptop`
          hint: see what it does: flipside status shop; a rollback does not wait for it: flipside rollback shop
        5 taken-over: another operator has taken `shop` over; nothing more was done here
          hint: flipside status shop
        4 nothing-to-roll-back-to: `shop` cannot be rolled back: shop@2 is the first that ever served
          shop@1: withdrawn
          hint: flipside rollback shop --to 1
        4 nothing-to-roll-back-to: `shop` cannot be rolled back: shop@1 was retired
          hint: flipside status shop
        4 standby-unfit: shop@1 is not fit to serve; nothing was moved
          `shop-1-web-1`: connection refused at 10.213.0.2:8080
          hint: go back all the same: flipside rollback shop --to 1 --force; its logs: flipside logs shop --release 1
        4 standby-unfit: shop@1 is not fit to serve; nothing was moved
          it exited with 0
          hint: start it: docker start shop-1-web-1; go back all the same: flipside rollback shop --to 1 --force; its logs: flipside logs shop --release 1
        4 no-memory: neither journal nor marks say which release of `shop` has served; shop@1 is the likeliest
          hint: flipside rollback shop --to 1 --force
        4 untrusted: the journal does not say what sends the traffic of `shop`, and labels on the engine, which anyone there can write, say haproxy (socket: /run/haproxy/admin.sock); it was not asked
          hint: where that is right, say so with --trust-labels; else give the journal it is in: --state URL
        4 foreign: something that is not flipside's serves `shop` at 10.0.0.7:80; nothing was touched
          hint: take it for release 0, to which a rollback can go back: flipside deploy --adopt
        4 drifted: the pointer of `shop` names shop@1, not shop@2; nothing was moved
          hint: flipside status shop shows both; flipside deploy --force takes it over
        4 shared-differs: shared roles of `shop` differ from the plan; nothing was touched
          `db`: `image` (old → new) and `user`
          hint: take the plan's settings, which means a downtime: flipside shared apply
        4 stuck: `shop` is stuck: the engine refused to remove shop@2
          hint: flipside abort shop
        4 nothing-under-way: nothing is under way for `shop` that `promote` could act on
          hint: flipside status shop
        6 interrupted: interrupted; what was done to `shop` is recorded
          hint: flipside resume shop --set TOKEN=…
        6 store-out-of-reach: the journal in `state` is out of reach: the disk is full
          cut short, and recorded as far as it came; shop@1 or shop@2 serves, flipside status shop says which
          hint: once it can be reached again: flipside resume shop
        6 engine-out-of-reach: engine `here` is out of reach: connection refused
          cut short, and recorded as far as it came; shop@1 serves
          hint: once it can be reached again: flipside resume shop --set TAG=… --set TOKEN=…
        2 unknown-service: no service `shpo` here; there is `blog` and `shop`
          hint: did you mean `shop`?
        2 unknown-service: no service `x` here, nor any other
          hint: flipside status
        2 no-service: no service is deployed here
          hint: flipside deploy PLAN
        2 several-services: which service? there is `blog` and `shop`
          hint: name it after the verb: flipside status blog
        2 needs-yes: would roll `shop` back from shop@2 to shop@1, but no terminal is there to answer the question
          hint: --yes
        4 declined: did not roll `shop` back; nothing was touched
        4 too-new: run 4 of `shop` has version 3; this flipside reads versions up to 1
          hint: use a newer flipside; `flipside rollback` works with any
        1 bug: a bug in flipside: an outcome without an intent
    "#,
    );
}

#[test]
fn errors_of_engine_and_pointer_depend_on_what_was_touched() {
    let lost = |engine: &str| EngineError::Lost {
        engine: engine.into(),
        why: "reset".into(),
    };
    let out = || EngineError::OutOfReach {
        engine: "e".into(),
        why: "refused".into(),
    };
    let exit = |error, touched| Error::of_engine(error, touched).exit();
    assert_eq!(exit(out(), Touched::Nothing), Exit::OutOfReach);
    assert_eq!(exit(out(), Touched::Something), Exit::Interrupted);
    assert_eq!(exit(lost("e"), Touched::Nothing), Exit::Interrupted);
    let failed = EngineError::Failed(Failure::default());
    assert_eq!(exit(failed, Touched::Nothing), Exit::Decide);

    let refused = |why| PointerError::Refused { why, found: None };
    let exit = |error| Error::of_pointer("shop", error, Touched::Nothing).exit();
    assert_eq!(exit(refused(SwitchRefusal::Fenced)), Exit::Held);
    assert_eq!(exit(refused(SwitchRefusal::Moved)), Exit::Decide);
    assert_eq!(exit(refused(SwitchRefusal::Drifted)), Exit::Decide);
}

#[test]
fn an_error_is_one_json_object() {
    let error = Error::PlanRefused {
        rendered: "a.yaml:1:1: empty\n".into(),
        problems: vec![serde_json::json!({"line": 1})],
    };
    assert_eq!(
        error.to_json().to_string(),
        r#"{"event":"error","error":"plan-refused","exit":2,"message":"a.yaml:1:1: empty","hint":null,"problems":[{"line":1}]}"#
    );
}
