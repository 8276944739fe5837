//! Files of a release: directories copied into volumes, single files put into containers before
//! they start. Nothing in an environment refers to a path of the deployer.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, HostConfig, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptions, RemoveContainerOptions, UploadToContainerOptions,
};

use super::create::{self, Access, filled_volume};
use super::order::roles;
use super::tear_down::gone;
use super::{Docker, LAG, names};
use crate::core::names::{Release, RoleName, ServiceName};
use crate::core::plan::{FileContent, FileSource, MountSource, Plan, Role};
use crate::docker::{TarStream, found, refused, refused_hint, status, tar_stream};
use crate::engine::{EngineError, Spec};

/// Refuses single files where the engine cannot put them: in a read-only root, on a tmpfs.
pub(super) fn check(plan: &Plan) -> Result<(), EngineError> {
    for (name, role) in roles(plan).chain(&plan.shared) {
        for file in &role.files {
            if matches!(file.content, FileContent::Directory(_)) {
                continue;
            }
            let target = &file.target;
            if let Some(path) = role.tmpfs.keys().find(|path| is_below(target, path)) {
                return Err(refused_hint(
                    format!(
                        "`{target}` of role `{name}` lies on the tmpfs `{path}`, which is empty at every start"
                    ),
                    format!(
                        "give `{target}` another place, or take `{path}` out of `tmpfs:` of `{name}`"
                    ),
                ));
            }
            let on_volume = role.mounts.iter().any(|mount| {
                let written = !mount.read_only && !matches!(mount.source, MountSource::Host(_));
                written && is_below(target, &mount.target)
            });
            if role.read_only && !on_volume {
                return Err(refused_hint(
                    format!("`{target}` of role `{name}` cannot be put into a read-only container"),
                    format!(
                        "take `read_only: true` away from `{name}`, or put the file into a directory and mount that"
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// Whether a path is that of a directory or below it.
pub(super) fn is_below(target: &str, directory: &str) -> bool {
    Path::new(target).starts_with(directory)
}

/// Makes the volumes of a role and fills those that are copied directories.
///
/// `fill` is false where a container of the role has already been started: then they are whole.
pub(super) async fn volumes(
    engine: &Docker,
    spec: &Spec,
    role: (&RoleName, &Role),
    image: &str,
    state: Filling,
) -> Result<(), EngineError> {
    let (name, role) = role;
    let (service, release) = (&spec.plan.service, spec.release);
    for mount in &role.mounts {
        if let MountSource::PerRelease(Some(volume)) = &mount.source {
            let volume = create::named_volume(service, release, volume);
            create_volume(engine, service, release, &volume).await?;
        }
    }
    let directories: Vec<_> = create::directories(role)
        .map(|(index, _, source)| {
            let volume = create::directory_volume(service, release, name, index);
            (volume, source.to_owned())
        })
        .collect();
    if directories.is_empty() || state == Filling::Done {
        return Ok(());
    }
    for (volume, _) in &directories {
        create_volume(engine, service, release, volume).await?;
    }
    let helper = Helper {
        name: format!("{service}-{release}-{name}-files"),
        labels: names::of_release(service, release, names::Kind::Helper),
        image,
    };
    fill(engine, helper, &directories).await
}

/// The container that volumes are filled through.
pub(super) struct Helper<'a> {
    pub(super) name: String,
    pub(super) labels: HashMap<String, String>,
    pub(super) image: &'a str,
}

/// Whether a role's directories still have to be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filling {
    Needed,
    Done,
}

async fn create_volume(
    engine: &Docker,
    service: &ServiceName,
    release: Release,
    name: &str,
) -> Result<(), EngineError> {
    let client = &engine.client;
    let request = VolumeCreateRequest {
        name: Some(name.to_owned()),
        labels: Some(names::of_release(
            service,
            release,
            names::Kind::Environment,
        )),
        ..VolumeCreateRequest::default()
    };
    let made = client.docker.create_volume(request).await;
    let made = made.map_err(|error| client.fault(error))?;
    if names::release(&made.labels) == Some(release) {
        return Ok(());
    }
    Err(refused_hint(
        format!("the volume `{name}` is there and is not of this release"),
        format!("`docker volume rm {name}` removes it, if nothing needs it"),
    ))
}

/// Fills volumes through a container that is created and never started.
pub(super) async fn fill(
    engine: &Docker,
    through: Helper<'_>,
    directories: &[(String, PathBuf)],
) -> Result<(), EngineError> {
    let client = &engine.client;
    let helper = through.name;
    let mounts = directories.iter().enumerate().map(|(index, (volume, _))| {
        filled_volume(volume, &format!("/flipside/{index}"), Access::ReadWrite)
    });
    let body = ContainerCreateBody {
        image: Some(through.image.to_owned()),
        // Never run; an image without a command of its own is refused without one.
        cmd: Some(vec!["never-run".into()]),
        labels: Some(through.labels),
        host_config: Some(HostConfig {
            network_mode: Some("none".into()),
            mounts: Some(mounts.collect()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    // A killed call's last act, the helper's removal, may come late: then another one is made.
    loop {
        create_helper(engine, &helper, &body).await?;
        let put = put(engine, &helper, directories_tar(directories)).await;
        if put.is_ok() || stays(engine, &helper).await? {
            put?;
            break;
        }
    }
    let options = RemoveContainerOptions {
        force: true,
        ..RemoveContainerOptions::default()
    };
    gone(
        client,
        client.docker.remove_container(&helper, Some(options)).await,
    )
}

/// Makes the container that volumes are filled through, or takes the one that a killed call left.
async fn create_helper(
    engine: &Docker,
    name: &str,
    body: &ContainerCreateBody,
) -> Result<(), EngineError> {
    let client = &engine.client;
    let options = CreateContainerOptions {
        name: Some(name.to_owned()),
        ..CreateContainerOptions::default()
    };
    loop {
        let create = client
            .docker
            .create_container(Some(options.clone()), body.clone());
        match create.await {
            Ok(_) => return Ok(()),
            // Left by a killed call, with the same volumes; or still being made for it.
            Err(error) if status(&error) == Some(409) => {
                if stays(engine, name).await? {
                    return Ok(());
                }
                tokio::time::sleep(LAG).await;
            }
            Err(error) => return Err(client.fault(error)),
        }
    }
}

/// Whether a container is there and is not being removed.
async fn stays(engine: &Docker, container: &str) -> Result<bool, EngineError> {
    use ContainerStateStatusEnum::{DEAD, REMOVING};
    let client = &engine.client;
    let there = found(client.docker.inspect_container(container, None).await);
    let there = there.map_err(|error| client.fault(error))?;
    let status = there.map(|there| there.state.and_then(|state| state.status));
    Ok(status.is_some_and(|status| !matches!(status, Some(DEAD | REMOVING))))
}

/// Directories as one archive, each below the place where the helper has its volume.
fn directories_tar(directories: &[(String, PathBuf)]) -> TarStream {
    let sources: Vec<_> = directories
        .iter()
        .map(|(_, source)| source.clone())
        .collect();
    tar_stream(move |tar| {
        for (index, source) in sources.iter().enumerate() {
            let root = format!("flipside/{index}");
            append_directory(tar, source, &root)?;
        }
        Ok(())
    })
}

/// A directory with owners and modes as they are, links as links.
fn append_directory(
    tar: &mut tar::Builder<Box<dyn Write>>,
    source: &Path,
    root: &str,
) -> io::Result<()> {
    tar.follow_symlinks(false);
    let said = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
    };
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let path = source.join(&relative);
        let inside = if relative.as_os_str().is_empty() {
            PathBuf::from(root)
        } else {
            Path::new(root).join(&relative)
        };
        let metadata = path
            .symlink_metadata()
            .map_err(|error| said(&path, error))?;
        // The directory itself may be given by a link.
        if relative.as_os_str().is_empty() || metadata.is_dir() {
            let entries = path.read_dir().map_err(|error| said(&path, error))?;
            tar.append_dir(&inside, &path)
                .map_err(|error| said(&path, error))?;
            for entry in entries {
                waiting.push(relative.join(entry?.file_name()));
            }
        } else if metadata.is_file() || metadata.is_symlink() {
            tar.append_path_with_name(&path, &inside)
                .map_err(|error| said(&path, error))?;
        } else {
            return Err(io::Error::other(format!(
                "`{}` is no file, directory or link",
                path.display()
            )));
        }
    }
    Ok(())
}

/// The single files of a role, as one archive for `/`; `None` where there is none.
pub(super) fn single_files(role: &Role) -> Option<TarStream> {
    let files: Vec<_> = role
        .files
        .iter()
        .filter_map(|file| match &file.content {
            FileContent::File {
                source,
                uid,
                gid,
                mode,
            } => Some((file.target.clone(), source.clone(), *uid, *gid, *mode)),
            FileContent::Directory(_) => None,
        })
        .collect();
    if files.is_empty() {
        return None;
    }
    Some(tar_stream(move |tar| {
        for (target, source, uid, gid, mode) in files {
            let path = target.trim_start_matches('/');
            let mut header = crate::docker::plain_header(0, mode);
            header.set_uid(uid.into());
            header.set_gid(gid.into());
            match source {
                FileSource::Value(text) => {
                    let bytes = text.reveal().as_bytes();
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, path, bytes)?;
                }
                FileSource::Path(source) => {
                    let mut file = File::open(&source).map_err(|error| {
                        io::Error::new(error.kind(), format!("`{}`: {error}", source.display()))
                    })?;
                    header.set_size(file.metadata()?.len());
                    tar.append_data(&mut header, path, &mut file)?;
                }
            }
        }
        Ok(())
    }))
}

/// Puts an archive into a container, at `/`.
pub(super) async fn put(
    engine: &Docker,
    container: &str,
    tar: TarStream,
) -> Result<(), EngineError> {
    let client = &engine.client;
    let options = UploadToContainerOptions {
        path: "/".into(),
        ..UploadToContainerOptions::default()
    };
    let (body, unread) = tar.split();
    let body = bollard::body_try_stream(body);
    let sent = client
        .docker
        .upload_to_container(container, Some(options), body)
        .await;
    sent.map_err(|error| match unread.get() {
        Some(why) => refused(format!("files of `{container}`: {why}")),
        None => match client.fault(error) {
            EngineError::Failed(failure) => {
                refused(format!("files of `{container}`: {}", failure.what))
            }
            other => other,
        },
    })
}
