//! Files of a release: single ones, directories, their owners.

use std::os::unix::fs::{PermissionsExt, symlink};

use flipside::core::names::Release;
use flipside::core::plan::{FileContent, FileMount, FileSource, Text};
use flipside::core::progress::Silent;
use flipside::core::world::Environment;
use flipside::engine::{Engine, Spec};

use super::{down, failure, try_up, up};
use crate::support::docker::{Scope, get_soon, until};
use crate::support::sample::{role, spec};

fn file(target: &str, source: FileSource, owner: u32, mode: u32) -> FileMount {
    FileMount {
        target: target.into(),
        content: FileContent::File {
            source,
            uid: owner,
            gid: owner + 1,
            mode,
        },
    }
}

#[tokio::test]
async fn files_are_copied_with_owner_and_mode() {
    let scope = Scope::new().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    std::fs::write(&path, "from a file").unwrap();
    let mut web = role(scope.image.clone());
    let secret = FileSource::Value(Text::secret("hunter2"));
    web.files = vec![
        file("/run/secrets/password", secret, 1000, 0o400),
        file("/etc/app/deep/config", FileSource::Path(path), 0, 0o644),
    ];
    web.replicas = 2;
    let environment = up(&scope, &spec(&scope.service, 1, vec![("web", web)])).await;
    drop(dir);
    for endpoint in environment.endpoints() {
        let get = async |path: &str| get_soon(endpoint, path).await.1;
        assert_eq!(get("/file?/run/secrets/password").await, "hunter2");
        assert_eq!(get("/stat?/run/secrets/password").await, "1000 1001 0400");
        assert_eq!(get("/stat?/run/secrets").await, "0 0 0755");
        assert_eq!(get("/file?/etc/app/deep/config").await, "from a file");
        assert_eq!(get("/stat?/etc/app/deep/config").await, "0 1 0644");
    }
}

#[tokio::test]
async fn directories_become_read_only_volumes_of_the_release() {
    let scope = Scope::new().await;
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    std::fs::create_dir_all(site.join("sub/empty")).unwrap();
    std::fs::write(site.join("sub/page"), "page one").unwrap();
    std::fs::set_permissions(site.join("sub/page"), PermissionsExt::from_mode(0o640)).unwrap();
    symlink("sub/page", site.join("link")).unwrap();
    let mut web = role(scope.image.clone());
    web.files = vec![
        FileMount {
            target: "/site".into(),
            content: FileContent::Directory(site.clone()),
        },
        FileMount {
            target: "/again".into(),
            content: FileContent::Directory(site.join("sub")),
        },
    ];
    // A read-only root is no hindrance to volumes.
    web.read_only = true;
    let spec = spec(&scope.service, 1, vec![("web", web)]);
    let environment = up(&scope, &spec).await;
    let endpoint = environment.endpoints()[0];
    let get = async |path: &str| get_soon(endpoint, path).await.1;
    assert_eq!(get("/file?/site/link").await, "page one");
    assert_eq!(get("/stat?/site/sub/page").await, "0 0 0640");
    assert_eq!(get("/file?/again/page").await, "page one");
    assert!(get("/stat?/site/sub/empty").await.ends_with("0755"));
    let id = &environment.containers[0].id;
    let full = crate::support::docker::api()
        .inspect_container(id, None)
        .await
        .unwrap();
    assert!(
        full.mounts
            .unwrap()
            .iter()
            .all(|mount| mount.rw == Some(false))
    );
    assert_eq!(environment.parts.len(), 3, "{:?}", environment.parts);
    // A second standing up does not copy a directory that has been edited since.
    std::fs::write(site.join("sub/page"), "page two").unwrap();
    assert_eq!(up(&scope, &spec).await, environment);
    assert_eq!(get("/file?/site/link").await, "page one");
    down(&scope, 1).await;
    assert_eq!(scope.parts().await, [""; 0]);
}

fn with_directory(scope: &Scope, directory: &std::path::Path) -> Spec {
    std::fs::write(directory.join("a"), "a").unwrap();
    let mut web = role(scope.image.clone());
    web.files = vec![FileMount {
        target: "/site".into(),
        content: FileContent::Directory(directory.into()),
    }];
    spec(&scope.service, 1, vec![("web", web)])
}

async fn serves_its_file(environment: &Environment) {
    assert!(environment.is_up());
    let (status, body) = get_soon(environment.endpoints()[0], "/file?/site/a").await;
    assert_eq!((status, body.as_str()), (200, "a"));
}

#[tokio::test]
async fn a_helper_left_by_a_killed_call_is_used_and_removed() {
    let scope = Scope::new().await;
    let dir = tempfile::tempdir().unwrap();
    let spec = with_directory(&scope, dir.path());
    let images = scope.engine.prepare(&spec, &Silent).await.unwrap();
    let helper = format!("{}-1-web-files", scope.service);
    let listed = until("the helper is listed", || async {
        let parts = scope.parts().await;
        parts.contains(&helper).then_some(())
    });
    let whole = tokio::select! {
        stood = scope.engine.stand_up(&spec, &images, &Silent) => Some(stood.unwrap()),
        () = listed => None,
    };
    // Where the helper came and went between two looks, there is nothing left of it to use.
    let environment = match whole {
        Some(environment) => environment,
        None => up(&scope, &spec).await,
    };
    serves_its_file(&environment).await;
    assert!(!scope.parts().await.contains(&helper));
}

#[tokio::test]
async fn calls_killed_at_any_time_are_gone_on_with() {
    let scope = Scope::new().await;
    let dir = tempfile::tempdir().unwrap();
    let spec = with_directory(&scope, dir.path());
    let images = scope.engine.prepare(&spec, &Silent).await.unwrap();
    for millis in [5, 20, 40, 60, 90, 130, 200, 300] {
        let limit = std::time::Duration::from_millis(millis);
        let attempt = scope.engine.stand_up(&spec, &images, &Silent);
        tokio::time::timeout(limit, attempt).await.ok();
    }
    let environment = up(&scope, &spec).await;
    serves_its_file(&environment).await;
    until(
        "what the engine makes late for a killed call is removed as well",
        || async {
            let release = spec.release;
            scope
                .engine
                .tear_down(&scope.service, release)
                .await
                .unwrap();
            scope.parts().await.is_empty().then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn files_that_cannot_be_put_are_refused_before_anything_is_touched() {
    let scope = Scope::new().await;
    let value = || FileSource::Value(Text::public("x"));
    let mut web = role(scope.image.clone());
    web.files = vec![file("/etc/x", value(), 0, 0o644)];
    web.read_only = true;
    let refused = failure(
        try_up(&scope, &spec(&scope.service, 1, vec![("web", web.clone())]))
            .await
            .unwrap_err(),
    );
    assert!(
        refused.hint.unwrap().contains("read_only"),
        "{}",
        refused.what
    );
    web.read_only = false;
    web.tmpfs.insert("/etc".into(), String::new());
    let refused = failure(
        try_up(&scope, &spec(&scope.service, 1, vec![("web", web.clone())]))
            .await
            .unwrap_err(),
    );
    assert!(refused.what.contains("tmpfs `/etc`"), "{}", refused.what);
    assert_eq!(scope.parts().await, [""; 0]);
    web.tmpfs.clear();
    web.files = vec![file(
        "/etc/x",
        FileSource::Path("/no/such/file".into()),
        0,
        0o644,
    )];
    let refused = failure(
        try_up(&scope, &spec(&scope.service, 1, vec![("web", web)]))
            .await
            .unwrap_err(),
    );
    assert!(refused.what.contains("/no/such/file"), "{}", refused.what);
    scope
        .engine
        .tear_down(&scope.service, Release(1))
        .await
        .unwrap();
}
