//! `pointer:`, which kind of thing sends traffic and what the plan says of it.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::Reach;

/// Which kind of thing sends traffic, with its settings: `{"proxy": {"listen": ":8080"}}` in labels
/// and in the journal.
///
/// What the settings of a kind are is known to that kind alone: an environment whose pointer this
/// version does not know is read and shown all the same. Nothing in them is secret: of a credential
/// they name the file or the variable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PointerPlan {
    /// The kind's name, as plans write it; empty where it is not known.
    pub kind: String,
    /// By key: text, numbers (durations in milliseconds), lists of them.
    pub settings: Map<String, Value>,
}

impl PointerPlan {
    /// A pointer of this kind.
    #[must_use]
    pub fn new(kind: &str, settings: Map<String, Value>) -> Self {
        Self {
            kind: kind.to_owned(),
            settings,
        }
    }

    /// Host names that the service is reached by, where its kind tells services apart by them.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let hosts = self.settings.get("hosts").and_then(Value::as_array);
        hosts.into_iter().flatten().filter_map(Value::as_str)
    }

    /// How it reaches an environment: the setting `reach`, which all kinds have alike.
    ///
    /// # Errors
    /// As [`PointerPlan::read`].
    pub fn reach(&self) -> Result<Reach, serde_json::Error> {
        let said = self.settings.get("reach");
        said.map_or(Ok(Reach::default()), Reach::deserialize)
    }

    /// The settings, as their kind reads them.
    ///
    /// # Errors
    /// Where another version wrote them in a way that is not understood.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(Value::Object(self.settings.clone()))
    }
}

impl fmt::Display for PointerPlan {
    /// As in `haproxy (socket: /run/haproxy/admin.sock, backend: shop)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.settings.iter().map(|(key, value)| match value {
            Value::String(text) => format!("{key}: {text}"),
            other => format!("{key}: {other}"),
        });
        write!(f, "{} ({})", self.kind, said.collect::<Vec<_>>().join(", "))
    }
}

impl Serialize for PointerPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&self.kind, &self.settings)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for PointerPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Map::<String, Value>::deserialize(deserializer)?;
        let mut entries = written.into_iter();
        match (entries.next(), entries.next()) {
            (Some((kind, Value::Object(settings))), None) => Ok(Self { kind, settings }),
            _ => Err(D::Error::custom("a pointer is one kind with its settings")),
        }
    }
}
