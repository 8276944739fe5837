//! The guide says what is so: its commands are understood, its plans are accepted, its numbers and
//! exit codes are the program's.

use std::collections::BTreeMap;

use clap::{CommandFactory, Parser};
use flipside::cli::Cli;
use flipside::core::plan::Policy;
use flipside::error::Exit;
use flipside::guide::PAGES;
use flipside::plan::load;
use flipside::pointer::SECTIONS;

use super::support::sample::NO_INPUTS;

use super::readme::{fenced, readme, root};
use super::verbs_misuse::{directory, run};

pub fn page(topic: &str) -> &'static str {
    let page = PAGES.iter().find(|page| page.topic == topic);
    page.unwrap().text
}

fn told(words: &[&str]) -> String {
    let ran = run(directory(&[]).path(), words);
    ran.is(0, &[]);
    assert_eq!(ran.err, "");
    ran.out
}

#[test]
fn help_lists_every_topic_and_every_verb() {
    let list = told(&["help"]);
    let (topics, verbs) = list.split_once("\n\nVerbs").unwrap();
    let has = |part: &str, name: &str, about: &str| {
        let line = part.lines().find(|line| {
            let rest = line.trim_start().strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with("  ") && rest.trim_start() == about)
        });
        assert!(
            line.is_some_and(|line| line.len() <= 100),
            "{name}:\n{list}"
        );
    };
    for page in PAGES {
        has(topics, page.topic, page.about);
    }
    for verb in Cli::command().get_subcommands() {
        let about = verb.get_about().unwrap().to_string();
        has(verbs, verb.get_name(), &about);
    }
    assert_eq!(
        list.lines().last(),
        Some("At three in the morning: flipside rollback")
    );
}

#[test]
fn a_topic_is_a_page_and_a_verb_is_its_help() {
    for page in PAGES {
        let shown = told(&["help", page.topic]);
        assert!(shown.starts_with(page.text), "{shown}");
    }
    let mut root = Cli::command();
    root.build();
    for verb in root.get_subcommands() {
        let name = verb.get_name();
        let (shown, help) = (told(&["help", name]), told(&[name, "--help"]));
        match PAGES.iter().find(|page| page.topic == name) {
            Some(page) => assert_eq!(shown, format!("{}\n{help}", page.text)),
            None => assert_eq!(shown, help),
        }
        for below in verb.get_subcommands().map(clap::Command::get_name) {
            let help = told(&[name, below, "--help"]);
            assert_eq!(told(&["help", name, below]), help);
        }
    }
}

#[test]
fn an_unknown_topic_is_bad_input_with_the_nearest_name() {
    let dir = directory(&[]);
    let run = |words: &[&str]| run(dir.path(), words);
    run(&["help", "standbys"]).is(2, &["`standbys` is neither", "`flipside help standby`?"]);
    run(&["help", "exitcodes"]).is(2, &["`flipside help exit-codes`?"]);
    run(&["help", "deplyo"]).is(2, &["`flipside help deploy`?"]);
    run(&["help", "qqqqqqqq"]).is(2, &["hint: flipside help\n"]);
    run(&["help", "proxy", "stats"]).is(2, &["`flipside proxy` has no verb `stats`"]);
}

#[test]
fn every_page_is_listed_and_fits_a_screen() {
    let files = std::fs::read_dir(root().join("src/guide")).unwrap();
    let mut files: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| Some(name.strip_suffix(".md")?.to_owned()))
        .collect();
    files.sort();
    let mut topics: Vec<_> = PAGES.iter().map(|page| page.topic).collect();
    topics.sort_unstable();
    assert_eq!(files, topics);
    let docs = std::fs::read_to_string(root().join("src/guide/mod.rs")).unwrap();
    for page in PAGES {
        let doc = format!("#![doc = include_str!(\"{}.md\")]", page.topic);
        assert!(docs.contains(&doc), "{} is no rustdoc", page.topic);
        let lines: Vec<_> = page.text.lines().collect();
        assert!(lines[0].starts_with("# "), "{}", page.topic);
        // The table of all bad days is looked up, not read.
        let long = page.topic != "bad-days" && lines.len() > 80;
        assert!(!long, "{}: {} lines", page.topic, lines.len());
        let wide = lines.iter().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None, "{}", page.topic);
    }
}

/// Every command of a page: its lines of shell, and what stands in backticks.
fn commands(text: &str) -> Vec<String> {
    let blocks = fenced(text);
    let shell = blocks.iter().filter(|block| block.language == "sh");
    let lines = shell.flat_map(|block| block.text.lines());
    // What other programs are told is run by `real_app`.
    let lines = lines.filter(|line| !line.starts_with("docker "));
    let lines = lines.map(|line| line.trim().to_owned());
    let words = text.split('`').filter(|code| code.starts_with("flipside "));
    lines.chain(words.map(str::to_owned)).collect()
}

/// Why the program would not understand a command; `None`: it would.
pub fn misunderstood(command: &str) -> Option<String> {
    let words: Vec<_> = command.split_whitespace().collect();
    assert_eq!(words[0], "flipside", "{command}");
    let error = Cli::try_parse_from(words).err()?;
    error.use_stderr().then(|| format!("{command}: {error}"))
}

#[test]
fn every_command_is_understood() {
    let mut seen = 0;
    for page in PAGES {
        for command in commands(page.text) {
            assert_eq!(misunderstood(&command), None, "{}", page.topic);
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} commands");
    for wrong in [
        "flipside rollbak shop",
        "flipside status --wait",
        "flipside down a b",
    ] {
        assert!(misunderstood(wrong).is_some(), "{wrong}");
        let page = format!("Words: `{wrong}`.\n\n```sh\n{wrong}\n```\n");
        assert_eq!(commands(&page), [wrong, wrong]);
    }
}

#[test]
fn topics_that_pages_name_are_there() {
    let mut seen = 0;
    for command in PAGES.iter().flat_map(|page| commands(page.text)) {
        if let Some(topic) = command.strip_prefix("flipside help ") {
            page(topic);
            seen += 1;
        }
    }
    assert!(seen > 0);
}

/// Code and meaning of each row of a table in Markdown.
fn rows(text: &str) -> BTreeMap<u8, String> {
    let rows = text.lines().filter_map(|line| {
        let (code, meaning) = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split_once(" | ")?;
        Some((code.parse().ok()?, meaning.to_owned()))
    });
    rows.collect()
}

#[test]
fn exit_codes_are_the_same_everywhere() {
    let help = told(&["--help"]);
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let codes = codes.lines().map_while(|line| {
        let (code, meaning) = line.trim_start().split_once("  ")?;
        Some((code.parse::<u8>().ok()?, meaning.to_owned()))
    });
    let codes: BTreeMap<u8, String> = codes.collect();
    let last = Exit::OutOfReach.code();
    assert!(codes.keys().copied().eq(0..=last), "{codes:?}");
    assert_eq!(rows(page("exit-codes")), codes);
    assert_eq!(rows(&readme()), codes);
}

#[test]
fn every_kind_of_pointer_has_its_row_and_its_page() {
    for section in SECTIONS {
        let row = format!("| `{}` |", section.kind);
        assert!(page("pointers").contains(&row), "{row}");
        let keys = section.keys.iter().map(|key| key.name);
        let text = match section.kind {
            "proxy" => page("plan").to_owned() + page("preview"),
            kind => page(kind).to_owned(),
        };
        for key in keys {
            assert!(
                text.contains(&format!("`{key}`")) || text.contains(&format!("{key}:")),
                "{key}"
            );
        }
        let sample = root().join("plans").join(format!("{}.yaml", section.kind));
        assert!(
            section.kind == "proxy" || sample.exists(),
            "{}",
            sample.display()
        );
    }
}

#[test]
fn plans_are_accepted_and_their_defaults_are_the_programs() {
    let blocks = |topic: &str| {
        let yaml = fenced(page(topic)).into_iter();
        yaml.filter(|block| block.language == "yaml")
            .map(|b| b.text)
    };
    let whole = blocks("plan").next().unwrap();
    let kinds = SECTIONS.iter().map(|section| section.kind);
    let kinds = kinds.filter(|kind| *kind != "proxy");
    let pages = ["plan", "standby", "hooks", "reach"]
        .into_iter()
        .chain(kinds);
    let parts = pages.flat_map(blocks);
    for part in parts {
        // What a page shows of a plan stands in for the whole plan's.
        let key = |line: &str| match line.starts_with(' ') {
            true => None,
            false => line.split_once(':').map(|(key, _)| key.to_owned()),
        };
        let keys: Vec<_> = part.lines().filter_map(key).collect();
        let mut within = None;
        let own = |line: &&str| {
            within = key(line).or(within.take());
            !within.as_ref().is_some_and(|key| keys.contains(key))
        };
        let rest = whole.lines().filter(own).collect::<Vec<_>>().join("\n");
        let text = match part.starts_with("name:") {
            true => part,
            false => format!("{rest}\n{part}"),
        };
        let dir = directory(&[("flipside.yaml", text.as_bytes())]);
        run(dir.path(), &["check"]).is(0, &["flipside.yaml is good"]);
    }

    let text = page("plan");
    let Policy {
        stand_up_ms,
        bake_ms,
        drain_ms,
        keep,
        proof_ms,
        ..
    } = Policy::default();
    let least = "name: shop\nservices: { web: { image: \"shop:1\" } }\nexpose: web:8080\n\
                 probes: [ { http: {} } ]\npointer: { proxy: { listen: \":8080\" } }\n";
    let dir = directory(&[("flipside.yaml", least.as_bytes())]);
    let plan = load(&dir.path().join("flipside.yaml"), &NO_INPUTS)
        .unwrap()
        .plan;
    let probe = &plan.probes[0];
    for told in [
        format!("- `bake`, {bake_ms}:"),
        format!("- `drain`, {} s:", drain_ms / 1000),
        format!("- `standby`, `keep: {keep}`:"),
        format!("- `stand_up`, `deadline: {}m`:", stand_up_ms / 60_000),
        format!("- `rollback`, `proof: {}s`:", proof_ms / 1000),
        format!("`interval` ({}s)", probe.interval_ms / 1000),
        format!("`timeout` ({}s)", probe.timeout_ms / 1000),
        format!("`initial_delay` ({})", probe.initial_delay_ms),
        format!("`passes` ({})", probe.passes),
        format!("`failures` ({})", probe.failures),
        format!("`deadline` ({}s:", probe.deadline_ms / 1000),
        format!("`failures` says ({})", probe.failures),
    ] {
        assert!(text.contains(&told), "{told}");
    }
}
