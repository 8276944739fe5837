//! What stands where: the top level, sizes, a file for each verb, sample plans that somebody reads.

use super::{Breach, File, caught, files, hold, root, texts};

/// Everything the top level may hold.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".github",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "examples",
    "plans",
    "src",
    "tests",
];

/// What the top level must hold.
const NEEDED: &[&str] = &[
    ".ci/run",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "examples/quickstart.sh",
    "src/lib.rs",
    "tests/run.sh",
];

/// Bytes that a file may have.
const LARGEST: u64 = 1 << 20;

#[test]
fn the_top_level_is_fixed() {
    hold(&top_breaches(&paths()));
}

#[test]
fn what_everybody_needs_is_there() {
    hold(&needed_breaches(&paths()));
}

#[test]
fn files_stay_small() {
    hold(&size_breaches(&files()));
}

#[test]
fn the_lock_file_is_committed() {
    let ignored = std::fs::read_to_string(root().join(".gitignore")).unwrap();
    assert!(!ignored.contains("Cargo.lock"), "`.gitignore` names it");
    assert!(paths().iter().any(|path| path == "Cargo.lock"));
}

#[test]
fn every_verb_has_its_file() {
    let cli = std::fs::read_to_string(root().join("src/cli.rs")).unwrap();
    let calls = std::fs::read_to_string(root().join("src/cmd/mod.rs")).unwrap();
    hold(&verb_breaches(&cli, &calls, &paths()));
}

#[test]
fn every_sample_plan_is_read_by_somebody() {
    hold(&plan_breaches(&paths(), &texts()));
}

#[cfg(unix)]
#[test]
fn scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    for path in [".ci/run", "tests/run.sh", "examples/quickstart.sh"] {
        let mode = root().join(path).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{path} lacks its x bits");
    }
}

#[test]
fn what_ci_runs_is_the_test_command_with_its_own_words() {
    let script = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let last = script.lines().last();
    assert_eq!(last, Some(r#"exec ./tests/run.sh "$@""#));
}

#[test]
fn the_lock_file_is_kept() {
    let paths = paths();
    assert!(paths.iter().any(|path| path == "Cargo.lock"));
    let ignored = std::fs::read_to_string(root().join(".gitignore")).unwrap();
    assert!(!ignored.contains("Cargo.lock"), "{ignored}");
}

fn paths() -> Vec<String> {
    files().into_iter().map(|file| file.path).collect()
}

fn top_breaches(paths: &[String]) -> Vec<Breach> {
    let mut tops: Vec<&str> = paths
        .iter()
        .filter_map(|path| path.split('/').next())
        .filter(|top| !TOP.contains(top))
        .collect();
    tops.dedup();
    tops.into_iter()
        .map(|top| Breach::of_file(top, "the top level is fixed; put it where it belongs"))
        .collect()
}

fn needed_breaches(paths: &[String]) -> Vec<Breach> {
    NEEDED
        .iter()
        .filter(|needed| !paths.iter().any(|path| path == *needed))
        .map(|needed| Breach::of_file(needed, "is missing"))
        .collect()
}

fn size_breaches(files: &[File]) -> Vec<Breach> {
    files
        .iter()
        .filter(|file| file.bytes > LARGEST)
        .map(|file| Breach::of_file(&file.path, format!("has {} bytes", file.bytes)))
        .collect()
}

/// The variants of the enum `Verb`.
fn verbs(cli: &str) -> Vec<String> {
    let body = cli
        .split_once("pub enum Verb {")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .map(|(body, _)| body)
        .expect("src/cli.rs has `pub enum Verb`");
    body.lines()
        .filter_map(|line| {
            let word: String = line
                .trim()
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            word.starts_with(|first: char| first.is_ascii_uppercase())
                .then_some(word)
        })
        .collect()
}

/// A verb has a file of its own, or one with its family: the one that `cmd/mod.rs` calls for it.
fn verb_breaches(cli: &str, calls: &str, paths: &[String]) -> Vec<Breach> {
    verbs(cli)
        .into_iter()
        .filter(|verb| {
            // With what it takes, or of a verb that takes nothing without.
            let arms = [format!("Verb::{verb}("), format!("Verb::{verb} ")];
            let arm = arms.iter().find_map(|arm| calls.split_once(arm));
            let called = arm.and_then(|(_, rest)| {
                // Of a verb with verbs of its own, the first call counts.
                let mut calls = rest.split("=> ").skip(1);
                let call = calls.find(|call| !call.starts_with("match "))?;
                call.split_once("::").map(|(file, _)| file)
            });
            let Some(file) = called else { return true };
            let own = [
                format!("src/cmd/{file}.rs"),
                format!("src/cmd/{file}/mod.rs"),
            ];
            !paths.iter().any(|path| own.contains(path))
        })
        .map(|verb| Breach::of_file("src/cmd", format!("the verb `{verb}` has no file")))
        .collect()
}

/// A plan is read where the README names it, or where a test goes through the whole directory.
fn plan_breaches(paths: &[String], texts: &[(String, String)]) -> Vec<Breach> {
    let reads_all = texts.iter().any(|(path, text)| {
        let test = path.starts_with("tests/") && path.ends_with(".rs");
        let here = path.starts_with("tests/house_rules");
        test && !here && (text.contains("\"plans\"") || text.contains("\"plans/\""))
    });
    let readme = texts.iter().find(|(path, _)| path == "README.md");
    paths
        .iter()
        .filter(|path| path.starts_with("plans/"))
        .filter(|path| !reads_all && !readme.is_some_and(|(_, text)| text.contains(path.as_str())))
        .map(|path| Breach::of_file(path, "no test reads it and the README does not name it"))
        .collect()
}

fn owned(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn a_new_top_level_file_is_caught() {
    caught(
        &top_breaches(&owned(&["src/lib.rs", "notes.txt"])),
        "notes.txt",
    );
    caught(
        &top_breaches(&owned(&["docs/a.md", "docs/b.md"])),
        "docs: the top level is fixed",
    );
}

#[test]
fn a_missing_file_is_caught() {
    let most: Vec<String> = owned(&NEEDED[1..]);
    caught(&needed_breaches(&most), NEEDED[0]);
}

#[test]
fn a_large_file_is_caught() {
    let file = |bytes| File {
        path: "tests/big.bin".into(),
        bytes,
    };
    caught(&size_breaches(&[file(LARGEST + 1)]), "tests/big.bin");
    assert_eq!(size_breaches(&[file(LARGEST)]), []);
}

#[test]
fn a_verb_without_a_file_is_caught() {
    let cli = "pub enum Verb {\n    /// Words.\n    Deploy(Deploy),\n    Status(S),\n}\n";
    let calls =
        "Verb::Deploy(args) => deploy::run(args),\nVerb::Status(args) => status::run(args),";
    let paths = owned(&["src/cmd/deploy.rs"]);
    caught(&verb_breaches(cli, calls, &paths), "`Status`");
    caught(
        &verb_breaches(cli, "Verb::Deploy(args) => deploy::run(args)", &paths),
        "`Status`",
    );
}

#[test]
fn a_plan_that_nobody_reads_is_caught() {
    let paths = owned(&["plans/odd.yaml"]);
    caught(&plan_breaches(&paths, &[]), "plans/odd.yaml");
    let named = [("README.md".to_owned(), "see plans/odd.yaml".to_owned())];
    assert_eq!(plan_breaches(&paths, &named), []);
}
