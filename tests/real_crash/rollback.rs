//! Rolling back when all but engine and pointer is gone, or somebody else is at work.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::kit::{FLIPSIDE, Ran, Running, Stage, as_root, baking, quiet};
use super::small::Small;

/// Rolls back under load, from version 2 to version 1.
async fn goes_back(stage: &Stage, rollback: impl AsyncFnOnce() -> Ran) -> Ran {
    let load = stage.load().await;
    assert_eq!(stage.answer().await, "2");
    let ran = rollback().await;
    assert_eq!(ran.ends(0).outcome(), "done");
    assert_eq!(stage.answer().await, "1");
    load.stop().await;
    ran
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_with_the_journal_deleted() {
    let stage = Stage::with_standby().await;
    stage.lose_journal();
    goes_back(&stage, async || stage.verb("rollback").await).await;
    // A second one never goes to what the first one left.
    let again = stage.verb("rollback").await;
    assert_eq!(again.ends(4).error(), "nothing-to-roll-back-to");
    stage.is_tidy("without its old journal").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_with_plan_and_checkout_gone() {
    let stage = Stage::with_standby().await;
    std::fs::remove_dir_all(stage.checkout()).unwrap();
    let nowhere = stage.state().with_file_name("nowhere");
    std::fs::create_dir(&nowhere).unwrap();
    goes_back(&stage, async || {
        let words = ["rollback", &stage.service, "--yes"];
        let mut command = stage.command(&[]);
        // The directory that it is started in is gone before it begins.
        let script = format!("rmdir {} && exec {FLIPSIDE} \"$@\"", nowhere.display());
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-c", &script, "sh"]).args(words);
        shell.args(["--output", "json"]).current_dir(&nowhere);
        for (name, value) in command.as_std_mut().get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        shell.stdin(std::process::Stdio::null());
        shell.stdout(std::process::Stdio::piped());
        shell.stderr(std::process::Stdio::piped());
        shell.kill_on_drop(true);
        shell.as_std_mut().process_group(0);
        Running::start(shell).ended().await
    })
    .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_with_the_journals_disk_full() {
    let stage = Stage::new().await;
    let disk = Small::on(stage.state(), "1m");
    stage.deploy("1").await.ends(0);
    stage.deploy("2").await.ends(0);
    disk.fill();
    let refused = stage.deploy("3").await;
    assert_eq!(refused.ends(7).error(), "store-out-of-reach");
    let ran = goes_back(&stage, async || stage.verb("rollback").await).await;
    let records = ran.talk.lines().filter_map(parse);
    let records: Vec<Value> = records.filter(|it| it["record"].is_object()).collect();
    let switched = records.iter().any(|it| it["record"]["event"] == "switched");
    assert!(switched, "the records go to stderr: {ran:#?}");
    drop(disk);
    stage.end().await;
}

/// A file system that answers nothing, until it is dropped.
struct Deaf {
    directory: PathBuf,
    /// Its server's end: nobody reads the requests.
    _requests: File,
}

/// Of a mount that finds the requests' file as descriptor 0.
const OPTIONS: &str = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other";

impl Deaf {
    fn on(directory: PathBuf) -> Self {
        let requests = File::options().read(true).write(true).open("/dev/fuse");
        let requests = requests.unwrap();
        // The mount takes it as its standard input, whoever it runs as.
        let words = ["mount", "-i", "-t", "fuse", "-o", OPTIONS, "flipside-test"];
        let words = [as_root(), &words].concat();
        let mounted = std::process::Command::new(words[0])
            .args(&words[1..])
            .arg(&directory)
            .stdin(requests.try_clone().unwrap())
            .status();
        assert!(mounted.unwrap().success(), "{}", directory.display());
        Self {
            directory,
            _requests: requests,
        }
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        let words = ["umount", "-l", self.directory.to_str().unwrap()];
        quiet(&[as_root(), &words].concat());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_with_the_journals_mount_hanging() {
    let stage = Stage::with_standby().await;
    let mount = Deaf::on(stage.state());
    for verb in ["resume", "abort", "prune", "down"] {
        let refused = stage.verb(verb).await;
        assert_eq!(refused.ends(7).error(), "store-out-of-reach", "{verb}");
        assert_eq!(stage.answer().await, "2", "{verb}");
    }
    let refused = stage.deploy("3").await;
    assert_eq!(refused.ends(7).error(), "store-out-of-reach");
    let began = Instant::now();
    let ran = goes_back(&stage, async || stage.verb("rollback").await).await;
    // The store has 5 s, once.
    assert!(began.elapsed() < Duration::from_secs(30), "{ran:#?}");
    let warned = ran.lines.iter().filter(|line| line["event"] == "warning");
    let warned: Vec<_> = warned.map(Value::to_string).collect();
    assert!(
        warned.iter().any(|it| it.contains("no answer within 5 s")),
        "{ran:#?}"
    );
    drop(mount);
    stage.end().await;
}

fn parse(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_the_service_from_one_who_bakes() {
    let stage = Stage::live().await;
    let load = stage.load().await;
    let mut baking = stage.start_deploy("2", &baking());
    baking.intends("watch").await;
    let rolled = stage.verb("rollback").await;
    assert_eq!(rolled.ends(0).outcome(), "done");
    assert_eq!(stage.answer().await, "1");
    let left = baking.ended().await;
    left.ends(6);
    let told = left.lines.iter().find(|line| line["event"] == "asked");
    let told = told.unwrap_or_else(|| panic!("{left:#?}"));
    assert_eq!(told["ask"]["ask"], "yield", "{told}");
    assert_eq!(told["by"], flipside::cmd::context::author(), "{told}");
    stage.is_tidy("after the one who baked").await;
    load.stop().await;
    stage.end().await;
}

/// Somebody is frozen at some point of deploying version 3, a rollback takes over, and the frozen
/// one wakes.
async fn takes_over(at: &'static str) {
    let stage = Stage::with_standby().await;
    let load = stage.load().await;
    let mut frozen = stage.start_deploy("3", &baking());
    frozen
        .line(at, |line| {
            line["event"] == at || line["action"]["act"] == at
        })
        .await;
    frozen.signal(Signal::STOP);
    let before = stage.answer().await;
    let rolled = stage.verb("rollback").await;
    assert_eq!(rolled.ends(0).outcome(), "done");
    let now = stage.answer().await;
    let expected = if before == "3" { "2" } else { "1" };
    assert_eq!(now, expected, "{rolled:#?}");
    let routing = stage.status().await["pointer"]["routing"].clone();

    frozen.signal(Signal::CONT);
    let woken = frozen.ended().await;
    assert!([5, 6].contains(&woken.code), "{woken:#?}");
    assert_eq!(stage.answer().await, now, "{woken:#?}");
    let after = stage.status().await["pointer"]["routing"].clone();
    for field in ["generation", "routes", "author"] {
        assert_eq!(routing[field], after[field], "{woken:#?}");
    }
    stage
        .is_tidy(&format!("after the frozen one: {woken:#?}"))
        .await;
    load.stop().await;
    stage.verb("down").await.ends(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_over_from_one_frozen_in_its_bake() {
    takes_over("watch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_over_from_one_frozen_before_its_switch() {
    takes_over("stood-up").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_over_from_one_frozen_at_its_switch() {
    takes_over("proven").await;
}

/// A way to the engine on which every request's first line is written down.
fn recorded(stage: &Stage) -> (String, Arc<Mutex<Vec<u8>>>) {
    let socket = stage.state().with_file_name("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked: Arc<Mutex<Vec<u8>>> = Arc::default();
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
            tokio::spawn(relay(client, engine, Arc::clone(&heard)));
        }
    });
    (format!("unix://{}", socket.display()), asked)
}

async fn relay(client: UnixStream, engine: UnixStream, asked: Arc<Mutex<Vec<u8>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_engine, &mut to_client).await });
    let mut octets = [0; 16 << 10];
    while let Ok(read @ 1..) = from_client.read(&mut octets).await {
        asked.lock().unwrap().extend(&octets[..read]);
        if to_engine.write_all(&octets[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_asks_the_engine_nothing_that_takes_long() {
    let stage = Stage::with_standby().await;
    let (url, asked) = recorded(&stage);
    let mut command = stage.command(&["rollback", &stage.service, "--yes"]);
    command.env("DOCKER_HOST", url);
    let ran = Running::start(command).ended().await;
    assert_eq!(ran.ends(0).outcome(), "done");
    assert_eq!(stage.answer().await, "1");
    let asked = String::from_utf8_lossy(&asked.lock().unwrap()).into_owned();
    let lines = asked.split("\r\n").flat_map(str::lines);
    let lines: Vec<_> = lines.filter(|line| line.ends_with(" HTTP/1.1")).collect();
    assert!(
        lines.iter().any(|line| line.contains("/volumes/create")),
        "{lines:#?}"
    );
    for slow in ["/info", "/version"] {
        let path = format!("{slow} ");
        assert!(!lines.iter().any(|line| line.contains(&path)), "{lines:#?}");
    }
    stage.end().await;
}
