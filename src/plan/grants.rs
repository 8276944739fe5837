//! A role's `secrets` and `configs`: which of the declared files it gets, where, and for whom.

use super::mounted::{Mounted, Shape, target_of};
use super::nearest::nearest;
use super::read::Reader;
use super::store::{Declared, Section};
use super::tree::{Node, Value};

use crate::core::plan::{FileContent, FileMount};

/// A role's share of a secret or a config.
pub(super) fn granted(
    reader: &mut Reader<'_>,
    (item, items): (&Node, &[Node]),
    place: &str,
    section: Section,
    declared: &Declared,
    mounted: &mut Mounted,
) -> Option<()> {
    let (mut uid, mut gid, mut bits) = (0, 0, 0o444);
    let mut target = None;
    let (name, span) = match &item.value {
        Value::Map(_) => {
            let mut fields = reader.fields(item, place, "a name, or a map with `source`")?;
            fields.items = Some(items);
            let source = fields
                .take("source")
                .map(|field| (reader.public(field.node, "a name"), field.node.span));
            target = fields
                .take("target")
                .map(|field| (reader.public(field.node, "a path"), field.node.span));
            if let Some(field) = fields.take("uid") {
                uid = owner(reader, field.node).unwrap_or(uid);
            }
            if let Some(field) = fields.take("gid") {
                gid = owner(reader, field.node).unwrap_or(gid);
            }
            if let Some(field) = fields.take("mode") {
                bits = mode(reader, field.node, None).unwrap_or(bits);
            }
            let span = fields.span;
            fields.finish(reader, &[]);
            match source {
                Some((name, at)) => (name?, at),
                None => {
                    reader.wrong(
                        span,
                        "this has no `source`",
                        format!(
                            "add `source: NAME`, a name under the top-level `{}`",
                            section.as_str()
                        ),
                    );
                    return None;
                }
            }
        }
        _ => (
            reader.public(item, "a name, or a map with `source`")?,
            item.span,
        ),
    };
    let known = match section {
        Section::Secrets => &declared.secrets,
        Section::Configs => &declared.configs,
    };
    let Some(source) = known.get(&name) else {
        // Where its own declaration is wrong, that has been said already.
        if !reader.is_declared(section.as_str(), &name) {
            let help = match nearest(&name, known.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "under the top-level `{}:` add `{name}: {{file: PATH}}`",
                    section.as_str()
                ),
            };
            reader.wrong(span, format!("`{name}` is not declared"), help);
        }
        return None;
    };
    let (path, at) = match (target, section) {
        (Some((path, at)), Section::Secrets) => {
            let path = path?;
            (
                if path.starts_with('/') {
                    path
                } else {
                    format!("/run/secrets/{path}")
                },
                at,
            )
        }
        (Some((path, at)), Section::Configs) => (path?, at),
        (None, Section::Secrets) => (format!("/run/secrets/{name}"), span),
        (None, Section::Configs) => (format!("/{name}"), span),
    };
    let target = target_of(reader, at, &path)?;
    mounted.claim(reader, span, &target, Shape::SingleFile);
    let content = FileContent::File {
        source: source.clone(),
        uid,
        gid,
        mode: bits,
    };
    mounted.files.push(FileMount { target, content });
    Some(())
}

fn owner(reader: &mut Reader<'_>, node: &Node) -> Option<u32> {
    let text = reader.public(node, "a number")?;
    let read = text
        .parse()
        .map_err(|_| "write a number such as `1000`".to_owned());
    reader.unit(node, &text, "numeric owner", read)
}

/// Permission bits, always octal, which the zero in front says to the reader too; `again` is the line
/// of the plan that says so.
pub(super) fn mode(reader: &mut Reader<'_>, node: &Node, again: Option<&str>) -> Option<u32> {
    let text = reader.public(node, "permission bits such as `0440`")?;
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'));
    let bits = digits
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .filter(|bits| *bits <= 0o7777);
    let read = bits.ok_or_else(|| match again {
        Some(again) => format!("write the bits with a zero in front, in the plan: {again}"),
        None => "write permission bits with a zero in front, such as `0440`".to_owned(),
    });
    reader.unit(node, &text, "mode", read)
}
