//! Logs, commands, ends.

use flipside::core::plan::Run;
use flipside::engine::{End, Engine, LogLine};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::{down, up};
use crate::support::docker::{Scope, get_soon, until};
use crate::support::sample::{role, set, spec, words};

#[tokio::test]
async fn logs_are_the_last_lines_of_both_streams() {
    let scope = Scope::new().await;
    let environment = up(
        &scope,
        &spec(&scope.service, 1, vec![("web", role(scope.image.clone()))]),
    )
    .await;
    for path in ["/a", "/b", "/c"] {
        get_soon(environment.endpoints()[0], path).await;
    }
    let id = &environment.containers[0].id;
    // The engine copies what a container writes after it has been written.
    let all = until("the last request in the logs", || async {
        let lines = scope.engine.logs(id, 1000).await.unwrap();
        lines.iter().any(|l| l == "GET /c 404").then_some(lines)
    })
    .await;
    assert!(all[0].starts_with("listening on "), "{all:?}");
    assert_eq!(
        scope.engine.logs(id, 2).await.unwrap(),
        ["GET /b 404", "GET /c 404"]
    );
}

#[tokio::test]
async fn following_ends_with_the_containers_or_the_listener() {
    let scope = Scope::new().await;
    let mut web = role(scope.image.clone());
    web.replicas = 2;
    let environment = up(&scope, &spec(&scope.service, 1, vec![("web", web)])).await;
    let ids: Vec<_> = environment
        .containers
        .iter()
        .map(|c| c.id.clone())
        .collect();
    let follow = |ids: Vec<String>, sender: mpsc::Sender<LogLine>| {
        let engine = scope.engine.clone();
        tokio::spawn(async move { engine.follow(&ids, 10, sender).await })
    };
    let (sender, mut lines) = mpsc::channel(100);
    let following = follow(ids.clone(), sender);
    for endpoint in environment.endpoints() {
        get_soon(endpoint, "/seen").await;
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        let line = lines.recv().await.unwrap();
        if line.line == "GET /seen 404" {
            seen.insert(line.container);
        }
    }
    drop(lines);
    following.await.unwrap().unwrap();
    let (sender, mut lines) = mpsc::channel(100);
    let following = follow(ids, sender);
    down(&scope, 1).await;
    following.await.unwrap().unwrap();
    let mut last = Vec::new();
    lines.recv_many(&mut last, 100).await;
    assert!(last.iter().any(|line| line.line == "stopping"), "{last:?}");
}

#[tokio::test]
async fn commands_answer_their_code_and_last_output() {
    let scope = Scope::new().await;
    let mut web = role(scope.image.clone());
    set(&mut web, "FAIL_UP", "1");
    let environment = up(&scope, &spec(&scope.service, 1, vec![("web", web)])).await;
    get_soon(environment.endpoints()[0], "/").await;
    let id = &environment.containers[0].id;
    let run = async |command: &[&str]| scope.engine.exec(id, &words(command)).await.unwrap();
    let checked = run(&["/hello", "check"]).await;
    assert_eq!(
        (checked.code, checked.output.as_str()),
        (1, "HTTP/1.1 503 Service Unavailable\n")
    );
    let unknown = run(&["/hello", &"x".repeat(5000)]).await;
    assert_eq!((unknown.code, unknown.output.len()), (2, 4096));
    assert!(
        unknown
            .output
            .ends_with("is none of `check`, `echo`, `once`, `sleep` and `work`\n"),
        "{unknown:?}"
    );
    let missing = run(&["/none"]).await;
    assert!(missing.code == 126 || missing.code == 127, "{missing:?}");
    assert!(missing.output.contains("/none"), "{missing:?}");
}

#[tokio::test]
async fn a_command_can_be_talked_with() {
    let scope = Scope::new().await;
    let environment = up(
        &scope,
        &spec(&scope.service, 1, vec![("web", role(scope.image.clone()))]),
    )
    .await;
    get_soon(environment.endpoints()[0], "/").await;
    let client = scope.engine.client();
    let id = &environment.containers[0].id;
    let mut stdio = client.exec_stdio(id, &["/hello", "echo"]).await.unwrap();
    use tokio::io::AsyncWriteExt;
    let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let mut received = vec![0; sent.len()];
    let write = async {
        stdio.input.write_all(&sent).await.unwrap();
        stdio.input.flush().await.unwrap();
    };
    let read = async { stdio.output.read_exact(&mut received).await.unwrap() };
    tokio::join!(write, read);
    assert_eq!(sent, received);
    drop(stdio.input);
    drop(stdio.output);
}

#[tokio::test]
async fn an_end_is_awaited_and_an_old_one_answered_at_once() {
    let scope = Scope::new().await;
    let environment = up(
        &scope,
        &spec(&scope.service, 1, vec![("web", role(scope.image.clone()))]),
    )
    .await;
    let id = environment.containers[0].id.clone();
    get_soon(environment.endpoints()[0], "/").await;
    let stop = crate::support::docker::api().clone();
    let (end, stopped) = tokio::join!(scope.engine.ended(&id), stop.stop_container(&id, None));
    stopped.unwrap();
    assert_eq!(end.unwrap().code, 0);
    assert_eq!(scope.engine.ended(&id).await.unwrap().code, 0);
}

#[tokio::test]
async fn an_end_is_told_of_what_the_engine_starts_again_at_once() {
    let scope = Scope::new().await;
    let roles = vec![("web", role(scope.image.clone()))];
    let environment = up(&scope, &spec(&scope.service, 1, roles)).await;
    let id = environment.containers[0].id.clone();
    let at = environment.endpoints()[0];
    for code in 1..6 {
        get_soon(at, "/").await;
        let path = format!("/exit?code={code}");
        // Again and again, as it may have ended before the engine was asked.
        let exits = async {
            loop {
                crate::support::docker::get(at, &path).await.ok();
                tokio::time::sleep(std::time::Duration::from_millis(25)).await;
            }
        };
        let end = tokio::select! {
            end = scope.engine.ended(&id) => end.unwrap(),
            () = exits => unreachable!("it goes on"),
        };
        assert_eq!(end, End { code, oom: false });
    }
}

#[tokio::test]
async fn a_role_that_never_runs_has_no_container() {
    let scope = Scope::new().await;
    let mut never = role(flipside::core::plan::ImageSource::Pull(
        "registry.invalid/x".into(),
    ));
    never.run = Run::Never;
    let roles = vec![("web", role(scope.image.clone())), ("never", never)];
    let environment = up(&scope, &spec(&scope.service, 1, roles)).await;
    assert_eq!((environment.expected, environment.containers.len()), (1, 1));
    assert!(environment.is_up());
}
