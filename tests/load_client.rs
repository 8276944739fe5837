//! The client that puts load on a service tells what it has lost from what it has not: every "no
//! request failed" rests on it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::support::docker::hello_binary;

const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n7\n";

/// What a server does with a request that it has read.
#[derive(Debug, Clone, Copy)]
enum Does {
    Answers(&'static str),
    /// Answers, and closes while nothing is under way.
    AnswersAndCloses(&'static str),
    Closes,
    /// Neither answers nor closes.
    Hangs,
}

/// A server that does one thing after the other, over as many connections as that takes.
fn server(script: &'static [Does]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut script = script.iter().copied();
        let mut hung = Vec::new();
        for stream in listener.incoming() {
            hung.extend(serve(stream.unwrap(), &mut script));
        }
    });
    address
}

/// Serves one connection to its end; answers it where it is to stay open without an answer.
fn serve(stream: TcpStream, script: &mut impl Iterator<Item = Does>) -> Option<TcpStream> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while read_head(&mut reader) {
        match script.next().expect("no more requests") {
            Does::Answers(text) => writer.write_all(text.as_bytes()).unwrap(),
            Does::AnswersAndCloses(text) => {
                writer.write_all(text.as_bytes()).unwrap();
                writer.shutdown(Shutdown::Both).unwrap();
                return None;
            }
            Does::Closes => return None,
            Does::Hangs => return Some(writer),
        }
    }
    None
}

fn read_head(reader: &mut impl BufRead) -> bool {
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return false,
            Ok(_) if line == "\r\n" => return true,
            Ok(_) => {}
        }
    }
}

fn client(address: SocketAddr, words: &[&str]) -> Command {
    let mut command = Command::new(hello_binary().with_file_name("load"));
    command
        .arg(address.to_string())
        .args(["--connections", "1"])
        .args(words)
        .stdout(Stdio::piped());
    command
}

/// What the client tells of one connection's requests, as many as the script has steps.
fn told(script: &'static [Does]) -> Value {
    let requests = script.len().to_string();
    // The rest lets the client see that a connection was closed behind an answer.
    let words = [
        "--requests",
        &requests,
        "--rest-ms",
        "300",
        "--patience",
        "2",
    ];
    let output = client(server(script), &words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn tells(script: &'static [Does], sent: u64, failed: u64, closed_idle: u64) -> Value {
    let told = told(script);
    let found = json!([told["sent"], told["failed"], told["closed_idle"]]);
    assert_eq!(found, json!([sent, failed, closed_idle]), "{told}");
    told
}

/// The one reason for which requests failed.
#[track_caller]
fn reason(told: &Value) -> String {
    let failures = told["failures"].as_object().unwrap();
    assert_eq!(failures.len(), 1, "{told}");
    failures.keys().next().unwrap().clone()
}

#[test]
fn answers_are_counted_by_their_version() {
    const NAMED: &str = "HTTP/1.1 200 OK\r\nX-Version: v8\r\nContent-Length: 2\r\n\r\n7\n";
    let script = &[
        Does::Answers(WHOLE),
        Does::Answers(WHOLE),
        Does::Answers(NAMED),
    ];
    let told = tells(script, 3, 0, 0);
    assert_eq!(told["by_version"], json!({"7": 2, "v8": 1}));
    assert!(told["p50_us"].as_u64() > Some(0), "{told}");
}

#[test]
fn a_connection_closed_while_idle_has_lost_nothing() {
    let script = &[Does::AnswersAndCloses(WHOLE), Does::Answers(WHOLE)];
    tells(script, 2, 0, 1);
}

#[test]
fn a_connection_closed_on_a_request_has_lost_it() {
    let told = tells(&[Does::Closes], 1, 1, 0);
    assert!(reason(&told).starts_with("no answer: "), "{told}");
}

#[test]
fn a_request_lost_on_a_used_connection_is_not_sent_twice() {
    let script = &[Does::Answers(WHOLE), Does::Closes, Does::Answers(WHOLE)];
    let told = tells(script, 3, 1, 0);
    assert!(reason(&told).starts_with("no answer: "), "{told}");
}

#[test]
fn an_answer_that_breaks_off_is_lost() {
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let told = tells(&[Does::AnswersAndCloses(HALF)], 1, 1, 0);
    assert!(reason(&told).starts_with("answer cut short: "), "{told}");
}

#[test]
fn a_server_that_hangs_has_lost_the_request() {
    let told = tells(&[Does::Hangs, Does::Answers(WHOLE)], 2, 1, 0);
    assert_eq!(reason(&told), "no answer in time");
}

#[test]
fn another_status_than_200_has_failed() {
    const AWAY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let told = tells(&[Does::Answers(AWAY), Does::Answers(WHOLE)], 2, 1, 0);
    assert_eq!(reason(&told), "status 503");
}

#[test]
fn where_nobody_listens_every_request_has_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let output = client(address, &["--requests", "2"]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["sent"], &told["failed"]), (&json!(2), &json!(2)));
    assert!(reason(&told).starts_with("no connection: "), "{told}");
}

/// Ends what a test has started, also by a panic.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn it_says_when_it_is_answered_and_ends_with_its_totals_when_told_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, asks) = mpsc::channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream;
        while read_head(&mut reader) {
            asked.send(()).ok();
            writer.write_all(WHOLE.as_bytes()).unwrap();
        }
    });
    let mut child = Ends(client(address, &["--announce"]).spawn().unwrap());
    let stdout = child.0.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "answered");
    assert_eq!(asks.try_recv(), Ok(()), "it was asked before");
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let told: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(told["sent"].as_u64() >= Some(1), "{told}");
    assert_eq!(told["failed"], 0, "{told}");
    assert!(child.0.wait().unwrap().success());
}
