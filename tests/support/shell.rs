//! Commands of the machine's, some of them as root.

/// Runs a command that must succeed; its standard output.
#[track_caller]
pub fn sh(words: &[&str]) -> String {
    let output = std::process::Command::new(words[0])
        .args(&words[1..])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// As [`sh`], as root.
#[track_caller]
pub fn root(words: &[&str]) -> String {
    sh(&[as_root(), words].concat())
}

/// What goes before a command so that root runs it.
pub fn as_root() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() {
        &[]
    } else {
        &["sudo", "-n"]
    }
}

/// Runs a command of which nothing is expected.
pub fn quiet(words: &[&str]) {
    std::process::Command::new(words[0])
        .args(&words[1..])
        .output()
        .ok();
}
