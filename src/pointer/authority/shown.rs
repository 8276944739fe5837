//! A second name in DNS, at which a release is shown for preview to those who ask for that name.

use std::collections::BTreeSet;

use hickory_proto::rr::{Name, RData};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::servers::plain;
use super::sets::{Kind, name};

/// A name, and of which type the records are that it is given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub name: Name,
    pub kind: Kind,
}

/// What flipside has given a second name, as it is noted beside the service's: whatever a later plan
/// says, it is known by this what there is to take away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    name: String,
    #[serde(rename = "type")]
    kind: Kind,
    records: BTreeSet<String>,
}

impl Shown {
    /// These at a name.
    pub fn new(at: &At, records: BTreeSet<String>) -> Self {
        Self {
            name: plain(&at.name),
            kind: at.kind,
            records,
        }
    }

    /// Where; none where the name is none.
    pub fn at(&self) -> Option<At> {
        Some(At {
            name: name(&self.name)?,
            kind: self.kind,
        })
    }

    /// What, as it is written.
    #[cfg(feature = "aws")]
    pub fn records(&self) -> &BTreeSet<String> {
        &self.records
    }

    /// What.
    pub fn values(&self) -> BTreeSet<RData> {
        let records = self.records.iter();
        records.filter_map(|text| self.kind.of_text(text)).collect()
    }
}

/// What is said of records at `name` that are somebody else's, and what mends it.
pub fn strange(name: &Name, records: &str) -> (String, String) {
    let name = plain(name);
    (
        format!(
            "it shows no preview at `{name}`, which has records that are not flipside's: {records}"
        ),
        format!("remove the records of `{name}`, or name another as `preview_host`"),
    )
}

/// Where those ask who want what is shown at `name`: as users ask at `url`.
pub fn url(url: &Url, name: &Name) -> Option<Url> {
    let mut url = url.clone();
    url.set_host(Some(&plain(name))).ok()?;
    Some(url)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn those_who_want_the_preview_ask_as_users_do_by_its_name() {
        let preview = name("preview.shop.example").unwrap();
        for (users, wanted) in [
            ("http://shop.example", "http://preview.shop.example/"),
            (
                "https://shop.example:8443/a?b=c",
                "https://preview.shop.example:8443/a?b=c",
            ),
        ] {
            let found = url(&users.parse().unwrap(), &preview).unwrap();
            assert_eq!(found.as_str(), wanted);
        }
    }
}
