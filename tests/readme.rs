//! The README says what is so: its plan is the example's and is accepted, its exit codes are the
//! program's, and it has no command that is not run. What needs an engine is run by `real_readme`.

use std::path::{Path, PathBuf};
use std::process::Command;

use flipside::error::Exit;

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its first line in the README, counted from 1.
    pub line: usize,
    /// What stands behind the opening fence.
    pub language: String,
    /// What it holds.
    pub text: String,
}

/// How a block is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Scripts of this repository, by name and flags.
    Scripts(Vec<String>),
    /// Commands to run in a sandbox beside the plan.
    Commands(String),
    /// The plan.
    Plan,
    /// A pipeline's file; its commands are run in the sandbox.
    Pipeline(Vec<String>),
}

/// The scripts that the README may name.
pub const SCRIPTS: &[&str] = &["./examples/quickstart.sh", "./tests/run.sh"];

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The program under test.
pub fn flipside() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_flipside"))
}

pub fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// Every fenced block of the README, with how it is tested.
///
/// # Panics
/// On a block that no test knows how to run.
pub fn blocks() -> Vec<(Block, Kind)> {
    fenced(&readme())
        .into_iter()
        .map(|block| {
            let kind = kind(&block)
                .unwrap_or_else(|why| panic!("README.md:{}: {why}:\n{}", block.line, block.text));
            (block, kind)
        })
        .collect()
}

/// The README's plan.
pub fn plan() -> String {
    let plans: Vec<String> = blocks()
        .into_iter()
        .filter(|(_, kind)| *kind == Kind::Plan)
        .map(|(block, _)| block.text)
        .collect();
    assert_eq!(plans.len(), 1, "the README shows one plan");
    plans.into_iter().next().unwrap()
}

pub fn fenced(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(language) if !inside => {
                inside = true;
                blocks.push(Block {
                    line: index + 2,
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            Some(_) => inside = false,
            None => {
                if let (true, Some(block)) = (inside, blocks.last_mut()) {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
        }
    }
    assert!(!inside, "a block is not closed");
    blocks
}

fn kind(block: &Block) -> Result<Kind, &'static str> {
    let lines = || block.text.lines().filter(|line| !line.trim().is_empty());
    let script = |line: &str| SCRIPTS.contains(&line.split(' ').next().unwrap_or_default());
    match block.language.as_str() {
        "sh" if lines().all(script) => Ok(Kind::Scripts(lines().map(str::to_owned).collect())),
        "sh" if lines().any(|line| line.contains("./") || line.contains("cargo")) => {
            Err("the sandbox has no checkout to run this in")
        }
        "sh" if lines().any(|line| line.starts_with("flipside ")) => {
            Ok(Kind::Commands(block.text.clone()))
        }
        "yaml" if lines().any(|line| line == "services:") => Ok(Kind::Plan),
        "yaml" => {
            let commands: Vec<String> = lines()
                .filter(|line| line.contains("flipside "))
                .map(|line| {
                    let line = line.trim_start().trim_start_matches("- ");
                    line.trim_start_matches("run: ").to_owned()
                })
                .collect();
            let known = commands.iter().all(|line| line.starts_with("flipside "));
            match known && !commands.is_empty() {
                true => Ok(Kind::Pipeline(commands)),
                false => Err("neither a plan nor a pipeline that runs flipside"),
            }
        }
        _ => Err("no test knows how to run this block"),
    }
}

#[test]
fn a_block_that_nobody_can_run_is_caught() {
    let known = |text: &str| kind(&fenced(text)[0]);
    assert!(known("```console\n$ flipside status\n```\n").is_err());
    assert!(known("```\nflipside status\n```\n").is_err());
    assert!(known("```sh\ncargo install flipside\n```\n").is_err());
    assert!(known("```sh\n./tests/other.sh\n```\n").is_err());
    assert!(known("```yaml\na: b\n```\n").is_err());
    assert!(known("```sh\nflipside status\n```\n").is_ok());
    assert_eq!(
        known("```yaml\nscript:\n  - flipside rollback shop\n```\n"),
        Ok(Kind::Pipeline(vec!["flipside rollback shop".to_owned()]))
    );
}

#[test]
fn every_block_is_known() {
    let kinds: Vec<Kind> = blocks().into_iter().map(|(_, kind)| kind).collect();
    let scripts = kinds.iter().any(|kind| matches!(kind, Kind::Scripts(_)));
    let commands = kinds.iter().any(|kind| matches!(kind, Kind::Commands(_)));
    let pipelines = kinds.iter().any(|kind| matches!(kind, Kind::Pipeline(_)));
    assert!(scripts && commands && pipelines, "{kinds:?}");
}

#[test]
fn the_plan_is_the_examples() {
    let example = std::fs::read_to_string(root().join("examples/shop/flipside.yaml")).unwrap();
    assert_eq!(plan(), example);
    assert_eq!(example.lines().count(), 20);
}

#[test]
fn the_plan_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(
        root().join("examples/shop/Dockerfile"),
        directory.path().join("Dockerfile"),
    )
    .unwrap();
    std::fs::write(directory.path().join("flipside.yaml"), plan()).unwrap();
    let output = Command::new(flipside())
        .args(["check", "--set", "VERSION=1", "--state"])
        .arg(directory.path().join("state"))
        .current_dir(&directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_exit_codes_are_the_programs() {
    let text = readme();
    let told: Vec<u8> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next()?.parse().ok())
        .collect();
    let own = [
        Exit::Done,
        Exit::Bug,
        Exit::BadInput,
        Exit::Refused,
        Exit::Decide,
        Exit::Held,
        Exit::Interrupted,
        Exit::OutOfReach,
    ]
    .map(Exit::code);
    assert_eq!(told, own);
}

#[test]
fn what_it_links_to_is_there() {
    let text = readme();
    for target in text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        assert!(root().join(target).exists(), "README.md links to {target}");
    }
}

/// The test command cannot run itself: that its flags are understood is what can be tested here.
#[test]
fn the_test_command_knows_its_flags() {
    let mut seen = 0;
    for (_, kind) in blocks() {
        let Kind::Scripts(lines) = kind else { continue };
        for line in lines
            .iter()
            .filter(|line| line.starts_with("./tests/run.sh"))
        {
            let mut words = line.split(' ');
            let status = Command::new(root().join(words.next().unwrap()))
                .args(words)
                .arg("--help")
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap();
            assert!(status.success(), "{line}");
            seen += 1;
        }
    }
    assert!(seen > 0);
    let status = Command::new(root().join("tests/run.sh"))
        .arg("--nonsense")
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn the_quickstart_says_in_one_line_what_to_do_where_no_engine_can_be_had() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(root().join("examples/quickstart.sh"))
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("TMPDIR", directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines,
        [
            "quickstart: the engine at DOCKER_HOST=unix:///nonexistent/docker.sock does not answer: \
             start it, or unset DOCKER_HOST"
        ]
    );
    let files = std::fs::read_dir(&directory).unwrap().count();
    assert_eq!(files, 0, "files are left");
}
