//! Docker's rules drop what comes from outside to a role that is not published. One marked rule for
//! each address, in the chain that Docker leaves to others, lets its connections through.

use std::collections::BTreeSet;

use super::program::{self, Ran};
use super::rules::{Listener, Ways};

/// The chain.
const CHAIN: &str = "DOCKER-USER";

/// The programs that know it, and whether they are for IPv4.
const PROGRAMS: [(&str, bool); 2] = [("iptables", true), ("ip6tables", false)];

/// The rules for one family of addresses.
fn rules<'a>(
    mark: &str,
    listeners: impl Iterator<Item = &'a Listener>,
    is_v4: bool,
) -> Vec<Vec<String>> {
    let of_family =
        listeners.filter(|listener| listener.address.is_none_or(|ip| ip.is_ipv4() == is_v4));
    let rule = |listener: &Listener| {
        let mut words = "-p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL".to_owned();
        if let Some(address) = listener.address {
            words.push_str(&format!(" --ctorigdst {address}"));
        }
        words.push_str(&format!(
            " --ctorigdstport {} -m comment --comment {mark} -j ACCEPT",
            listener.port
        ));
        words.split(' ').map(str::to_owned).collect()
    };
    of_family.map(rule).collect()
}

/// None where the program is not there: then no rule of its stands in the way.
async fn ask(program: &str, verb: &str, rule: &[String]) -> Result<Option<Ran>, String> {
    let mut words = vec!["-w", verb, CHAIN];
    words.extend(rule.iter().map(String::as_str));
    match program::run(program, &words, None).await {
        Ok(ran) => Ok(Some(ran)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("`{program}`: {error}")),
    }
}

/// The words of each rule that is there; none where there is no such chain.
async fn there(program: &str) -> Result<Option<Vec<Vec<String>>>, String> {
    let ran = ask(program, "-S", &[]).await?;
    let Some(ran) = ran.filter(|ran| ran.status.success()) else {
        return Ok(None);
    };
    let begin = format!("-A {CHAIN} ");
    let rules = ran.out.lines().filter_map(|line| line.strip_prefix(&begin));
    let words = rules.map(|rule| rule.split_whitespace().map(str::to_owned).collect());
    Ok(Some(words.collect()))
}

/// Whether they are the same but for the order of their words, which a program chooses itself.
fn is_same(one: &[String], other: &[String]) -> bool {
    let sorted = |words: &[String]| {
        let mut words = words.to_vec();
        words.sort();
        words
    };
    sorted(one) == sorted(other)
}

/// Sees to it that they are there, where Docker's chain is.
///
/// # Errors
/// In the program's words.
pub(super) async fn open(mark: &str, ways: &Ways) -> Result<(), String> {
    for (program, is_v4) in PROGRAMS {
        let wanted = rules(mark, ways.all(), is_v4);
        if wanted.is_empty() {
            continue;
        }
        let Some(there) = there(program).await? else {
            continue;
        };
        for rule in wanted {
            if there.iter().any(|known| is_same(known, &rule)) {
                continue;
            }
            // It may say the same in other words.
            let known = ask(program, "-C", &rule).await?;
            if known.is_some_and(|ran| ran.status.success()) {
                continue;
            }
            let ran = ask(program, "-I", &rule).await?;
            if let Some(ran) = ran.filter(|ran| !ran.status.success()) {
                return Err(format!("`{program} -I {CHAIN}` says: {}", ran.err.trim()));
            }
        }
    }
    Ok(())
}

/// Takes all away that have the mark.
///
/// # Errors
/// Where the program could not be asked.
pub(super) async fn close(mark: &str) -> Result<(), String> {
    for (program, _) in PROGRAMS {
        let marked: BTreeSet<Vec<String>> = there(program)
            .await?
            .into_iter()
            .flatten()
            .filter(|rule| {
                let mut pairs = rule.windows(2);
                pairs.any(|pair| pair[0] == "--comment" && pair[1] == mark)
            })
            .collect();
        for rule in marked {
            while ask(program, "-D", &rule)
                .await?
                .is_some_and(|ran| ran.status.success())
            {}
        }
    }
    Ok(())
}

/// The lines of a unit that see to them when the machine starts.
pub(super) fn lines(mark: &str, ways: &Ways) -> String {
    let mut lines = String::new();
    for (program, is_v4) in PROGRAMS {
        for rule in rules(mark, ways.all(), is_v4) {
            let rule = rule.join(" ");
            lines += &format!(
                "ExecStart=-/bin/sh -c '{program} -w -C {CHAIN} {rule} || {program} -w -I {CHAIN} {rule}'\n"
            );
        }
    }
    lines
}
