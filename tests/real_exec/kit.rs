//! Commands of a test's own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use flipside::core::names::{Release, ServiceName};
use flipside::pointer::exec::{Exec, ExecPlan};
use flipside::pointer::{Pointer, Way};

use crate::readme::root;
use crate::real_haproxy::kit::Haproxy;
use crate::support::backends::named;
use crate::support::pointer_contract::Fixture;

/// How long a call may take: longer than any that is not to be cut.
const TIMEOUT: u64 = 20_000;

/// The interpreter itself: what stands in its place on a developer's path may be a script that looks
/// for it at each start, and a switch starts it some twenty times.
fn python() -> &'static str {
    static PYTHON: LazyLock<String> = LazyLock::new(|| {
        let which = ["-c", "import sys; print(sys.executable, end='')"];
        let ran = Command::new("python3").args(which).output().unwrap();
        String::from_utf8(ran.stdout).unwrap()
    });
    &PYTHON
}

/// The example's words, before this HAProxy.
pub fn words(haproxy: &Haproxy) -> Vec<String> {
    let example = root().join("examples/exec-pointer.py");
    vec![
        python().to_owned(),
        // Without packages that it does not need.
        "-IS".into(),
        example.display().to_string(),
        haproxy.socket(),
        "shop".into(),
        haproxy.path().join("note").display().to_string(),
        haproxy.plan().url,
    ]
}

/// What a plan says of a command before this HAProxy.
pub fn plan(haproxy: &Haproxy, command: Vec<String>) -> ExecPlan {
    ExecPlan {
        command,
        timeout: TIMEOUT,
        url: haproxy.plan().url,
        hosts: Vec::new(),
    }
}

/// The pointer of `shop`, by this plan.
pub fn pointer(plan: ExecPlan) -> Exec {
    let service: ServiceName = "shop".parse().unwrap();
    Exec::new(service, plan).unwrap()
}

/// The example as the pointer before this HAProxy.
pub fn example(haproxy: &Haproxy) -> Exec {
    pointer(plan(haproxy, words(haproxy)))
}

/// As a plan's `pointer`.
pub fn section(haproxy: &Haproxy) -> String {
    let url = haproxy.plan().url;
    serde_json::json!({"exec": {"command": words(haproxy), "url": url}}).to_string()
}

/// A script that may be run, in `directory`.
pub fn script(directory: &Path, text: &str) -> String {
    let path = directory.join("command.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// The example behind a script that sees each request first, as `$request`; `"$@"` is the example.
pub fn wrapped(haproxy: &Haproxy, text: &str) -> Exec {
    let text = format!("read -r request\n{text}");
    let mut command = vec![script(haproxy.path(), &text)];
    command.extend(words(haproxy));
    pointer(plan(haproxy, command))
}

/// Releases 1 and 2, behind a pointer.
pub async fn behind(pointer: impl Pointer + 'static) -> Fixture {
    Fixture {
        pointer: Arc::new(pointer),
        at: [named("one").await, named("two").await],
    }
}

/// The service is answered by this release, as far as the command says.
pub async fn answers(fixture: &Fixture, release: u64) {
    let answer = fixture.pointer.ask(Way::Service, "/").await.unwrap();
    assert_eq!(answer.release, Some(Release(release)));
    assert_eq!(answer.status, Some(200));
}
