//! A role's `volumes`, `tmpfs`, `secrets` and `configs`: everything that appears at a path in its
//! containers.

use super::fields::Fields;
use super::files::{self, Found};
use super::grants::granted;
use super::mounted::{Mounted, Shape, target_of};
use super::nearest::nearest;
use super::read::Reader;
use super::store::{Declared, Keep, Section};
use super::tmpfs;
use super::tree::{Node, Span, Value};
use crate::core::ServiceName;
use crate::core::plan::{FileContent, FileMount, FileSource, Mount, MountSource};

/// What is read alike for all mounts of one role.
struct Context<'a> {
    declared: &'a Declared,
    service: Option<&'a ServiceName>,
    place: String,
}

/// One mount as written, short or long.
struct Wish<'t> {
    node: &'t Node,
    source: Option<String>,
    target: String,
    read_only: bool,
}

/// Everything a role mounts; `read_only` is where it says `read_only: true`.
pub(super) fn mounted(
    reader: &mut Reader<'_>,
    role: &mut Fields<'_>,
    declared: &Declared,
    service: Option<&ServiceName>,
    read_only: Option<Span>,
) -> Mounted {
    let mut mounted = Mounted::default();
    let context = Context {
        declared,
        service,
        place: role.below("volumes"),
    };
    if let Some(field) = role.take("volumes") {
        for item in reader
            .list(field.node, "a list of volumes")
            .unwrap_or_default()
        {
            match &item.value {
                Value::Map(_) => long(reader, item, &context, &mut mounted),
                _ => short(reader, item, &context, &mut mounted),
            };
        }
    }
    if let Some(field) = role.take("tmpfs") {
        let items = match &field.node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(field.node),
        };
        for item in items {
            if let Some(text) = reader.public(item, "a path, or a list of paths") {
                let (target, options) = text.split_once(':').unwrap_or((&text, ""));
                if let Some(wrong) = tmpfs::unknown_option(options) {
                    reader.wrong(
                        item.span,
                        format!("`{wrong}` is no option of a tmpfs"),
                        "write options such as `size=64m`, `mode=1777` or `noexec`",
                    );
                } else if let Some(target) = target_of(reader, item.span, target) {
                    mounted.claim(reader, item.span, &target, Shape::Tmpfs);
                    mounted.tmpfs.insert(target, options.to_owned());
                }
            }
        }
    }
    for section in [Section::Secrets, Section::Configs] {
        if let Some(field) = role.take(section.as_str()) {
            let place = role.below(section.as_str());
            for item in reader
                .list(field.node, "a list of names")
                .unwrap_or_default()
            {
                granted(reader, item, &place, section, declared, &mut mounted);
            }
        }
    }
    mounted.check(reader, read_only);
    mounted
}

/// `SOURCE:TARGET:MODE`, `SOURCE:TARGET` or `TARGET`.
fn short(
    reader: &mut Reader<'_>,
    item: &Node,
    context: &Context<'_>,
    mounted: &mut Mounted,
) -> Option<()> {
    let text = reader.public(
        item,
        "`SOURCE:TARGET`, or a map with `type`, `source` and `target`",
    )?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, modes) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some((*source).to_owned()), *target, ""),
        [source, target, modes] => (Some((*source).to_owned()), *target, *modes),
        _ => {
            reader.wrong(
                item.span,
                format!("`{text}` is no volume"),
                "write `SOURCE:TARGET` or `SOURCE:TARGET:ro`",
            );
            return None;
        }
    };
    let mut read_only = false;
    for mode in modes.split(',').filter(|mode| !mode.is_empty()) {
        match mode {
            "ro" => read_only = true,
            "rw" => read_only = false,
            other => {
                reader.wrong(
                    item.span,
                    format!("the mode `{other}` is not supported"),
                    "write `ro`, or nothing",
                );
                return None;
            }
        }
    }
    let target = target_of(reader, item.span, target)?;
    let wish = Wish {
        node: item,
        source: source.clone(),
        target,
        read_only,
    };
    match source.as_deref() {
        None => volume(reader, wish, context, mounted),
        Some(source) if source.starts_with(['.', '/', '~']) => bind(reader, wish, context, mounted),
        Some(_) => volume(reader, wish, context, mounted),
    }
}

fn long(
    reader: &mut Reader<'_>,
    item: &Node,
    context: &Context<'_>,
    mounted: &mut Mounted,
) -> Option<()> {
    let mut fields = reader.fields(
        item,
        &context.place,
        "a map with `type`, `source` and `target`",
    )?;
    let kind = fields
        .take("type")
        .map(|field| reader.choice(field.node, "type of mount", &["volume", "bind", "tmpfs"]));
    let source_field = fields.take("source");
    let source = source_field.map(|field| reader.public(field.node, "a volume's name or a path"));
    let target = fields.take("target").map(|field| {
        (
            field.node.span,
            reader.public(field.node, "an absolute path"),
        )
    });
    let read_only_field = fields.take("read_only");
    let read_only = read_only_field
        .and_then(|field| reader.boolean(field.node))
        .unwrap_or(false);
    let options_field = fields.take("tmpfs");
    let options =
        options_field.map(|field| tmpfs::options(reader, field.node, &fields.below("tmpfs")));
    let span = fields.span;
    fields.finish(
        reader,
        &[
            ("bind", "remove it"),
            ("volume", "remove it"),
            ("consistency", "remove it"),
            ("shared", "declare the path in the top-level `shared_paths`"),
        ],
    );
    let Some(kind) = kind else {
        reader.wrong(
            span,
            "this mount has no `type`",
            "add `type: volume`, `type: bind` or `type: tmpfs`",
        );
        return None;
    };
    let Some((target_span, target)) = target else {
        reader.wrong(span, "this mount has no `target`", "add `target: PATH`");
        return None;
    };
    let tmpfs = kind == Some("tmpfs");
    let idle = match tmpfs {
        true => [("source", source_field), ("read_only", read_only_field)],
        false => [("tmpfs", options_field), ("", None)],
    };
    for (name, field) in idle {
        if let (Some(kind), Some(field)) = (kind, field) {
            reader.wrong(
                field.key,
                format!("`{name}` means nothing for `type: {kind}`"),
                "remove it, or change the type",
            );
        }
    }
    let target = target_of(reader, target_span, &target?)?;
    let wish = Wish {
        node: source_field.map_or(item, |field| field.node),
        source: source.clone().flatten(),
        target,
        read_only,
    };
    match kind? {
        "tmpfs" => {
            mounted.claim(reader, span, &wish.target, Shape::Tmpfs);
            mounted
                .tmpfs
                .insert(wish.target, options.unwrap_or_default());
            Some(())
        }
        "bind" => match source {
            Some(source) => {
                source?;
                bind(reader, wish, context, mounted)
            }
            None => {
                reader.wrong(span, "this bind has no `source`", "add `source: PATH`");
                None
            }
        },
        _ => {
            if let Some(source) = source {
                source?;
            }
            volume(reader, wish, context, mounted)
        }
    }
}

fn bind(
    reader: &mut Reader<'_>,
    wish: Wish<'_>,
    context: &Context<'_>,
    mounted: &mut Mounted,
) -> Option<()> {
    let Wish {
        node,
        source,
        target,
        read_only,
    } = wish;
    let source = source?;
    if source.starts_with('~') {
        reader.wrong(
            node.span,
            format!("`{source}` is in somebody's home directory"),
            "copy it beside the plan and write a path relative to the plan",
        );
        return None;
    }
    if source.starts_with('/') {
        let path = files::absolute(&source);
        let Some(path) = path.filter(|path| {
            context
                .declared
                .shared_paths
                .iter()
                .any(|above| files::is_below(path, above))
        }) else {
            reader.wrong(
                node.span,
                format!("`{source}` is a path of the engine's host, shared by every release"),
                format!(
                    "if that is meant, declare it at the top level: `shared_paths: [{source}]`"
                ),
            );
            return None;
        };
        mounted.claim(reader, node.span, &target, Shape::Volume);
        mounted.mounts.push(Mount {
            target,
            source: MountSource::Host(path),
            read_only,
        });
        return Some(());
    }
    if !read_only {
        reader.wrong(
            node.span,
            format!("`{source}` would be written to, and a release keeps no path of the deployer"),
            "add `:ro` (or `read_only: true`) to copy it into the release, or use a named volume",
        );
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

/// Owner, group and mode of a file as it stands; root's and readable by all where that cannot be
/// told.
fn owner_and_mode(path: &std::path::Path) -> (u32, u32, u32) {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map_or((0, 0, 0o644), |kind| {
        (kind.uid(), kind.gid(), kind.mode() & 0o777)
    })
}

fn volume(
    reader: &mut Reader<'_>,
    wish: Wish<'_>,
    context: &Context<'_>,
    mounted: &mut Mounted,
) -> Option<()> {
    let Wish {
        node,
        source,
        target,
        read_only,
    } = wish;
    let source = match source {
        None => MountSource::PerRelease(None),
        Some(name) => {
            let decide = format!(
                "`{name}: {{keep: across-releases}}` to keep its data from release to release, or `{name}: {{keep: per-release}}` to begin empty each time"
            );
            match context
                .declared
                .volumes
                .get(&name)
                .map(|volume| (volume.key, &volume.keep))
            {
                Some((_, Keep::PerRelease)) => MountSource::PerRelease(Some(name)),
                Some((_, Keep::AcrossReleases(Some(given)))) => MountSource::Shared(given.clone()),
                Some((_, Keep::AcrossReleases(None))) => {
                    let service = context.service.map_or("", ServiceName::as_str);
                    MountSource::Shared(format!("{service}_{name}"))
                }
                Some((key, Keep::Undecided)) => {
                    reader.wrong(
                        key,
                        format!("nothing says whether the volume `{name}` outlives a release"),
                        format!("write {decide}"),
                    );
                    return None;
                }
                // Its own declaration is wrong, and that has been said.
                None if reader.is_declared("volumes", &name) => return None,
                None => {
                    let known = context.declared.volumes.keys().map(String::as_str);
                    let help = match nearest(&name, known) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None if reader.resolve(&name).exists() => {
                            format!("write `./{name}` if what stands beside the plan is meant")
                        }
                        None => format!("under the top-level `volumes:` add {decide}"),
                    };
                    reader.wrong(
                        node.span,
                        format!("the volume `{name}` is not declared"),
                        help,
                    );
                    return None;
                }
            }
        }
    };
    mounted.claim(reader, node.span, &target, Shape::Volume);
    mounted.mounts.push(Mount {
        target,
        source,
        read_only,
    });
    Some(())
}
