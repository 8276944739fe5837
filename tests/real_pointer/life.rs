//! How the proxy's container comes, stays, comes back and goes.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use flipside::core::names::Release;
use flipside::docker::{ScratchFile, ScratchImage};
use flipside::pointer::proxy::{Control, overview, take_down, take_down_if_idle};
use flipside::pointer::{Pointer, PointerError, Way};

use super::kit::{FLIPSIDE, Rig, docker, inspect, named, ready, to, until};
use crate::support::docker::{hello_image, machine};

#[tokio::test]
async fn two_who_start_it_at_once_end_with_the_same() {
    let rig = Rig::new().await;
    let (one, other) = (rig.pointer(), rig.pointer());
    assert_eq!(one.read().await, Ok(None), "there is none yet");
    let (first, second) = tokio::join!(ready(&one), ready(&other));
    assert_eq!((first, second), (Ok(()), Ok(())));
    one.write(None, &to(1, named("x").await)).await.unwrap();
    other.write(None, &to(1, named("y").await)).await.unwrap();
    let found = overview(&rig.site).await.unwrap().unwrap();
    assert_eq!(found.services.len(), 2);
    let identity = inspect(rig.name(), "{{index .Config.Labels \"flipside.proxy.id\"}}");
    assert_eq!(found.hello.identity, identity);
}

#[tokio::test]
async fn it_may_do_nothing_that_it_need_not() {
    let rig = Rig::started().await;
    let host = inspect(
        rig.name(),
        "{{.HostConfig.NetworkMode}} {{.Config.User}} {{.HostConfig.CapDrop}} \
         {{.HostConfig.CapAdd}} {{.HostConfig.SecurityOpt}} {{.HostConfig.ReadonlyRootfs}} \
         {{.HostConfig.RestartPolicy.Name}} {{.Config.StopTimeout}}",
    );
    assert_eq!(
        host,
        "host 0 [ALL] [NET_BIND_SERVICE] [no-new-privileges] true unless-stopped 15"
    );
    use std::os::unix::fs::MetadataExt;
    let engine = std::fs::metadata("/var/run/docker.sock").unwrap().gid();
    let socket = std::fs::metadata(rig.socket()).unwrap();
    let directory = std::fs::metadata(rig.socket().parent().unwrap()).unwrap();
    assert_eq!((socket.mode() & 0o777, socket.gid()), (0o660, engine));
    assert_eq!((directory.mode() & 0o777, directory.gid()), (0o750, engine));
}

#[tokio::test]
async fn a_stopped_one_is_started_and_serves_what_it_served() {
    let rig = Rig::started().await;
    let pointer = rig.pointer();
    pointer.write(None, &to(3, named("x").await)).await.unwrap();
    let before = pointer.read().await.unwrap();
    for way in ["stop", "kill"] {
        docker(&[way, rig.name()]);
        // The first call may be the one that finds the connection broken.
        until("a word of what mends it", async || {
            match pointer.read().await {
                Err(PointerError::OutOfReach { why, .. }) => {
                    why.contains("docker start").then_some(())
                }
                answered => panic!("a stopped proxy answered: {answered:?}"),
            }
        })
        .await;
        ready(&pointer).await.unwrap();
        assert_eq!(pointer.read().await.unwrap(), before);
        let answer = pointer.ask(Way::Service, "/").await.unwrap();
        assert_eq!(answer.release, Some(Release(3)));
    }
}

#[tokio::test]
async fn a_killed_one_comes_back_by_itself() {
    let rig = Rig::started().await;
    let pointer = rig.pointer();
    pointer.write(None, &to(3, named("x").await)).await.unwrap();
    let process = inspect(rig.name(), "{{.State.Pid}}");
    let killed = Command::new("kill").args(["-9", &process]).status();
    assert!(killed.unwrap().success());
    let answer = until("an answer", async || {
        let answer = pointer.ask(Way::Service, "/").await.ok()?;
        (inspect(rig.name(), "{{.RestartCount}}") == "1").then_some(answer)
    });
    assert_eq!(answer.await.release, Some(Release(3)));
    // Nobody knows any more what was in flight.
    assert_eq!(
        pointer.write(Some(1), &to(4, named("y").await)).await,
        Ok(2)
    );
}

#[tokio::test]
async fn a_strangers_container_is_left_alone() {
    let rig = Rig::new().await;
    let image = hello_image(&rig.site.docker).await;
    docker(&["create", "--name", rig.name(), "--network", "host", &image]);
    let pointer = rig.pointer();
    for refused in [ready(&pointer).await, pointer.read().await.map(|_| ())] {
        let Err(PointerError::Failed { what, hint }) = refused else {
            panic!("a stranger's container was used: {refused:?}");
        };
        assert!(what.contains(rig.name()), "{what}");
        assert!(hint.unwrap().contains("--proxy NAME"));
    }
    assert!(take_down(&rig.site).await.is_err());
    assert_eq!(inspect(rig.name(), "{{.State.Status}}"), "created");
}

#[tokio::test]
async fn one_is_started_from_an_image_that_is_named() {
    let mut rig = Rig::new().await;
    let image = format!("flipside-test-proxy:{}", rig.name());
    let loaded = ScratchImage {
        name: image.clone(),
        files: vec![ScratchFile {
            path: "/bin/flip".into(),
            source: FLIPSIDE.into(),
            mode: 0o755,
        }],
        entrypoint: vec!["/bin/flip".into()],
        labels: BTreeMap::new(),
        machine: machine().await,
    };
    let client = rig.site.docker.clone();
    client.load_scratch_image(loaded).await.unwrap();
    let image = Named(image);
    rig.site.image.given = Some(image.0.clone());
    // Must not be needed.
    rig.site.image.binary = "/nowhere".into();
    ready(&rig.pointer()).await.unwrap();
    assert_eq!(inspect(rig.name(), "{{.Config.Image}}"), image.0);
    let through = rig.spoken_to(Control::Exec).pointer();
    assert_eq!(through.read().await, Ok(None));
    drop(rig);
}

/// An image that goes with its test, after what was started from it.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.0]);
    }
}

#[tokio::test]
async fn what_cannot_be_an_image_is_refused() {
    let mut rig = Rig::new().await;
    rig.site.image.binary = "/etc/passwd".into();
    let Err(PointerError::Failed { what, hint }) = ready(&rig.pointer()).await else {
        panic!("an image was built of a text file");
    };
    assert!(what.contains("no 64-bit Linux executable"), "{what}");
    assert!(hint.unwrap().contains("--proxy-image IMAGE"));
}

fn flipside(rig: &Rig, words: &[&str]) -> Output {
    Command::new(FLIPSIDE)
        .args(["proxy", "--proxy", rig.name()])
        .args(words)
        .env("FLIPSIDE_RUN_DIR", &rig.site.run_dir)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn it_is_shown_and_taken_down_by_hand() {
    let rig = Rig::started().await;
    let none = flipside(&rig, &["status"]);
    assert!(text(&none.stdout).contains("serves nothing"), "{none:?}");
    let pointer = rig.pointer();
    pointer.write(None, &to(3, named("x").await)).await.unwrap();

    let json = flipside(&rig, &["status", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["proxy"], rig.name());
    assert_eq!(json["services"][0]["generation"], 1);
    assert_eq!(json["services"][0]["environments"][0]["release"], 3);
    assert_eq!(json["services"][0]["author"], "ann@here");
    let people = text(&flipside(&rig, &["status"]).stdout);
    assert!(people.contains("deploy shop@3"), "{people}");
    assert!(people.contains("@3"), "{people}");

    assert_eq!(take_down_if_idle(&rig.site).await, Ok(None));
    let asked = flipside(&rig, &["down"]);
    assert_eq!(asked.status.code(), Some(2), "{asked:?}");
    let down = flipside(&rig, &["down", "--yes"]);
    assert_eq!(down.status.code(), Some(0), "{down:?}");
    let volume = format!("{}.table", rig.name());
    assert!(text(&down.stdout).contains(&volume), "{down:?}");
    assert!(!docker(&["inspect", rig.name()]).status.success());
    assert!(!docker(&["volume", "inspect", &volume]).status.success());
    assert!(!rig.socket().parent().unwrap().exists());
    assert_eq!(flipside(&rig, &["status"]).status.code(), Some(4));
    assert_eq!(flipside(&rig, &["down"]).status.code(), Some(0));
}

#[tokio::test]
async fn an_idle_one_is_taken_down() {
    let rig = Rig::started().await;
    let pointer = rig.pointer();
    pointer.write(None, &to(3, named("x").await)).await.unwrap();
    pointer.remove(1).await.unwrap();
    let down = take_down_if_idle(&rig.site).await.unwrap().unwrap();
    let container = format!("container {}", rig.name());
    assert!(down.removed.contains(&container), "{down:?}");
    assert_eq!(pointer.read().await, Ok(None));
    assert_eq!(pointer.remove(1).await, Ok(()));
}
