//! A hand edits the routing: it is found and shown, and not overwritten unless somebody says so.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::kit::{Stage, says};

/// One request to the proxy, as somebody at a shell would send it.
async fn ctl(stage: &Stage, mut request: Value) -> Value {
    request["v"] = json!(1);
    request["id"] = json!(1);
    let socket = stage.control();
    let mut command = stage.command(&["proxy", "ctl", "--socket", socket.to_str().unwrap()]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let line = format!("{request}\n");
    stdin.write_all(line.as_bytes()).await.unwrap();
    drop(stdin);
    let mut said = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut said).await.unwrap();
    child.wait().await.unwrap();
    let reply: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert!(reply["ok"].is_object(), "{request}: {reply}");
    reply["ok"].clone()
}

/// Changes the routing behind flipside's back.
async fn edit(stage: &Stage, change: impl Fn(&mut Value)) {
    let read = ctl(stage, json!({"op": "read", "service": stage.service})).await;
    let mut entry = read["entry"].clone();
    change(&mut entry);
    entry["author"] = json!("eve@elsewhere");
    entry["reason"] = json!("by hand");
    let expected = read["entry"]["generation"].clone();
    ctl(
        stage,
        json!({"op": "write", "expected_generation": expected, "entry": entry}),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_in_the_routing_is_found_shown_and_not_overwritten() {
    let stage = Stage::live().await;
    let right = stage.status().await["live"]["endpoints"].clone();
    // A stranger's address that answers: the traffic goes there, and flipside must not mind it.
    let stranger = stranger().await;
    edit(&stage, |entry| {
        entry["environments"][0]["endpoints"] = json!([stranger]);
    })
    .await;
    assert_eq!(stage.answer().await, "stranger");

    let status = stage.status().await;
    assert_eq!(status["pointer"]["agrees"], false, "{status:#}");
    let shown = status["disagreements"].to_string();
    assert!(shown.contains(&stranger), "{status:#}");
    let history = stage.run(&["history", &stage.service]).await;
    let mut lines = history.ends(0).lines.iter();
    let warned =
        lines.any(|line| line["event"] == "warning" && line.to_string().contains(&stranger));
    assert!(warned, "{history:#?}");

    let refused = stage.deploy("2").await;
    assert_eq!(refused.ends(4).error(), "drifted");
    let message = refused.message();
    let here = right[0].as_str().unwrap();
    let expected = [&stranger, here, "eve@elsewhere"];
    assert!(says(message, &expected), "{message}");
    assert_eq!(stage.answer().await, "stranger");

    stage.write_plan("2", &Default::default());
    stage.run(&["deploy", "--force"]).await.ends(0);
    assert_eq!(stage.answer().await, "2");
    stage.is_tidy("after --force").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_that_names_no_release_of_ours_is_not_overwritten() {
    let stage = Stage::live().await;
    edit(&stage, |entry| {
        entry["environments"][0]["release"] = json!(77)
    })
    .await;
    let status = stage.status().await;
    assert_eq!(status["pointer"]["agrees"], false, "{status:#}");
    let refused = stage.deploy("2").await;
    assert_eq!(refused.ends(4).error(), "drifted");
    assert!(says(refused.message(), &["@77", "@1"]), "{refused:#?}");
    // Without its journal flipside must not believe the hand either.
    stage.lose_journal();
    let refused = stage.deploy("2").await;
    assert_eq!(refused.ends(4).error(), "drifted");
    assert_eq!(stage.answer().await, "1");
    stage.run(&["deploy", "--force"]).await.ends(0);
    assert_eq!(stage.answer().await, "2");
}

/// The address of a server that calls itself `stranger`.
async fn stranger() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4];
                stream.read_exact(&mut request).await.ok();
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\
                              Connection: close\r\n\r\nstranger";
                stream.write_all(answer.as_bytes()).await.ok();
            });
        }
    });
    address
}
