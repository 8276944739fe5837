//! The guestbook as a Compose project that runs, started by Compose itself, and its way to flipside
//! as the guide tells it.

use std::process::Command;

use super::kit::Guestbook;
use crate::guide::page;
use crate::readme::{fenced, flipside};
use crate::real_verbs::kit::{Running, docker};

/// A project that Compose has started; it is taken away when it is dropped.
pub struct Project<'a> {
    book: &'a Guestbook,
}

impl<'a> Project<'a> {
    /// All of it runs.
    pub fn up(book: &'a Guestbook) -> Self {
        let project = Self { book };
        project.compose(&["up", "--detach", "db", "web", "worker"]);
        project
    }

    fn compose(&self, words: &[&str]) {
        let mut command = Command::new("docker-compose");
        command
            .args(["--project-name", self.book.service()])
            .args(words);
        self.book.surround(&mut command);
        Running::start(command).end().ended(0);
    }

    /// A container of the project's.
    pub fn container(&self, role: &str) -> String {
        format!("{}-{role}", self.book.service())
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let mut command = Command::new("docker-compose");
        command.args(["--project-name", self.book.service()]);
        command.args(["down", "--volumes", "--rmi", "local", "--timeout", "1"]);
        self.book.surround(&mut command);
        // What is not there any more is not missed.
        Running::start(command).end();
        let images = ["web", "worker", "migrate"];
        let images = images.map(|role| format!("{}_{role}", self.book.service()));
        let mut command = Command::new("docker");
        command.args(["rmi", "--force"]).args(images);
        Running::start(command).end();
    }
}

/// The shell's blocks of the guide's page, about this guestbook.
pub fn told_by_the_guide(book: &Guestbook) -> Vec<String> {
    let blocks = fenced(page("compose")).into_iter();
    let shell = blocks.filter(|block| block.language == "sh");
    shell
        .map(|block| block.text.replace("guestbook", book.service()))
        .collect()
}

/// Runs a block as a person would type it; every line must succeed.
pub fn type_in(book: &Guestbook, block: &str) {
    let mut command = Command::new("bash");
    command.args(["-euxo", "pipefail", "-c", block]);
    book.surround(&mut command);
    let own = flipside().parent().unwrap().to_path_buf();
    let path = std::env::var_os("PATH").unwrap();
    let paths = std::iter::once(own).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(paths).unwrap());
    Running::start(command).end().ended(0);
}

/// Which container it is, and since when it has run.
pub fn since(container: &str) -> String {
    docker(&[
        "inspect",
        "--format",
        "{{.Id}} {{.State.StartedAt}} {{.State.Running}}",
        container,
    ])
}
