//! A value that may be a secret, and which parts of it are.

use std::collections::BTreeSet;
use std::fmt;

/// A value of a place that may hold a secret (variables, commands, file contents, headers).
///
/// `Debug` and `Display` never show a secret.
#[derive(Clone)]
pub struct Text {
    value: String,
    secret: bool,
    /// What came from outside the plan's text; `None` where that is all of it.
    parts: Option<BTreeSet<String>>,
}

impl Text {
    /// A value written out in the plan's own text.
    pub fn public(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            secret: false,
            parts: None,
        }
    }

    /// A value from outside the plan's text.
    pub fn secret(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            secret: true,
            parts: None,
        }
    }

    /// A value of which only `parts` came from outside the plan's text: never shown as a whole, and
    /// each of them is secret by itself.
    pub fn composed(value: impl Into<String>, parts: BTreeSet<String>) -> Self {
        let value = value.into();
        let all = parts.len() == 1 && parts.contains(&value);
        Self {
            parts: (!all).then_some(parts),
            ..Self::secret(value)
        }
    }

    /// The parts that came from outside the plan's text; `None` where all or nothing did.
    #[must_use]
    pub fn parts(&self) -> Option<&BTreeSet<String>> {
        self.parts.as_ref()
    }

    /// The value itself: for the engine and the wire, never for a message.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.value
    }

    /// Whether the value came from outside the plan's text.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret
    }
}

/// Two texts are the same where value and secrecy are, wherever their parts came from.
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        (&self.value, self.secret) == (&other.value, other.secret)
    }
}

impl Eq for Text {}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secret { "[secret]" } else { &self.value })
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret {
            f.write_str("[secret]")
        } else {
            write!(f, "{:?}", self.value)
        }
    }
}
