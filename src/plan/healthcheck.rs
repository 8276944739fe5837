//! `healthcheck`.

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
        disabled = reader.boolean(field.node)?;
    }
    let mut check = Healthcheck {
        test: Vec::new(),
        interval_ms: None,
        timeout_ms: None,
        start_period_ms: None,
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
        }
    }
    if let Some(field) = fields.take("retries") {
        check.retries = reader.count(field.node, 1, 10_000);
    }
    fields.finish(
        reader,
        &[("start_interval", "remove it: older engines do not know it")],
    );
    if disabled {
        check.test = vec![Text::public("NONE")];
    }
    Some(check)
}

fn test(reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<Vec<Text>> {
    const WHAT: &str = "a command: one text, or a list that begins with `CMD` or `CMD-SHELL`";
    let Value::List(items) = &node.value else {
        let text = reader.text(node, place, WHAT)?;
        return Some(vec![Text::public("CMD-SHELL"), text]);
    };
    let words: Vec<_> = items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| reader.text(item, &format!("{place}.{index}"), WHAT))
        .collect();
    let good = match words.first().map(Text::reveal) {
        Some("NONE") => words.len() == 1,
        Some("CMD") => words.len() > 1,
        Some("CMD-SHELL") => words.len() == 2,
        _ => false,
    };
    if !good && words.len() == items.len() {
        reader.wrong(
            node.span,
            "this list is no health check",
            "write `[\"CMD\", program, argument, …]`, `[\"CMD-SHELL\", text]` or `[\"NONE\"]`",
        );
        return None;
    }
    Some(words)
}
