//! The networks that a shared role joins, and what is called how in the one that releases join as well.

use flipside::core::names::Release;
use flipside::core::plan::{FileContent, FileMount, Run};
use flipside::core::progress::Silent;
use flipside::engine::{Engine, Spec};

use super::made::{name, up, with_db};
use super::project::refusal;
use super::{docker, inspect, life};
use crate::real_verbs::kit::Stage;
use crate::support::docker::Scope;
use crate::support::sample::role_name;

/// A network outside, which goes with what else is of the service.
fn outer(scope: &Scope, before: &str) -> String {
    let name = format!("{before}-{}", scope.service);
    let label = format!("flipside.service={}", scope.service);
    docker(&["network", "create", "--label", &label, &name]);
    name
}

fn joins(scope: &Scope, outer: &str) -> Spec {
    let mut spec = with_db(scope, |db| db.networks = vec!["edge".into()]);
    let networks = &mut spec.plan.external_networks;
    networks.insert("edge".into(), outer.to_owned());
    spec
}

#[tokio::test]
async fn an_external_network_is_looked_for_before_anything_is_made() {
    let scope = Scope::new().await;
    let missing = format!("zz-{}", scope.service);
    let spec = joins(&scope, &missing);
    let (what, hint) = refusal(scope.engine.shared(&scope.service, Some(&spec.plan)).await);
    let expected = format!("role `db` joins the network `{missing}`, which is not on the engine");
    assert_eq!(what, expected);
    assert_eq!(
        hint,
        format!("make it with `docker network create {missing}`")
    );
    let images = scope.engine.prepare(&spec, &Silent).await.unwrap();
    assert_eq!(
        refusal(scope.engine.stand_up(&spec, &images, &Silent).await).0,
        expected
    );
    // One of a release's role is as well, before shared roles are stood up.
    let mut of_release = with_db(&scope, |_| {});
    let web = of_release.plan.roles.get_mut(&role_name("web")).unwrap();
    web.networks = vec!["edge".into()];
    of_release
        .plan
        .external_networks
        .clone_from(&spec.plan.external_networks);
    let stood_up = scope.engine.stand_up(&of_release, &images, &Silent).await;
    assert!(refusal(stood_up).0.starts_with("role `web` joins"));
    assert_eq!(scope.parts().await, [""; 0]);
    outer(&scope, "zz");
    up(&scope, &spec).await;
    let networks = inspect(&name(&scope))["NetworkSettings"]["Networks"].clone();
    let aliases = networks[&missing]["Aliases"].as_array().unwrap();
    assert!(aliases.contains(&"db".into()), "{networks}");
}

#[tokio::test]
async fn one_that_comes_first_by_name_is_joined_and_one_that_is_missing_leaves_what_stands() {
    let scope = Scope::new().await;
    up(&scope, &with_db(&scope, |_| {})).await;
    let spec = joins(&scope, &outer(&scope, "aa"));
    let db = role_name("db");
    let applied = scope.engine.apply_shared(&spec.plan, &db, &Silent).await;
    applied.unwrap();
    let before = life(&name(&scope));
    let missing = joins(&scope, "zz-no-such");
    refusal(scope.engine.apply_shared(&missing.plan, &db, &Silent).await);
    assert_eq!(life(&name(&scope)), before);
    let stands = scope.engine.shared(&scope.service, None).await.unwrap();
    assert_eq!(stands.len(), 1, "{stands:?}");
}

/// What is set outside the role and yet reaches its container is a setting of it.
#[tokio::test]
async fn what_reaches_the_container_from_elsewhere_is_compared() {
    use std::os::unix::fs::PermissionsExt as _;
    let scope = Scope::new().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    std::fs::write(&file, "same").unwrap();
    let allow = |mode: u32| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(0o644);
    let (one, two) = (outer(&scope, "yy"), outer(&scope, "zz"));
    let spec = |outer: &str, port: u16| {
        let mut spec = joins(&scope, outer);
        let db = spec.plan.shared.get_mut(&role_name("db")).unwrap();
        db.expose = vec![port];
        db.files = vec![FileMount {
            target: "/etc/all".into(),
            content: FileContent::Directory(dir.path().to_owned()),
        }];
        spec
    };
    up(&scope, &spec(&one, 5432)).await;
    let differs = async |spec: &Spec| {
        let told = scope.engine.shared(&scope.service, Some(&spec.plan)).await;
        let told = told.unwrap().remove(0).differs.into_iter();
        told.map(|one| one.place).collect::<Vec<_>>()
    };
    assert_eq!(differs(&spec(&one, 5432)).await, [""; 0]);
    assert_eq!(differs(&spec(&two, 5432)).await, ["networks.edge"]);
    assert_eq!(differs(&spec(&one, 5433)).await, ["expose"]);
    // It is mounted read-only: only who may read is a setting, not whose umask made the checkout.
    allow(0o664);
    assert_eq!(differs(&spec(&one, 5432)).await, [""; 0]);
    allow(0o600);
    assert_eq!(differs(&spec(&one, 5432)).await, ["files./etc/all"]);
}

/// The engine makes a host name an alias on every network.
#[tokio::test]
async fn a_releases_host_name_leads_to_it_from_its_own_release_alone() {
    let scope = Scope::new().await;
    let shared = format!("flipside.{}.shared", scope.service);
    for release in [1, 2] {
        let mut spec = with_db(&scope, |db| db.hostname = Some("the-db".into()));
        spec.release = Release(release);
        let web = spec.plan.roles.get_mut(&role_name("web")).unwrap();
        web.hostname = Some("the-host".into());
        up(&scope, &spec).await;
        let now = inspect(&format!("{}-{release}-web-1", scope.service));
        let called = |network: &str| {
            let aliases = now["NetworkSettings"]["Networks"][network]["Aliases"].clone();
            aliases.as_array().unwrap().contains(&"the-host".into())
        };
        assert!(called(&format!("0-flipside.{}.{release}", scope.service)));
        assert!(!called(&shared), "{}", now["NetworkSettings"]);
        let own = format!("the-host.{release}-1");
        assert_eq!(now["Config"]["Hostname"], own.as_str());
    }
    let db = inspect(&name(&scope));
    assert_eq!(db["Config"]["Hostname"], "the-db");
    // Where there is no other network, it is as the plan has it.
    let mut alone = with_db(&scope, |_| {});
    alone.release = Release(3);
    alone.plan.shared.clear();
    let web = alone.plan.roles.get_mut(&role_name("web")).unwrap();
    (web.hostname, web.run) = (Some("the-host".into()), Run::Always);
    up(&scope, &alone).await;
    let web = inspect(&format!("{}-3-web-1", scope.service));
    assert_eq!(web["Config"]["Hostname"], "the-host");
}

/// A deploy goes on, since nothing that ran before needs the name, and says so.
#[test]
fn a_deploy_says_which_name_a_projects_container_lacks() {
    let stage = Stage::new();
    let (project, image) = (format!("{}-proj", stage.service), &stage.image);
    let name = format!("{project}-db-1");
    let of = |key: &str, value: &str| format!("com.docker.compose.{key}={value}");
    let (of_project, of_role) = (of("project", &project), of("service", "db"));
    let labels = ["--label", &of_project, "--label", &of_role];
    docker(&[&["run", "-d", "--name", &name], &labels[..], &[image]].concat());
    let before = life(&name);
    let plan = stage.plan() + &format!("compose: compose.yaml\nproject: {project}\n");
    let services = "services:\n  db: { run: shared }\n";
    stage.write("flipside.yaml", plan.replacen("services:\n", services, 1));
    let compose = |more: &str| format!("services: {{ db: {{ image: \"{image}\"{more} }} }}\n");
    stage.write("compose.yaml", compose(""));
    stage.deploy(&[]).never_says("was joined as");
    stage.write("compose.yaml", compose(", container_name: store"));
    stage.deploy(&[]).says(&[
        &format!("warning: `{name}` of the Compose project `{project}`"),
        "was joined as db and not as db, store",
        "flipside shared apply",
    ]);
    assert_eq!(life(&name), before);
}
