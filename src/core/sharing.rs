//! What releases share: the shared roles that each was made for, as its labels keep it, and which of
//! them are gone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::names::{Release, RoleName};
use super::plan::{Plan, Role};
use super::shared::{Owner, Shared};
use super::world::Environment;

/// The shared roles that a release was made for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sharing {
    /// The Compose project whose containers stand for them where flipside has made none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Them, with the names by which each is reached.
    pub roles: BTreeMap<RoleName, Vec<String>>,
    /// Those of them that use another's network, and are reached by that one's names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub through: BTreeSet<RoleName>,
}

impl Sharing {
    /// That of a release of this plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let roles = plan.shared.iter();
        let through = roles
            .clone()
            .filter(|(_, role)| role.network_of.is_some())
            .map(|(name, _)| name.clone());
        Self {
            project: plan.project.clone(),
            through: through.collect(),
            roles: roles
                .map(|(name, role)| (name.clone(), aliases(name, role)))
                .collect(),
        }
    }

    /// The names by which a container that stands for `role` is reached: also those of the roles whose
    /// containers are `on_it`, its network, unless they are reached by this one's as it is.
    pub fn names(&self, role: &RoleName, on_it: impl Fn(&RoleName) -> bool) -> Vec<String> {
        let own = self.roles.get_key_value(role).into_iter();
        let others = self.roles.iter();
        let others = others.filter(|(name, _)| !self.through.contains(*name) && on_it(name));
        own.chain(others)
            .flat_map(|(_, names)| names)
            .cloned()
            .collect()
    }
}

/// The names by which others reach a shared role.
#[must_use]
pub fn aliases(name: &RoleName, role: &Role) -> Vec<String> {
    let own = std::iter::once(name.to_string());
    own.chain(role.aliases.iter().cloned()).collect()
}

/// A shared role for which nothing stands, and which releases that stand were made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Which.
    pub role: RoleName,
    /// They.
    pub releases: Vec<Release>,
    /// The Compose project whose container may have stood for it.
    pub project: Option<String>,
}

impl Gone {
    /// What a person does about it.
    #[must_use]
    pub fn mend(&self, service: &str) -> String {
        let role = &self.role;
        let deploy = "a deploy makes one on its volumes: flipside deploy";
        match &self.project {
            None => deploy.into(),
            Some(_) => format!(
                "where Compose had made its container: docker compose up -d {role}, then flipside \
                 resume {service}; else {deploy}"
            ),
        }
    }
}

/// Those for which nothing stands.
#[must_use]
pub fn gone<'a>(
    environments: impl IntoIterator<Item = &'a Environment>,
    standing: &[Shared],
) -> Vec<Gone> {
    let mut all: BTreeMap<&RoleName, Gone> = BTreeMap::new();
    for environment in environments {
        let Some(sharing) = &environment.labels.sharing else {
            continue;
        };
        for role in sharing.roles.keys() {
            if standing.iter().any(|one| one.container.role == *role) {
                continue;
            }
            let gone = all.entry(role).or_insert_with(|| Gone {
                role: role.clone(),
                releases: Vec::new(),
                project: None,
            });
            gone.releases.push(environment.release);
            gone.project = gone.project.take().or_else(|| sharing.project.clone());
        }
    }
    all.into_values().collect()
}

/// Flipside's own shared roles that no release which stands was made for; none where one of them does
/// not say.
#[must_use]
pub fn unused(environments: &[Environment], standing: &[Shared]) -> BTreeSet<RoleName> {
    let said: Option<Vec<_>> = environments
        .iter()
        .map(|environment| environment.labels.sharing.as_ref())
        .collect();
    let Some(said) = said else {
        return BTreeSet::new();
    };
    let ours = standing.iter().filter(|one| one.owner == Owner::Flipside);
    let roles = ours.map(|one| &one.container.role);
    let unused = roles.filter(|role| !said.iter().any(|one| one.roles.contains_key(*role)));
    unused.cloned().collect()
}
