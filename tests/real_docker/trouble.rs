//! Strangers on the engine, labels nobody can read, engines that are not there.

use std::collections::HashMap;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptions;
use flipside::core::names::Release;
use flipside::core::plan::{ImageSource, Mount, MountSource};
use flipside::docker::{Endpoint, Way};
use flipside::engine::docker::Docker;
use flipside::engine::{Engine, EngineError};

use super::stand_up::{remove, simple};
use super::{down, failure, try_up, up};
use crate::support::docker::{Scope, api};

#[tokio::test]
async fn a_strangers_container_of_that_name_is_left_alone() {
    let scope = Scope::new().await;
    let name = format!("{}-1-web-1", scope.service);
    let ImageSource::Pull(image) = scope.image.clone() else {
        panic!("an image by its id");
    };
    let options = CreateContainerOptions {
        name: Some(name.clone()),
        ..Default::default()
    };
    let body = ContainerCreateBody {
        image: Some(image),
        ..Default::default()
    };
    let stranger = api()
        .create_container(Some(options), body)
        .await
        .unwrap()
        .id;
    let failed = try_up(&scope, &simple(&scope, 1)).await;
    down(&scope, 1).await;
    let left = api().inspect_container(&stranger, None).await;
    remove(&stranger).await;
    assert!(left.is_ok());
    assert!(failure(failed.unwrap_err()).what.contains("is taken"));
}

#[tokio::test]
async fn a_bound_path_that_is_not_there_is_said_once_with_what_mends_it() {
    let scope = Scope::new().await;
    let mut spec = simple(&scope, 1);
    let web = spec.plan.roles.values_mut().next().unwrap();
    web.mounts.push(Mount {
        source: MountSource::Host("/nowhere/of/a/test".into()),
        target: "/mnt".into(),
        read_only: true,
        propagation: None,
    });
    let failed = failure(try_up(&scope, &spec).await.unwrap_err());
    down(&scope, 1).await;
    assert!(failed.what.contains("cannot be created"), "{failed:?}");
    assert!(failed.what.ends_with(": /nowhere/of/a/test"), "{failed:?}");
    let hint = failed.hint.clone().unwrap_or_default();
    assert!(hint.contains("mkdir -p /nowhere/of/a/test"), "{failed:?}");
    assert_eq!(failed.replicas, [], "the same once more");
}

#[tokio::test]
async fn broken_labels_of_one_container_hide_no_other() {
    let scope = Scope::new().await;
    let environment = up(&scope, &simple(&scope, 1)).await;
    let ImageSource::Pull(image) = scope.image.clone() else {
        panic!("an image by its id");
    };
    let label = |key: &str, value: &str| (format!("flipside.{key}"), value.to_owned());
    let body = ContainerCreateBody {
        image: Some(image),
        labels: Some(HashMap::from([
            label("service", scope.service.as_str()),
            label("release", "2"),
            label("v", "99"),
            label("probes", "what?"),
        ])),
        ..Default::default()
    };
    api()
        .create_container(None::<CreateContainerOptions>, body)
        .await
        .unwrap();
    let found = scope.engine.inspect(&scope.service).await.unwrap();
    assert_eq!(found[0], environment);
    assert_eq!((found[1].containers.len(), found[1].is_up()), (1, false));
    down(&scope, 2).await;
    assert_eq!(
        scope.engine.inspect(&scope.service).await.unwrap(),
        [environment]
    );
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_out_of_reach() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.sock");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let refusing = dir.path().join("refusing.sock");
    drop(std::os::unix::net::UnixListener::bind(&refusing).unwrap());
    let out = async |address: String, words: &str| {
        let error = Docker::connect(Some(&address)).await.unwrap_err();
        let EngineError::OutOfReach { engine, why } = error else {
            panic!("{error:?}");
        };
        assert_eq!(engine, address);
        assert!(why.contains(words), "{why}");
    };
    out(format!("unix://{}", path.display()), "there is no socket").await;
    out(format!("unix://{}", refusing.display()), "nothing listens").await;
    out(format!("tcp://127.0.0.1:{port}"), "connection refused").await;
    out("tcp://engine.invalid:1".into(), "cannot be resolved").await;
}

#[tokio::test]
async fn an_engine_that_dies_in_the_middle_is_lost() {
    use tokio::io::AsyncWriteExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK";
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(answer).await.unwrap();
        loop {
            // Takes the request, and dies.
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            tokio::io::AsyncReadExt::read(&mut stream, &mut buffer)
                .await
                .unwrap();
        }
    });
    let endpoint = Endpoint {
        address: "test".into(),
        way: Way::Tcp {
            host: "127.0.0.1".into(),
            port,
        },
    };
    let client = flipside::docker::Client::open(endpoint).await.unwrap();
    assert_eq!(client.api(), (1, 41));
    let engine = Docker::new(client);
    let service = crate::support::docker::service();
    let read = engine.inspect(&service).await.unwrap_err();
    assert!(matches!(read, EngineError::OutOfReach { .. }), "{read:?}");
    let mark = flipside::core::routing::Mark::Proven;
    let acted = engine.mark(&service, Release(1), mark).await.unwrap_err();
    assert!(matches!(acted, EngineError::Lost { .. }), "{acted:?}");
}
