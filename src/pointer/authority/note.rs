//! What a TXT record beside a service's name says: who gave it what it is given.

use serde::{Deserialize, Serialize};

use super::super::record::Record;
use super::shown::Shown;

/// How long a string in a TXT record may be (RFC 1035, section 3.3).
const STRING: usize = 255;

/// What the TXT record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    #[serde(flatten)]
    pub record: Record,
    /// For how many seconds after the move somebody may still have what was true before it.
    pub late: u32,
    /// What is given to another name, at which a release is shown for preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Shown>,
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::super::sets::{Kind, name};
    use super::super::shown::At;
    use super::*;

    /// Both ways: an earlier flipside reads what shows nothing as it ever did.
    #[test]
    fn a_note_of_before_there_were_previews_is_read_and_written() {
        let text = br#"{"v":1,"late":30}"#;
        let note = Note::read([text.to_vec()].into_iter()).unwrap();
        assert_eq!((note.late, &note.shown), (30, &None));
        assert_eq!(note.text(), text);
    }

    #[test]
    fn what_is_shown_is_noted_with_its_name_and_its_type() {
        let at = At {
            name: name("preview.shop.example.org").unwrap(),
            kind: Kind::Aaaa,
        };
        let records = ["2001:db8::1".to_owned()].into();
        let shown = Shown::new(&at, records);
        let text = br#"{"v":1,"late":30,"shown":{"name":"preview.shop.example.org","type":"AAAA","records":["2001:db8::1"]}}"#;
        let note = Note::read([text.to_vec()].into_iter()).unwrap();
        assert_eq!(note.shown.as_ref(), Some(&shown));
        assert_eq!(shown.at().as_ref(), Some(&at));
        assert_eq!(shown.values().len(), 1);
        assert_eq!(note.text(), text);
    }
}
