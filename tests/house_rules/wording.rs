//! What may not be written: unfinished work, panics without a reason, paths of one machine, names
//! of registries.

use super::source::{Source, line_of};
use super::{Breach, caught, hold, sources, texts};

/// Lines of code, tests left out, that a file of `src/` may have.
const LONGEST: usize = 600;

/// Files that may be longer, each with its reason. There is none.
const LONG: &[(&str, &str)] = &[];

/// Where names that are forbidden elsewhere must stand, each with its reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    (
        "src/engine/docker/credentials.rs",
        "docker.io",
        "the engine completes references with it, and configurations file credentials under it",
    ),
    (
        "src/engine/docker/credentials.rs",
        "index.docker.io",
        "the key of its credentials in every Docker configuration",
    ),
];

/// Files that name what they forbid, or that a tool writes.
const UNREAD: &[&str] = &[
    "tests/house_rules/wording.rs",
    "Cargo.lock",
    "LICENSE-APACHE",
];

#[test]
fn every_module_says_what_it_is_for() {
    hold(&each(header_breaches));
}

#[test]
fn files_stay_short() {
    hold(&each(length_breaches));
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|source| code_lines(source) > LONGEST)
        .map(|source| source.path)
        .collect();
    for (path, reason) in LONG {
        assert!(!reason.is_empty(), "{path} is long without a reason");
        assert!(
            long.iter().any(|own| own == path),
            "{path} is no longer long: take it off the list"
        );
    }
}

#[test]
fn nothing_panics_without_a_reason() {
    hold(&each(panic_breaches));
}

#[test]
fn lints_are_lifted_only_with_a_reason() {
    hold(&each(lint_breaches));
}

#[test]
fn nothing_is_left_unfinished() {
    hold(&in_texts(unfinished_breaches));
}

#[test]
fn no_path_of_one_machine_is_written() {
    hold(&in_texts(path_breaches));
}

#[test]
fn no_registry_is_named() {
    hold(&in_texts(registry_breaches));
    let texts = texts();
    for (path, name, reason) in ALLOWED {
        assert!(!reason.is_empty());
        assert!(
            texts
                .iter()
                .any(|(own, text)| own == path && text.contains(name)),
            "{path} no longer names {name}: take it off the list"
        );
    }
}

#[test]
fn tests_that_need_an_engine_are_told_by_their_module() {
    let texts = texts();
    let breaches = texts
        .iter()
        .flat_map(|(path, text)| name_breaches(path, text));
    hold(&breaches.collect::<Vec<_>>());
}

fn each(rule: fn(&Source) -> Vec<Breach>) -> Vec<Breach> {
    sources().iter().flat_map(rule).collect()
}

fn in_texts(rule: fn(&str, &str) -> Vec<Breach>) -> Vec<Breach> {
    texts()
        .iter()
        .filter(|(path, _)| !UNREAD.contains(&path.as_str()))
        .flat_map(|(path, text)| rule(path, text))
        .collect()
}

fn header_breaches(source: &Source) -> Vec<Breach> {
    let header = source.text.lines().next().unwrap_or_default();
    let says = header
        .strip_prefix("//!")
        .is_some_and(|words| !words.trim().is_empty());
    if says {
        Vec::new()
    } else {
        let what = "open it with a line `//! …` that says what the module is for";
        vec![Breach::new(&source.path, 1, what)]
    }
}

/// Lines up to the last that holds code or documentation of it; tests do not count.
fn code_lines(source: &Source) -> usize {
    let tests = source
        .text
        .lines()
        .zip(source.code.lines())
        .skip_while(|(text, _)| !text.starts_with("#[cfg(test)]"))
        .filter(|(_, code)| code.trim().is_empty())
        .count();
    source.code.lines().count() - tests
}

fn length_breaches(source: &Source) -> Vec<Breach> {
    let lines = code_lines(source);
    if lines <= LONGEST || LONG.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    let what = format!("has {lines} lines; split it by what its parts are for");
    vec![Breach::of_file(&source.path, what)]
}

fn panic_breaches(source: &Source) -> Vec<Breach> {
    let lines: Vec<&str> = source.code.lines().collect();
    let unwraps = source.code.match_indices(".unwrap()");
    // A parser may have an `expect` of its own; that of an option takes a text.
    let expects = source.code.match_indices(".expect(").filter(|(at, word)| {
        let argument = source.code[at + word.len()..].trim_start();
        argument.starts_with('"') || argument.starts_with("&format!")
    });
    unwraps
        .chain(expects)
        .filter_map(|(at, word)| {
            let line = line_of(&source.code, at);
            let reasoned = lines[..line]
                .iter()
                .rev()
                .take_while(|line| **line != "}")
                .any(|line| line.contains("clippy::expect_used") || line.contains("clippy::unwrap_used"));
            let what = format!("`{word}`: return an error, or say why it cannot happen in `#[expect(clippy::…, reason = \"…\")]`");
            (!reasoned).then(|| Breach::new(&source.path, line, what))
        })
        .collect()
}

fn lint_breaches(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for opening in ["#[allow(", "#![allow("] {
        for (at, _) in source.code.match_indices(opening) {
            let what = "write `#[expect(…, reason = \"…\")]`, which complains once it is needless";
            breaches.push(Breach::new(&source.path, line_of(&source.code, at), what));
        }
    }
    for opening in ["#[expect(", "#![expect("] {
        for (at, _) in source.code.match_indices(opening) {
            let end = source.code[at..].find(']').unwrap_or(0);
            if !source.code[at..at + end].contains("reason") {
                let what = "say why: `reason = \"…\"`";
                breaches.push(Breach::new(&source.path, line_of(&source.code, at), what));
            }
        }
    }
    breaches
}

fn unfinished_breaches(path: &str, text: &str) -> Vec<Breach> {
    const WORDS: &[&str] = &["todo!", "unimplemented!", "TODO", "FIXME", "#[ignore"];
    words_breaches(path, text, WORDS, |_, _| true, "finish it, or take it out")
}

fn path_breaches(path: &str, text: &str) -> Vec<Breach> {
    const WORDS: &[&str] = &["/work/", "/root/", "/home/"];
    let begins = |text: &str, at: usize| {
        let before = text[..at].chars().next_back().unwrap_or(' ');
        !before.is_alphanumeric() && !"._-~}".contains(before)
    };
    words_breaches(path, text, WORDS, begins, "a path of one machine")
}

fn registry_breaches(path: &str, text: &str) -> Vec<Breach> {
    const WORDS: &[&str] = &[
        "crates.io",
        "index.docker.io",
        "registry-1.docker.io",
        "auth.docker.io",
        "hub.docker.com",
        "ghcr.io",
        "gcr.io",
        "quay.io",
        "public.ecr.aws",
        "mcr.microsoft.com",
        "registry.npmjs.org",
        "pypi.org",
        "proxy.golang.org",
        "deb.debian.org",
        "archive.ubuntu.com",
    ];
    let own = words_breaches(path, text, WORDS, |_, _| true, "the name of a registry");
    // The Debian package `docker.io` is no host; a host has a path, a scheme or quotes around it.
    let host = |text: &str, at: usize| {
        let before = text[..at].chars().next_back().unwrap_or(' ');
        let after = text[at + "docker.io".len()..].chars().next().unwrap_or(' ');
        before != '.' && (before == '/' || after == '/' || (before == '"' && after == '"'))
    };
    let docker = words_breaches(path, text, &["docker.io"], host, "the name of a registry");
    own.into_iter()
        .chain(docker)
        .filter(|breach| {
            !ALLOWED.iter().any(|(allowed, name, _)| {
                *allowed == path && breach.what.contains(&format!("`{name}`"))
            })
        })
        .collect()
}

/// Tests are chosen by name: those with `real_` in theirs run where there is an engine. Another
/// test with it in its name would be left out of the part without one.
fn name_breaches(path: &str, text: &str) -> Vec<Breach> {
    if !path.ends_with(".rs") {
        return Vec::new();
    }
    let in_name = |text: &str, at: usize| {
        let mut lines = text[..at].rsplit('\n').map(str::trim_start);
        let line = lines.next().unwrap_or_default();
        let above = lines.next().unwrap_or_default();
        (line.starts_with("fn ") || line.starts_with("async fn "))
            && (above.starts_with("#[test]") || above.starts_with("#[tokio::test"))
    };
    let what = "only modules are named so; they need an engine, and so do all tests in them";
    words_breaches(path, text, &["real_"], in_name, what)
}

fn words_breaches(
    path: &str,
    text: &str,
    words: &[&str],
    counts: impl Fn(&str, usize) -> bool,
    what: &str,
) -> Vec<Breach> {
    words
        .iter()
        .flat_map(|word| text.match_indices(word))
        .filter(|(at, _)| counts(text, *at))
        .map(|(at, word)| Breach::new(path, line_of(text, at), format!("`{word}`: {what}")))
        .collect()
}

fn source(text: &str) -> Source {
    Source::new("src/a.rs", text)
}

#[test]
fn a_module_without_a_header_is_caught() {
    caught(&header_breaches(&source("use std::fmt;\n")), "//!");
    caught(&header_breaches(&source("//!\n")), "//!");
    assert_eq!(header_breaches(&source("//! Holds it.\n")), []);
}

#[test]
fn a_long_file_is_caught() {
    let long = "const A: u8 = 1;\n".repeat(LONGEST + 1);
    caught(&length_breaches(&source(&long)), "has 601 lines");
    let tests = "    fn f() {}\n".repeat(LONGEST);
    let tested = format!("const A: u8 = 1;\n#[cfg(test)]\nmod tests {{\n{tests}}}\n");
    assert_eq!(length_breaches(&source(&tested)), []);
}

#[test]
fn a_panic_without_a_reason_is_caught() {
    caught(
        &panic_breaches(&source("fn f() { x().unwrap() }")),
        "`.unwrap()`",
    );
    caught(
        &panic_breaches(&source("fn f() {\n    x()\n        .expect(\n \"it\")\n}")),
        "src/a.rs:3",
    );
    let elsewhere = "#[expect(clippy::expect_used, reason = \"a\")]\nfn f() {\n}\nfn g() {\n    x().expect(\"it\")\n}\n";
    caught(&panic_breaches(&source(elsewhere)), "src/a.rs:5");
    let reasoned =
        "#[expect(clippy::expect_used, reason = \"a\")]\nfn g() {\n    x().expect(\"it\")\n}\n";
    assert_eq!(panic_breaches(&source(reasoned)), []);
    let test = "#[cfg(test)]\nmod tests { fn f() { x().unwrap() } }";
    assert_eq!(panic_breaches(&source(test)), []);
}

#[test]
fn a_lint_lifted_without_a_reason_is_caught() {
    caught(
        &lint_breaches(&source("#[allow(dead_code)]\nfn f() {}")),
        "#[expect(",
    );
    caught(
        &lint_breaches(&source("#[expect(dead_code)]\nfn f() {}")),
        "say why",
    );
}

#[test]
fn unfinished_work_is_caught() {
    for text in ["todo!()", "// TODO: it", "#[ignore]", "// FIXME"] {
        caught(&unfinished_breaches("src/a.rs", text), "src/a.rs:1");
    }
}

#[test]
fn a_path_of_one_machine_is_caught() {
    caught(&path_breaches("a.sh", "cd /work/main"), "`/work/`");
    caught(&path_breaches("a.rs", "\"/root/.cargo\""), "`/root/`");
    assert_eq!(path_breaches("a.rs", "\"$HOME/work/x\", \"a/root/b\""), []);
}

#[test]
fn a_registry_is_caught() {
    caught(&registry_breaches("a.rs", "https://ghcr.io/x"), "`ghcr.io`");
    caught(
        &registry_breaches("a.rs", "docker.io/library/x"),
        "`docker.io`",
    );
    assert_eq!(registry_breaches("a.sh", "apt-get install docker.io"), []);
}

#[test]
fn a_test_that_would_be_left_out_is_caught() {
    caught(
        &name_breaches("tests/a.rs", "#[test]\nfn on_a_real_engine() {}"),
        "tests/a.rs:2",
    );
    assert_eq!(name_breaches("tests/main.rs", "mod real_docker;"), []);
}
