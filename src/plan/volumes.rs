//! A role's `volumes`, `tmpfs`, `secrets` and `configs`: everything that appears at a path in its
//! containers. What is bound is read in [`super::bind`].

use super::again;
use super::bind::{self, bind};
use super::fields::{Field, Fields};
use super::grants::granted;
use super::mounted::{Mounted, Shape, target_of};
use super::nameless;
use super::nearest::nearest;
use super::read::Reader;
use super::role::At;
use super::source::Span;
use super::store::{Keep, Section};
use super::tmpfs;
use super::tree::{Node, Value};
use super::written;
use crate::core::ServiceName;
use crate::core::plan::{Mount, MountSource, Run};

/// What is read alike for all mounts of one role.
pub(super) struct Context<'a> {
    pub at: &'a At<'a>,
    pub place: String,
    /// All mounts of the role.
    pub items: &'a [Node],
}

/// One mount as written, short or long.
pub(super) struct Wish<'t> {
    /// Where it is written.
    pub node: &'t Node,
    /// The whole of it.
    pub whole: &'t Node,
    pub source: Option<String>,
    pub target: String,
    pub read_only: bool,
    /// A mode of how mounts spread.
    pub propagation: Option<&'static str>,
}

/// Everything a role mounts; `read_only` is where it says `read_only: true`.
pub(super) fn mounted(
    reader: &mut Reader<'_>,
    role: &mut Fields<'_>,
    at: &At<'_>,
    read_only: Option<Span>,
) -> Mounted {
    let mut mounted = Mounted::default();
    let place = role.below("volumes");
    if let Some(field) = role.take("volumes") {
        let items = reader.list_at(field.node, (&role.path, "volumes"), "a list of volumes");
        let context = Context {
            at,
            place,
            items: items.unwrap_or_default(),
        };
        for item in context.items {
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
            let at_key = (role.path.as_str(), section.as_str());
            let items = reader.list_at(field.node, at_key, "a list of names");
            let items = items.unwrap_or_default();
            for item in items {
                granted(
                    reader,
                    (item, items),
                    &place,
                    section,
                    at.declared,
                    &mut mounted,
                );
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
    if again::begins_with_a_drive(&text) {
        let help = match item.span.is_compose() {
            false => "write a path of the engine's host, or a volume's name".to_owned(),
            true => format!(
                "write the list without it in the plan: {}",
                again::mounts_without(reader, (context.items, item), &context.place)
            ),
        };
        let message = format!("`{text}` begins with a path of Windows");
        reader.wrong(item.span, message, help);
        return None;
    }
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
    let mut propagation = None;
    for mode in modes.split(',').filter(|mode| !mode.is_empty()) {
        match mode {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "z" | "Z" => reader.note(
                item.span,
                format!("the mode `{mode}` is left out: what is mounted keeps its SELinux label"),
            ),
            "cached" | "delegated" | "consistent" => {}
            _ if let Some(known) = bind::PROPAGATIONS.iter().find(|known| **known == mode) => {
                propagation = Some(*known);
            }
            other => {
                let help = match item.span.is_compose() {
                    false => "write `ro`, or nothing".to_owned(),
                    true => format!(
                        "write it anew in the plan: {}",
                        again::mount(reader, item, context.at.name)
                    ),
                };
                let message = format!("the mode `{other}` is not supported");
                reader.wrong(item.span, message, help);
                return None;
            }
        }
    }
    let target = target_of(reader, item.span, target)?;
    let wish = Wish {
        node: item,
        whole: item,
        source: source.clone(),
        target,
        read_only,
        propagation,
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
    let line = item
        .span
        .is_compose()
        .then(|| again::mount(reader, item, context.at.name));
    let again = line.as_deref();
    fields.anew = again.map(tmpfs::without);
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
    let options_place = fields.below("tmpfs");
    let options =
        options_field.map(|field| tmpfs::options(reader, field.node, &options_place, again));
    let span = fields.span;
    if let Some(field) = fields.take("consistency") {
        reader.public(field.node, "`cached`");
    }
    let mut propagation = None;
    if let Some(field) = fields.take("bind")
        && let Some(mut inner) = reader.fields(field.node, &fields.below("bind"), "nothing")
    {
        inner.anew = again.map(tmpfs::without);
        if let Some(field) = inner.take("create_host_path") {
            reader.boolean(field.node);
        }
        if let Some(field) = inner.take("propagation") {
            propagation = reader.choice(field.node, "propagation", &bind::PROPAGATIONS);
        }
        if let Some(field) = inner.take_of_compose("selinux") {
            reader.translated(
                field,
                "`selinux` is left out: what is mounted keeps its SELinux label",
            );
        }
        inner.finish(reader, &[("selinux", "remove it")]);
    }
    if let Some(field) = fields.take_of_compose("volume") {
        of_volume(reader, field, &fields.below("volume"), again);
    }
    fields.finish(
        reader,
        &[
            ("volume", "remove it"),
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
        whole: item,
        source: source.clone().flatten(),
        target,
        read_only,
        propagation,
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

/// `volume` of a long mount. That it is there and empty says nothing.
fn of_volume(reader: &mut Reader<'_>, field: Field<'_>, place: &str, again: Option<&str>) {
    let Some(mut fields) = reader.fields(field.node, place, "nothing") else {
        return;
    };
    fields.anew = again.map(tmpfs::without);
    let nocopy = fields.take("nocopy");
    let asks = nocopy.filter(|field| reader.boolean(field.node) == Some(true));
    let subpath = fields.take("subpath");
    if let Some(field) = subpath {
        reader.used(field.node);
    }
    for (key, field) in [("nocopy", asks), ("subpath", subpath)] {
        let Some(field) = field else { continue };
        let help = again.map(tmpfs::without).unwrap_or_default();
        let message = format!("`{key}` is not supported in this version");
        reader.wrong(field.key, message, help);
    }
    if let Some(field) = fields.take("labels") {
        reader.translated(field, "the `labels` of a mount's volume mean nothing here");
    }
    fields.finish(reader, &[]);
}

fn volume(
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
    let at = context.at;
    if propagation.is_some() {
        bind::refuse_propagation(reader, (node, whole), at.name);
    }
    let is_first = mounted.claim(reader, node.span, &target, Shape::Volume);
    let source = match source {
        // A shared role's goes over to the container that takes its place; nothing is written to
        // one that is only read.
        None if at.run == Run::Shared || read_only => MountSource::PerRelease(None),
        None => {
            if is_first {
                nameless::refuse(reader, whole, &target, at);
            }
            return None;
        }
        Some(name) => named(reader, node, (name, read_only), at)?,
    };
    mounted.mounts.push(Mount {
        target,
        source,
        read_only,
        propagation: None,
    });
    Some(())
}

/// A volume of the top level, and how long its data is kept.
fn named(
    reader: &mut Reader<'_>,
    node: &Node,
    (name, read_only): (String, bool),
    at: &At<'_>,
) -> Option<MountSource> {
    let service = at.service.map_or("", ServiceName::as_str);
    let own = format!("{service}_{name}");
    let declared = at.declared.volumes.get(&name);
    match declared.map(|volume| (volume.key, &volume.keep)) {
        Some((_, Keep::PerRelease)) if at.run == Run::Shared => {
            reader.wrong(
                node.span,
                format!("`{}` is shared and outlives releases, and its volume `{name}` is `keep: per-release`", at.name),
                format!("write `volumes: {{{name}: {{keep: across-releases}}}}`"),
            );
            None
        }
        Some((_, Keep::PerRelease)) => Some(MountSource::PerRelease(Some(name))),
        Some((key, Keep::AcrossReleases(Some(given)))) => {
            if reader.renamed {
                reader.note(key, format!("under every `--name` the volume `{name}` is `{given}`: what is written there is written for all"));
            }
            Some(MountSource::Shared(given.clone()))
        }
        Some((_, Keep::AcrossReleases(None))) => Some(MountSource::Shared(own)),
        Some((key, Keep::Undecided(given))) if at.run == Run::Shared => {
            if given.is_none()
                && let Some(theirs) = adoptable(reader, key, &name, service)
            {
                reader.note(key, format!("`{}` keeps its volume `{name}` as `{own}`; to take over what the Compose project has, write `volumes: {{{name}: {{keep: across-releases, name: {theirs}}}}}`", at.name));
            }
            Some(MountSource::Shared(given.clone().unwrap_or(own)))
        }
        // Said once, where the first role names it.
        Some(_) if !reader.undecided.insert(name.clone()) => None,
        Some((key, Keep::Undecided(given))) => {
            let theirs = match given {
                Some(_) => None,
                None => adoptable(reader, key, &name, service),
            };
            let decide = match written::is_only_read(reader, at.services, &name) {
                true => keep(&name, theirs),
                false => decide(&name, theirs),
            };
            let shared = at.proposal.as_ref();
            let help = match shared.filter(|proposal| proposal.run == Run::Shared) {
                Some(proposal) => format!("{}; or {decide}", proposal.advice(at.name.as_str())),
                None => decide,
            };
            let uses = match read_only {
                true => format!("which `{}` reads", at.name),
                false => format!("to which `{}` may write", at.name),
            };
            reader.wrong(
                key,
                format!("nothing says whether the volume `{name}`, {uses}, outlives a release"),
                help,
            );
            None
        }
        // Its own declaration is wrong, and that has been said.
        None if reader.is_declared("volumes", &name) => None,
        None => {
            let known = at.declared.volumes.keys().map(String::as_str);
            let help = match nearest(&name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if reader.resolve(node.span, &name).exists() => {
                    format!("write `./{name}` if what stands beside the plan is meant")
                }
                None => decide(&name, adoptable(reader, node.span, &name, service)),
            };
            reader.wrong(
                node.span,
                format!("the volume `{name}` is not declared"),
                help,
            );
            None
        }
    }
}

/// The line that decides on a volume. One that a Compose project has already is taken over by name.
fn decide(name: &str, theirs: Option<String>) -> String {
    format!(
        "{} to keep its data from release to release, or `volumes: {{{name}: {{keep: per-release}}}}` to begin empty each time",
        keep(name, theirs)
    )
}

/// The line that keeps a volume.
fn keep(name: &str, theirs: Option<String>) -> String {
    let adopted = theirs.map_or(String::new(), |theirs| format!(", name: {theirs}"));
    format!(
        "at the top level of the plan write `volumes: {{{name}: {{keep: across-releases{adopted}}}}}`"
    )
}

/// What a volume of a Compose file is called where its project has it already, if that is not what
/// it is called here anyway.
fn adoptable(reader: &Reader<'_>, place: Span, name: &str, service: &str) -> Option<String> {
    let project = reader.project.as_deref()?;
    (place.is_compose() && project != service).then(|| format!("{project}_{name}"))
}
