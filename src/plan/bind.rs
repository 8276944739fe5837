//! A path that is bound: of the engine's host where the plan says that releases share it, else
//! copied into the release. Nothing in an environment refers to a path of the deployer unasked.

use std::path::Path;

use super::again;
use super::files::{self, Found};
use super::mounted::{Mounted, Shape};
use super::read::Reader;
use super::store::Decided;
use super::tree::Node;
use super::volumes::{Context, Wish};
use crate::core::RoleName;
use crate::core::plan::{FileContent, FileMount, FileSource, Mount, MountSource, Run};

/// What the sockets are called at which an engine may be asked for anything.
const SOCKETS: [&str; 3] = ["docker.sock", "podman.sock", "containerd.sock"];

/// Where they usually are: with the first user for all users, and `/run` for `/var/run`.
const USUAL: [&str; 6] = [
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/user/0/docker.sock",
    "/run/user/0/podman/podman.sock",
    "/var/run/docker.sock",
];

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

fn is_socket(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|last| SOCKETS.contains(&last))
}

/// Whether who has the host's `path` at `target` may ask an engine for anything.
pub(super) fn reaches_engine(path: &str, target: &str) -> bool {
    let mut path = path.trim_end_matches('/').to_owned();
    if let Some(rest) = path.strip_prefix("/var/run")
        && (rest.is_empty() || rest.starts_with('/'))
    {
        path = format!("/run{rest}");
    }
    if let Some(rest) = path.strip_prefix("/run/user/") {
        let (_, below) = rest.split_once('/').unwrap_or((rest, ""));
        path = format!("/run/user/0/{below}");
    }
    let above = match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    is_socket(&path) || is_socket(target) || USUAL.iter().any(|usual| files::is_below(usual, above))
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
    let home = reader.home();
    let covered = |paths: &[Decided], path: &str| {
        let mut paths = paths.iter();
        paths.any(|entry| entry.decides_on(path, &home))
    };
    if source.starts_with('~') {
        let path = again::at_home(&source);
        let help = match node.span.is_compose() && path != source {
            false => "copy it beside the plan and write a path relative to the plan".to_owned(),
            true => format!(
                "write {} and `shared_paths: [\"{path}\"]`",
                again::mount(reader, whole, context.at.name)
            ),
        };
        let message = format!("`{source}` is in somebody's home directory");
        reader.wrong(node.span, message, help);
        return None;
    }
    let absolute = reader.resolve(node.span, &source).display().to_string();
    if context.at.run != Run::Shared && reaches_engine(&absolute, &target) {
        let role = context.at.name;
        let (what, first) = match is_socket(&absolute) || is_socket(&target) {
            true => ("the engine itself".to_owned(), ""),
            false => (
                format!("`{source}`, and in it the engine itself"),
                "bind what it needs there alone; ",
            ),
        };
        reader.wrong(
            node.span,
            format!("`{role}` wants {what}, with which it could change every release"),
            format!("{first}if it outlives releases: `services: {{{role}: {{run: shared}}}}` and `shared_paths: [{source}]`; if it is left out: `{role}: {{run: never}}`"),
        );
        return None;
    }
    let given = files::absolute(&source);
    let beside = node.span.is_compose()
        && !is_socket(&absolute)
        && given
            .as_ref()
            .is_some_and(|path| is_beside(&reader.project_directory, path));
    if source.starts_with('/') && !beside {
        let Some(path) = given.filter(|path| covered(&declared.shared_paths, path)) else {
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
    let holds_home = files::is_below(&home, &absolute);
    if covered(&declared.shared_paths, &absolute) {
        if holds_home && context.at.run != Run::Shared {
            reader.note(node.span, format!("`{source}` holds the Compose file: every release of `{}` runs on the files that stand here, blue and green on the same ones, and a change to them changes both", context.at.name));
        }
        return host(
            reader,
            (node, target, read_only, propagation),
            absolute,
            mounted,
        );
    }
    if !read_only && !covered(&declared.copied_paths, &absolute) {
        let (message, help) = match node.span.is_compose() {
            false => unasked(&source),
            true => {
                let others = (context.items, whole);
                let without = again::mounts_without(reader, others, &context.place);
                undecided(
                    &source,
                    context.at.name.as_str(),
                    holds_home.then_some(without),
                )
            }
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

/// `source` as an entry of the plan's paths.
fn entry(source: &str) -> String {
    match source.starts_with(['.', '/']) {
        true => source.to_owned(),
        false => format!("./{source}"),
    }
}

/// What is wrong in a plan that lets a role write to a path, and what to write.
fn unasked(source: &str) -> (String, String) {
    let entry = entry(source);
    (
        format!("`{source}` would be written to, and a release keeps no path of the deployer"),
        format!(
            "add `:ro` (or `read_only: true`) to copy it into the release; use a named volume; or, if every release writes there, on this machine: `shared_paths: [{entry}]`"
        ),
    )
}

/// The same of a Compose file; where it is in that path itself, with the line `without` that path.
fn undecided(source: &str, role: &str, without: Option<String>) -> (String, String) {
    let entry = entry(source);
    let decide = format!(
        "`copied_paths: [{entry}]` if it is only read, so that it is copied into each release; `shared_paths: [{entry}]` if it is written to, on this machine, by every release"
    );
    (
        format!("`{role}` may write to `{source}`, and nothing says what becomes of that"),
        match without {
            None => format!("at the top level of the plan: {decide}"),
            Some(without) => format!(
                "it holds the Compose file, and most likely the source that the image has already: write the list without it in the plan, {without}; else, at its top level: {decide}, so that blue and green run on the same files"
            ),
        },
    )
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
