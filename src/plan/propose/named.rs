//! Names for volumes that a file gives none, so that a plan can decide on them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::nameless;
use super::super::tree::Node;
use super::facts::{self, Mounted, Service};
use super::roles::Proposals;
use crate::core::plan::Run;

/// Where known images keep their data.
const DATA_DIRECTORIES: &[(&str, &str)] = &[
    ("mariadb", "/var/lib/mysql"),
    ("mongo", "/data/db"),
    ("mysql", "/var/lib/mysql"),
    ("postgres", "/var/lib/postgresql/data"),
    ("redis", "/data"),
];

/// Role and target, as written → a name.
pub(super) struct Names(BTreeMap<(String, String), String>);

impl Names {
    /// A name for each volume that has none.
    pub(super) fn new(root: &Node, services: &BTreeMap<String, Service>) -> Self {
        let mut taken: BTreeSet<String> = facts::keys(facts::get(root, "volumes"))
            .into_iter()
            .collect();
        for service in services.values() {
            taken.extend(service.volumes().map(str::to_owned));
        }
        let mut names = BTreeMap::new();
        for service in services.values() {
            for mount in service.mounts.iter().filter(|mount| mount.source.is_none()) {
                let place = (service.name.clone(), mount.written_target.clone());
                names.entry(place).or_insert_with(|| {
                    let name = nameless::name(&service.name, &mount.written_target, &|name| {
                        taken.contains(name)
                    });
                    taken.insert(name.clone());
                    name
                });
            }
        }
        Self(names)
    }

    /// A mount of `role` by its name.
    fn named(&self, role: &str, mount: &Mounted) -> Mounted {
        let place = (role.to_owned(), mount.written_target.clone());
        match self.0.get(&place) {
            Some(name) if mount.source.is_none() => Mounted {
                source: Some(name.clone()),
                written: name.clone(),
                short: format!("{name}:{}", mount.written_target),
                is_named_here: true,
                is_added: true,
                ..mount.clone()
            },
            _ => mount.clone(),
        }
    }

    /// Gives roles the volumes of the containers that they have them from (`volumes_from`).
    pub(super) fn take_over(&self, services: &mut BTreeMap<String, Service>) {
        let theirs: BTreeMap<String, Vec<Mounted>> = services
            .iter()
            .map(|(name, service)| (name.clone(), service.mounts.clone()))
            .collect();
        for service in services.values_mut() {
            for other in service.volumes_from.clone() {
                let mounts = theirs.get(&other).map_or(&[][..], Vec::as_slice);
                let only_read = service.reads_from.contains(&other);
                for mount in mounts {
                    if service.mounts.iter().any(|own| own.target == mount.target) {
                        continue;
                    }
                    let mount = self.named(&other, mount);
                    let mode = match only_read && !mount.is_read_only {
                        true => ":ro",
                        false => "",
                    };
                    service.mounts.push(Mounted {
                        is_read_only: mount.is_read_only || only_read,
                        short: format!("{}{mode}", mount.short),
                        is_added: true,
                        ..mount
                    });
                }
                let image = service.image_name();
                let known = DATA_DIRECTORIES.iter().find(|(known, _)| *known == image);
                if let (true, Some((_, target))) = (mounts.is_empty(), known) {
                    service.mounts.push(Mounted {
                        written: other.clone(),
                        short: format!("{other}:{target}"),
                        source: Some(other),
                        target: (*target).to_owned(),
                        written_target: (*target).to_owned(),
                        is_named_here: true,
                        is_added: true,
                        ..Mounted::default()
                    });
                }
            }
        }
    }

    /// Names the volumes of roles that cannot keep them without: those of a release, and those whose
    /// volumes others have.
    pub(super) fn give(&self, services: &mut BTreeMap<String, Service>, proposals: &Proposals) {
        let lenders: BTreeSet<String> = services
            .values()
            .flat_map(|service| service.volumes_from.clone())
            .collect();
        for service in services.values_mut() {
            if proposals.run(&service.name) == Run::Shared && !lenders.contains(&service.name) {
                continue;
            }
            let name = service.name.clone();
            for mount in &mut service.mounts {
                if !mount.is_read_only {
                    *mount = self.named(&name, mount);
                }
            }
        }
    }
}
