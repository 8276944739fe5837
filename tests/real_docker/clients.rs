//! Who is seen of those who come to a container, and that nothing is left of looking.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use flipside::core::world::Environment;
use flipside::engine::Engine;
use flipside::engine::docker::clients::{NAMED, seen};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::{down, up};
use crate::real_verbs::kit::docker;
use crate::support::backends::until;
use crate::support::docker::Scope;
use crate::support::sample;

const WATCH: Duration = Duration::from_millis(200);

/// An address of this machine that is no loopback.
fn own() -> IpAddr {
    let template = "{{(index .IPAM.Config 0).Gateway}}";
    let said = docker(&["network", "inspect", "bridge", "--format", template]);
    said.trim().parse().unwrap()
}

async fn come(port: u16, but: &[IpAddr]) -> u64 {
    seen(port, but, WATCH).await.unwrap()
}

#[tokio::test]
async fn what_comes_from_within_does_not_count() {
    let at = |ip: IpAddr| TcpListener::bind((ip, 0));
    let inside = at([127, 0, 0, 1].into()).await.unwrap();
    let outside = at(own()).await.unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let _health = TcpStream::connect(inside.local_addr().unwrap())
        .await
        .unwrap();
    assert_eq!(come(port(&inside), &[]).await, 0);
    assert_eq!(come(port(&outside), &[]).await, 0);
    let _client = TcpStream::connect(outside.local_addr().unwrap())
        .await
        .unwrap();
    // The engine may give it another address on its way.
    let (_served, from) = outside.accept().await.unwrap();
    assert_eq!(come(port(&outside), &[]).await, 1);
    assert_eq!(come(port(&outside), &[from.ip()]).await, 0);
}

/// Short connections that the service ends: each is seen while it is looked, and none that was over
/// before.
#[tokio::test]
async fn short_connections_are_seen_while_they_come() {
    let listener = TcpListener::bind((own(), 0)).await.unwrap();
    let at: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let once = async || {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let _end = stream.read(&mut [0]).await;
    };
    once().await;
    until("the end of the first", async || {
        (come(at.port(), &[]).await == 0).then_some(())
    })
    .await;
    let coming = async {
        loop {
            once().await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    tokio::select! {
        () = coming => unreachable!("it goes on"),
        seen = come(at.port(), &[]) => assert_ne!(seen, 0),
    }
}

/// Other roles of the environment are no clients of it.
#[tokio::test]
async fn the_environments_own_roles_are_no_clients() {
    let scope = Scope::new().await;
    let web = sample::role(scope.image.clone());
    let spec = sample::spec(&scope.service, 1, vec![("web", web.clone()), ("side", web)]);
    let environment = up(&scope, &spec).await;
    let side = environment
        .containers
        .iter()
        .find(|it| it.role.as_str() == "side");
    let side = side.unwrap();
    let endpoint = environment.endpoints()[0];
    until("a listener", async || {
        TcpStream::connect(endpoint).await.ok()
    })
    .await;
    // A client in the network of the other role.
    let load = crate::real_crash::kit::example("load");
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &side.id]);
    let net = format!("--net=/proc/{}/ns/net", pid.trim());
    let words = [crate::real_crash::kit::as_root(), &["nsenter", &net]].concat();
    let mut client = tokio::process::Command::new(words[0]);
    client.args(&words[1..]).arg(load);
    client.args([
        &endpoint.to_string(),
        "--seconds",
        "60",
        "--connections",
        "2",
    ]);
    let mut client = client.kill_on_drop(true).spawn().unwrap();
    let proxied = format!("/proc/{}/net/tcp", pid.trim());
    until("its connections", async || {
        let lines = std::fs::read_to_string(&proxied).unwrap();
        (lines.lines().filter(|line| line.contains(" 01 ")).count() >= 2).then_some(())
    })
    .await;
    assert_eq!(seen_at(&scope, &environment, 300).await, 0);
    client.kill().await.unwrap();
    down(&scope, 1).await;
}

async fn seen_at(scope: &Scope, environment: &Environment, watch_ms: u64) -> u64 {
    let one = std::slice::from_ref(environment);
    let seen = scope.engine.clients(&scope.service, one, watch_ms).await;
    *seen.unwrap()[0].as_ref().unwrap()
}

/// What looks, as long as it is there.
async fn looking(scope: &Scope) -> usize {
    let parts = scope.parts().await;
    parts.iter().filter(|name| name.contains(NAMED)).count()
}

/// Release 1, which stands.
async fn standing() -> (Scope, Environment) {
    let scope = Scope::new().await;
    let web = sample::role(scope.image.clone());
    let spec = sample::spec(&scope.service, 1, vec![("web", web)]);
    let environment = up(&scope, &spec).await;
    (scope, environment)
}

/// A look that is dropped once it has begun.
async fn called_off(scope: &Scope, environment: &Environment, watch_ms: u64) {
    let looks = async || (looking(scope).await > 0).then_some(());
    tokio::select! {
        seen = seen_at(scope, environment, watch_ms) => panic!("{seen}"),
        () = until("what looks", looks) => {}
    }
}

#[tokio::test]
async fn a_removal_takes_a_look_that_was_called_off_with_it() {
    let (scope, environment) = standing().await;
    called_off(&scope, &environment, 60_000).await;
    down(&scope, 1).await;
    assert_eq!(scope.parts().await, [""; 0]);
}

#[tokio::test]
async fn a_look_that_is_called_off_is_in_nobodys_way() {
    let (scope, environment) = standing().await;
    called_off(&scope, &environment, 3_000).await;
    assert_eq!(seen_at(&scope, &environment, 100).await, 0);
    until("the end of it", async || {
        (looking(&scope).await == 0).then_some(())
    })
    .await;
    // The image goes with who looks last.
    assert_eq!(seen_at(&scope, &environment, 100).await, 0);
    down(&scope, 1).await;
}

/// Who has no lease may look as well, and neither sees less for it.
#[tokio::test]
async fn two_may_look_at_once() {
    let (scope, environment) = standing().await;
    let look = || seen_at(&scope, &environment, 1_000);
    assert_eq!(tokio::join!(look(), look(), look()), (0, 0, 0));
    let endpoint = environment.endpoints()[0];
    let _client = until("a listener", async || {
        TcpStream::connect(endpoint).await.ok()
    })
    .await;
    assert_eq!(tokio::join!(look(), look(), look()), (1, 1, 1));
    assert_eq!(looking(&scope).await, 0);
    down(&scope, 1).await;
}

/// Of what says nothing of its port nothing can be seen, and the others are seen all the same.
#[tokio::test]
async fn one_that_cannot_be_seen_hides_no_other() {
    let (scope, environment) = standing().await;
    let mut unreadable = environment.clone();
    unreadable.labels.exposed.port = 0;
    let both = [unreadable, environment];
    let seen = scope.engine.clients(&scope.service, &both, 100).await;
    let seen = seen.unwrap();
    let why = seen[0].as_ref().unwrap_err().to_string();
    assert!(why.contains("do not say at which port"), "{why}");
    assert_eq!(seen[1], Ok(0));
    down(&scope, 1).await;
}
