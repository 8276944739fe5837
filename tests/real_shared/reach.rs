//! Containers of a Compose project that the engine connects to no network.

use flipside::core::plan::{Condition, Run};
use flipside::core::progress::Silent;
use flipside::core::shared::{Reach, unreached};
use flipside::engine::Engine;

use super::project::{Project, aliases};
use super::{policy, runs};
use crate::real_verbs::kit::free_port;
use crate::support::docker::Scope;
use crate::support::sample::{depends, role, role_name};

#[tokio::test]
async fn one_on_the_hosts_network_is_left_there_and_said() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let port = format!("PORT={}", free_port());
    let old = project.run_as("db", 1, &["--network", "host", "-e", &port]);
    let mut spec = project.spec(1, &format!("{}_data", project.name));
    project.up(&spec).await;
    let told = scope.engine.shared(&scope.service, Some(&spec.plan)).await;
    let told = told.unwrap();
    assert_eq!(told[0].reach, Reach::Host);
    assert_eq!(
        unreached(&spec.plan, &told, "shared"),
        [
            "the shared role `db` uses the host's network and is reached through the host alone; name \
          it for each role that uses it: `extra_hosts: [\"db=host-gateway\"]`"
        ]
    );
    let web = spec.plan.roles.get_mut(&role_name("web")).unwrap();
    web.extra_hosts.push(("db".into(), "host-gateway".into()));
    assert_eq!(unreached(&spec.plan, &told, "shared"), [""; 0]);

    let db = role_name("db");
    let applied = scope.engine.apply_shared(&spec.plan, &db, &Silent).await;
    assert_eq!(applied.unwrap().kept, [old.as_str()]);
    let new = format!("{}-shared-db", scope.service);
    assert!(runs(&new) && !runs(&old));
    assert_eq!(
        (policy(&new).as_str(), policy(&old).as_str()),
        ("unless-stopped", "no")
    );
    // Nothing of it is taken for halfway.
    let told = scope.engine.shared(&scope.service, None).await.unwrap();
    assert!(told.len() == 1 && !told[0].halfway, "{told:?}");
    let settled = scope.engine.settle_shared(&scope.service).await;
    assert_eq!(settled.unwrap(), [""; 0]);
    assert!(runs(&new) && !runs(&old));
}

/// A project whose `db` uses the network of its `proxy`.
fn behind_another(project: &Project<'_>) -> String {
    let owner = project.run_as("proxy", 1, &[]);
    let network = format!("container:{owner}");
    project.run_as("db", 1, &["--network", &network, "-e", "PORT=8081"]);
    owner
}

#[tokio::test]
async fn one_on_anothers_network_is_reached_by_that_ones_name_as_in_compose() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let owner = behind_another(&project);
    let mut spec = project.spec(1, &format!("{}_data", project.name));
    let mut proxy = role(scope.image.clone());
    proxy.run = Run::Shared;
    spec.plan.shared.insert(role_name("proxy"), proxy);
    let db = spec.plan.shared.get_mut(&role_name("db")).unwrap();
    db.network_of = Some(role_name("proxy"));
    depends(db, "proxy", Condition::Started);
    project.up(&spec).await;
    let names = aliases(&scope, &owner);
    assert!(
        names.contains(&"proxy".into()) && !names.contains(&"db".into()),
        "{names:?}"
    );
    let told = scope.engine.shared(&scope.service, Some(&spec.plan)).await;
    assert_eq!(unreached(&spec.plan, &told.unwrap(), "shared"), [""; 0]);
}

#[tokio::test]
async fn a_role_with_a_network_of_its_own_has_its_name_on_the_one_that_its_container_uses() {
    let scope = Scope::new().await;
    let project = Project::new(&scope);
    let owner = behind_another(&project);
    let mut spec = project.spec(1, &format!("{}_data", project.name));
    // Nothing stands for a role on that network: a person has to connect it.
    project.up(&spec).await;
    let told = scope.engine.shared(&scope.service, Some(&spec.plan)).await;
    let said = unreached(&spec.plan, &told.unwrap(), "shared");
    assert!(
        said.len() == 1 && said[0].contains("docker network connect --alias db shared "),
        "{said:?}"
    );
    assert!(aliases(&scope, &owner).is_empty());

    let mut proxy = role(scope.image.clone());
    proxy.run = Run::Shared;
    spec.plan.shared.insert(role_name("proxy"), proxy);
    spec.release = flipside::core::names::Release(2);
    project.up(&spec).await;
    let names = aliases(&scope, &owner);
    assert!(
        names.contains(&"proxy".into()) && names.contains(&"db".into()),
        "{names:?}"
    );
}
