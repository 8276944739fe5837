//! The operator's terminal goes away.

use std::process::Command;

use rustix::process::Signal;

use crate::bad_days::{Day, Serves};
use crate::real_crash::kit::quiet;
use crate::real_verbs::kit::{FLIPSIDE, LONG, Running, Stage};

#[test]
fn it_is_closed_in_the_middle() {
    let stage = Stage::new();
    stage.deploy(&["VERSION=old"]);
    // The terminal is `script`'s: with it the far end goes, and the program gets SIGHUP and EIO.
    let line = format!(
        "echo $$ >pid; exec {FLIPSIDE} deploy --set VERSION=new --set START_DELAY_MS=2000 --set BAKE=1s"
    );
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]);
    stage.surround(&mut command);
    let mut running = Running::start(command);
    running.until_shown("stands up in slot");
    running.signal(Signal::KILL);
    drop(running);
    let pid = std::fs::read_to_string(stage.path().join("pid")).unwrap();
    let process = std::path::Path::new("/proc").join(pid.trim());
    let deadline = std::time::Instant::now() + LONG;
    while process.exists() {
        if std::time::Instant::now() > deadline {
            quiet(&["kill", "-9", pid.trim()]);
            panic!("it waits for its terminal");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let status = stage.expect(0, &["status", &stage.service]);
    let day = Day::of("terminal-gone", &stage).saw("flipside status shop", &status);
    day.serves(Serves::New("new"));
    assert_eq!(stage.releases(), (Some(2), vec![1]));
    assert_eq!(stage.status()["unfinished"], serde_json::Value::Null);
}
