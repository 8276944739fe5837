//! Images from a registry: pulled once, shown, pinned, with credentials where they are asked for.

use super::kit::{Ran, Running, Stage, docker};
use super::registry::{Door, Registry};
use crate::bad_days::{Day, Serves};

/// A registry, and a stage whose images come from there.
struct Pulls {
    registry: Registry,
    /// There until the end, when its containers go before their images.
    stage: Option<Stage>,
}

impl Pulls {
    fn new(door: Door) -> Self {
        let registry = Registry::start(door);
        let stage = Some(Stage::new());
        Self { registry, stage }
    }

    fn stage(&self) -> &Stage {
        self.stage.as_ref().unwrap()
    }

    fn push(&self, tag: &str) -> String {
        self.registry.push(&self.stage().image, tag)
    }

    /// Deploys an image, with Docker's configuration in that directory, where programs are looked
    /// for as well.
    fn deploy(&self, reference: &str, version: &str, configuration: &std::path::Path) -> Ran {
        let (image, version) = (format!("IMAGE={reference}"), format!("VERSION={version}"));
        let mut command = self
            .stage()
            .command(&["deploy", "--set", &image, "--set", &version]);
        let path = std::env::var("PATH").unwrap();
        command
            .env("PATH", format!("{}:{path}", configuration.display()))
            .env("DOCKER_CONFIG", configuration);
        Running::start(command).end()
    }

    /// The id of the image that the live release was pinned to.
    fn pinned(&self) -> String {
        let live = &self.stage().status()["live"];
        live["image_ids"][0].as_str().unwrap().to_owned()
    }
}

impl Drop for Pulls {
    fn drop(&mut self) {
        drop(self.stage.take());
        let filter = format!("label=flipside.test={}", self.registry.host);
        for id in docker(&["images", "--quiet", "--filter", &filter]).lines() {
            docker(&["rmi", "--force", id]);
        }
    }
}

#[test]
fn a_pulled_image_is_shown_and_pinned_and_needed_no_more() {
    let pulls = Pulls::new(Door::Open);
    let reference = pulls.push("1");
    let stage = pulls.stage();
    let nowhere = pulls.registry.stranger();
    let shown = pulls.deploy(&reference, "1", &nowhere);
    shown.ended(0);
    shown.says(&[
        &format!("pulling `{reference}`"),
        "1 image ready and pinned",
    ]);
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", &reference]);
    assert_eq!(pulls.pinned(), id);
    let again = pulls.deploy(&reference, "2", &nowhere);
    again.ended(0);
    again.never_says("pulling");
    stage.serves("2");
    docker(&["rmi", "--force", "--no-prune", &reference]);
    stage.expect(0, &["rollback", &stage.service, "--yes"]);
    stage.serves("1");
}

#[test]
fn always_pulls_what_a_tag_means_now() {
    let pulls = Pulls::new(Door::Open);
    let stage = pulls.stage();
    let plan = stage.plan();
    let always = plan.replace(
        "    environment:\n",
        "    pull_policy: always\n    environment:\n",
    );
    stage.write("flipside.yaml", always);
    let configuration = pulls.registry.stranger();
    let reference = pulls.push("now");
    pulls.deploy(&reference, "1", &configuration).ended(0);
    let first = pulls.pinned();
    docker(&[
        "tag",
        &reference,
        &format!("{}/web:kept", pulls.registry.host),
    ]);
    pulls.push("now");
    pulls.deploy(&reference, "2", &configuration).ended(0);
    assert_ne!(pulls.pinned(), first);
    // Without a policy, what the tag means on the engine does.
    let second = pulls.pinned();
    stage.write("flipside.yaml", plan);
    pulls.push("now");
    docker(&["tag", &second, &reference]);
    pulls.deploy(&reference, "3", &configuration).ended(0);
    assert_eq!(pulls.pinned(), second);
}

#[test]
fn a_closed_registry_is_told_who_asks() {
    let pulls = Pulls::new(Door::Closed);
    let reference = pulls.push("1");
    let registry = &pulls.registry;
    let refused = pulls.deploy(&reference, "1", &registry.stranger());
    refused.ended(3);
    refused.says(&[
        &format!("the registry `{}` refuses `{reference}`", registry.host),
        &format!("docker login {}", registry.host),
    ]);
    let day = Day::of("registry-refuses", pulls.stage()).naming(&registry.host, "registry.example");
    let day = day.saw("flipside deploy", &refused);
    day.serves(Serves::Nothing);
    for (configuration, version) in [(registry.login(), "2"), (registry.helper(), "3")] {
        let done = pulls.deploy(&reference, version, &configuration);
        done.ended(0);
        done.never_says("hunter2");
        pulls.stage().serves(version);
        docker(&["rmi", "--force", "--no-prune", &reference]);
    }
    let unknown = format!("{}/web:none", registry.host);
    let refused = pulls.deploy(&unknown, "4", &registry.login());
    refused.ended(3);
    refused.says(&[&format!("the image `{unknown}` does not exist")]);
    let day = Day::of("image-missing", pulls.stage()).naming(&registry.host, "registry.example");
    let day = day.saw("flipside deploy", &refused);
    day.serves(Serves::Before("3"));
    pulls.stage().serves("3");
}
