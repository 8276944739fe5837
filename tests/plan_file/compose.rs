//! Plans that read Compose files: what is said of each form and each trap. Each case of
//! `golden/compose.txt` is
//!
//! ```text
//! ## web: a title
//! lines of the role `web` in `compose.yaml`
//! -- plan
//! lines of the plan's top level
//! =>
//! what is said
//!
//! ## files: a title
//! lines of the plan's top level
//! -- compose.yaml
//! lines of this file, and so on; the YAML ones are the plan's `compose` where it names none
//! =>
//! what is said
//! ```
//!
//! Of what is accepted, everything is said that is not simply used. `FLIPSIDE_BLESS=1` writes the
//! answers of the day into the file, for a person to read.

use std::fmt::Write as _;

use flipside::plan::{self, Fate};

use super::fixture::{Fixture, indented, with_top};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/compose.txt");

/// A plan and the files beside it.
pub struct Case {
    plan: String,
    files: Vec<(String, String)>,
}

impl Case {
    fn new(kind: &str, input: &str) -> Self {
        let mut parts = input.split("\n-- ");
        let first = parts.next().unwrap_or("");
        let first = match first.strip_prefix("-- ") {
            Some(file) => {
                parts = input[3..].split("\n-- ");
                let _ = file;
                ""
            }
            None => first,
        };
        let mut top = String::new();
        let mut files = Vec::new();
        match kind {
            "web" => {
                let image = match first.contains("image:") || first.contains("build:") {
                    true => "",
                    false => "    image: app:1\n",
                };
                let role = indented(first, 4);
                let text = format!("services:\n  web:\n{image}{role}");
                files.push(("compose.yaml".to_owned(), text));
            }
            "files" => top = first.to_owned(),
            other => panic!("no such kind of case: {other}"),
        }
        for part in parts {
            let (name, text) = part.split_once('\n').unwrap_or((part, ""));
            match name {
                "plan" => top = text.to_owned(),
                name => files.push((name.to_owned(), format!("{text}\n"))),
            }
        }
        Self::given(&top, files)
    }

    /// A good plan with `top` at its top level, which reads `files`.
    pub fn given(top: &str, files: Vec<(String, String)>) -> Self {
        let yaml = |name: &str| name.ends_with(".yaml") || name.ends_with(".yml");
        let names = files.iter().map(|(name, _)| name.as_str());
        let names: Vec<_> = names.filter(|name| yaml(name)).collect();
        let mut top = top.to_owned();
        if !top.lines().any(|line| line.starts_with("compose:")) {
            let compose = format!("compose: [{}]\n", names.join(", "));
            top.insert_str(0, &compose);
        }
        if !top.lines().any(|line| line.starts_with("services:")) {
            top.insert_str(0, "services: {}\n");
        }
        let plan = with_top(&top);
        // What a case leaves empty is left out.
        let empty = ["services: {}", "expose:", "compose:"];
        let lines = plan.lines().filter(|line| !empty.contains(line));
        let plan = lines.map(|line| format!("{line}\n")).collect();
        Self { plan, files }
    }

    /// Runs `act` with the files there.
    pub fn with<T>(&self, fixture: &Fixture, act: impl FnOnce(&str) -> T) -> T {
        for (name, text) in &self.files {
            let path = fixture.file(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = text
                .replace('␍', "\r")
                .replace('␉', "\t")
                .replace('␀', "\u{feff}");
            std::fs::write(path, text).unwrap();
        }
        let done = act(&self.plan);
        for (name, _) in &self.files {
            std::fs::remove_file(fixture.file(name)).unwrap();
        }
        done
    }
}

/// What is said, and of an accepted plan what became of each value that is not simply used.
fn said(fixture: &Fixture, case: &Case) -> String {
    case.with(fixture, |plan| {
        let mut said = fixture.said(plan);
        if !said.starts_with("accepted") {
            return said;
        }
        let accounted = plan::account(&fixture.path(), &fixture.inputs());
        for entry in accounted.entries {
            if entry.fate == Fate::Used {
                continue;
            }
            let file = fixture.without_directory(&entry.file);
            let (line, path, fate) = (entry.line, entry.path.join("."), entry.fate);
            write!(said, "\n{file}:{line} {path}: {fate}").unwrap();
        }
        said
    })
}

#[test]
fn every_form_and_every_trap_is_answered() {
    let table = std::fs::read_to_string(TABLE).unwrap();
    let fixture = Fixture::new();
    let mut written = String::new();
    let mut wrong = Vec::new();
    let cases = table.split("\n## ");
    for case in cases.map(|case| case.trim_start_matches("## ")) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (input, expected) = rest.split_once("\n=>").unwrap_or((rest, ""));
        let input = input.trim_end_matches('\n');
        let (kind, _) = title.split_once(": ").unwrap();
        let said = said(&fixture, &Case::new(kind, input));
        if said != expected.trim_matches('\n') {
            let expected = expected.trim();
            wrong.push(format!(
                "## {title}\n--- expected\n{expected}\n--- said\n{said}"
            ));
        }
        write!(written, "## {title}\n{input}\n=>\n{said}\n\n").unwrap();
    }
    if std::env::var_os("FLIPSIDE_BLESS").is_some() {
        std::fs::write(TABLE, format!("{}\n", written.trim_end())).unwrap();
    } else {
        let (count, list) = (wrong.len(), wrong.join("\n\n"));
        assert!(wrong.is_empty(), "{count} differ:\n\n{list}");
    }
}
