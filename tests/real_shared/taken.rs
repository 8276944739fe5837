//! A Compose project's container whose place another service has taken is not to be started.

use flipside::core::progress::Silent;
use flipside::core::shared::Taker;
use flipside::engine::{Engine, EngineError};

use super::project::Project;
use super::runs;
use crate::support::docker::Scope;
use crate::support::sample::role_name;

#[tokio::test]
async fn nobody_is_told_to_start_what_another_service_has_taken_the_place_of() {
    let (one, other) = (Scope::new().await, Scope::new().await);
    let project = Project::new(&one);
    let old = project.run(1);
    let volume = format!("{}_data", project.name);
    let spec = project.spec(1, &volume);
    let db = role_name("db");
    one.engine
        .apply_shared(&spec.plan, &db, &Silent)
        .await
        .unwrap();
    let container = format!("{}-shared-db", one.service);
    assert!(runs(&container) && !runs(&old));

    // The plan of another service was read from the same file.
    let mut theirs = project.spec(1, &volume);
    theirs.plan.service = other.service.clone();
    let told = other
        .engine
        .shared(&other.service, Some(&theirs.plan))
        .await;
    let told = told.unwrap();
    let taker = Taker {
        container: container.clone(),
        service: one.service.to_string(),
        volume,
    };
    assert_eq!(told[0].taker, Some(taker));
    let way_on = told[0].way_on();
    assert!(
        way_on.starts_with(&format!("do not start it: `{container}`")),
        "{way_on}"
    );
    let images = other.engine.prepare(&theirs, &Silent).await.unwrap();
    let refused = other.engine.stand_up(&theirs, &images, &Silent).await;
    let Err(EngineError::Failed(failure)) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!(failure.hint, Some(way_on));
    assert!(!runs(&old));

    one.engine.tear_down_shared(&one.service).await.unwrap();
    let told = other
        .engine
        .shared(&other.service, Some(&theirs.plan))
        .await;
    assert_eq!(
        told.unwrap()[0].way_on(),
        format!("start it: docker start {old}")
    );
}
