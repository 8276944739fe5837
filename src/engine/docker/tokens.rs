//! Marks and tokens: empty labelled volumes, because an engine creates a volume atomically and
//! answers a loser with the winner's labels.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{Volume, VolumeCreateRequest};
use futures_util::future::try_join_all;

use super::names::{self, Kind};
use super::tear_down::volume as remove;
use super::{Docker, inspect};
use crate::core::names::{Release, ServiceName};
use crate::core::routing::{Mark, Marks};
use crate::docker::label_filter;
use crate::engine::{EngineError, Token};

const MARK: &str = "flipside.mark";

fn kind_filter(service: &ServiceName, kind: Kind) -> HashMap<String, Vec<String>> {
    label_filter(&[
        (names::SERVICE, service.as_str()),
        (names::KIND, kind.as_str()),
    ])
}

/// `flipside.SERVICE.mark.RELEASE.MARK`.
fn mark_name(service: &ServiceName, release: Release, mark: Mark) -> String {
    let mark = mark_text(mark);
    format!("flipside.{service}.mark.{release}.{mark}")
}

fn mark_text(mark: Mark) -> String {
    match mark {
        Mark::Proven => "proven".into(),
        Mark::Served(generation) => format!("served.{generation}"),
        Mark::Withdrawn => "withdrawn".into(),
    }
}

fn read_mark(volume: &Volume) -> Option<(Release, Mark)> {
    let mark = match volume.labels.get(MARK)?.as_str() {
        "proven" => Mark::Proven,
        "withdrawn" => Mark::Withdrawn,
        text => Mark::Served(text.strip_prefix("served.")?.parse().ok()?),
    };
    Some((names::release(&volume.labels)?, mark))
}

/// The marks of a service, by release.
pub(super) async fn marks(
    engine: &Docker,
    service: &ServiceName,
) -> Result<BTreeMap<Release, Marks>, EngineError> {
    let volumes = inspect::volumes(engine, kind_filter(service, Kind::Mark)).await?;
    Ok(sum(volumes.iter().filter_map(read_mark)))
}

fn sum(found: impl Iterator<Item = (Release, Mark)>) -> BTreeMap<Release, Marks> {
    let mut found: Vec<_> = found.collect();
    // Serving takes a withdrawal away; a withdrawal that is still there came after it.
    found.sort_by_key(|(_, mark)| *mark == Mark::Withdrawn);
    let mut marks: BTreeMap<Release, Marks> = BTreeMap::new();
    for (release, mark) in found {
        marks.entry(release).or_default().add(mark);
    }
    marks
}

/// Adds a mark.
pub(super) async fn mark(
    engine: &Docker,
    service: &ServiceName,
    release: Release,
    mark: Mark,
) -> Result<(), EngineError> {
    let mut labels = names::of_release(service, release, Kind::Mark);
    labels.insert(MARK.into(), mark_text(mark));
    let name = mark_name(service, release, mark);
    let Mark::Served(generation) = mark else {
        create(engine, name, labels).await?;
        return Ok(());
    };
    let of_release = names::filter(service, Some(release));
    let volumes = inspect::volumes(engine, of_release).await?;
    let marked = |which: fn(Mark, u64) -> bool| {
        let outdated = volumes.iter().filter(move |volume| {
            read_mark(volume).is_some_and(|(_, mark)| which(mark, generation))
        });
        try_join_all(outdated.map(|volume| remove(engine, &volume.name)))
    };
    // In this order a kill leaves a standby, never one that looks withdrawn although it serves.
    marked(|mark, _| mark == Mark::Withdrawn).await?;
    create(engine, name, labels).await?;
    marked(|mark, new| matches!(mark, Mark::Served(old) if old < new)).await?;
    Ok(())
}

async fn create(
    engine: &Docker,
    name: String,
    labels: HashMap<String, String>,
) -> Result<Volume, EngineError> {
    let request = VolumeCreateRequest {
        name: Some(name),
        labels: Some(labels),
        ..VolumeCreateRequest::default()
    };
    let made = engine.client.docker.create_volume(request).await;
    made.map_err(|error| engine.client.fault(error))
}

/// Creates a token where there is none; answers what is there.
pub(super) async fn claim(
    engine: &Docker,
    service: &ServiceName,
    token: &Token,
) -> Result<Token, EngineError> {
    let own = token.labels.iter();
    let own = own.map(|(key, value)| (format!("flipside.{key}"), value.clone()));
    let mut labels: HashMap<_, _> = own.collect();
    labels.extend(names::of_service(service, Kind::Token));
    Ok(read_token(
        create(engine, token.name.clone(), labels).await?,
    ))
}

/// All tokens of a service, by name.
pub(super) async fn tokens(
    engine: &Docker,
    service: &ServiceName,
) -> Result<Vec<Token>, EngineError> {
    let volumes = inspect::volumes(engine, kind_filter(service, Kind::Token)).await?;
    let mut tokens: Vec<_> = volumes.into_iter().map(read_token).collect();
    tokens.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tokens)
}

/// Removes a token of this service.
pub(super) async fn drop_token(engine: &Docker, name: &str) -> Result<(), EngineError> {
    remove(engine, name).await
}

fn read_token(volume: Volume) -> Token {
    let own = volume.labels.into_iter().filter_map(|(key, value)| {
        let key = key.strip_prefix("flipside.")?.to_owned();
        (!matches!(key.as_str(), "v" | "service" | "kind")).then_some((key, value))
    });
    Token {
        name: volume.name,
        labels: own.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawal_that_is_there_came_after_the_serving() {
        let release = Release(3);
        let found = [
            Mark::Withdrawn,
            Mark::Served(4),
            Mark::Proven,
            Mark::Served(2),
        ];
        let marks = sum(found.into_iter().map(|mark| (release, mark)));
        let expected = Marks {
            proven: true,
            served: Some(4),
            withdrawn: true,
        };
        assert_eq!(marks[&release], expected);
    }
}
