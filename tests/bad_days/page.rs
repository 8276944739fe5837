//! The guide's page, made of what was seen, and what holds table, files and tests together.

use std::collections::BTreeSet;
use std::path::Path;

use super::seen::golden;
use super::table::{Entry, GROUPS, days};
use crate::guide::misunderstood;
use crate::readme::root;

/// Columns of a page.
const WIDTH: usize = 100;
/// Columns of the first two cells.
const EXIT: usize = 4;
const SERVES: usize = 11;
/// Columns that are left for what is said.
const SAID: usize = WIDTH - EXIT - SERVES - "|  |  |  |".len();

const INTRODUCTION: &str = "\
# Bad days

What you see when something goes wrong, and what serves meanwhile. The first command is a deploy,
unless something else is said; where one follows (`then`), it ended the day. What an exit code means
is told by `flipside help exit-codes`. Names, addresses and times are examples.

This page is made of what the tests on a real engine saw, so it says what is so.
";

/// One command of a day.
struct Step {
    typed: String,
    lines: Vec<String>,
    code: String,
    /// What answered after it, where that was asked.
    serves: String,
}

/// A day as its file tells it.
fn read(day: &Entry) -> Vec<Step> {
    let text = std::fs::read_to_string(golden(day.name));
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", day.name));
    let text = format!("\n{text}");
    let steps = text.split("\n$ ").skip(1).map(|step| {
        let mut lines: Vec<_> = step.trim_end().lines().map(str::to_owned).collect();
        let serves = lines.pop_if(|line| line.starts_with("serves: "));
        let serves = serves.map(|line| line.replace("serves: ", ""));
        let code = lines.pop().and_then(|code| {
            let code = code.strip_prefix("exit ")?;
            Some(code.to_owned())
        });
        Step {
            typed: lines.remove(0),
            lines,
            code: code.unwrap_or_else(|| panic!("{}", day.name)),
            serves: serves.unwrap_or_default(),
        }
    });
    steps.collect()
}

/// What a page says of a command: what went wrong, without a container's own words, and the way out;
/// where nothing did, how it ended.
fn gist(step: &Step) -> Vec<&str> {
    let lines = || step.lines.iter().map(String::as_str);
    if step.typed.starts_with("flipside status") {
        return lines().collect();
    }
    if let Some(at) = lines().position(|line| line.starts_with("error: ")) {
        // It says all that was said before it, and what mends it. The line of a plan that it shows
        // stands in the plan.
        let said = lines().skip(at).map(|line| line.trim_start());
        let of_plan = |line: &&str| {
            line.trim_start_matches(char::is_numeric)
                .trim_start()
                .starts_with('|')
        };
        let said = said.filter(|line| !of_plan(line));
        return said.map(|line| line.trim_start_matches("= ")).collect();
    }
    let mut kept: Vec<&str> = Vec::new();
    for line in lines() {
        let failed = line.starts_with("failed: ");
        let hint = line.trim_start().starts_with("hint: ");
        // After a failure, the exit code and who serves say how it ended.
        let told = failed && kept.iter().any(|line| line.starts_with("failed: "));
        if hint || line.starts_with("warning: ") || (failed && !told) {
            kept.push(line.trim_start());
        }
    }
    if kept.is_empty() {
        kept.push(lines().next().unwrap_or("(nothing)"));
    }
    kept
}

/// `text` in lines of at most `width` columns, all but the first a little further in.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        let long = line.chars().count() + 1 + word.chars().count() > width;
        if long && !line.trim().is_empty() {
            lines.push(format!("  {word}"));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn row(exit: &str, serves: &str, said: &str) -> String {
    format!("| {exit:EXIT$} | {serves:SERVES$} | {said:SAID$} |\n")
}

/// A day's rows; `above` is what the day before it has shown, which is not shown again.
fn rows(day: &Entry, above: &mut Vec<String>) -> String {
    let mut rows = String::new();
    for (n, step) in read(day).iter().enumerate() {
        let head = match n {
            0 => format!("**{}**", day.title),
            _ => format!("then `{}`", step.typed),
        };
        rows += &row(&step.code, &step.serves, &head);
        let said: Vec<String> = gist(step)
            .into_iter()
            .flat_map(|text| wrapped(&text.replace('|', "\\|"), SAID))
            .collect();
        if n == 0 && said == *above && said.len() > 2 {
            rows += &row("", "", "(as above)");
            continue;
        }
        for line in &said {
            rows += &row("", "", line);
        }
        if n == 0 {
            *above = said;
        }
    }
    rows
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for group in GROUPS {
        page += &format!("\n## {}\n\n", group.title);
        page += &row("exit", "serves", "what happened, and what you see");
        page += &row("----", &"-".repeat(SERVES), &"-".repeat(SAID));
        let mut above = Vec::new();
        for day in group.days {
            page += &rows(day, &mut above);
        }
    }
    page
}

#[test]
fn the_page_is_what_was_seen() {
    let path = root().join("src/guide/bad-days.md");
    let page = page();
    if std::env::var_os("FLIPSIDE_BLESS").is_some() {
        std::fs::write(path, page).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap();
    assert_eq!(found, page, "FLIPSIDE_BLESS=1 writes the page");
}

/// Every file under `tests/` that holds tests on the engine, and that of the clock, which is handed
/// in.
fn sources() -> Vec<String> {
    fn gather(directory: &Path, texts: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(&path, texts);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let clock = root().join("tests/crash_matrix/clock.rs");
    let mut texts = vec![std::fs::read_to_string(clock).unwrap()];
    for entry in std::fs::read_dir(root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name.starts_with("real_") {
            gather(&path, &mut texts);
        }
    }
    texts
}

#[test]
fn every_day_has_a_file_and_a_test_that_writes_it() {
    let named: Vec<_> = days().map(|day| day.name).collect();
    let distinct: BTreeSet<String> = named.iter().map(|&name| name.into()).collect();
    assert_eq!(distinct.len(), named.len(), "a name stands twice");
    let files = std::fs::read_dir(golden("x").parent().unwrap()).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files
        .map(|file| file.strip_suffix(".txt").unwrap_or(&file).to_owned())
        .collect();
    assert_eq!(files, distinct, "files on the left, the table on the right");
    let sources = sources();
    for name in named {
        let quoted = format!("\"{name}\"");
        let tests = sources.iter().filter(|text| text.contains(&quoted));
        assert_eq!(tests.count(), 1, "{name}: how many files of tests name it");
    }
}

#[test]
fn every_way_out_is_a_command_that_is_understood() {
    let mut seen = 0;
    for day in days() {
        for step in read(day) {
            let hints = step
                .lines
                .iter()
                .filter_map(|line| line.trim_start().strip_prefix("hint: "));
            let hints = hints.flat_map(|hint| hint.split("; "));
            let hints = hints.filter_map(|hint| Some(&hint[hint.find("flipside ")?..]));
            let typed = [step.typed.as_str()].into_iter();
            for command in hints.chain(typed.filter(|typed| typed.starts_with("flipside "))) {
                let command = command.split('`').next().unwrap();
                assert_eq!(misunderstood(command), None, "{}", day.name);
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "{seen} commands");
}

#[test]
fn what_is_told_is_the_same_every_day() {
    use super::words::matters;
    let talk = "\
[  0.0s] warning: flipside.yaml:20:1: a lint
[  0.1s] deploy shop@2, begun by `ann@host`; shop@1 is live
[ 10.1s] still probing shop@2 after 10 s
[ 12.3s] failed: web exited with 7, 485 ms after probing began
           `shop-2-web-1`: exited with 7
             its last 2 log lines:
               exiting with 7
               exiting with 7
           hint: look at it
[ 12.4s] shop@1 still serves
           switch 3.8 ms · requests in flight 0, cut 0 · 2.1 s in all
";
    assert_eq!(
        matters(talk),
        "failed: web exited with 7, 485 ms after probing began\n  `shop-2-web-1`: exited with 7\n    \
         its last log lines:\n      exiting with 7\n  hint: look at it\nshop@1 still serves\n"
    );
    assert_eq!(
        matters("[  1.0s] a\n[  2.0s] b is live\n           c\n"),
        "b is live\n  c\n"
    );
    assert_eq!(wrapped("one two three", 8), ["one two", "  three"]);
}
