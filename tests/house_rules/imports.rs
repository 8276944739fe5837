//! Who may import whom. Told in words in `src/lib.rs`; held here.

use super::source::{Source, line_of};
use super::{Breach, caught, hold, sources};

/// What each part of the house may import. The longest entry that fits an importing module counts.
/// Importing `engine`, `pointer` or `probe` means what their `mod.rs` holds, never one kind.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &["core"]),
    ("proxy", &["proxy"]),
    ("plan", &["plan", "core", "pointer"]),
    ("journal", &["journal", "core"]),
    ("docker", &["docker", "core", "engine::EngineError"]),
    ("lease", &["lease", "core", "engine"]),
    ("engine", &["engine", "core", "docker"]),
    (
        "pointer",
        &[
            "pointer",
            "core",
            "docker",
            "engine::EngineError",
            "process",
            "web",
        ],
    ),
    (
        "pointer::proxy",
        &[
            "pointer",
            "core",
            "docker",
            "engine::EngineError",
            "proxy::check",
            "proxy::claim",
            "proxy::control",
            "proxy::table",
            "probe",
        ],
    ),
    ("probe", &["probe", "core", "engine", "proxy::check"]),
    ("web", &["web"]),
    ("process", &["process"]),
    ("hook", &["hook", "core", "process", "web"]),
    ("report", &["report", "core", "error"]),
    ("error", &["error", "core", "engine", "pointer"]),
    (
        "perform",
        &["perform", "core", "engine", "hook", "pointer", "probe"],
    ),
    ("drive", &["drive", "perform", "core", "journal", "lease"]),
    ("cli", &["cli", "plan::duration"]),
    ("guide", &["guide"]),
    (
        "cmd",
        &[
            "cmd", "cli", "drive", "perform", "plan", "journal", "lease", "engine", "docker",
            "pointer", "probe", "proxy", "report", "error", "core", "guide", "hook",
        ],
    ),
    ("main", &["cli", "cmd", "error", "report"]),
    ("", &[]),
];

/// Homes of a trait and its kinds.
const HOMES: &[&str] = &["engine", "pointer", "gate"];

/// What the kinds of a home share.
const HELPERS: &[&str] = &[
    "authority",
    "aws",
    "outside",
    "preview",
    "record",
    "section",
];

/// Who may name a kind: nobody but the home itself and the verbs, which choose.
const CHOOSERS: &[&str] = &["cmd"];

#[test]
fn imports_follow_the_layers() {
    let sources = sources();
    let kinds = kinds(&sources);
    let breaches: Vec<Breach> = sources
        .iter()
        .flat_map(|source| import_breaches(source, &kinds))
        .collect();
    hold(&breaches);
}

#[test]
fn every_part_of_the_house_has_a_layer() {
    let sources = sources();
    for (of, _) in LAYERS.iter().filter(|(of, _)| !of.is_empty()) {
        let wanted: Vec<&str> = of.split("::").collect();
        assert!(
            sources
                .iter()
                .any(|source| source.module().starts_with(&wanted)),
            "the layer `{of}` is of a module that is not there"
        );
    }
}

/// The kinds below each home: `(engine, docker)`.
fn kinds(sources: &[Source]) -> Vec<(String, String)> {
    let mut kinds: Vec<(String, String)> = sources
        .iter()
        .filter_map(|source| match source.module().as_slice() {
            [home, kind, ..] if HOMES.contains(home) && !HELPERS.contains(kind) => {
                Some(((*home).to_owned(), (*kind).to_owned()))
            }
            _ => None,
        })
        .collect();
    kinds.dedup();
    kinds
}

fn import_breaches(source: &Source, kinds: &[(String, String)]) -> Vec<Breach> {
    let module = source.module();
    let layer = LAYERS
        .iter()
        .filter(|(of, _)| {
            let of: Vec<&str> = of.split("::").filter(|part| !part.is_empty()).collect();
            module.starts_with(&of) && (!of.is_empty() || module.is_empty())
        })
        .max_by_key(|(of, _)| of.len());
    let Some((of, may)) = layer else {
        let what = "has no layer: say in tests/house_rules/imports.rs what it may import";
        return vec![Breach::of_file(&source.path, what)];
    };
    imports(source)
        .into_iter()
        .filter_map(|(line, path)| {
            let shown = path.join("::");
            if path.len() == 1 && module.is_empty() {
                return None;
            }
            if !may.iter().any(|may| within(&path, may)) {
                let may = may.join("`, `");
                let what = format!("`{of}` imports `{shown}`; it may import only `{may}`");
                return Some(Breach::new(&source.path, line, what));
            }
            let kind = kinds
                .iter()
                .find(|(home, kind)| within(&path, &format!("{home}::{kind}")))?;
            let home_itself = module == [kind.0.as_str()];
            let same_kind = module.starts_with(&[&kind.0, &kind.1]);
            let chooser = CHOOSERS.contains(module.first().unwrap_or(&""));
            (!home_itself && !same_kind && !chooser).then(|| {
                let what = format!(
                    "`{}` imports the kind `{shown}`; it may know only `{}`",
                    module.join("::"),
                    kind.0
                );
                Breach::new(&source.path, line, what)
            })
        })
        .collect()
}

fn within(path: &[String], prefix: &str) -> bool {
    let mut parts = path.iter();
    prefix
        .split("::")
        .all(|part| parts.next().is_some_and(|own| own == part))
}

/// Every path of our own that a file names, from the crate's root, with its line.
fn imports(source: &Source) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(&source.code);
    let module: Vec<String> = source.module().iter().map(|part| (*part).into()).collect();
    let mut out = Vec::new();
    for (index, (at, token)) in tokens.iter().enumerate() {
        let begins = index == 0 || tokens[index - 1].1 != "::";
        let goes_on = tokens.get(index + 1).is_some_and(|next| next.1 == "::");
        if !begins || !goes_on {
            continue;
        }
        let base = match *token {
            "crate" => Vec::new(),
            "flipside" if source.path == "src/main.rs" => Vec::new(),
            "self" => module.clone(),
            "super" => module[..module.len().saturating_sub(1)].to_vec(),
            _ => continue,
        };
        let mut next = index + 2;
        let mut paths = Vec::new();
        tree(&tokens, &mut next, base, &mut paths);
        let line = line_of(&source.code, *at);
        out.extend(paths.into_iter().map(|path| (line, path)));
    }
    out
}

/// Reads what follows a `::`: a name, a path, a group or a star.
fn tree(
    tokens: &[(usize, &str)],
    next: &mut usize,
    mut path: Vec<String>,
    out: &mut Vec<Vec<String>>,
) {
    while let Some((_, token)) = tokens.get(*next) {
        match *token {
            "{" => {
                *next += 1;
                while tokens.get(*next).is_some_and(|token| token.1 != "}") {
                    let before = *next;
                    tree(tokens, next, path.clone(), out);
                    if tokens.get(*next).is_some_and(|token| token.1 == ",") || *next == before {
                        *next += 1;
                    }
                }
                *next += 1;
                return;
            }
            "super" => {
                path.pop();
            }
            "self" => {}
            word if is_word(word) => path.push(word.to_owned()),
            _ => break,
        }
        *next += 1;
        if tokens.get(*next).is_none_or(|token| token.1 != "::") {
            break;
        }
        *next += 1;
    }
    // `as name` belongs to what was read.
    if tokens.get(*next).is_some_and(|token| token.1 == "as") {
        *next += 2;
    }
    if tokens.get(*next).is_some_and(|token| token.1 == "*") {
        *next += 1;
    }
    if !path.is_empty() {
        out.push(path);
    }
}

fn is_word(token: &str) -> bool {
    token
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

/// Words, `::` and single signs, with where they begin.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let bytes = code.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if word(bytes[at]) {
            while at < bytes.len() && word(bytes[at]) {
                at += 1;
            }
        } else if bytes[at..].starts_with(b"::") {
            at += 2;
        } else {
            at += 1;
            while !code.is_char_boundary(at) {
                at += 1;
            }
        }
        if !bytes[start].is_ascii_whitespace() {
            out.push((start, &code[start..at]));
        }
    }
    out
}

fn check(path: &str, text: &str) -> Vec<Breach> {
    let kinds = [
        ("pointer", "proxy"),
        ("pointer", "nginx"),
        ("engine", "docker"),
    ]
    .map(|(home, kind)| (home.to_owned(), kind.to_owned()));
    import_breaches(&Source::new(path, text), &kinds)
}

#[test]
fn a_core_that_imports_an_engine_is_caught() {
    caught(
        &check("src/core/decide.rs", "use crate::engine::Engine;"),
        "src/core/decide.rs:1: `core` imports `engine::Engine`",
    );
}

#[test]
fn a_proxy_that_imports_the_core_is_caught() {
    caught(
        &check("src/proxy/table.rs", "\nuse crate::core::Release;"),
        "src/proxy/table.rs:2: `proxy` imports `core::Release`",
    );
}

#[test]
fn an_import_in_a_group_is_caught() {
    caught(
        &check(
            "src/report/plain.rs",
            "use crate::{core::{event::Event, names::*}, journal::{self, Record as R}};",
        )[..1],
        "`report` imports `journal`",
    );
}

#[test]
fn an_import_by_way_of_super_is_caught() {
    caught(
        &check("src/pointer/proxy.rs", "use super::super::report::Line;"),
        "imports `report::Line`",
    );
}

#[test]
fn a_path_in_an_expression_is_caught() {
    caught(
        &check("src/journal/mod.rs", "fn f() { crate::drive::drive(1) }"),
        "`journal` imports `drive::drive`",
    );
}

#[test]
fn an_adapter_that_imports_its_sibling_is_caught() {
    caught(
        &check("src/pointer/nginx.rs", "use super::proxy::Helper;"),
        "imports the kind `pointer::proxy::Helper`",
    );
}

#[test]
fn a_performer_that_knows_a_kind_is_caught() {
    caught(
        &check("src/perform.rs", "use crate::engine::docker::Docker;"),
        "`perform` imports the kind `engine::docker::Docker`",
    );
}

#[test]
fn a_report_that_imports_a_pointer_is_caught() {
    caught(
        &check("src/report/mod.rs", "use crate::pointer::Pointer;"),
        "`report` imports `pointer::Pointer`",
    );
}

#[test]
fn a_main_that_knows_the_core_is_caught() {
    caught(
        &check("src/main.rs", "use flipside::core::names::Release;"),
        "`main` imports `core::names::Release`",
    );
}

#[test]
fn a_part_without_a_layer_is_caught() {
    caught(&check("src/extra/mod.rs", ""), "has no layer");
}

#[test]
fn what_is_allowed_passes() {
    for (path, text) in [
        ("src/core/decide.rs", "use super::state::State;"),
        ("src/pointer/mod.rs", "use self::proxy::Proxy;"),
        (
            "src/pointer/proxy.rs",
            "use super::{Pointer, PointerError};",
        ),
        ("src/pointer/proxy.rs", "use crate::proxy::control::Ask;"),
        ("src/engine/docker/run.rs", "use super::Docker;"),
        ("src/cmd/proxy.rs", "use crate::proxy::serve;"),
        ("src/lib.rs", "pub mod core;"),
        (
            "src/core/a.rs",
            "#[cfg(test)] mod tests { use crate::engine::X; }",
        ),
    ] {
        assert_eq!(check(path, text), [], "{path}: {text}");
    }
}
