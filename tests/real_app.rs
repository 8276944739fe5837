//! A real application, as a team runs it on Compose (`examples/guestbook`): pages in Flask, a worker,
//! a migration and PostgreSQL. It is released again and again while it is used.

mod kit;
mod people;
mod project;

use crate::real_verbs::kit::docker;
use kit::Guestbook;
use people::People;
use project::{Project, since, told_by_the_guide, type_in};

#[test]
fn three_releases_and_a_rollback_lose_nothing_of_an_application_in_use() {
    let book = Guestbook::new();
    book.deploy("1");
    assert_eq!(book.upload("first.txt", "of release 1"), 201);
    assert!(
        book.ignores_sigterm(1),
        "then its requests would end by themselves"
    );

    let database = book.database_since();
    let people = People::at(&book);
    let second = book.deploy("2");
    people.go_on();
    // A release that changes the tables under the one before it.
    book.write(
        "migrations/003_mood.sql",
        "ALTER TABLE entries ADD COLUMN mood text NOT NULL DEFAULT 'glad';\n",
    );
    let third = book.deploy("3");
    people.go_on();
    assert_eq!(book.download("first.txt"), (200, "of release 1".to_owned()));
    assert_eq!(book.upload("third.txt", "of release 3"), 201);
    let back = book.roll_back("2");
    people.go_on();
    let did = people.go_home();

    assert_eq!(did.lost, [""; 0]);
    for moved in [second, third, back] {
        assert!(moved["requests_in_flight"].as_u64() > Some(0), "{moved}");
        assert_eq!(moved["requests_cut"], 0, "{moved}");
    }
    for release in ["1", "2", "3"] {
        assert!(did.answered_by(release) > 0, "{did:?}");
    }
    for (name, text) in [("first.txt", "of release 1"), ("third.txt", "of release 3")] {
        assert_eq!(book.download(name), (200, text.to_owned()));
    }

    assert_eq!(book.database_since(), database, "it outlives releases");
    book.until_all_jobs_are_done();
    assert_eq!(
        book.rows("SELECT text FROM entries ORDER BY text"),
        did.signed
    );
    let signed = ["1", "2", "3"].map(str::to_owned);
    let by = "SELECT DISTINCT release FROM entries ORDER BY release";
    assert_eq!(book.rows(by), signed);
    assert_eq!(book.rows("SELECT DISTINCT mood FROM entries"), ["glad"]);
    let not_once = "SELECT entry, count(shift) FROM jobs LEFT JOIN thanks USING (entry) \
                    GROUP BY entry HAVING count(shift) <> 1 LIMIT 5";
    assert_eq!(book.rows(not_once), [""; 0]);
    let unasked = "SELECT id FROM entries WHERE id NOT IN (SELECT entry FROM jobs)";
    assert_eq!(book.rows(unasked), [""; 0]);

    let shifts = "SELECT release, met_another, ended IS NULL FROM shifts ORDER BY began";
    assert_eq!(book.rows(shifts), ["1|f|f", "2|f|f", "3|f|f", "2|f|t"]);
    let too_early = "SELECT began, before FROM \
                     (SELECT began, lag(ended) OVER (ORDER BY began) AS before FROM shifts) AS s \
                     WHERE began < before";
    assert_eq!(book.rows(too_early), [""; 0]);
    let migrated = "SELECT name FROM migrations ORDER BY name";
    let files = ["001_entries.sql", "002_jobs.sql", "003_mood.sql"];
    assert_eq!(book.rows(migrated), files);
}

#[test]
fn a_compose_project_that_runs_is_taken_over_as_the_guide_tells_it() {
    let book = Guestbook::of_compose();
    let project = Project::up(&book);
    book.until_it_answers();
    assert_eq!(book.ask("POST", "/entries", "of Compose").unwrap().0, 201);
    let database = project.container("db");
    let before = since(&database);

    let blocks = told_by_the_guide(&book);
    let [init, check, take_over, go_on, apply, back] = &blocks[..] else {
        panic!("the guide has other blocks: {blocks:#?}");
    };
    let entries = |by: &str| book.rows_in(by, "SELECT text FROM entries ORDER BY text");
    type_in(&book, init);
    type_in(&book, check);
    type_in(&book, "flipside check --keys");
    type_in(&book, take_over);
    assert_eq!(book.release(), "release 1");
    assert_eq!(entries(&database), ["of Compose"]);
    assert_eq!(book.ask("POST", "/entries", "of release 1").unwrap().0, 201);
    type_in(&book, go_on);
    assert_eq!(book.release(), "release 1");
    // Neither restarted nor made anew, by two deploys and a rollback.
    assert_eq!(since(&database), before);

    type_in(&book, apply);
    assert!(
        since(&database).ends_with("false"),
        "it was stopped, and is kept"
    );
    let own = format!("{}-shared-db", book.service());
    assert_eq!(entries(&own), ["of Compose", "of release 1"]);
    // Connections that the pages have kept to the old one are of no use any more.
    book.until_it_answers();
    assert_eq!(book.release(), "release 1");

    type_in(&book, back);
    book.until_it_answers();
    let texts = ["of Compose", "of release 1"];
    assert_eq!(entries(&database), texts);
    let policy = ["inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}"];
    for role in ["db", "web", "worker"] {
        let container = project.container(role);
        let policy = docker(&[&policy[..], &[&container]].concat());
        assert_eq!(policy, "unless-stopped", "{container}");
    }
}
