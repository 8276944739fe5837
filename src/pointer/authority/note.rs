//! What a TXT record beside a service's name says: who gave it what it is given.

use serde::{Deserialize, Serialize};

use super::super::record::Record;

/// How long a string in a TXT record may be (RFC 1035, section 3.3).
const STRING: usize = 255;

/// What the TXT record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    #[serde(flatten)]
    pub record: Record,
    /// For how many seconds after the move somebody may still have what was true before it.
    pub late: u32,
}

impl Note {
    /// That of the only text that stands there; why it is none.
    pub fn read(mut texts: impl Iterator<Item = Vec<u8>>) -> Result<Self, String> {
        let text = texts.next().unwrap_or_default();
        if texts.next().is_some() {
            return Err("there is more than one".into());
        }
        serde_json::from_slice(&text).map_err(|error| error.to_string())
    }

    /// As it is written.
    pub fn text(&self) -> Vec<u8> {
        // Only maps with keys other than text cannot be written, and a note has none.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A text in strings that each fit a TXT record.
pub fn strings(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.chunks(STRING)
}
