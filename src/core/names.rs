//! The small words: names and numbers that must not be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Milliseconds: of a duration, or since 1970-01-01T00:00:00Z where a field is called `at`.
pub type Millis = u64;

/// Counts the moves of one service's pointer; 0 before the first.
pub type Generation = u64;

/// The lease's number: a holder whose number is not the highest holds nothing.
pub type Fence = u64;

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a {what}: {rule}")]
pub struct BadName {
    /// The text as given.
    pub name: String,
    /// `service name`, `role name`.
    pub what: &'static str,
    /// What a good one looks like.
    pub rule: &'static str,
}

/// The name of a service: a DNS label (RFC 1123) of at most 40 octets, so that what is derived from
/// it (container names, volume names) still fits its own limits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// The name of a role: one entry under the plan's `services:`; a DNS label of at most 63 octets,
/// dots and underscores allowed as Compose allows them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(String);

impl ServiceName {
    /// Checks `name`.
    ///
    /// # Errors
    /// Where it is no lower-case DNS label of at most 40 octets.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = name.as_bytes();
        let good = (1..=40).contains(&bytes.len())
            && edge(bytes[0])
            && edge(bytes[bytes.len() - 1])
            && bytes.iter().all(|&c| edge(c) || c == b'-');
        if good {
            Ok(Self(name))
        } else {
            Err(BadName {
                name,
                what: "service name",
                rule: "use 1 to 40 of a-z, 0-9 and `-`, with a letter or digit at both ends",
            })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoleName {
    /// Checks `name`.
    ///
    /// # Errors
    /// Where Compose would not take it as a service name, or it is longer than 63 octets.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        let bytes = name.as_bytes();
        let good = (1..=63).contains(&bytes.len())
            && bytes[0].is_ascii_alphanumeric()
            && bytes
                .iter()
                .all(|&c| c.is_ascii_alphanumeric() || b"._-".contains(&c));
        if good {
            Ok(Self(name))
        } else {
            Err(BadName {
                name,
                what: "role name",
                rule: "use 1 to 63 of a-z, A-Z, 0-9, `.`, `_` and `-`, with a letter or digit first",
            })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_name {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(name: String) -> Result<Self, BadName> {
                Self::new(name)
            }
        }
        impl FromStr for $name {
            type Err = BadName;
            fn from_str(name: &str) -> Result<Self, BadName> {
                Self::new(name)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text_name!(ServiceName);
text_name!(RoleName);

/// The number of a release, counted per service from 1. 0 is what stood there before the first
/// (`foreign`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Default)]
#[serde(transparent)]
pub struct Release(pub u64);

/// Takes a number, and also its decimal text: as the key of a map a release is text in JSON, and
/// behind a tagged or flattened type serde does not turn it back into a number by itself.
impl<'de> Deserialize<'de> for Release {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Number;
        impl serde::de::Visitor<'_> for Number {
            type Value = Release;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a release number")
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Release, E> {
                Ok(Release(number))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Release, E> {
                text.parse().map(Release).map_err(E::custom)
            }
        }
        from.deserialize_any(Number)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an environment hangs on a pointer that has two fixed places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first place.
    Blue,
    /// The second place.
    Green,
}

impl Slot {
    /// The other place.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }

    /// `blue` or `green`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Slot {
    type Err = BadName;
    fn from_str(name: &str) -> Result<Self, BadName> {
        match name {
            "blue" => Ok(Self::Blue),
            "green" => Ok(Self::Green),
            _ => Err(BadName {
                name: name.into(),
                what: "slot",
                rule: "use `blue` or `green`",
            }),
        }
    }
}
