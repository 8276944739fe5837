//! What a shared role's container is made with: its files, and what it has of its host.

use flipside::core::names::Release;
use flipside::core::plan::{FileContent, FileMount, FileSource, Port, Restart, Run, Text};
use flipside::core::progress::Silent;
use flipside::core::shared::Removed;
use flipside::engine::{Engine, Spec};

use super::{docker, inspect};
use crate::real_verbs::kit::free_port;
use crate::support::docker::Scope;
use crate::support::sample::{role, role_name, set, spec};

pub(super) fn with_db(scope: &Scope, change: impl FnOnce(&mut flipside::core::plan::Role)) -> Spec {
    let web = role(scope.image.clone());
    let mut spec = spec(&scope.service, 1, vec![("web", web)]);
    let mut db = role(scope.image.clone());
    db.run = Run::Shared;
    change(&mut db);
    spec.plan.shared.insert(role_name("db"), db);
    spec
}

pub(super) async fn up(scope: &Scope, spec: &Spec) {
    let images = scope.engine.prepare(spec, &Silent).await.unwrap();
    scope.engine.stand_up(spec, &images, &Silent).await.unwrap();
}

pub(super) fn name(scope: &Scope) -> String {
    format!("{}-shared-db", scope.service)
}

/// The text of a file in a container.
fn read(container: &str, path: &str) -> String {
    let at = format!("{container}:{path}");
    let copied = std::process::Command::new("docker")
        .args(["cp", &at, "-"])
        .output()
        .unwrap();
    let mut tar = tar::Archive::new(copied.stdout.as_slice());
    let mut entry = tar.entries().unwrap().next().unwrap().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
    text
}

fn copied(scope: &Scope) -> Vec<String> {
    let filter = format!("label=flipside.service={}", scope.service);
    let list = docker(&["volume", "ls", "-q", "--filter", &filter]);
    list.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn files_are_copied_and_compared_and_go_with_their_container() {
    let scope = Scope::new().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.conf"), "first").unwrap();
    let spec = |text: &str| {
        with_db(&scope, |db| {
            let file = FileContent::File {
                source: FileSource::Value(Text::secret(text)),
                uid: 0,
                gid: 0,
                mode: 0o400,
            };
            let directory = FileContent::Directory(dir.path().to_owned());
            let mount = |target: &str, content| FileMount {
                target: target.into(),
                content,
            };
            db.files = vec![mount("/etc/one", file), mount("/etc/all", directory)];
        })
    };
    let first = spec("hunter22");
    up(&scope, &first).await;
    let db = name(&scope);
    assert_eq!(read(&db, "/etc/one"), "hunter22");
    assert_eq!(read(&db, "/etc/all/a.conf"), "first");
    assert!(
        !inspect(&db)["Config"]["Labels"]
            .to_string()
            .contains("hunter22")
    );
    let differs = async |spec: &Spec| {
        let told = scope.engine.shared(&scope.service, Some(&spec.plan)).await;
        let told = told.unwrap().remove(0).differs.into_iter();
        told.map(|one| one.place).collect::<Vec<_>>()
    };
    assert_eq!(differs(&first).await, [""; 0]);
    let before = copied(&scope);
    assert_eq!(before.len(), 1, "{before:?}");
    std::fs::write(dir.path().join("a.conf"), "second").unwrap();
    let second = spec("hunter23");
    assert_eq!(differs(&second).await, ["files./etc/all", "files./etc/one"]);
    let db_role = role_name("db");
    let applied = scope.engine.apply_shared(&second.plan, &db_role, &Silent);
    applied.await.unwrap();
    assert_eq!(read(&db, "/etc/one"), "hunter23");
    assert_eq!(read(&db, "/etc/all/a.conf"), "second");
    let after = copied(&scope);
    assert_eq!(after.len(), 1, "{after:?}");
    assert_ne!(after, before);
    scope
        .engine
        .tear_down(&scope.service, Release(1))
        .await
        .unwrap();
    let left = scope.engine.tear_down_shared(&scope.service).await;
    assert_eq!(left, Ok(Removed::default()));
    assert_eq!(scope.parts().await, [""; 0]);
}

#[tokio::test]
async fn it_has_of_its_host_what_the_plan_says() {
    let scope = Scope::new().await;
    let port = free_port();
    let spec = with_db(&scope, |db| {
        db.aliases = vec!["store".into()];
        db.host.restart = Restart::OnFailure(Some(3));
        db.host.pid = true;
        db.host.ports = vec![Port {
            address: Some([127, 0, 0, 1].into()),
            published: Some(port),
            target: 8080,
            udp: false,
        }];
        set(db, "VERSION", "db");
    });
    up(&scope, &spec).await;
    let now = inspect(&name(&scope));
    let host = &now["HostConfig"];
    assert_eq!(host["RestartPolicy"]["Name"], "on-failure");
    assert_eq!(host["RestartPolicy"]["MaximumRetryCount"], 3);
    assert_eq!(host["PidMode"], "host");
    let network = format!("flipside.{}.shared", scope.service);
    let aliases = now["NetworkSettings"]["Networks"][&network]["Aliases"].clone();
    for alias in ["db", "store"] {
        assert!(
            aliases.as_array().unwrap().contains(&alias.into()),
            "{aliases}"
        );
    }
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let (status, body) = crate::support::docker::get_soon(at, "/").await;
    assert_eq!((status, body.as_str()), (200, "db"));
}

/// Its address is asked for, and those of releases are from the other half.
#[tokio::test]
async fn its_address_is_never_a_releases() {
    let scope = Scope::new().await;
    let spec = with_db(&scope, |_| {});
    up(&scope, &spec).await;
    let network = format!("flipside.{}.shared", scope.service);
    let address = |container: &str| -> std::net::Ipv4Addr {
        let now = inspect(container);
        let at = &now["NetworkSettings"]["Networks"][&network];
        at["IPAddress"].as_str().unwrap().parse().unwrap()
    };
    let last = |container: &str| address(container).octets()[3];
    assert_eq!(last(&name(&scope)), 2);
    assert!(last(&format!("{}-1-web-1", scope.service)) >= 128);
}
