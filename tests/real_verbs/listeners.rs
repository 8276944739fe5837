//! A listener that cannot be had: a deploy says so before anything is touched.

use std::net::{SocketAddr, TcpListener};

use super::kit::{Stage, docker, free_port};
use crate::bad_days::{Day, Serves};

/// Nothing of flipside's is there, but for who looked.
#[track_caller]
fn untouched(stage: &Stage) {
    assert_eq!(stage.parts(), [""; 0]);
    let all = docker(&["ps", "-aq", "--filter", &format!("name={}", stage.proxy)]);
    assert_eq!(all, "", "a proxy has been made");
    let runs = stage.expect(2, &["history", &stage.service]);
    runs.says(&["no service"]);
}

/// Listens on `port`, for itself.
fn listener(port: u16) -> TcpListener {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).unwrap()
}

#[test]
fn a_port_in_use_is_told_before_anything_is_touched() {
    let stage = Stage::new();
    let plan = stage.plan();
    let job = "  migrate: { image: registry.invalid/migrate, run: once }\nexpose:";
    stage.write("flipside.yaml", plan.replacen("expose:", job, 1));
    let taken = listener(stage.port);
    let at = format!("127.0.0.1:{}", stage.port);
    let dry = stage.expect(4, &["deploy", "--dry-run"]);
    dry.says(&[&at, "another process listens there already", "listen:"]);
    dry.never_says("would deploy");
    // Whether its images can be had is not even asked.
    let ran = stage.run(&["deploy"]);
    ran.says(&[&at, "another process listens there already", "listen:"]);
    ran.ended(4);
    untouched(&stage);
    let day = Day::of("port-in-use", &stage).saw("flipside deploy", &ran);
    drop(taken);
    day.serves(Serves::Nothing);
    stage.write("flipside.yaml", plan);
    stage.deploy(&[]);
    stage.serves("1");
}

#[test]
fn who_publishes_the_port_is_named_with_what_stops_it() {
    let stage = Stage::new();
    let project = format!("{}-project", stage.service);
    let name = format!("{project}-web-1");
    let labels = [
        format!("com.docker.compose.project={project}"),
        "com.docker.compose.service=web".into(),
    ];
    docker(&[
        "run",
        "-d",
        "--name",
        &name,
        "--restart",
        "always",
        "--label",
        &labels[0],
        "--label",
        &labels[1],
        "-p",
        &format!("{}:8080", stage.port),
        &stage.image,
    ]);
    let mend = format!("docker update --restart=no {name} && docker stop {name}");
    let said = [
        &format!("the container `{name}` (`web` of the Compose project `{project}`) publishes"),
        &mend,
    ];
    let dry = stage.expect(4, &["deploy", "--dry-run"]);
    dry.says(&said.map(String::as_str));
    let ran = stage.run(&["deploy"]);
    ran.says(&said.map(String::as_str));
    ran.ended(4);
    untouched(&stage);
    let day = Day::of("port-published", &stage).naming(&project, "shop");
    let day = day.saw("flipside deploy", &ran);
    let command = std::process::Command::new("sh")
        .args(["-c", &mend])
        .output();
    assert!(command.unwrap().status.success(), "{mend}");
    day.serves(Serves::Nothing);
    stage.deploy(&[]);
    stage.serves("1");
}

#[test]
fn a_running_proxy_is_asked_who_else_listens() {
    let mut stage = Stage::new();
    stage.deploy(&["VERSION=mine"]);
    let other = stage.another();
    let port = free_port();
    let plan = stage.plan();
    let theirs = plan.replacen(&stage.service, &other, 1);
    let elsewhere = theirs.replace(&stage.port.to_string(), &port.to_string());
    let left = |stage: &Stage| {
        let ours = |name: &String| name.contains(&other);
        let all = docker(&["ps", "-aq", "--filter", &format!("name={other}")]);
        assert!(!stage.parts().iter().any(ours) && all.is_empty(), "{all}");
    };

    // Something that is no container.
    let taken = listener(port);
    stage.write("flipside.yaml", &elsewhere);
    let ran = stage.expect(4, &["deploy"]);
    ran.says(&["another process listens there already", &port.to_string()]);
    left(&stage);
    drop(taken);

    // Another service of the same proxy, for every host; and on an address that takes in its own.
    for (listen, said) in [
        (format!("127.0.0.1:{}", stage.port), "already answers"),
        (format!(":{}", stage.port), "already listens on"),
    ] {
        let own = format!("127.0.0.1:{}", stage.port);
        stage.write("flipside.yaml", theirs.replace(&own, &listen));
        let dry = stage.expect(4, &["deploy", "--dry-run"]);
        dry.says(&[&format!("`{}`", stage.service), said]);
        stage.expect(4, &["deploy"]).says(&[said]);
        left(&stage);
    }

    // For a host of its own it is no matter.
    let shared = theirs.replace("\" }\n", "\", host: other.example }\n");
    assert_ne!(shared, theirs);
    stage.write("flipside.yaml", shared);
    stage.deploy(&["VERSION=theirs"]);
    assert_eq!(stage.get_for("other.example", "/"), (200, "theirs".into()));
    stage.serves("mine");

    // Its own listener is no obstacle to the next release, nor is a wider one in its place.
    stage.write("flipside.yaml", &elsewhere);
    stage.deploy(&["VERSION=theirs"]);
    let wider = elsewhere.replace("127.0.0.1:", ":");
    stage.write("flipside.yaml", wider);
    stage.deploy(&["VERSION=wider"]);
}
