//! Environments on a real Docker engine.

use std::any::Any;
use std::net::SocketAddr;
use std::path::Path;

use async_trait::async_trait;
use tokio::net::TcpStream;

use crate::real_verbs::kit::docker;
use crate::support::backends::until;
use crate::support::clients_contract::Clients;
use crate::support::docker::Scope;
use crate::support::engine_contract::{self, Compose, Fixture};
use crate::support::{clients_contract, ports_contract, shared_contract, sleep_contract};
use flipside::core::plan::ImageSource;

fn missing() -> ImageSource {
    ImageSource::Pull("registry.invalid/none:1".into())
}

/// Compose, played by the `docker` command.
struct Played(ImageSource);

impl Compose for Played {
    fn up(&self, project: &str, role: &str, file: &str) -> String {
        let ImageSource::Pull(image) = &self.0 else {
            unreachable!("a pulled image");
        };
        let directory = Path::new(file).parent().unwrap().display().to_string();
        let labels = [
            ("project", project),
            ("service", role),
            ("oneoff", "False"),
            ("project.working_dir", &directory),
            ("project.config_files", file),
        ];
        let labels = labels.map(|(key, said)| format!("--label=com.docker.compose.{key}={said}"));
        let name = format!("{project}-{role}-1");
        let mut words = vec!["run", "-d", "--name", &name];
        words.extend(labels.iter().map(String::as_str));
        words.push(image);
        docker(&words);
        name
    }

    fn stop(&self, container: &str) {
        docker(&["stop", "-t", "1", container]);
    }

    fn remove(&self, container: &str) {
        docker(&["rm", "-f", container]);
    }
}

/// From this machine.
struct FromHere;

#[async_trait(?Send)]
impl Clients for FromHere {
    async fn connect(&self, _: Release, endpoint: SocketAddr) -> Box<dyn Any> {
        let connect = async || TcpStream::connect(endpoint).await.ok();
        Box::new(until("a listener", connect).await)
    }
}

macro_rules! contract {
    ($suite:ident: $($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            let scope = Scope::new().await;
            let fixture = Fixture {
                engine: &scope.engine,
                service: scope.service.clone(),
                image: scope.image.clone(),
                missing: missing(),
                compose: &Played(scope.image.clone()),
                clients: &FromHere,
            };
            $suite::$name(&fixture).await;
            assert_eq!(scope.parts().await, [""; 0]);
        }
    )*};
}

contract! {
    engine_contract:
    nothing_is_nothing
    prepare_pins_every_role
    stand_up_twice_is_once
    environments_are_told_apart
    tear_down_twice_is_once
    marks_add_up
    a_token_has_one_winner
    a_job_is_done_when_its_environment_stands
    a_hook_runs_once_in_a_container_of_its_own
    what_is_not_there_is_said
    live_only_roles_are_made_and_not_started
    workers_come_to_work_and_to_rest
    workers_of_two_releases_never_run_at_once
}

contract! {
    ports_contract:
    exposed_replicas_are_published_where_the_pointer_needs_it
    a_published_port_is_kept_over_sleep
    what_has_no_port_left_is_refused_with_a_way_out
}

contract! {
    sleep_contract:
    what_is_gone_neither_sleeps_nor_wakes
    asleep_twice_is_asleep_once_and_so_is_awake
    half_asleep_goes_either_way
    what_sleeps_can_be_read_and_removed
    it_costs_what_it_holds
}

contract! {
    clients_contract:
    nobody_comes_to_what_nobody_knows
    an_open_connection_is_seen_until_it_ends
    what_is_frozen_keeps_its_clients_and_what_has_ended_has_none
}

contract! {
    shared_contract:
    shared_roles_are_stood_up_once_and_outlive_their_release
    what_differs_is_told_and_left_alone
    settings_are_applied_once_and_only_where_they_differ
    volumes_outlive_everything
    an_external_volume_is_never_made
    what_was_shared_is_not_stood_up_beside_itself
    a_release_that_waits_for_what_has_ended_is_refused
    what_a_project_of_another_name_has_is_not_made_anew
    a_live_only_role_does_not_work_beside_a_projects_own
}

mod clients;
mod files;
mod images;
mod jobs;
mod keys;
mod pools;
mod ports;
mod stand_up;
mod talk;
mod trouble;
mod workers;

use flipside::core::event::Failure;
use flipside::core::names::Release;
use flipside::core::progress::Silent;
use flipside::core::world::Environment;
use flipside::engine::{Engine, EngineError, Spec};

async fn try_up(scope: &Scope, spec: &Spec) -> Result<Environment, EngineError> {
    let images = scope.engine.prepare(spec, &Silent).await?;
    scope.engine.stand_up(spec, &images, &Silent).await
}

async fn up(scope: &Scope, spec: &Spec) -> Environment {
    try_up(scope, spec).await.unwrap()
}

async fn down(scope: &Scope, release: u64) {
    let release = Release(release);
    scope
        .engine
        .tear_down(&scope.service, release)
        .await
        .unwrap();
}

fn failure(error: EngineError) -> Failure {
    match error {
        EngineError::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}
