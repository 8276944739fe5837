//! What the primary is told, and why it does not take it.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use super::super::authority::question::word;
use super::super::authority::servers::plain;
use super::super::authority::shown as second;
use super::super::authority::wire::{self, Trouble};
use super::super::{Pointer, PointerError};
use super::zone::Seen;
use super::{Dns, Looked};
use crate::core::event::SwitchRefusal;
use crate::core::routing::Routing;

impl Dns {
    /// Sends an update: whether it was taken, or its prerequisites were not met.
    async fn told(&self, update: Message) -> Result<ResponseCode, PointerError> {
        let (at, signer) = self.primary().await?;
        let lines = update.authorities.iter();
        let mut changed: Vec<_> = lines
            .map(|line| (plain(&line.name), line.record_type()))
            .collect();
        changed.dedup();
        let answer = match wire::tell(at, update, &signer).await {
            Ok(answer) => answer,
            Err(Trouble::Away(why)) => return Err(self.away(why)),
            Err(Trouble::Silent(why)) => return Err(self.lost(why)),
            Err(Trouble::Key(error)) => return Err(self.unsigned(error).await),
        };
        let code = answer.metadata.response_code;
        let zone = &self.plan.zone;
        Err(match code {
            ResponseCode::NoError
            | ResponseCode::NXRRSet
            | ResponseCode::YXRRSet
            | ResponseCode::YXDomain
            | ResponseCode::NXDomain => return Ok(code),
            ResponseCode::Refused => {
                let name = signer.signer_name();
                let change = |(at, kind): &(String, RecordType)| format!("{kind} of `{at}`");
                let grant =
                    |(at, kind): &(String, RecordType)| format!("grant {name} name {at} {kind};");
                let changes: Vec<String> = changed.iter().map(change).collect();
                let grants: Vec<String> = changed.iter().map(grant).collect();
                self.failed(
                    format!("the server does not let the key {name} change it (REFUSED)"),
                    format!(
                        "let that key change {}: in BIND `update-policy {{ {} }};`",
                        changes.join(" and "),
                        grants.join(" ")
                    ),
                )
            }
            ResponseCode::NotAuth | ResponseCode::NotZone => self.failed(
                format!(
                    "the server is not the primary of the zone `{zone}` ({})",
                    word(code)
                ),
                "name the zone's primary as `server`, and the zone as the server has it".to_owned(),
            ),
            code => self.failed(
                format!(
                    "the server could not change the zone `{zone}` ({})",
                    word(code)
                ),
                "see the server's log".to_owned(),
            ),
        })
    }

    /// Makes `after` of `before`, unless something else stands there.
    pub(super) async fn change(&self, before: &Seen, after: &Seen) -> Result<(), PointerError> {
        let code = self.told(self.names.update(before, after)).await?;
        if code == ResponseCode::NoError {
            return Ok(());
        }
        let Looked { seen, routing, .. } = self.look().await?;
        if !seen.says(before) {
            return Err(PointerError::Refused {
                why: SwitchRefusal::Moved,
                found: routing.map(Box::new),
            });
        }
        Err(match code {
            ResponseCode::YXDomain => self.failed(
                format!("{} has records of other types, beside which no CNAME can stand", self.called(after)),
                "remove them, or write another `type`".to_owned(),
            ),
            code => self.failed(
                format!("what it is read as is not what stands there ({}): a wildcard may answer for it", word(code)),
                format!("give {} a record of its own first", self.called(after)),
            ),
        })
    }

    /// The names that a change to `after` concerns, for a person.
    fn called(&self, after: &Seen) -> String {
        let previews = after.previews.keys().map(|at| plain(&at.name));
        let names = [self.plan.name.clone()].into_iter().chain(previews);
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        names.join(" or ")
    }

    /// Refuses to show a release where somebody else has records.
    pub(super) fn may_show(
        &self,
        seen: &Seen,
        desired: Option<&Routing>,
    ) -> Result<(), PointerError> {
        let Some(name) = &self.names.preview else {
            return Err(PointerError::no_preview(&self.describe()));
        };
        let strange = self.names.strange(seen, desired);
        let strange = strange.map_err(|why| self.failed(why, None))?;
        if strange.is_empty() {
            return Ok(());
        }
        let values: Vec<String> = strange.iter().map(ToString::to_string).collect();
        let (what, hint) = second::strange(name, &values.join(", "));
        Err(self.failed(what, hint))
    }
}
