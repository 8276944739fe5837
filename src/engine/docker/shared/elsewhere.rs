//! What a Compose project under another name has of the plan's own files: started with `-p`, or with
//! the variable in one shell alone. A plan that looks for the wrong name finds nothing, and would begin
//! anew beside it. From a directory that is called otherwise by now only volumes that nothing has any
//! more are known.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::super::order::roles;
use super::super::{Docker, inspect, names};
use super::look::{PROJECT, ROLE, is_one_off};
use super::running::Running;
use super::volumes::{self, is_there};
use crate::core::names::{RoleName, ServiceName};
use crate::core::plan::{Plan, Role, Run};
use crate::docker::{label_filter, refused_hint};
use crate::engine::EngineError;

/// The labels that say which files a project was started from.
const DIRECTORY: &str = "com.docker.compose.project.working_dir";
const FILES: &str = "com.docker.compose.project.config_files";

/// A container of another project.
struct Other {
    id: String,
    name: String,
    project: String,
    role: Option<RoleName>,
    is_of_files: bool,
}

/// Refuses a plan of which a role would be made anew that a project under another name has from the
/// same files, or a volume. A plan that calls the project otherwise than Compose does by itself means
/// it so.
pub(super) async fn check<'a>(
    engine: &Docker,
    plan: &'a Plan,
    running: &[Running],
    absent: impl Iterator<Item = (&'a RoleName, &'a Role)> + Clone,
) -> Result<(), EngineError> {
    let (Some(project), false) = (&plan.project, plan.compose_files.is_empty()) else {
        return Ok(());
    };
    let filter = label_filter(&[(PROJECT, ""), (ROLE, "")]);
    let (theirs, others) = read(plan, project, inspect::containers(engine, filter).await?).await;
    let shared = absent.clone().map(|(name, _)| name);
    let live_only = plan.roles.iter();
    let live_only = live_only.filter(|(name, role)| {
        let stands = |one: &Running| is_ours(one, &plan.service, name);
        role.run == Run::LiveOnly && !theirs.contains(name) && !running.iter().any(stands)
    });
    let live_only: BTreeSet<_> = live_only.map(|(name, _)| name).collect();
    for role in shared.chain(live_only.iter().copied()) {
        let of_role = others.iter();
        let of_role = of_role.filter(|one| one.is_of_files && one.role.as_ref() == Some(role));
        let runs = |one: &&Other| running.iter().any(|running| running.id == one.id);
        let rests = || of_role.clone().find(|_| !live_only.contains(role));
        if let Some(one) = of_role.clone().find(runs).or_else(rests) {
            return Err(anew(plan, project, role, one));
        }
    }
    let all = roles(plan).chain(absent);
    check_volumes(engine, plan, project, &others, all).await
}

/// The roles of which the plan's project has a container, and the containers of other projects.
async fn read(
    plan: &Plan,
    project: &str,
    listed: Vec<bollard::models::ContainerSummary>,
) -> (BTreeSet<RoleName>, Vec<Other>) {
    let (mut theirs, mut others) = (BTreeSet::new(), Vec::new());
    for container in listed {
        let name = inspect::container_name(&container);
        let labels = container.labels.unwrap_or_default();
        let role = labels.get(ROLE).and_then(|role| RoleName::new(role).ok());
        match labels.get(PROJECT) {
            _ if is_one_off(&labels) || labels.contains_key(names::SERVICE) => {}
            Some(known) if known == project => theirs.extend(role),
            Some(other) => others.push(Other {
                id: container.id.unwrap_or_default(),
                name,
                project: other.clone(),
                role,
                is_of_files: is_of_files(plan, &labels).await,
            }),
            None => {}
        }
    }
    others.sort_by(|a, b| a.name.cmp(&b.name));
    (theirs, others)
}

/// Whether a container comes from one of the plan's Compose files, or from beside it.
async fn is_of_files(plan: &Plan, labels: &HashMap<String, String>) -> bool {
    let Some(directory) = labels.get(DIRECTORY).map(Path::new) else {
        return false;
    };
    let files = labels.get(FILES).into_iter();
    let files = files.flat_map(|files| files.split(','));
    let files = files.map(|file| directory.join(file.trim()));
    let mut places: Vec<PathBuf> = std::iter::once(directory.to_owned()).chain(files).collect();
    if directory.is_absolute() {
        // The links on the way to it are this machine's, where it was started here.
        places.extend(tokio::fs::canonicalize(directory).await.ok());
    }
    let own = &plan.compose_files;
    let mut own = own
        .iter()
        .flat_map(|file| [Some(file.as_path()), file.parent()]);
    own.any(|own| places.iter().any(|place| Some(place.as_path()) == own))
}

/// Whether a container is of a role of a release of the service.
fn is_ours(one: &Running, service: &ServiceName, role: &RoleName) -> bool {
    let said = one.labels.get(names::SERVICE).map(String::as_str);
    said == Some(service.as_str()) && names::role(&one.labels).0 == *role
}

fn anew(plan: &Plan, project: &str, role: &RoleName, one: &Other) -> EngineError {
    let (name, other, service) = (&one.name, &one.project, &plan.service);
    refused_hint(
        format!(
            "`{role}` would be made anew beside the container `{name}` of the Compose project \
             `{other}`, which comes from the same Compose file; the plan looks for the project \
             `{project}`"
        ),
        format!(
            "go on with that one: write `project: {other}` into the plan; if `{role}` is to begin \
             afresh, write a name there that is no project's: `project: {service}-fresh`"
        ),
    )
}

/// Volumes do not say from which files they are: those of another project are meant where one of its
/// containers comes from the plan's. Names such as `data` are everybody's.
async fn check_volumes<'a>(
    engine: &Docker,
    plan: &Plan,
    project: &str,
    others: &[Other],
    roles: impl Iterator<Item = (&'a RoleName, &'a Role)>,
) -> Result<(), EngineError> {
    let wanted: Vec<_> = volumes::named(plan, project, roles).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut there: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for volume in inspect::volumes(engine, label_filter(&[(volumes::VOLUME, "")])).await? {
        let label = |key: &str| volume.labels.get(key).cloned();
        if let (Some(key), Some(other)) = (label(volumes::VOLUME), label(PROJECT))
            && other != project
        {
            there.entry(key).or_default().push((other, volume.name));
        }
    }
    for (role, key, volume) in wanted {
        let Some(found) = there.get(key) else {
            continue;
        };
        if is_there(engine, volume).await? {
            continue;
        }
        for (other, name) in found {
            let mut of_project = others.iter().filter(|one| one.project == *other);
            if of_project.any(|one| one.is_of_files) {
                return Err(refused_hint(
                    format!(
                        "`{role}` would begin with a new, empty volume `{volume}`, and the Compose \
                         project `{other}` has left a `{key}` in `{name}`"
                    ),
                    format!(
                        "if that is this project, which was called otherwise, write `project: {other}` \
                         and `volumes: {{{key}: {{keep: across-releases, name: {name}}}}}` into the \
                         plan; if it shall begin empty, make it: docker volume create {volume}"
                    ),
                ));
            }
        }
    }
    Ok(())
}
