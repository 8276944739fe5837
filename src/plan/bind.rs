//! A path that is bound: of the engine's host where the plan says that releases share it, else
//! copied into the release. Nothing in an environment refers to a path of the deployer unasked.

use std::path::Path;

use super::again;
use super::files::{self, Found};
use super::mounted::{Mounted, Shape};
use super::read::Reader;
use super::tree::Node;
use super::volumes::{Context, Wish};
use crate::core::RoleName;
use crate::core::plan::{FileContent, FileMount, FileSource, Mount, MountSource, Run};

/// Where the engine may be asked for anything.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

/// How mounts below a bound path may spread.
pub(super) const PROPAGATIONS: [&str; 6] = [
    "rslave", "rshared", "rprivate", "slave", "shared", "private",
];

/// Says that they cannot here.
pub(super) fn refuse_propagation(
    reader: &mut Reader<'_>,
    (node, whole): (&Node, &Node),
    role: &RoleName,
) {
    let help = match node.span.is_compose() {
        false => "remove the mode, or write `run: shared` on the role".to_owned(),
        true => format!(
            "write the mount without it in the plan: {}; or, of a path of the host, `{role}: {{run: shared}}`",
            again::mount(reader, whole, role)
        ),
    };
    let message = "how mounts spread is for paths of the host in a shared role";
    reader.wrong(node.span, message, help);
}

/// Whether an absolute path is one of those that stand beside a Compose file, as `docker compose
/// config` writes them.
pub(super) fn is_beside(project: &Path, path: &str) -> bool {
    project.parent().is_some() && files::is_below(path, &project.display().to_string())
}

/// Reads a bind.
pub(super) fn bind(
    reader: &mut Reader<'_>,
    wish: Wish<'_>,
    context: &Context<'_>,
    mounted: &mut Mounted,
) -> Option<()> {
    let Wish {
        node,
        whole,
        source,
        target,
        read_only,
        propagation,
    } = wish;
    let source = source?;
    if propagation.is_some() && !(context.at.run == Run::Shared && source.starts_with('/')) {
        refuse_propagation(reader, (node, whole), context.at.name);
    }
    let declared = context.at.declared;
    let covered =
        |paths: &[String], path: &str| paths.iter().any(|above| files::is_below(path, above));
    if source.starts_with('~') {
        reader.wrong(
            node.span,
            format!("`{source}` is in somebody's home directory"),
            "copy it beside the plan and write a path relative to the plan",
        );
        return None;
    }
    let absolute = files::absolute(&source);
    let is_socket = absolute
        .as_ref()
        .is_some_and(|path| SOCKETS.contains(&path.as_str()));
    let beside = node.span.is_compose()
        && !is_socket
        && absolute
            .as_ref()
            .is_some_and(|path| is_beside(&reader.project_directory, path));
    if source.starts_with('/') && !beside {
        if is_socket && context.at.run != Run::Shared {
            let role = context.at.name;
            reader.wrong(
                node.span,
                format!("`{role}` wants the engine itself, with which it could change every release"),
                format!("if it outlives releases: `services: {{{role}: {{run: shared}}}}` and `shared_paths: [{source}]`; if it is left out: `{role}: {{run: never}}`"),
            );
            return None;
        }
        let Some(path) = absolute.filter(|path| covered(&declared.shared_paths, path)) else {
            reader.wrong(
                node.span,
                format!("`{source}` is a path of the engine's host, shared by every release"),
                format!(
                    "if that is meant, declare it at the top level: `shared_paths: [{source}]`"
                ),
            );
            return None;
        };
        return host(
            reader,
            (node, target, read_only, propagation),
            path,
            mounted,
        );
    }
    let path = reader.resolve(node.span, &source);
    let absolute = path.display().to_string();
    if covered(&declared.shared_paths, &absolute) {
        return host(
            reader,
            (node, target, read_only, propagation),
            absolute,
            mounted,
        );
    }
    if !read_only && !covered(&declared.copied_paths, &absolute) {
        let (message, help) = match node.span.is_compose() {
            false => (
                format!(
                    "`{source}` would be written to, and a release keeps no path of the deployer"
                ),
                format!(
                    "add `:ro` (or `read_only: true`) to copy it into the release; use a named volume; or, if every release writes there, on this machine: `shared_paths: [{source}]`"
                ),
            ),
            true => (
                format!(
                    "`{}` may write to `{source}`, and nothing says what becomes of that",
                    context.at.name
                ),
                format!(
                    "at the top level of the plan: `copied_paths: [{source}]` if it is only read, so that it is copied into each release; `shared_paths: [{source}]` if it is written to, on this machine, by every release"
                ),
            ),
        };
        reader.wrong(node.span, message, help);
        return None;
    }
    let place = format!("{}.{target}", context.place);
    let content = match files::found(reader, node, &source, &place)? {
        Found::Directory(path) => {
            mounted.claim(reader, node.span, &target, Shape::CopiedDirectory);
            mounted.copied.insert(target.clone(), path.clone());
            FileContent::Directory(path)
        }
        Found::File(path) => {
            mounted.claim(reader, node.span, &target, Shape::SingleFile);
            let (uid, gid, mode) = owner_and_mode(&path);
            FileContent::File {
                source: FileSource::Path(path),
                uid,
                gid,
                mode,
            }
        }
    };
    mounted.files.push(FileMount { target, content });
    Some(())
}

fn host(
    reader: &mut Reader<'_>,
    (node, target, read_only, propagation): (&Node, String, bool, Option<&'static str>),
    path: String,
    mounted: &mut Mounted,
) -> Option<()> {
    mounted.claim(reader, node.span, &target, Shape::Volume);
    mounted.mounts.push(Mount {
        target,
        source: MountSource::Host(path),
        read_only,
        propagation,
    });
    Some(())
}

/// Owner, group and mode of a file as it stands; root's and readable by all where that cannot be
/// told.
fn owner_and_mode(path: &std::path::Path) -> (u32, u32, u32) {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map_or((0, 0, 0o644), |kind| {
        (kind.uid(), kind.gid(), kind.mode() & 0o777)
    })
}
