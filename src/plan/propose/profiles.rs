//! Which profiles a plan should choose.

use std::collections::{BTreeMap, BTreeSet};

use super::super::service::ALL;
use super::facts::Service;
use super::images;
use super::text::quoted;
use super::{Line, Section};

/// Profiles for people who work on the application itself.
const NOT_FOR_RELEASES: &[&str] = &[
    "debug",
    "deprecated",
    "dev",
    "development",
    "e2e",
    "test",
    "tests",
];

/// The variable by which Compose chooses profiles.
pub(super) const VARIABLE: &str = "COMPOSE_PROFILES";

/// Profiles, and by what they are chosen.
pub(super) enum Chosen {
    /// Compose is told so by a variable.
    Today(Vec<String>),
    /// Without them nothing would be left that users reach.
    Needed(Vec<String>),
    /// None; by these, what is on would find what it waits for.
    Off(Vec<String>),
}

impl Chosen {
    fn names(&self) -> &[String] {
        match self {
            Self::Today(names) | Self::Needed(names) => names,
            Self::Off(_) => &[],
        }
    }

    /// `profiles`, where some are chosen or could be.
    pub(super) fn line(&self) -> Option<Line> {
        let (names, why) = match self {
            Self::Today(names) => (names, "what COMPOSE_PROFILES chooses today"),
            Self::Needed(names) => (
                names,
                "without a profile nothing is left that users reach; leave out what is for development",
            ),
            Self::Off(names) => (
                names,
                "what is on waits for roles that these would choose: are they chosen today?",
            ),
        };
        if names.is_empty() {
            return None;
        }
        let listed: Vec<_> = names.iter().map(|name| quoted(name)).collect();
        let text = format!("profiles: [{}]", listed.join(", "));
        let line = Line::new(Section::Profiles, text, why);
        Some(match self {
            Self::Off(_) => line.left_open(),
            Self::Today(_) | Self::Needed(_) => line,
        })
    }
}

/// Chooses them, by what Compose's variable says where it says something; roles that are off then
/// are taken away.
pub(super) fn choose(services: &mut BTreeMap<String, Service>, today: Option<&str>) -> Chosen {
    let chosen = match of_today(services, today.unwrap_or("")) {
        known if !known.is_empty() => Chosen::Today(known),
        _ => match needed(services) {
            needed if !needed.is_empty() => Chosen::Needed(needed),
            _ => Chosen::Off(waited_for(services)),
        },
    };
    services.retain(|_, service| is_on(service, chosen.names()));
    chosen
}

fn is_on(service: &Service, chosen: &[String]) -> bool {
    let is_chosen = |name: &String| chosen.iter().any(|one| one == name || one == ALL);
    service.profiles.is_empty() || service.profiles.iter().any(is_chosen)
}

/// Those of a variable's value that a role has.
fn of_today(services: &BTreeMap<String, Service>, value: &str) -> Vec<String> {
    let all: BTreeSet<_> = services.values().flat_map(|one| &one.profiles).collect();
    let names = value.split(',').map(|name| name.trim().to_owned());
    names
        .filter(|name| !all.is_empty() && name == ALL || all.contains(name))
        .collect()
}

/// The profiles of roles that are off and that others, which are on, wait for.
fn waited_for(services: &BTreeMap<String, Service>) -> Vec<String> {
    let on = services.values().filter(|service| is_on(service, &[]));
    let waited_for = on.flat_map(|service| service.depends_on.keys());
    let off = waited_for
        .filter_map(|name| services.get(name))
        .filter(|service| !is_on(service, &[]));
    let profiles: BTreeSet<_> = off.filter_map(|service| service.profiles.first()).collect();
    profiles.into_iter().cloned().collect()
}

/// The profiles without which nothing would be left that users reach.
fn needed(services: &BTreeMap<String, Service>) -> Vec<String> {
    let suffices = |chosen: &[String]| {
        services.values().any(|service| {
            is_on(service, chosen) && service.is_reachable() && !images::is_data(service)
        })
    };
    let mut all: Vec<String> = Vec::new();
    for name in services.values().flat_map(|service| &service.profiles) {
        if !all.contains(name) && !NOT_FOR_RELEASES.contains(&name.as_str()) {
            all.push(name.clone());
        }
    }
    if all.is_empty() || suffices(&[]) || !suffices(&all) {
        return Vec::new();
    }
    let usual = ["default", "production", "prod", "full", "all"];
    let one = usual
        .iter()
        .map(|name| vec![(*name).to_owned()])
        .find(|one| all.contains(&one[0]) && suffices(one));
    one.unwrap_or(all)
}
