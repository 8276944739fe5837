//! Building and pulling.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bollard::models::{ContainerConfig, ContainerCreateBody};
use bollard::query_parameters::{CommitContainerOptions, CreateContainerOptions};
use flipside::core::plan::{Build, ImageSource, Pull, Text};
use flipside::core::progress::{Progress, Silent, Sink};
use flipside::engine::Engine;

use super::{failure, up};
use crate::support::docker::{Scope, api, get_soon, hello_binary};
use crate::support::sample::{role, role_name, spec};

#[derive(Default)]
struct Heard(Mutex<Vec<Progress>>);

impl Sink for Heard {
    fn progress(&self, step: Progress) {
        self.0.lock().unwrap().push(step);
    }
}

fn build(context: &Path) -> Build {
    Build {
        context: context.into(),
        dockerfile: "Dockerfile".into(),
        args: BTreeMap::new(),
        target: None,
        tag: None,
    }
}

fn context(dockerfile: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
    std::fs::copy(hello_binary(), dir.path().join("hello")).unwrap();
    dir
}

#[tokio::test]
async fn a_build_gets_context_arguments_and_target() {
    let scope = Scope::new().await;
    let dir = context(
        "FROM scratch AS base\nARG WHO\nENV WHO=${WHO}\nCOPY . /\nENTRYPOINT [\"/hello\"]\n\
         FROM base AS other\nENV WHO=other\n",
    );
    for path in ["keep/a", "drop/b", "drop/kept"] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    std::fs::write(dir.path().join(".dockerignore"), "drop/*\n!drop/kept\n").unwrap();
    let mut plan = build(dir.path());
    plan.args.insert("WHO".into(), Text::secret("me"));
    plan.target = Some("base".into());
    let web = role(ImageSource::Build(plan));
    let spec = spec(&scope.service, 1, vec![("web", web.clone()), ("twin", web)]);
    let heard = Heard::default();
    let images = scope.engine.prepare(&spec, &heard).await.unwrap();
    let heard = heard.0.into_inner().unwrap();
    let steps = heard.iter().filter(|step| match step {
        Progress::Build { line, .. } => line.starts_with("Step 1/"),
        _ => false,
    });
    assert_eq!(steps.count(), 1, "{heard:?}");
    let again = scope.engine.prepare(&spec, &Silent).await.unwrap();
    assert_eq!(images, again);
    assert_eq!(images[&role_name("web")], images[&role_name("twin")]);
    let environment = up(&scope, &spec).await;
    let endpoint = environment.endpoints()[0];
    assert_eq!(
        environment.containers[0].image_id,
        images[&role_name("web")]
    );
    let get = async |path: &str| get_soon(endpoint, path).await;
    assert_eq!(get("/env?WHO").await.1, "me");
    assert_eq!(get("/file?/keep/a").await.0, 200);
    assert_eq!(get("/file?/drop/kept").await.0, 200);
    assert_eq!(get("/file?/drop/b").await.0, 404);
    // What only the builder reads is not in the image, and the Dockerfile there is the project's own.
    assert_eq!(get("/file?/.flipside.Dockerfile").await.0, 404);
    assert_eq!(get("/file?/.dockerignore").await.0, 200);
    let original = std::fs::read_to_string(dir.path().join("Dockerfile")).unwrap();
    assert_eq!(get("/file?/Dockerfile").await, (200, original));
}

/// An image and all beneath it, by id, from the top.
async fn chain(id: &str) -> Vec<String> {
    let history = api().image_history(id).await.unwrap();
    history.into_iter().map(|step| step.id).collect()
}

#[tokio::test]
async fn the_steps_of_a_build_that_was_cut_short_are_found_and_removed() {
    let scope = Scope::new().await;
    let dir = context(
        "FROM scratch AS one\nCOPY hello /hello\nRUN [\"/hello\", \"sleep\"]\nENTRYPOINT [\"/hello\"]\n",
    );
    let plan = build(dir.path());
    let web = role(ImageSource::Build(plan));
    let spec = spec(&scope.service, 1, vec![("web", web)]);
    let (sink, mut said) = tokio::sync::mpsc::unbounded_channel();
    let sink = Told(sink);
    let asleep = async {
        let mut runs = false;
        while let Some(line) = said.recv().await {
            runs |= line.contains(": RUN [");
            if runs && line.contains("Running in") {
                return;
            }
        }
        std::future::pending().await
    };
    // Dropped where it sleeps, as a killed program leaves it.
    tokio::select! {
        prepared = scope.engine.prepare(&spec, &sink) => panic!("{prepared:?}"),
        () = asleep => {}
    }
    let built = scope.engine.images(&scope.service).await.unwrap();
    assert!(matches!(built.as_slice(), [one] if one.step), "{built:?}");
    let ids = chain(&built[0].id).await;
    assert!(ids.len() > 1, "{ids:?}");
    // The engine ends the step's container some time after the client has gone.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !scope
        .engine
        .images(&scope.service)
        .await
        .unwrap()
        .is_empty()
    {
        assert!(Instant::now() < deadline, "its steps cannot be removed");
        scope.engine.drop_image(&built[0].id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for id in ids {
        let left = api().inspect_image(&id).await;
        assert!(left.is_err(), "{left:?}");
    }
}

/// Hands on what a builder says.
struct Told(tokio::sync::mpsc::UnboundedSender<String>);

impl Sink for Told {
    fn progress(&self, step: Progress) {
        if let Progress::Build { line, .. } = step {
            self.0.send(line).ok();
        }
    }
}

#[tokio::test]
async fn an_image_that_others_made_of_ours_is_not_ours() {
    let scope = Scope::new().await;
    let dir = context("FROM scratch\nCOPY hello /hello\nENTRYPOINT [\"/hello\"]\n");
    let web = role(ImageSource::Build(build(dir.path())));
    let spec = spec(&scope.service, 1, vec![("web", web)]);
    let images = scope.engine.prepare(&spec, &Silent).await.unwrap();
    let ours = images[&role_name("web")].clone();
    let id = up(&scope, &spec).await.containers[0].id.clone();
    let theirs = CommitContainerOptions {
        container: Some(id),
        ..Default::default()
    };
    let api = api();
    let theirs = api.commit_container(theirs, ContainerConfig::default());
    let theirs = theirs.await.unwrap().id;
    let built = scope.engine.images(&scope.service).await.unwrap();
    // Not even ours is listed, as it has become a step of theirs.
    assert_eq!(built, [], "ours is {ours}, theirs {theirs}");
    assert!(api.inspect_image(&theirs).await.is_ok());

    // Nor does a container of theirs, which inherits the labels too, make a service.
    scope
        .engine
        .tear_down(&scope.service, spec.release)
        .await
        .unwrap();
    let by_hand = ContainerCreateBody {
        image: Some(ours),
        ..Default::default()
    };
    let by_hand = api.create_container(None::<CreateContainerOptions>, by_hand);
    let by_hand = by_hand.await.unwrap().id;
    let labelled = scope.parts().await;
    assert_eq!(labelled.len(), 1, "{labelled:?} should be {by_hand} alone");
    let services = scope.engine.services().await.unwrap();
    assert!(!services.contains(&scope.service), "{services:?}");
}

#[tokio::test]
async fn a_line_that_no_builder_can_read_is_told_by_its_number() {
    let scope = Scope::new().await;
    let dir = context("FROM scratch AS a\nCOPY hello /\nFROM scratch\nNONSENSE x\n");
    let web = role(ImageSource::Build(build(dir.path())));
    let spec = spec(&scope.service, 1, vec![("web", web)]);
    let failed = failure(scope.engine.prepare(&spec, &Silent).await.unwrap_err());
    assert!(failed.what.contains("line 4: "), "{failed:?}");
    assert!(failed.what.contains("NONSENSE"), "{failed:?}");
}

#[tokio::test]
async fn a_failing_step_is_shown_with_what_it_said() {
    let scope = Scope::new().await;
    let dir = context("FROM scratch\nCOPY hello /hello\nRUN [\"/hello\", \"nonsense\"]\n");
    let web = role(ImageSource::Build(build(dir.path())));
    let spec = spec(&scope.service, 1, vec![("web", web)]);
    let failed = failure(scope.engine.prepare(&spec, &Silent).await.unwrap_err());
    assert!(failed.what.contains(": RUN ["), "{failed:?}");
    assert!(failed.what.contains("non-zero code: 2"), "{failed:?}");
    let logs = &failed.replicas[0].logs;
    assert!(
        logs.iter()
            .any(|line| line.contains("`nonsense` is none of")),
        "{logs:?}"
    );
}

#[tokio::test]
async fn a_dockerfile_that_needs_buildkit_is_refused_with_its_line() {
    let scope = Scope::new().await;
    let dir = context("FROM scratch\n\nCOPY --chmod=755 hello /hello\n");
    let web = role(ImageSource::Build(build(dir.path())));
    let spec = spec(&scope.service, 1, vec![("web", web)]);
    let failed = failure(scope.engine.prepare(&spec, &Silent).await.unwrap_err());
    let place = format!(
        "{}:3: `COPY --chmod=755` needs BuildKit",
        dir.path().join("Dockerfile").display()
    );
    assert!(failed.what.starts_with(&place), "{failed:?}");
}

#[tokio::test]
async fn a_build_without_its_files_is_refused_in_words() {
    let scope = Scope::new().await;
    let dir = context("FROM scratch\nCOPY nothing /\n");
    let words = async |plan: Build| {
        let web = role(ImageSource::Build(plan));
        let spec = spec(&scope.service, 1, vec![("web", web)]);
        failure(scope.engine.prepare(&spec, &Silent).await.unwrap_err()).what
    };
    let what = words(build(dir.path())).await;
    assert!(what.contains("nothing"), "{what}");
    let mut plan = build(dir.path());
    plan.dockerfile = "No.Dockerfile".into();
    let what = words(plan.clone()).await;
    assert!(what.contains("No.Dockerfile"), "{what}");
    plan.dockerfile = "../Dockerfile".into();
    let what = words(plan).await;
    assert!(what.contains("outside the build context"), "{what}");
}

#[tokio::test]
async fn an_image_that_is_not_there_is_said_in_words() {
    let scope = Scope::new().await;
    let words = async |reference: &str, pull: Pull| {
        let mut web = role(ImageSource::Pull(reference.into()));
        web.pull = pull;
        let spec = spec(&scope.service, 1, vec![("web", web)]);
        failure(scope.engine.prepare(&spec, &Silent).await.unwrap_err()).what
    };
    let what = words("flipside-none:1", Pull::Never).await;
    assert!(
        what.contains("`flipside-none:1` is not on the engine"),
        "{what}"
    );
    let what = words("registry.invalid/none:1", Pull::Missing).await;
    assert!(
        what.contains("registry `registry.invalid` cannot be reached"),
        "{what}"
    );
    let ImageSource::Pull(id) = &scope.image else {
        panic!("an image by its id");
    };
    let tag = api()
        .inspect_image(id)
        .await
        .unwrap()
        .repo_tags
        .unwrap()
        .remove(0);
    let web = role(ImageSource::Pull(tag));
    let spec = spec(&scope.service, 1, vec![("web", web)]);
    let images = scope.engine.prepare(&spec, &Silent).await.unwrap();
    assert_eq!(&images[&role_name("web")], id);
}
