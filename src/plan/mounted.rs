//! What stands where in a role's containers, and that nothing of it stands in the way of something
//! else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::files;
use super::read::Reader;
use super::source::Span;
use crate::core::plan::{FileMount, Mount};

/// What a role mounts.
#[derive(Default)]
pub(super) struct Mounted {
    pub files: Vec<FileMount>,
    pub mounts: Vec<Mount>,
    pub tmpfs: BTreeMap<String, String>,
    /// Where each target is written, and what is put there.
    targets: BTreeMap<String, (Span, Shape)>,
    /// Targets of copied directories → where they are copied from.
    pub copied: BTreeMap<String, PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    SingleFile,
    CopiedDirectory,
    Volume,
    Tmpfs,
}

impl Mounted {
    /// Whether nothing has been put there before, which is said otherwise.
    pub(super) fn claim(
        &mut self,
        reader: &mut Reader<'_>,
        span: Span,
        target: &str,
        shape: Shape,
    ) -> bool {
        if let Some((first, _)) = self.targets.get(target) {
            let line = reader.line(*first, span);
            reader.wrong(
                span,
                format!("something is mounted at `{target}` already"),
                format!("see {line}: choose another path or remove one of them"),
            );
            return false;
        }
        self.targets.insert(target.to_owned(), (span, shape));
        true
    }

    /// A single file is put into a container before its start, which cannot reach below a tmpfs (it
    /// is mounted later), into a read-only root or into a read-only volume, and must not reach into
    /// a volume that outlives the release.
    pub(super) fn check(&self, reader: &mut Reader<'_>, read_only: Option<Span>) {
        for (target, (span, shape)) in &self.targets {
            let file = self.targets.iter().find(|(other, (_, shape))| {
                *shape == Shape::SingleFile && *other != target && files::is_below(target, other)
            });
            if let Some((other, (place, _))) = file {
                reader.wrong(
                    *span,
                    format!("nothing can be put at `{target}`, since `{other}` is a single file"),
                    format!(
                        "choose another target, or change {}",
                        reader.line(*place, *span)
                    ),
                );
                continue;
            }
            if *shape != Shape::SingleFile {
                self.check_mount_point(reader, target, *span);
                continue;
            }
            if let Some(help) = hidden(target) {
                reader.wrong(
                    *span,
                    format!("the single file `{target}` would be hidden by what the engine itself puts there"),
                    help,
                );
                continue;
            }
            if let Some(place) = read_only {
                reader.wrong(
                    *span,
                    format!("the single file `{target}` cannot be put under a read-only root"),
                    format!(
                        "mount its directory instead, or remove `read_only: true` on {}",
                        reader.line(place, *span)
                    ),
                );
                continue;
            }
            let above = self.targets.iter().filter(|(other, (_, shape))| {
                *shape != Shape::SingleFile && files::is_below(target, other)
            });
            if let Some((other, (place, shape))) = above.max_by_key(|(other, _)| other.len()) {
                let what = match shape {
                    Shape::Tmpfs => "tmpfs",
                    Shape::CopiedDirectory => "copied directory",
                    Shape::Volume | Shape::SingleFile => "volume",
                };
                reader.wrong(
                    *span,
                    format!(
                        "the single file `{target}` cannot be put below the {what} at `{other}`"
                    ),
                    format!(
                        "choose another target, or change {}",
                        reader.line(*place, *span)
                    ),
                );
            }
        }
    }

    /// A directory that is copied is mounted read-only, so the engine cannot make a mount point in it.
    fn check_mount_point(&self, reader: &mut Reader<'_>, target: &str, span: Span) {
        let above = self
            .copied
            .iter()
            .filter(|(above, _)| *above != target && files::is_below(target, above));
        if let Some((above, source)) = above.max_by_key(|(above, _)| above.len()) {
            let rest = target
                .strip_prefix(above.as_str())
                .unwrap_or("")
                .trim_start_matches('/');
            if !source.join(rest).is_dir() {
                reader.wrong(
                    span,
                    format!("`{target}` stands below the read-only `{above}`, where there is no `{rest}` to mount it on"),
                    format!("make an empty directory `{rest}` in what is copied to `{above}`"),
                );
            }
        }
    }
}

/// What to do about a single file at a place that the engine fills at every start.
fn hidden(target: &str) -> Option<&'static str> {
    match target {
        "/etc/hosts" => Some("write `extra_hosts: [NAME=ADDRESS]` on the role"),
        "/etc/hostname" => Some("write `hostname: NAME` on the role"),
        "/etc/resolv.conf" => Some("write `dns: [ADDRESS]` on the role"),
        _ => ["/proc", "/sys", "/dev"]
            .iter()
            .any(|above| files::is_below(target, above))
            .then_some("choose a target outside `/proc`, `/sys` and `/dev`"),
    }
}

pub(super) fn target_of(reader: &mut Reader<'_>, span: Span, text: &str) -> Option<String> {
    let found = files::absolute(text).filter(|path| path != "/" && !path.contains([':', '\0']));
    if found.is_none() {
        reader.wrong(
            span,
            format!("`{text}` is no path in a container"),
            "write an absolute path below `/`, without `..`",
        );
    }
    found
}
