//! `down --shared` asks twice, and leaves the data.

use super::{containers, db, docker, runs, stage};

#[test]
fn down_takes_shared_roles_only_on_a_second_word() {
    let stage = stage();
    stage.deploy(&[]);
    let service = stage.service.clone();
    let refused = stage.expect(2, &["down", &service, "--shared", "--yes"]);
    refused.says(&["without asking", &format!("--confirm {service}")]);
    stage.expect(
        2,
        &["down", &service, "--shared", "--yes", "--confirm", "other"],
    );
    stage.expect(2, &["down", &service, "--shared"]);
    let words = ["down", &service, "--shared"];
    let declined = stage.on_terminal(120, &words, "[y/N]", "y\nno\n");
    declined.ended(4);
    declined.says(&["the shared roles too (`db`)", "their volumes stay"]);
    assert!(runs(&db(&stage)));
    stage.serves("1");

    let down = stage.expect(
        0,
        &["down", &service, "--shared", "--yes", "--confirm", &service],
    );
    let volume = format!("{service}_data");
    down.says(&[
        "removed the shared roles and their network",
        &format!("docker volume rm {volume}"),
    ]);
    assert_eq!(containers(&stage), [""; 0]);
    assert_eq!(stage.parts(), [""; 0]);
    assert_eq!(
        docker(&["volume", "ls", "-q", "--filter", &format!("name={volume}")]),
        volume
    );
}

#[test]
fn shared_roles_alone_can_be_taken_down() {
    let stage = stage();
    stage.deploy(&[]);
    let service = stage.service.clone();
    stage.expect(0, &["down", &service, "--yes"]);
    assert!(runs(&db(&stage)));
    stage.expect(
        0,
        &["down", &service, "--shared", "--yes", "--confirm", &service],
    );
    assert_eq!(stage.parts(), [""; 0]);
}

#[test]
fn a_volume_that_a_container_still_has_is_not_told_to_be_removed() {
    let stage = stage();
    stage.deploy(&[]);
    let service = stage.service.clone();
    let (volume, holder) = (format!("{service}_data"), format!("{service}-holder"));
    let mount = format!("{volume}:/data");
    docker(&["create", "--name", &holder, "-v", &mount, &stage.image]);
    let words = ["down", &service, "--shared", "--yes", "--confirm", &service];
    let down = stage.run(&words);
    docker(&["rm", &holder]);
    down.ended(0);
    let told = format!("`{volume}`, which `{holder}` still has: only without it can it be removed");
    down.says(&[&told]);
    down.never_says("docker volume rm");
}
