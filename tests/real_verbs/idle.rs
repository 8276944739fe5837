//! A proxy that nothing needs any more ends with the service that was last.

use super::kit::{Stage, free_port};
use crate::real_crash::daemon::Host;

/// What the engine of `stage` has of a proxy.
fn stands(host: &Host, proxy: &str) -> bool {
    let found = host.docker(&["inspect", "--type", "container", proxy]);
    { found }.status().unwrap().success()
}

fn down(stage: &Stage, service: &str, proxy: &str) {
    let words = ["down", service, "--proxy", proxy, "--yes"];
    stage.expect(0, &words);
}

#[test]
fn a_proxy_goes_with_its_last_service_whatever_else_is_on_the_engine() {
    let host = Host::start();
    let mut stage = Stage::new();
    host.load(&stage.image);
    stage.engine = Some(host.url());
    let (one, two, three) = (stage.service.clone(), stage.another(), stage.another());
    let (own, other) = (stage.proxy.clone(), format!("{three}-proxy"));
    let port = stage.port.to_string();
    let plan = stage.plan();
    let image = format!("image: {}", stage.image);
    let queue =
        format!("services:\n  queue: {{ {image}, run: shared, volumes: [\"kept:/data\"] }}\n");
    let shared = plan.replacen("services:\n", &queue, 1);
    let shared = shared + "volumes: { kept: { keep: across-releases } }\n";
    stage.write("flipside.yaml", shared);
    stage.deploy(&[]);
    for (name, file) in [(&two, "two.yaml"), (&three, "three.yaml")] {
        let plan = plan.replacen(&one, name, 1);
        stage.write(file, plan.replace(&port, &free_port().to_string()));
    }
    stage.expect(0, &["deploy", "two.yaml"]);
    stage.expect(0, &["deploy", "three.yaml", "--proxy", &other]);

    // Another service that it serves keeps it; a shared role that goes on running, with its volume,
    // does not, nor does what another proxy serves.
    down(&stage, &one, &own);
    assert!(stands(&host, &own), "`{two}` is served no more");
    let queue = format!("{one}-shared-queue");
    assert!(stands(&host, &queue));
    down(&stage, &two, &own);
    assert!(!stands(&host, &own), "the proxy has stayed");
    assert!(stands(&host, &queue) && stands(&host, &other));
    down(&stage, &three, &other);
    assert!(!stands(&host, &other), "the other proxy has stayed");
}

#[test]
fn a_first_deploy_under_way_keeps_the_proxy_that_is_to_serve_it() {
    let host = Host::start();
    let mut stage = Stage::new();
    host.load(&stage.image);
    stage.engine = Some(host.url());
    let (one, two) = (stage.service.clone(), stage.another());
    let plan = stage.plan();
    stage.deploy(&[]);
    let second = plan.replacen(&one, &two, 1);
    let second = second.replace(&stage.port.to_string(), &free_port().to_string());
    stage.write("two.yaml", second);
    let slow = ["deploy", "two.yaml", "--set", "START_DELAY_MS=3000"];
    let mut deploying = stage.start(&slow);
    deploying.until_shown("replica started");
    down(&stage, &one, &stage.proxy);
    assert!(stands(&host, &stage.proxy), "it was taken away");
    deploying.end().ended(0);
    down(&stage, &two, &stage.proxy);
    assert!(!stands(&host, &stage.proxy), "the proxy has stayed");
}
