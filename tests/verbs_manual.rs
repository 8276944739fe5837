//! What the program tells of itself: completions and manual pages. Each is held against the
//! command line's own tree, so that no verb and no flag is forgotten.

use std::path::Path;
use std::process::Command;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use flipside::cli::Cli;

use super::verbs_misuse::{directory, run};

/// A flag that is not for people.
const HIDDEN: &str = "--proxy-control";

/// A verb as it is called.
struct Called {
    /// `["proxy", "status"]`; of flipside itself none.
    words: Vec<String>,
    /// Its flags: `--dry-run`.
    flags: Vec<String>,
}

/// Flipside itself and every verb, verbs of verbs included.
fn tree() -> Vec<Called> {
    let mut root = Cli::command();
    root.build();
    let mut all = Vec::new();
    gather(&root, &[], &mut all);
    assert!(all.len() > 15, "{} verbs", all.len());
    all
}

fn gather(command: &clap::Command, words: &[String], all: &mut Vec<Called>) {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let flags = shown.filter_map(|arg| Some(format!("--{}", arg.get_long()?)));
    all.push(Called {
        words: words.to_vec(),
        flags: flags.collect(),
    });
    for verb in command.get_subcommands() {
        let words = [words, &[verb.get_name().to_owned()]].concat();
        gather(verb, &words, all);
    }
}

fn told(words: &[&str]) -> String {
    let ran = run(directory(&[]).path(), words);
    ran.is(0, &[]);
    assert_eq!(ran.err, "");
    ran.out
}

/// What a real bash offers for each line, the last word of which is being written.
fn offered(script: &Path, lines: &[String]) -> Vec<Vec<String>> {
    const DRIVER: &str = r#"
        source "$1"
        [[ $(complete -p flipside) == *"-F _flipside "* ]] || exit 9
        while IFS= read -r line; do
            IFS=' ' read -ra COMP_WORDS <<< "$line"
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            COMPREPLY=()
            _flipside flipside "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[*]}"
        done <<< "$2"
    "#;
    let output = Command::new("bash")
        .args(["--norc", "-c", DRIVER, "bash"])
        .arg(script)
        .arg(lines.join("\n"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let out = String::from_utf8(output.stdout).unwrap();
    let offered = out.lines().map(|line| line.split(' ').map(str::to_owned));
    offered.map(Iterator::collect).collect()
}

#[test]
fn bash_completes_every_verb_and_every_flag() {
    let script = told(&["completions", "bash"]);
    let dir = directory(&[("flipside.bash", script.as_bytes())]);
    let file = dir.path().join("flipside.bash");
    let checked = Command::new("bash").arg("-n").arg(&file).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");

    let mut wanted = Vec::new();
    for Called { words, flags } in tree() {
        let before = ["flipside", &words.join(" ")].join(" ");
        let flags = flags.iter().map(|flag| (before.trim().to_owned(), flag));
        wanted.extend(flags.map(|(before, flag)| (before, flag.clone())));
        if let Some((verb, above)) = words.split_last() {
            let before = ["flipside", &above.join(" ")].join(" ");
            wanted.push((before.trim().to_owned(), verb.clone()));
        }
    }
    // All but the last letter has been written.
    let line = |(before, word): &(String, String)| format!("{before} {}", &word[..word.len() - 1]);
    let lines: Vec<String> = wanted.iter().map(line).collect();
    let offered = offered(&file, &lines);
    assert_eq!(offered.len(), wanted.len());
    for ((_, word), (line, offered)) in wanted.iter().zip(lines.iter().zip(&offered)) {
        assert!(offered.contains(word), "{line}: {offered:?}");
        assert!(!offered.contains(&HIDDEN.to_owned()), "{line}: {offered:?}");
    }
}

#[test]
fn every_shell_is_told_every_verb_and_every_flag() {
    for shell in Shell::value_variants() {
        let script = told(&["completions", &shell.to_string()]);
        for Called { words, flags } in tree() {
            let flags = flags.iter().map(|flag| flag.trim_start_matches('-'));
            for word in words.iter().map(String::as_str).chain(flags) {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
        let hidden = HIDDEN.trim_start_matches('-');
        assert!(!script.contains(hidden), "{shell}");
    }
}

#[test]
fn an_unknown_shell_is_bad_input() {
    let dir = directory(&[]);
    run(dir.path(), &["completions", "tcsh"]).is(2, &["bash, elvish, fish, powershell, zsh"]);
    run(dir.path(), &["completions"]).is(2, &["<SHELL>"]);
}

/// Roff as it is read: `\-` is a hyphen.
fn plain(roff: &str) -> String {
    roff.replace("\\-", "-")
}

#[test]
fn the_manual_has_every_verb_and_every_flag() {
    let (mut names, mut pages) = (Vec::new(), Vec::new());
    for Called { words, flags } in tree() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let page = told(&[&["man"], words.as_slice()].concat());
        let text = plain(&page);
        let name = [&["flipside"], words.as_slice()].concat().join("-");
        assert!(text.contains(&format!(".TH {name} 1 ")), "{text}");
        for flag in flags {
            assert!(text.contains(&format!("\\fB{flag}\\fR")), "{name}: {flag}");
        }
        assert!(!text.contains(HIDDEN), "{name}");
        names.push(name);
        pages.push(page);
    }
    let (root, verbs) = (plain(&pages[0]), &names[1..]);
    assert!(root.contains("7  engine, pointer or store out of reach"));
    assert!(root.contains("FLIPSIDE_STATE"), "{root}");
    for (name, above) in verbs.iter().map(|name| (name, name.rsplit_once('-'))) {
        let above = names
            .iter()
            .position(|own| Some(own.as_str()) == above.map(|(own, _)| own));
        let above = plain(&pages[above.unwrap()]);
        assert!(above.contains(&format!("\n{name}(1)\n")), "{name}");
    }

    // The same pages as files; one that was there is overwritten.
    let dir = directory(&[("man/flipside.1", b"old".repeat(100_000).as_slice())]);
    run(dir.path(), &["man", "--dir", "man"]).is(0, &[&format!("wrote {} pages", names.len())]);
    let mut files: Vec<_> = std::fs::read_dir(dir.path().join("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut expected: Vec<_> = names.iter().map(|name| format!("{name}.1")).collect();
    expected.sort();
    assert_eq!(files, expected);
    for (name, page) in names.iter().zip(&pages) {
        let written = std::fs::read_to_string(dir.path().join(format!("man/{name}.1"))).unwrap();
        assert_eq!(&written, page, "{name}");
    }
}

#[test]
fn a_manual_that_cannot_be_given_says_why() {
    let dir = directory(&[("file", b""), ("taken/flipside.1/x", b"")]);
    let run = |words: &[&str]| run(dir.path(), words);
    run(&["man", "deplyo"]).is(2, &["`flipside` has no verb `deplyo`", "`deploy`?"]);
    run(&["man", "proxy", "stats"]).is(2, &["`flipside proxy` has no verb `stats`", "`status`?"]);
    run(&["man", "qqqqqqqq"]).is(2, &["hint: flipside --help"]);
    run(&["man", "deploy", "--dir", "man"]).is(2, &["cannot be used with"]);
    run(&["man", "--dir", "file"]).is(7, &["error: making `file`: "]);
    run(&["man", "--dir", "taken"]).is(7, &["error: writing `taken/flipside.1`: Is a directory"]);
}

#[test]
fn the_schema_is_printed_as_it_is() {
    let read = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let schema = flipside::plan::schema();
    assert!(schema["properties"]["pointer"].is_object());
    let told_to_people = told(&["schema"]);
    assert!(told_to_people.lines().count() > 100);
    assert_eq!(read(told_to_people), schema);
    let line = told(&["schema", "--output", "json"]);
    assert_eq!(line.lines().count(), 1);
    assert_eq!(read(line), schema);
}
