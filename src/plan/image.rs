//! `image`, `build` and `pull_policy`.

use std::io::Read as _;

use super::advice;
use super::environment;
use super::fields::{Field, Fields, instead, take_away};
use super::networks::is_host;
use super::read::Reader;
use super::source::Span;
use super::tree::{Node, Value};
use super::units;
use crate::core::dockerfile;
use crate::core::plan::{Build, ImageSource, Pull};

/// Where a role's image comes from.
pub(super) fn source(
    reader: &mut Reader<'_>,
    role: &mut Fields<'_>,
    key: Span,
) -> Option<ImageSource> {
    let place = role.below("build");
    let image = role.take("image");
    let build = role.take("build");
    let tag = image.map(|field| reference(reader, field.node));
    match (tag, build) {
        (Some(tag), None) => {
            let tag = tag?;
            if let Some(field) = image {
                note_floating(reader, field.node.span, &tag);
            }
            Some(ImageSource::Pull(tag))
        }
        (tag, Some(field)) => {
            let built = self::build(reader, field.node, &place)?;
            Some(ImageSource::Build(Build {
                tag: tag.flatten(),
                ..built
            }))
        }
        (None, None) => {
            let name = role.path.trim_start_matches("services.");
            let help = match key.is_compose() {
                false => "add `image: NAME:TAG` or `build: DIRECTORY`".to_owned(),
                true => format!(
                    "give it one in the plan: `services: {{{name}: {{image: \"NAME:TAG\"}}}}`; if others are only made after it, leave it out: `{name}: {{run: never}}`"
                ),
            };
            reader.wrong(key, "this role has neither `image` nor `build`", help);
            None
        }
    }
}

/// An image reference, checked as the engine reads one.
fn reference(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "an image such as `registry/name:1.2`")?;
    if !is_reference(&text) {
        reader.wrong(
            node.span,
            format!("`{text}` is not an image reference"),
            "write it as `name:tag` or `registry/name@sha256:…`, the name in lower case",
        );
        return None;
    }
    Some(text)
}

fn is_reference(text: &str) -> bool {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    // A colon before a slash is a port's.
    let (repository, tag) = match name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (name, None),
    };
    let path = match repository.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            let (host, port) = host.split_once(':').unwrap_or((host, "0"));
            if !is_host(host) || port.parse::<u16>().is_err() {
                return false;
            }
            path
        }
        _ => repository,
    };
    path.split('/').all(is_path_component) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

/// Lower case letters and digits, between them `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = |c: char| "._-".contains(c);
    text.bytes().all(|c| plain(c) || b"._-".contains(&c))
        && !text.is_empty()
        && !text.starts_with(between)
        && !text.ends_with(between)
        && text
            .split(|c: char| !between(c))
            .all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|c| c == b'-'))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
}

fn is_digest(text: &str) -> bool {
    let length = match text.split_once(':') {
        Some(("sha256", _)) => 64,
        Some(("sha512", _)) => 128,
        _ => return false,
    };
    let hex = text.get(7..).unwrap_or("");
    hex.len() == length && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn note_floating(reader: &mut Reader<'_>, span: Span, image: &str) {
    if image.contains('@') {
        return;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None => reader.note(span, format!("`{image}` has no tag, so it means whatever is newest on the day: pin a version or a digest")),
        Some((_, "latest")) => reader.note(span, format!("`{image}` means whatever is newest on the day: pin a version or a digest")),
        Some(_) => {}
    }
}

fn build(reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<Build> {
    if !matches!(node.value, Value::Map(_)) {
        let text = reader.public(node, "a directory, or `context: DIRECTORY`")?;
        let context = context(reader, node, &text, place)?;
        let dockerfile = dockerfile(reader, node, &context, "Dockerfile".to_owned())?;
        return Some(Build {
            context,
            dockerfile,
            args: Default::default(),
            target: None,
            tag: None,
        });
    }
    let mut fields = reader.fields(node, place, "a directory, or `context: DIRECTORY`")?;
    let args_place = fields.below("args");
    let given = fields.take("context");
    let file = fields.take("dockerfile");
    let args = fields.take("args");
    let stage = fields.take("target");
    let span = fields.span;
    let outside = match span.is_compose() {
        false => "build the image outside and name it under `image:`".to_owned(),
        true => {
            let role = place
                .trim_start_matches("services.")
                .trim_end_matches(".build");
            format!(
                "build the image outside and name it in the plan: `services: {{{role}: {{build: !reset null, image: \"NAME:TAG\"}}}}`"
            )
        }
    };
    let outside = ["secrets", "ssh", "additional_contexts"].map(|key| (key, outside.as_str()));
    let advice: Vec<_> = advice::OF_A_BUILD.iter().copied().chain(outside).collect();
    fields.finish(reader, &advice);
    let args = args
        .map(|field| environment::arguments(reader, field.node, &args_place))
        .unwrap_or_default();
    let target = match stage {
        Some(field) => Some(reader.public(field.node, "the name of a stage")?),
        None => None,
    };
    // Compose's own default; a plan says what it builds.
    let (at, text) = match given {
        Some(field) => (field.node, reader.public(field.node, "a directory")?),
        None if span.is_compose() => (node, ".".to_owned()),
        None => {
            reader.wrong(
                span,
                "this `build` has no `context`",
                "add `context: DIRECTORY`",
            );
            return None;
        }
    };
    let context = context(reader, at, &text, place)?;
    let (name, at) = match file {
        Some(field) => (
            reader.public(field.node, "a path inside the context")?,
            field.node,
        ),
        None => ("Dockerfile".to_owned(), at),
    };
    let dockerfile = dockerfile(reader, at, &context, name)?;
    Some(Build {
        context,
        dockerfile,
        args,
        target,
        tag: None,
    })
}

fn context(
    reader: &mut Reader<'_>,
    node: &Node,
    text: &str,
    place: &str,
) -> Option<std::path::PathBuf> {
    if text.contains("://") || text.starts_with("git@") {
        let role = place.trim_end_matches(".build");
        let help = match node.span.is_compose() {
            false => "check it out first and name the directory".to_owned(),
            true => format!(
                "check it out first, and {}",
                instead(node.span, role, "build: ./DIR")
            ),
        };
        reader.wrong(
            node.span,
            "a build context that is fetched is not supported",
            help,
        );
        return None;
    }
    let path = reader.resolve(node.span, text);
    if reader.is_first() && !path.is_dir() {
        let message = format!("the build context `{text}` is not a directory");
        reader.wrong(node.span, message, reader.paths_begin(node.span));
        return None;
    }
    Some(path)
}

fn dockerfile(
    reader: &mut Reader<'_>,
    node: &Node,
    context: &std::path::Path,
    name: String,
) -> Option<String> {
    let inside = !std::path::Path::new(&name).components().any(|part| {
        !matches!(
            part,
            std::path::Component::Normal(_) | std::path::Component::CurDir
        )
    });
    if !inside {
        reader.wrong(
            node.span,
            format!("the Dockerfile `{name}` is outside its build context"),
            "write a path relative to the context, below it",
        );
        return None;
    }
    if reader.is_first() && !context.join(&name).is_file() {
        let message = format!("there is no Dockerfile `{name}` in the build context");
        reader.wrong(
            node.span,
            message,
            "name it: `dockerfile: PATH`, relative to the context",
        );
        return None;
    }
    if reader.is_first()
        && let Some(text) = text_of(&context.join(&name))
        && let Some((line, construct)) = dockerfile::needs_buildkit(&text)
    {
        reader.wrong(
            node.span,
            format!("`{construct}` in `{name}:{line}` needs BuildKit, which flipside does not use"),
            dockerfile::WITHOUT_BUILDKIT,
        );
        return None;
    }
    Some(name)
}

/// A Dockerfile as far as a check of its text is worth while; what cannot be read is the builder's
/// to say.
fn text_of(path: &std::path::Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(super::MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `platform`: an operating system, and its processors; none where it is empty once variables are
/// substituted.
pub(super) fn platform(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.public(node, "a platform such as `linux/amd64`")?;
    let plain = |part: &str| {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
        !part.is_empty() && part.chars().all(good)
    };
    if text.is_empty() {
        return None;
    }
    if text.split('/').count() > 3 || !text.split('/').all(plain) {
        reader.wrong(
            node.span,
            format!("`{text}` is not a platform"),
            "write it as `linux/amd64` or `linux/arm64`",
        );
        return None;
    }
    Some(text)
}

/// Whether a Compose file asks for newer images from time to time: `daily`, `weekly`, `every_12h`.
fn is_now_and_then(field: Field<'_>) -> bool {
    let text = field.node.text().filter(|_| field.node.span.is_compose());
    text.is_some_and(|text| {
        let each = text.strip_prefix("every_");
        matches!(text, "daily" | "weekly" | "refresh")
            || each.is_some_and(|each| units::duration(&in_days(each)).is_ok())
    })
}

/// Weeks as days, which is what durations know.
fn in_days(text: &str) -> String {
    let weeks = text
        .strip_suffix('w')
        .and_then(|text| text.parse::<u32>().ok());
    weeks.map_or_else(
        || text.to_owned(),
        |weeks| format!("{}d", weeks.saturating_mul(7)),
    )
}

/// `pull_policy`.
pub(super) fn pull(
    reader: &mut Reader<'_>,
    role: &mut Fields<'_>,
    image: Option<&ImageSource>,
) -> Pull {
    let Some(field) = role.take("pull_policy") else {
        return Pull::default();
    };
    if is_now_and_then(field) {
        let role = role.path.trim_start_matches("services.");
        reader.translated(
            field,
            format!("`pull_policy` of `{role}` becomes `always`: a release asks once for what it runs on"),
        );
        return Pull::Always;
    }
    let choices = ["always", "missing", "if_not_present", "never", "build"];
    match reader.choice(field.node, "pull policy", &choices) {
        Some("always") => Pull::Always,
        Some("never") if matches!(image, Some(ImageSource::Build(_))) => {
            reader.wrong(
                field.node.span,
                "a role with `build` is built for each release, and `never` forbids it",
                format!(
                    "{}, or name the image with `image` alone",
                    take_away(field.key, &role.path, "pull_policy")
                ),
            );
            Pull::Missing
        }
        Some("never") => Pull::Never,
        Some("build") if matches!(image, Some(ImageSource::Pull(_))) => {
            reader.wrong(
                field.node.span,
                "this role has no `build` to build it from",
                format!(
                    "{}, or add `build: DIRECTORY`",
                    instead(field.key, &role.path, "pull_policy: missing")
                ),
            );
            Pull::Missing
        }
        _ => Pull::Missing,
    }
}
