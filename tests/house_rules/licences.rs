//! Every dependency's licence must be one that lets anybody use the program for anything.

use std::process::Command;

use super::{Breach, caught, hold, root};

/// Licences that ask for no more than their own text to be passed on.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Exceptions (`WITH …`) that only take conditions away.
const EXCEPTIONS: &[&str] = &["LLVM-exception"];

/// Reads `cargo metadata` for all features and all platforms: what the lock file holds.
#[test]
fn every_dependency_is_permissive() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--all-features"])
        .args(["--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo metadata failed; `cargo fetch --locked` brings what it needs:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "{} packages", packages.len());
    hold(&licence_breaches(packages));
}

fn licence_breaches(packages: &[serde_json::Value]) -> Vec<Breach> {
    packages
        .iter()
        .filter_map(|package| {
            let name = format!("{} {}", package["name"], package["version"]).replace('"', "");
            let what = match package["license"].as_str() {
                None => "says no licence".to_owned(),
                Some(written) => match is_permissive(written) {
                    Ok(true) => return None,
                    Ok(false) => format!("`{written}` is not permissive"),
                    Err(why) => format!("`{written}` cannot be read: {why}"),
                },
            };
            Some(Breach::of_file(&name, what))
        })
        .collect()
}

/// Whether permissive licences alone satisfy an SPDX expression. `OR` binds weaker than `AND`,
/// which binds weaker than `WITH`; `/` is the old way to write `OR`.
fn is_permissive(expression: &str) -> Result<bool, String> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let permissive = any(&mut rest)?;
    match rest.first() {
        None => Ok(permissive),
        Some(word) => Err(format!("`{word}` is not expected")),
    }
}

fn any(words: &mut &[&str]) -> Result<bool, String> {
    let mut permissive = all(words)?;
    while take(words, "OR") {
        permissive |= all(words)?;
    }
    Ok(permissive)
}

fn all(words: &mut &[&str]) -> Result<bool, String> {
    let mut permissive = one(words)?;
    while take(words, "AND") {
        permissive &= one(words)?;
    }
    Ok(permissive)
}

fn one(words: &mut &[&str]) -> Result<bool, String> {
    if take(words, "(") {
        let inner = any(words)?;
        return match take(words, ")") {
            true => Ok(inner),
            false => Err("a parenthesis is not closed".to_owned()),
        };
    }
    let licence = name(words)?;
    let known = PERMISSIVE.contains(&licence);
    if take(words, "WITH") {
        let exception = name(words)?;
        return Ok(known && EXCEPTIONS.contains(&exception));
    }
    Ok(known)
}

fn name<'a>(words: &mut &[&'a str]) -> Result<&'a str, String> {
    match words.split_first() {
        Some((word, rest)) if !["OR", "AND", "WITH", "(", ")"].contains(word) => {
            *words = rest;
            Ok(word)
        }
        Some((word, _)) => Err(format!("`{word}` stands where a licence should")),
        None => Err("it ends too early".to_owned()),
    }
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[test]
fn expressions_are_read_as_written() {
    for (expression, expected) in [
        ("MIT", true),
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-3.0-only OR MIT", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("GPL-3.0-only", false),
        ("MPL-2.0", false),
        ("MIT AND GPL-2.0-only", false),
        ("MIT OR Apache-2.0 AND GPL-2.0-only", true),
        ("(MIT OR Apache-2.0) AND GPL-2.0-only", false),
        ("GPL-2.0-only WITH LLVM-exception", false),
        ("MIT WITH Strange-exception", false),
    ] {
        assert_eq!(is_permissive(expression), Ok(expected), "{expression}");
    }
    for broken in ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0", "AND MIT"] {
        assert!(is_permissive(broken).is_err(), "{broken}");
    }
}

#[test]
fn a_dependency_that_is_not_permissive_is_caught() {
    let package = |licence: Option<&str>| {
        [serde_json::json!({"name": "odd", "version": "1.0.0", "license": licence})]
    };
    caught(
        &licence_breaches(&package(Some("AGPL-3.0-only"))),
        "odd 1.0.0: `AGPL-3.0-only` is not permissive",
    );
    caught(&licence_breaches(&package(None)), "says no licence");
    caught(
        &licence_breaches(&package(Some("MIT OR"))),
        "cannot be read",
    );
    assert_eq!(licence_breaches(&package(Some("MIT"))), []);
}
