//! What the Dockerfiles beside a Compose file say of what is built: what it is built on, and what it
//! exposes. Read as leniently as the rest, and not at all where they are not there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::super::ports::range;
use super::facts::{Build, Service};

/// No Dockerfile is read further.
const MOST_BYTES: u64 = 64 * 1024;

/// One stage of a build.
#[derive(Default)]
struct Stage {
    name: String,
    base: String,
    exposed: Vec<u16>,
}

/// Adds to the services what their Dockerfiles say; relative contexts begin at `directory`.
pub(super) fn read(services: &mut BTreeMap<String, Service>, directory: &Path) {
    for service in services.values_mut().filter(|service| service.is_built) {
        let Some(text) = text(&service.build, directory) else {
            continue;
        };
        let stages = stages(&text);
        let target = service.build.target.as_deref();
        let named = |name: &str| stages.iter().rposition(|stage| stage.name == name);
        let mut at = target.and_then(named).or(stages.len().checked_sub(1));
        while let Some(stage) = at.map(|at| &stages[at]) {
            service.base = Some(stage.base.clone());
            service.built_to_expose.extend(&stage.exposed);
            // A stage builds on earlier ones only.
            at = named(&stage.base).filter(|base| Some(*base) < at);
        }
    }
}

fn text(build: &Build, directory: &Path) -> Option<String> {
    if let Some(inline) = &build.inline {
        return Some(inline.clone());
    }
    let context = build.context.as_deref().unwrap_or(".");
    if context.contains("://") || context.starts_with("git@") {
        return None;
    }
    let name = build.dockerfile.as_deref().unwrap_or("Dockerfile");
    let path = directory.join(context).join(name);
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn stages(text: &str) -> Vec<Stage> {
    let mut found: Vec<Stage> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or("").to_ascii_uppercase();
        let mut words = words.filter(|word| !word.starts_with("--"));
        if instruction == "FROM" {
            found.push(Stage {
                base: words.next().unwrap_or("").to_owned(),
                name: words.nth(1).unwrap_or("").to_owned(),
                exposed: Vec::new(),
            });
        } else if let ("EXPOSE", Some(stage)) = (instruction.as_str(), found.last_mut()) {
            let tcp = words.filter(|word| !word.ends_with("/udp"));
            let ports = tcp.filter_map(|word| range(word.trim_end_matches("/tcp")));
            stage.exposed.extend(ports.map(|range| *range.start()));
        }
    }
    found
}
