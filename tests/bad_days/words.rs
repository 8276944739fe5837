//! What is the same on every machine and every day: names, places and times that are a test's own
//! or a moment's are shown as a user's would be.

use std::collections::BTreeSet;

use regex::Regex;

use crate::real_verbs::kit::Stage;

/// Patterns that stand for what differs from run to run, in this order.
const DIFFERS: &[(&str, &str)] = &[
    (r"\x1b\[[0-9;]*m|\r", ""),
    (r"t-[0-9a-f]{8,12}\b", "cart"),
    (r"\b10(\.\d+){3}/(\d+)", "10.213.0.0/$2"),
    (r"\b10(\.\d+){3}([^\d/]|$)", "10.213.0.2$2"),
    (r"\bann@[\w.-]+", "ann@host"),
    (r"sha256:[0-9a-f]{64}", "sha256:…"),
    (r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b", "…"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\dZ]*", "…"),
    // Times that were measured; those that the plan or the program sets are not told so.
    (
        r"\b(after|in) \d+(\.\d+)?( ?(µs|ms|s|m|h|d)\b)+( \d+(ms|s|m|h)\b)?",
        "$1 …",
    ),
    (r"\b\d+(\.\d+)? (µs|ms|s) (after|in all|ago)\b", "… $3"),
    (r"\b(\d+[mh] ?)+ after the start\b", "… after the start"),
    (r"\(just now\)", "(… ago)"),
    (r"\bprocess \d+", "process 4711"),
    (r"\b\d+ MiB$", "… MiB"),
    (r"\bafter \d+ checks?\b", "after … checks"),
    // Not ours: how an engine says that a name is unknown to it, or a place is shut.
    (r"(reached by the engine): .*", "$1: …"),
    (
        r"((network `|Step |container `|`build of )[^`]*`( did not start)?): .*: (no space left on device).*",
        "$1: …: $4",
    ),
    (
        r"(`shop-[^`]*`|who holds the service): .*: (no space left on device).*",
        "$1: …: $2",
    ),
];

/// What a test's own names are shown as.
pub struct Names(Vec<(String, String)>);

impl Names {
    /// Those of a test whose names are a user's.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    pub fn of(stage: &Stage) -> Self {
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let mut names = Self(Vec::new());
        names.add(&stage.proxy, "flipside-proxy");
        names.add(&stage.service, "shop");
        names.add(&path(&stage.state()), "/var/lib/flipside");
        names.add(&path(&stage.path().join("run")), "/var/lib/flipside/run");
        names.add(&path(stage.path()), "/srv/shop");
        names.add(&format!(":{}", stage.port), ":80");
        names.add(&stage.image, "shop:1");
        names
    }

    /// Shows `own` as `told`; of names in names the longer one is told.
    pub fn add(&mut self, own: &str, told: &str) {
        self.0.push((own.to_owned(), told.to_owned()));
        self.0.sort_by_key(|(own, _)| std::cmp::Reverse(own.len()));
    }

    /// `text` as it would be told of a user's service.
    pub fn told(&self, text: &str) -> String {
        let own = self.0.iter();
        let text = own.fold(text.to_owned(), |text, (own, told)| text.replace(own, told));
        DIFFERS.iter().fold(text, |text, (pattern, told)| {
            let pattern = Regex::new(&format!("(?m){pattern}")).unwrap();
            pattern.replace_all(&text, *told).into_owned()
        })
    }
}

/// The lines that matter: from the first trouble on, or else the last fact; without the time that
/// each has come at, without what is said while one waits, and of a container's own words each once.
pub fn matters(talk: &str) -> String {
    let mut lines: Vec<String> = talk.lines().filter_map(line).collect();
    // Which of two warnings comes first is a matter of luck.
    for together in lines.chunk_by_mut(|one, next| [one, next].iter().all(|it| is_warning(it))) {
        together.sort();
    }
    // Where an error ends it, how many warnings came before is a matter of luck, too.
    let fatal = lines.iter().any(|line| line.starts_with("error: "));
    let counts = |line: &String| is_trouble(line) && !(fatal && is_warning(line));
    let trouble = lines.iter().position(counts);
    let fact = |line: &String| !line.starts_with(' ');
    let first = trouble
        .or_else(|| lines.iter().rposition(fact))
        .unwrap_or(0);
    let (mut kept, mut logs) = (String::new(), None::<BTreeSet<String>>);
    for line in &lines[first..] {
        let deep = line.len() - line.trim_start().len();
        let (line, is_log) = match &mut logs {
            Some(seen) if deep > LOGS => {
                if !seen.insert(line.clone()) {
                    continue;
                }
                (line.clone(), true)
            }
            _ => (plural(line), false),
        };
        if !is_log {
            logs = line.ends_with(LOG_HEADER).then(BTreeSet::new);
        }
        kept += &line;
        kept.push('\n');
    }
    kept
}

const LOG_HEADER: &str = "its last log lines:";
/// How far the line above a container's own words is indented.
const LOGS: usize = 4;

/// A line without its time, its details two columns in; `None`: it is nobody's trouble.
fn line(line: &str) -> Option<String> {
    let stamp = Regex::new(r"^\[ *\d+\.\d+s\] ").unwrap();
    let line = match stamp.find(line) {
        Some(stamp) => line[stamp.end()..].to_owned(),
        // As wide as a stamp is what a detail begins with.
        None => line.strip_prefix("         ").unwrap_or(line).to_owned(),
    };
    // Of the plan; of waiting; of how long it took; of a journal that had no room.
    let lint = Regex::new(r"^warning: \S+\.yaml:\d+:").unwrap();
    let needless = ["still ", "waiting for the proxy", "{"];
    let needless = needless.iter().any(|word| line.starts_with(word))
        || lint.is_match(&line)
        || line.contains(" · requests in flight ");
    (!needless && !line.trim().is_empty()).then_some(line)
}

fn is_warning(line: &str) -> bool {
    line.starts_with("warning: ")
}

fn is_trouble(line: &str) -> bool {
    let begins = ["failed: ", "error: ", "warning: ", "note: "];
    begins.iter().any(|word| line.starts_with(word))
}

/// How many lines a container has written by then is a matter of luck; numbers in them are, too.
fn plural(line: &str) -> String {
    let header = Regex::new(r"its last (\d+ )?log lines?:$").unwrap();
    header.replace(line, LOG_HEADER).into_owned()
}
