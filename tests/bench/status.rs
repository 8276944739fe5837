//! `flipside status` of a service with 1,000 releases in its journal, against the same service with
//! two, in alternating rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use common::{Figures, Running, Stage, ms};
use serde_json::Value;

mod common;

const RELEASES: u64 = 1_000;

fn main() -> ExitCode {
    common::main("status", |length, bounds| {
        let stage = Stage::new("", "");
        stage.deploy_two();
        let short = stage.directory().join("state");
        let long = stage.directory().join("long");
        lengthen(stage.service(), &short, &long);
        let (mut few, mut many) = (Figures::default(), Figures::default());
        for _ in 0..length.rounds(100, 10) {
            for (state, took) in [(&short, &mut few), (&long, &mut many)] {
                let mut command = stage.flipside(&["status", stage.service()]);
                command.env("FLIPSIDE_STATE", state);
                let begun = Instant::now();
                Running::start(&mut command).finish();
                took.add(ms(begun));
            }
        }
        println!("  with 2 releases      {few}");
        println!("  with {RELEASES} releases  {many}");
        bounds.at_most("median", many.median(), 50.0, " ms");
    })
}

/// A journal whose last two runs are those of `from`, after as many copies of the first.
fn lengthen(service: &str, from: &Path, to: &Path) {
    let runs = |root: &Path| root.join("journal").join(service);
    std::fs::create_dir_all(runs(to)).unwrap();
    let sealed = |root: &Path, run: u64| -> PathBuf {
        runs(root).join(format!("{:020}.sealed.jsonl", u64::MAX - run))
    };
    for run in 1..=RELEASES {
        let like = if run == RELEASES { 2 } else { 1 };
        let text = std::fs::read_to_string(sealed(from, like)).unwrap();
        let lines = text.lines().map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record["run"] = run.into();
            format!("{record}\n")
        });
        std::fs::write(sealed(to, run), lines.collect::<String>()).unwrap();
    }
}
