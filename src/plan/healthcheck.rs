//! `healthcheck`.

use super::fields::{instead, take_away};
use super::propose::always_quoted;
use super::read::Reader;
use super::tree::{Node, Value};
use crate::core::plan::{Healthcheck, Text};

pub(super) fn healthcheck(
    reader: &mut Reader<'_>,
    node: &Node,
    place: &str,
) -> Option<Healthcheck> {
    let mut fields = reader.fields(node, place, "`test: …` and its intervals")?;
    let mut disabled = false;
    if let Some(field) = fields.take("disable") {
        disabled = reader.boolean(field.node).unwrap_or(false);
    }
    let mut check = Healthcheck {
        test: Vec::new(),
        interval_ms: None,
        timeout_ms: None,
        start_period_ms: None,
        start_interval_ms: None,
        retries: None,
    };
    let test_place = fields.below("test");
    if let Some(field) = fields.take("test") {
        check.test = test(reader, field.node, &test_place).unwrap_or_default();
    }
    for (name, slot) in [
        ("interval", &mut check.interval_ms),
        ("timeout", &mut check.timeout_ms),
        ("start_period", &mut check.start_period_ms),
    ] {
        if let Some(field) = fields.take(name) {
            *slot = reader.duration(field.node);
            if *slot == Some(0) && name != "start_period" {
                let away = take_away(field.key, place, name);
                reader.wrong(
                    field.node.span,
                    format!("`{name}` is shorter than the engine can count"),
                    format!("write `1ms` or more; or, to keep the image's, {away}"),
                );
            }
        }
    }
    if let Some(field) = fields.take("retries") {
        // In Compose, the image's number.
        let least = u32::from(!field.node.span.is_compose());
        check.retries = reader.count(field.node, least, 10_000);
        check.retries = check.retries.filter(|retries| *retries > 0);
    }
    if let Some(field) = fields.take("start_interval") {
        let found = reader.duration(field.node);
        match reader.ignored.contains("start_interval") {
            true => reader.translated(field, "`start_interval` is ignored, as the plan says"),
            false => check.start_interval_ms = found,
        }
    }
    fields.finish(reader, &[]);
    if disabled {
        check.test = vec![Text::public("NONE")];
    }
    Some(check)
}

fn test(reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<Vec<Text>> {
    const WHAT: &str = "a command: one text, or a list that begins with `CMD` or `CMD-SHELL`";
    let Value::List(items) = &node.value else {
        let text = reader.text(node, place, WHAT)?;
        if text.reveal().trim().is_empty() {
            passes_always(reader, node, place);
            return None;
        }
        return Some(vec![Text::public("CMD-SHELL"), text]);
    };
    // In Compose, the image's own.
    if items.is_empty() && node.span.is_compose() {
        reader.used(node);
        return None;
    }
    let words: Vec<_> = items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| reader.text(item, &format!("{place}.{index}"), WHAT))
        .collect();
    let good = match words.first().map(Text::reveal) {
        Some("NONE") => words.len() == 1,
        Some("CMD") => words.len() > 1,
        // What follows the text are its arguments, as a shell takes them.
        Some("CMD-SHELL") => words.len() == 2 || words.len() > 2 && node.span.is_compose(),
        _ => false,
    };
    let empty = words
        .get(1)
        .is_some_and(|word| word.reveal().trim().is_empty());
    if good && empty {
        passes_always(reader, node, place);
        return None;
    }
    if !good && words.len() == items.len() {
        const FORMS: &str =
            "`[\"CMD\", program, argument, …]`, `[\"CMD-SHELL\", text]` or `[\"NONE\"]`";
        let is_command = !matches!(
            items.first().and_then(Node::text),
            None | Some("CMD" | "CMD-SHELL" | "NONE")
        );
        let help = match (node.span.is_compose(), is_command) {
            (false, _) => format!("write {FORMS}"),
            (true, false) => disabled(node, place),
            (true, true) => {
                let words = items.iter().filter_map(Node::text).map(always_quoted);
                let words: Vec<_> = words.collect();
                let line = format!("test: [\"CMD\", {}]", words.join(", "));
                let above = place.trim_end_matches(".test");
                format!("a list is {FORMS}: {}", instead(node.span, above, &line))
            }
        };
        reader.wrong(node.span, "this list is no health check", help);
        return None;
    }
    Some(words)
}

fn passes_always(reader: &mut Reader<'_>, node: &Node, place: &str) {
    let help = match node.span.is_compose() {
        false => "write a command, or `disable: true` for no health check".to_owned(),
        true => disabled(node, place),
    };
    reader.wrong(node.span, "this health check runs nothing", help);
}

/// The line by which a role of a Compose file has no health check, whatever stands there.
fn disabled(node: &Node, place: &str) -> String {
    let role = place.trim_end_matches(".healthcheck.test");
    let line = instead(node.span, role, "healthcheck: !override {disable: true}");
    format!("for no health check, {line}")
}
