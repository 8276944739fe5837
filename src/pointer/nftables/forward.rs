//! Docker's rules drop what comes from outside to a role that is not published. One marked rule in
//! the chain that Docker leaves to others lets the service's connections through.

use super::program::{self, Ran};
use super::rules::Listener;

/// The chain.
const CHAIN: &str = "DOCKER-USER";

/// The rules of these listeners, by the program that takes them.
fn rules(mark: &str, listeners: &[Listener]) -> Vec<(&'static str, Vec<String>)> {
    let mut all = Vec::new();
    for listener in listeners {
        for (program, is_v4) in [("iptables", true), ("ip6tables", false)] {
            if listener.address.is_some_and(|ip| ip.is_ipv4() != is_v4) {
                continue;
            }
            let mut words = "-p tcp -m conntrack --ctstate DNAT --ctdir ORIGINAL".to_owned();
            if let Some(address) = listener.address {
                words.push_str(&format!(" --ctorigdst {address}"));
            }
            words.push_str(&format!(
                " --ctorigdstport {} -m comment --comment {mark} -j ACCEPT",
                listener.port
            ));
            all.push((program, words.split(' ').map(str::to_owned).collect()));
        }
    }
    all
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

async fn does(program: &str, verb: &str, rule: &[String]) -> Result<bool, String> {
    let ran = ask(program, verb, rule).await?;
    Ok(ran.is_some_and(|ran| ran.status.success()))
}

/// Sees to it that they are there, where Docker's chain is.
///
/// # Errors
/// In the program's words.
pub(super) async fn open(mark: &str, listeners: &[Listener]) -> Result<(), String> {
    for (program, rule) in rules(mark, listeners) {
        // Asked in this order, since it is there but for the first time.
        if does(program, "-C", &rule).await? || !does(program, "-S", &[]).await? {
            continue;
        }
        let ran = ask(program, "-I", &rule).await?;
        if let Some(ran) = ran.filter(|ran| !ran.status.success()) {
            return Err(format!("`{program} -I {CHAIN}` says: {}", ran.err.trim()));
        }
    }
    Ok(())
}

/// Takes them away.
///
/// # Errors
/// Where the program could not be asked.
pub(super) async fn close(mark: &str, listeners: &[Listener]) -> Result<(), String> {
    for (program, rule) in rules(mark, listeners) {
        while does(program, "-D", &rule).await? {}
    }
    Ok(())
}

/// The lines of a unit that see to them when the machine starts.
pub(super) fn lines(mark: &str, listeners: &[Listener]) -> String {
    let line = |(program, rule): (&str, Vec<String>)| {
        let rule = rule.join(" ");
        format!(
            "ExecStart=-/bin/sh -c '{program} -w -C {CHAIN} {rule} || {program} -w -I {CHAIN} {rule}'\n"
        )
    };
    rules(mark, listeners).into_iter().map(line).collect()
}
