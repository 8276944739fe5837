//! Scalars that have a kind, lists, and maps: what [`Reader`] makes of one value.

use super::fields::{Fields, instead};
use super::nearest::{listed, nearest};
use super::propose::always_quoted;
use super::read::Reader;
use super::tree::{Node, Value};
use super::units;
use crate::core::Millis;

/// Whether a scalar of a Compose file says yes.
pub(super) fn is_true(text: &str) -> bool {
    truth(text) == Some(true)
}

/// What a scalar says where Compose wants a truth value: it takes those of YAML 1.1, in capitals too.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" => Some(true),
        "false" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

impl Reader<'_> {
    /// Whether a scalar may be read as a number or a boolean: not where it stands in quotes, unless
    /// variables are substituted there.
    fn typed(&mut self, node: &Node, what: &str) -> Option<String> {
        if let Value::Scalar { text, plain: false } = &node.value
            && !text.contains('$')
            && !node.span.is_compose()
        {
            self.wrong(
                node.span,
                "this is text in quotes",
                format!("write {what}, without quotes"),
            );
            return None;
        }
        self.public(node, what)
    }

    pub(super) fn boolean(&mut self, node: &Node) -> Option<bool> {
        let text = self.typed(node, "`true` or `false`")?;
        let of_plan = ["true", "True", "TRUE", "false", "False", "FALSE"];
        let may = node.span.is_compose() || of_plan.contains(&text.as_str());
        let found = truth(&text).filter(|_| may);
        if found.is_none() {
            self.wrong(
                node.span,
                format!("`{text}` is not a truth value"),
                "write `true` or `false`",
            );
        }
        found
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&mut self, node: &Node, least: i64, most: i64) -> Option<i64> {
        let what = match most {
            i64::MAX => format!("a whole number, {least} or more"),
            most => format!("a whole number from {least} to {most}"),
        };
        let text = self.typed(node, &what)?;
        let found = text
            .parse::<i64>()
            .ok()
            .filter(|number| (least..=most).contains(number));
        if found.is_none() {
            self.wrong(
                node.span,
                format!("`{text}` does not fit here"),
                format!("write {what}"),
            );
        }
        found
    }

    /// A count that fits 32 bits.
    pub(super) fn count(&mut self, node: &Node, least: u32, most: u32) -> Option<u32> {
        self.number(node, least.into(), most.into())
            .and_then(|number| u32::try_from(number).ok())
    }

    /// A port.
    pub(super) fn port(&mut self, node: &Node) -> Option<u16> {
        self.number(node, 1, 65535)
            .and_then(|number| u16::try_from(number).ok())
    }

    pub(super) fn duration(&mut self, node: &Node) -> Option<Millis> {
        let text = self.public(node, "a duration such as `30s`, `1m30s` or `500ms`")?;
        let zero = node.span.is_compose() && text == "0";
        let duration = zero.then_some(0).map_or_else(|| units::duration(&text), Ok);
        self.unit(node, &text, "duration", duration)
    }

    pub(super) fn size(&mut self, node: &Node) -> Option<i64> {
        let text = self.public(node, "a size such as `256MiB` or `1GiB`")?;
        // Compose counts a bare number in bytes.
        let bare = node.span.is_compose().then(|| text.parse().ok()).flatten();
        let size = bare.map_or_else(|| units::size(&text), Ok);
        self.unit(node, &text, "size", size)
    }

    pub(super) fn unit<T>(
        &mut self,
        node: &Node,
        text: &str,
        what: &str,
        read: Result<T, String>,
    ) -> Option<T> {
        read.map_err(|help| self.wrong(node.span, format!("`{text}` is not a {what}"), help))
            .ok()
    }

    /// One of a few words.
    pub(super) fn choice(
        &mut self,
        node: &Node,
        what: &str,
        choices: &[&'static str],
    ) -> Option<&'static str> {
        let text = self.public(node, &listed(choices.iter().copied()))?;
        let found = choices.iter().copied().find(|choice| *choice == text);
        if found.is_none() {
            let help = match nearest(&text, choices.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of {}", listed(choices.iter().copied())),
            };
            self.wrong(node.span, format!("`{text}` is not a {what}"), help);
        }
        found
    }

    /// The items of a list.
    pub(super) fn list<'t>(&mut self, node: &'t Node, what: &str) -> Option<&'t [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => {
                self.expected(node, what);
                None
            }
        }
    }

    /// As [`Self::list`], at a key whose place is at hand.
    pub(super) fn list_at<'t>(
        &mut self,
        node: &'t Node,
        (path, key): (&str, &str),
        what: &str,
    ) -> Option<&'t [Node]> {
        match (&node.value, node.text()) {
            (Value::List(items), _) => return Some(items),
            (_, Some(text)) if node.span.is_compose() => {
                let line = format!("{key}: [{}]", always_quoted(text));
                let message = format!("this is {}, where a list is due", node.kind());
                self.wrong(node.span, message, instead(node.span, path, &line));
            }
            _ => self.expected(node, what),
        }
        None
    }

    /// A list of public texts, or one text standing for a list of one.
    pub(super) fn words(&mut self, node: &Node, what: &str) -> Vec<String> {
        match &node.value {
            Value::List(items) => items
                .iter()
                .filter_map(|item| self.public(item, what))
                .collect(),
            _ => self.public(node, what).into_iter().collect(),
        }
    }

    /// The entries of a map, each to be taken by name; none where nothing is written.
    pub(super) fn fields<'t>(
        &mut self,
        node: &'t Node,
        path: &str,
        what: &str,
    ) -> Option<Fields<'t>> {
        if let Value::Map(entries) = &node.value
            && entries.is_empty()
        {
            self.used(node);
        }
        match &node.value {
            Value::Map(entries) => {
                let mut fields = Fields::new(path, node.span, entries);
                fields.unset_empty(self);
                Some(fields)
            }
            Value::Null => {
                self.used(node);
                Some(Fields::new(path, node.span, &[]))
            }
            _ => {
                self.expected(node, what);
                None
            }
        }
    }
}
