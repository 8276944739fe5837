//! The unit that tells the kernel again when the machine starts, read as systemd reads it.

use std::process::Command;

use flipside::pointer::nftables::{Nftables, NftablesPlan};

use super::net::{HOST, inside, says};
use super::{answers, behind};
use crate::verbs_misuse::{directory, run};

/// Does what systemd does at a start.
pub fn start(unit: &str) {
    let lines = unit.lines();
    for line in lines.filter_map(|line| line.strip_prefix("ExecStart=")) {
        let (may_fail, line) = match line.strip_prefix('-') {
            Some(line) => (true, line),
            None => (false, line),
        };
        let words = words(line);
        let ran = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert!(ran.status.success() || may_fail, "{words:?}: {ran:?}");
    }
}

/// The words of a command: systemd.service(5), "Command lines".
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut letters = line.chars().peekable();
    while letters.peek().is_some() {
        let (mut word, mut quote) = (String::new(), None);
        while let Some(letter) = letters.next() {
            match letter {
                ' ' if quote.is_none() => break,
                '"' | '\'' if quote.is_none() => quote = Some(letter),
                _ if quote == Some(letter) => quote = None,
                '%' | '$' => {
                    assert_eq!(letters.next(), Some(letter), "{line}");
                    word.push(letter);
                }
                '\\' => match letters.next().unwrap() {
                    'x' => {
                        let code: String = letters.by_ref().take(2).collect();
                        word.push(u8::from_str_radix(&code, 16).unwrap().into());
                    }
                    letter => word.push(letter),
                },
                letter => word.push(letter),
            }
        }
        assert_eq!(quote, None, "{line}");
        words.push(word);
    }
    words
}

/// A name with all that systemd takes for something else.
const NAME: &str = "50% of it's \"$x\"\\.nft";

#[test]
fn a_copy_with_any_name_is_found_again() {
    inside("unit::a_copy_with_any_name_is_found_again", async |host| {
        let state = host.dir.path().join(NAME);
        let plan = NftablesPlan {
            state,
            ..host.plan(80)
        };
        let unit = Nftables::new(plan.clone()).unwrap().unit();
        let fixture = behind(Nftables::new(plan).unwrap());
        let pointer = &fixture.pointer;
        pointer.write(None, &fixture.to(1)).await.unwrap();
        let known = pointer.read().await.unwrap();
        says("nft flush ruleset");
        assert_ne!(pointer.read().await.unwrap(), known);
        start(&unit);
        assert_eq!(pointer.read().await.unwrap(), known);
        answers(&fixture, 1).await;
        assert_eq!(host.client(&format!("{HOST}:80")).ask(), "one");
    });
}

/// A plan whose copy has such a name, at addresses of both families.
fn plan(kind: &str) -> String {
    format!(
        "name: shop\nservices:\n  web: {{ image: shop:1 }}\nexpose: web:8080\n\
         probes:\n  - http: {{ path: / }}\npointer:\n  {kind}\n"
    )
}

#[test]
fn systemd_has_nothing_against_it() {
    let name = NAME.replace('\\', "\\\\").replace('"', "\\\"");
    let kind = format!(
        "nftables: {{ table: flipside_shop, listen: [\":80\", \"[2001:db8::7]:80\"], \
         url: http://192.0.2.7, state: \"/var/lib/{}\" }}",
        name.replace('$', "$$")
    );
    let dir = directory(&[("flipside.yaml", plan(&kind).as_bytes())]);
    let printed = run(dir.path(), &["unit", "-f", "flipside.yaml"]);
    printed.is(0, &[]);
    assert_eq!(printed.err, "");
    let unit = &printed.out;
    assert!(unit.starts_with("[Unit]\n"), "{unit}");
    let starts = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="));
    let first = starts.clone().next().unwrap();
    let state = format!("/var/lib/{NAME}");
    assert_eq!(words(first), ["/usr/bin/env", "nft", "-f", &state]);
    // `:80` is an address of both families.
    assert_eq!(starts.count(), 4, "{unit}");
    let file = dir.path().join("flipside-shop.service");
    std::fs::write(&file, unit).unwrap();
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output();
    match verified {
        Ok(verified) => assert!(
            verified.status.success() && verified.stderr.is_empty(),
            "{verified:?}\n{unit}"
        ),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}

#[test]
fn a_pointer_that_remembers_by_itself_needs_none() {
    let plan = plan("proxy: { listen: \":8080\" }");
    let dir = directory(&[("flipside.yaml", plan.as_bytes())]);
    let refused = run(dir.path(), &["unit", "--file", "flipside.yaml"]);
    refused.is(2, &["needs no unit", "proxy"]);
    assert_eq!(refused.out, "");
}
