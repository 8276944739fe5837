//! What is asked of Route 53's API, one request each.

use aws_sdk_route53::Client;
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ChangeStatus, RrType};
use hickory_proto::rr::{Name, RecordType};

use super::super::PointerError;
use super::super::authority::servers::plain;
use super::super::authority::sets::name as name_of;
use super::super::authority::shown::At;
use super::super::aws::{self, Trouble};
use super::Route53;
use super::set::Set;
use super::zone::Seen;

/// What is known of the hosted zone itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) name: Name,
    /// Those that answer users; none of a private zone.
    pub(super) servers: Vec<Name>,
}

/// What became of a batch.
pub(super) enum Told {
    /// It is taken, as the change with this id.
    Taken(String),
    /// Something of it does not fit what stands there, in AWS's words: nothing is changed.
    Unfit(String),
}

/// The type as Route 53 calls it.
fn rr_type(kind: RecordType) -> RrType {
    RrType::from(kind.to_string().as_str())
}

impl Route53 {
    async fn client(&self) -> Result<Client, PointerError> {
        Ok(Client::new(self.aws.config().await?))
    }

    fn unread(&self, trouble: Trouble) -> PointerError {
        trouble.of_read(&self.place(), super::SECTION.kind)
    }

    fn no_zone(&self, trouble: Trouble) -> PointerError {
        match trouble {
            Trouble::Said(said) if matches!(said.code.as_str(), "NoSuchHostedZone") => self.failed(
                said.to_string(),
                "write the id of the hosted zone as `zone`: `aws route53 list-hosted-zones` shows it, by credentials of its account".to_owned(),
            ),
            other => self.unread(other),
        }
    }

    /// What is known of the hosted zone itself.
    pub(super) async fn zone(&self) -> Result<&Zone, PointerError> {
        let found = self.zone.get_or_try_init(|| self.found_zone()).await?;
        if !found.name.zone_of(&self.names.service) {
            return Err(self.failed(
                format!(
                    "the hosted zone `{}` is of `{}`, and the name is not in it",
                    self.plan.zone,
                    plain(&found.name)
                ),
                "write the id of the name's own hosted zone as `zone`: `aws route53 list-hosted-zones` shows it".to_owned(),
            ));
        }
        Ok(found)
    }

    async fn found_zone(&self) -> Result<Zone, PointerError> {
        let client = self.client().await?;
        let found = aws::asked(|| client.get_hosted_zone().id(&self.plan.zone).send()).await;
        let found = found.map_err(|trouble| self.no_zone(trouble))?;
        let called = found.hosted_zone().and_then(|zone| name_of(zone.name()));
        let called = called.ok_or_else(|| self.away("it gives no name of its zone".into()))?;
        let servers = found
            .delegation_set()
            .map_or(&[][..], |set| set.name_servers());
        Ok(Zone {
            name: called,
            servers: servers.iter().filter_map(|text| name_of(text)).collect(),
        })
    }

    /// All sets of one name and type, in order.
    pub(super) async fn sets(
        &self,
        name: &Name,
        kind: RecordType,
    ) -> Result<Vec<Set>, PointerError> {
        let client = self.client().await?;
        let (text, wanted) = (plain(name), rr_type(kind));
        let mut sets = Vec::new();
        let mut next = Some((text.clone(), wanted.clone(), None::<String>));
        while let Some((from, of, id)) = next.take() {
            let page = aws::asked(|| {
                client
                    .list_resource_record_sets()
                    .hosted_zone_id(&self.plan.zone)
                    .start_record_name(&from)
                    .start_record_type(of.clone())
                    .set_start_record_identifier(id.clone())
                    .send()
            })
            .await
            .map_err(|trouble| self.no_zone(trouble))?;
            let is_it =
                |called: &str, of: &RrType| name_of(called).as_ref() == Some(name) && *of == wanted;
            for set in page.resource_record_sets() {
                if is_it(set.name(), set.r#type()) {
                    let read = Set::read(set);
                    sets.push(read.ok_or_else(|| self.unknown(&text))?);
                }
            }
            if let (Some(called), Some(of)) = (page.next_record_name(), page.next_record_type())
                && is_it(called, of)
            {
                let id = page.next_record_identifier().map(str::to_owned);
                next = Some((called.to_owned(), of.clone(), id));
            }
        }
        sets.sort();
        Ok(sets)
    }

    fn unknown(&self, name: &str) -> PointerError {
        self.failed(
            format!(
                "a record set of `{name}` has a routing policy that flipside could not put back"
            ),
            "give the name simple or weighted records first, or use a newer flipside".to_owned(),
        )
    }

    /// Makes `after` of exactly `before`. Where releases are shown it concerns those names alone that
    /// `after` has.
    pub(super) async fn tell(&self, before: &Seen, after: &Seen) -> Result<Told, PointerError> {
        let mut before = before.clone();
        before
            .previews
            .retain(|at, _| after.previews.contains_key(at));
        let deletes = self.changes(ChangeAction::Delete, &before);
        let creates = self.changes(ChangeAction::Create, after);
        let changes: Vec<Change> = deletes
            .into_iter()
            .chain(creates)
            .collect::<Result<_, _>>()?;
        self.batch(changes).await
    }

    /// A batch that is refused whatever stands there, by which it is found out whether one would be
    /// looked at at all, also where releases are `shown`.
    pub(super) async fn would_tell(&self, shown: Option<At>) -> Result<(), PointerError> {
        let none = |value: &str, is_weighted: bool| Set {
            id: is_weighted.then(|| "flipside-look".to_owned()),
            weight: is_weighted.then_some(0),
            ..Set::of_text(value.to_owned(), 1)
        };
        let value = match self.names.kind() {
            RecordType::AAAA => "2001:db8::",
            RecordType::CNAME => "flipside.invalid",
            _ => "192.0.2.0",
        };
        let nothing = Seen {
            service: vec![none(value, true)],
            record: vec![none("\"flipside looks\"", false)],
            previews: { shown.into_iter() }
                .map(|at| (at, vec![none(value, true)]))
                .collect(),
        };
        let changes = self.changes(ChangeAction::Delete, &nothing);
        let changes = changes.into_iter().collect::<Result<_, _>>()?;
        self.batch(changes).await.map(drop)
    }

    fn changes(&self, action: ChangeAction, of: &Seen) -> Vec<Result<Change, PointerError>> {
        let names = &self.names;
        let service = of.service.iter();
        let service = service.map(|set| (set, &names.service, names.kind()));
        let record = of.record.iter();
        let record = record.map(|set| (set, &names.record, RecordType::TXT));
        let previews = of.previews.iter().flat_map(|(at, sets)| {
            let sets = sets.iter();
            sets.map(|set| (set, &at.name, at.kind.record_type()))
        });
        let change = |(set, name, kind): (&Set, &Name, RecordType)| {
            let set = set.write(&plain(name), &rr_type(kind));
            let change = set.and_then(|set| {
                let change = Change::builder().action(action.clone());
                change.resource_record_set(set).build()
            });
            change.map_err(|error| self.failed(error.to_string(), None))
        };
        service.chain(record).chain(previews).map(change).collect()
    }

    async fn batch(&self, changes: Vec<Change>) -> Result<Told, PointerError> {
        let client = self.client().await?;
        let batch = ChangeBatch::builder().set_changes(Some(changes)).build();
        let batch = batch.map_err(|error| self.failed(error.to_string(), None))?;
        let taken = aws::asked(|| {
            client
                .change_resource_record_sets()
                .hosted_zone_id(&self.plan.zone)
                .change_batch(batch.clone())
                .send()
        })
        .await;
        match taken {
            Ok(taken) => Ok(Told::Taken(
                taken.change_info().map_or("", |info| info.id()).to_owned(),
            )),
            Err(Trouble::Said(said))
                if matches!(said.code.as_str(), "InvalidChangeBatch" | "InvalidInput") =>
            {
                Ok(Told::Unfit(said.to_string()))
            }
            Err(trouble @ Trouble::Said(_)) => Err(match self.no_zone(trouble.clone()) {
                PointerError::OutOfReach { .. } => {
                    trouble.of_write(&self.place(), super::SECTION.kind)
                }
                said => said,
            }),
            Err(trouble) => Err(trouble.of_write(&self.place(), super::SECTION.kind)),
        }
    }

    /// Whether all of Route 53's servers have a change.
    pub(super) async fn is_everywhere(&self, id: &str) -> Result<bool, PointerError> {
        let client = self.client().await?;
        let found = aws::asked(|| client.get_change().id(id).send()).await;
        let found = found.map_err(|trouble| self.unread(trouble))?;
        let status = found.change_info().map(|info| info.status().clone());
        Ok(status == Some(ChangeStatus::Insync))
    }
}
