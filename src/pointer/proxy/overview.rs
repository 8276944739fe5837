//! The proxy as a whole: what it serves, and its end.
//!
//! Whether it may be taken down is its caller's to decide; here is only what that takes.

use std::io;

use bollard::query_parameters::{
    ListImagesOptions, RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions,
    StopContainerOptions,
};

use crate::docker::{is_missing, label_filter, own_image, status};
use crate::proxy::control::{ClientError, Entry, Hello, Stats};

use super::container::{self, KIND, TABLE};
use super::line::{Line, Reached, Ways};
use super::{PointerError, Site};

/// How long the proxy is given to let requests end, in seconds; it takes ten at most.
const STOP_S: i32 = 15;

/// What a proxy says of itself.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Who it is, where it listens, what it cannot serve.
    pub hello: Hello,
    /// What it serves, with what has been counted for each since it started.
    pub services: Vec<(Entry, Stats)>,
}

/// What has been taken down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenDown {
    /// Containers, volumes, images and directories, by name.
    pub removed: Vec<String>,
    /// The same, where something still uses them or they are not to be reached from here.
    pub left: Vec<String>,
}

/// Asks the proxy what it serves; `None` where the engine has none of this name.
///
/// # Errors
/// Where it cannot be asked, a stopped one included, or the container is a stranger's.
pub async fn overview(site: &Site) -> Result<Option<Overview>, PointerError> {
    let line = Line::to(site.clone());
    let link = match line.reach(Ways::All).await? {
        Reached::Open(link) => link,
        Reached::Absent => return Ok(None),
        Reached::Stopped(_) => return Err(site.away("its container is stopped")),
        Reached::Deaf(_, why) => return Err(site.away(why)),
    };
    let away = |error: ClientError| site.away(error.to_string());
    let entries = link.client().list().await.map_err(away)?;
    let mut services = Vec::with_capacity(entries.len());
    for entry in entries {
        let stats = link.client().stats(&entry.service).await.map_err(away)?;
        services.push((entry, stats));
    }
    // Asked again, since its listeners may have changed since the connection was made.
    let hello = link.client().hello().await.map_err(away)?;
    Ok(Some(Overview { hello, services }))
}

/// The services that other proxies of the engine serve, as far as those can be asked.
///
/// # Errors
/// Where the engine cannot be asked.
pub async fn served_elsewhere(site: &Site) -> Result<Vec<String>, PointerError> {
    let mut served = Vec::new();
    for name in container::others(site).await? {
        let other = Site {
            name,
            ..site.clone()
        };
        // One that does not say what it serves is no reason to count on it.
        if let Ok(Some(found)) = overview(&other).await {
            served.extend(found.services.into_iter().map(|(entry, _)| entry.service));
        }
    }
    Ok(served)
}

/// Takes the proxy down if it serves nothing and has nothing saved that it could not read; `None`
/// where it does.
///
/// Between the question and the end of the container another operator's first switch may come; it
/// is then answered that the pointer is out of reach, and moves nothing. So this is for where nobody
/// is known to be on the way there.
///
/// # Errors
/// Where the proxy cannot be asked, the container is a stranger's, or the engine says no.
pub async fn take_down_if_idle(site: &Site) -> Result<Option<TakenDown>, PointerError> {
    match overview(site).await? {
        Some(found) if !found.services.is_empty() || !found.hello.bad_entries.is_empty() => {
            Ok(None)
        }
        _ => take_down(site).await.map(Some),
    }
}

/// Takes the proxy down: container, table, socket, and every image built here that nothing uses.
/// Idempotent.
///
/// # Errors
/// Where the container or the volume is a stranger's, or the engine says no.
pub async fn take_down(site: &Site) -> Result<TakenDown, PointerError> {
    let mut down = TakenDown::default();
    if let Some(found) = container::find(site).await? {
        let stop = StopContainerOptions {
            t: Some(STOP_S),
            signal: None,
        };
        let docker = &site.docker.docker;
        gone(site, docker.stop_container(&found.id, Some(stop)).await)?;
        let remove = RemoveContainerOptions {
            force: true,
            v: true,
            ..RemoveContainerOptions::default()
        };
        gone(site, docker.remove_container(&found.id, Some(remove)).await)?;
        down.removed.push(format!("container {}", site.name));
    }
    remove_table(site, &mut down).await?;
    remove_images(site, &mut down).await?;
    remove_socket(site, &mut down);
    Ok(down)
}

async fn remove_table(site: &Site, down: &mut TakenDown) -> Result<(), PointerError> {
    let docker = &site.docker.docker;
    let name = container::volume(site);
    let volume = match docker.inspect_volume(&name).await {
        Ok(volume) => volume,
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => return Err(container::asked(site, site.docker.fault(error))),
    };
    if volume.labels.get(KIND).is_none_or(|kind| kind != TABLE) {
        down.left
            .push(format!("volume {name}, which is not flipside's"));
        return Ok(());
    }
    gone(
        site,
        docker
            .remove_volume(&name, None::<RemoveVolumeOptions>)
            .await,
    )?;
    down.removed.push(format!("volume {name}"));
    Ok(())
}

async fn remove_images(site: &Site, down: &mut TakenDown) -> Result<(), PointerError> {
    let docker = &site.docker.docker;
    let options = ListImagesOptions {
        filters: Some(label_filter(&[own_image::KIND])),
        ..ListImagesOptions::default()
    };
    let images = docker.list_images(Some(options)).await;
    let images = match images {
        Ok(images) => images,
        // A 20.10 engine cannot list images while another call removes one.
        Err(error) => match container::asked(site, site.docker.fault(error)) {
            PointerError::Failed { what, .. } => {
                down.left.push(format!("the proxy's images: {what}"));
                return Ok(());
            }
            away => return Err(away),
        },
    };
    for image in images {
        // By its names, as the engine takes one away that another still has; of one that has lost
        // its name, by what it is.
        let names = image.repo_tags.into_iter();
        let ours = names.filter(|tag| tag.starts_with(&format!("{}:", own_image::REPOSITORY)));
        let mut names: Vec<_> = ours.collect();
        if names.is_empty() {
            names.push(image.id);
        }
        for name in names {
            remove_image(site, &name, down).await?;
        }
    }
    Ok(())
}

async fn remove_image(site: &Site, name: &str, down: &mut TakenDown) -> Result<(), PointerError> {
    let options = None::<RemoveImageOptions>;
    match site.docker.docker.remove_image(name, options, None).await {
        Ok(_) => down.removed.push(format!("image {name}")),
        Err(error) if is_missing(&error) => {}
        Err(error) if status(&error) == Some(409) => down
            .left
            .push(format!("image {name}, which another proxy uses")),
        Err(error) => match container::acted(site, site.docker.fault(error)) {
            PointerError::Failed { what, .. } => down.left.push(format!("image {name}: {what}")),
            away => return Err(away),
        },
    }
    Ok(())
}

/// Removes what a proxy of this machine leaves of its socket; elsewhere an empty directory stays.
fn remove_socket(site: &Site, down: &mut TakenDown) {
    if !site.docker.is_local() {
        return;
    }
    let directory = container::run_dir(site);
    let name = format!("directory {}", directory.display());
    match std::fs::remove_dir_all(&directory) {
        Ok(()) => down.removed.push(name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => down.left.push(format!("{name}: {error}")),
    }
}

fn gone(site: &Site, done: Result<(), bollard::errors::Error>) -> Result<(), PointerError> {
    match done {
        Err(error) if !is_missing(&error) => Err(container::acted(site, site.docker.fault(error))),
        _ => Ok(()),
    }
}
