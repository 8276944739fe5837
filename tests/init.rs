//! `flipside init`: what is proposed for a Compose file, word for word, and how it is asked and written.
//!
//! Each case of `golden/init.txt` is a title, a Compose file and, after `=>`, the plan that is
//! proposed and what `flipside check` has against it. `FLIPSIDE_BLESS=1` writes the answers of the day
//! into it, for a person to read.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flipside::plan::{self, propose::draft};

use super::support::sample::NO_INPUTS;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/init.txt");

/// What is proposed for a Compose file in a directory called `shop`, and whether that is a good plan.
fn proposed(compose: &str) -> String {
    let above = tempfile::tempdir().unwrap();
    let directory = above.path().join("shop");
    std::fs::create_dir_all(directory.join("conf")).unwrap();
    std::fs::write(directory.join("nginx.conf"), "events {}").unwrap();
    std::fs::write(directory.join("Dockerfile"), "FROM scratch\n").unwrap();
    std::fs::create_dir(directory.join("php")).unwrap();
    std::fs::write(
        directory.join("php/Dockerfile"),
        "FROM php:8.3-fpm AS run\nFROM run\n",
    )
    .unwrap();
    std::fs::create_dir(directory.join("traefik")).unwrap();
    std::fs::write(
        directory.join("traefik/Dockerfile"),
        "FROM traefik:v3\nCOPY . .\n",
    )
    .unwrap();
    let file = directory.join("compose.yaml");
    std::fs::write(&file, compose).unwrap();
    let said = match draft(&[file], &directory, &NO_INPUTS) {
        Err(error) => error.to_string(),
        Ok(draft) => {
            let path = directory.join("flipside.yaml");
            std::fs::write(&path, draft.text()).unwrap();
            let verdict = match plan::load(&path, &NO_INPUTS) {
                Ok(_) => "good".to_owned(),
                Err(error) => error.to_string(),
            };
            format!("{}--- {verdict}", draft.text())
        }
    };
    said.replace(&format!("{}/", directory.display()), "")
}

#[test]
fn every_proposal_is_written_with_its_reason() {
    let table = std::fs::read_to_string(TABLE).unwrap();
    let mut written = String::new();
    let mut wrong = Vec::new();
    for case in table
        .split("\n## ")
        .map(|case| case.trim_start_matches("## "))
    {
        let (title, rest) = case.split_once('\n').unwrap();
        let (compose, expected) = rest.split_once("\n=>").unwrap_or((rest, ""));
        let compose = format!("{}\n", compose.trim_end_matches('\n'));
        let said = proposed(&compose);
        if said.trim() != expected.trim() {
            wrong.push(format!(
                "## {title}\n--- expected\n{expected}\n--- said\n{said}"
            ));
        }
        write!(written, "## {title}\n{compose}=>\n{said}\n\n").unwrap();
    }
    if std::env::var_os("FLIPSIDE_BLESS").is_some() {
        std::fs::write(TABLE, format!("{}\n", written.trim_end())).unwrap();
    } else {
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }
}

const COMPOSE: &str = "\
services:
  web: {image: 'shop:1', ports: ['8000:8000'], depends_on: [db]}
  db: {image: 'postgres:16', volumes: ['data:/var/lib/postgresql/data']}
volumes: {data: {}}
";

fn flipside(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flipside"))
        .args(words)
        .current_dir(directory)
        .env_clear()
        .env("HOME", directory)
        .env("FLIPSIDE_STATE", directory.join("state"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

struct Shop(tempfile::TempDir);

impl Shop {
    fn new(compose: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("compose.yaml"), compose).unwrap();
        Self(directory)
    }

    /// Exit code, standard output and standard error of `flipside init --from compose.yaml WORDS`.
    fn init(&self, words: &[&str]) -> (i32, String, String) {
        let all = [&["init", "--from", "compose.yaml"], words].concat();
        let ran = flipside(self.0.path(), &all);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            ran.status.code().unwrap(),
            text(ran.stdout),
            text(ran.stderr),
        )
    }

    fn plan(&self) -> Option<String> {
        std::fs::read_to_string(self.0.path().join("flipside.yaml")).ok()
    }
}

#[test]
fn yes_accepts_all_and_the_plan_is_good() {
    let shop = Shop::new(COMPOSE);
    let (code, out, err) = shop.init(&["--yes"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with("wrote flipside.yaml: 6 decisions\nit is good"),
        "{out}"
    );
    assert!(shop.plan().unwrap().contains("\n  db: {run: shared}\n"));
    let check = flipside(shop.0.path(), &["check"]);
    assert_eq!(check.status.code(), Some(0));
}

#[test]
fn data_in_a_home_directory_stays_there() {
    let shop = Shop::new(
        "services:\n  web: {image: 'shop:1', ports: ['8000:8000'], volumes: ['~/conf:/conf:ro']}\n  \
         db: {image: 'postgres:16', volumes: ['~/pg:/var/lib/postgresql/data']}\n",
    );
    let (code, out, err) = shop.init(&["--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    let plan = shop.plan().unwrap();
    let mounts = r#"volumes: ["${HOME}/pg:/var/lib/postgresql/data"]"#;
    assert!(plan.contains(mounts), "{plan}");
    for path in ["pg", "conf"] {
        assert!(
            plan.contains(&format!("  - \"${{HOME}}/{path}\"\n")),
            "{plan}"
        );
    }
}

#[test]
fn a_plan_that_stands_is_left_as_it_is() {
    let shop = Shop::new(COMPOSE);
    std::fs::write(shop.0.path().join("flipside.yaml"), "mine").unwrap();
    let (code, _, err) = shop.init(&["--yes"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("`flipside.yaml` is there already, and is left as it is"),
        "{err}"
    );
    assert!(err.contains("-o ANOTHER.yaml"), "{err}");
    assert_eq!(shop.plan().as_deref(), Some("mine"));
    assert_eq!(shop.init(&["--yes", "-o", "ANOTHER.yaml"]).0, 0);
}

#[test]
fn without_a_terminal_it_asks_nothing_and_writes_nothing() {
    let shop = Shop::new(COMPOSE);
    let (code, _, err) = shop.init(&[]);
    assert_eq!(code, 2);
    assert!(err.contains("6 proposals, which `-o -` shows"), "{err}");
    assert!(err.contains("--yes"), "{err}");
    assert_eq!(shop.plan(), None);
    let (code, out, _) = shop.init(&["-o", "-"]);
    assert_eq!(code, 0);
    assert!(out.contains("\nexpose: web:8000\n"), "{out}");
    assert_eq!(shop.plan(), None);
}

#[test]
fn what_is_left_to_decide_is_said_and_the_draft_is_written() {
    let secret =
        "services: {web: {image: 'shop:1', ports: ['80'], environment: {KEY: '${SHOP_KEY}'}}}";
    let shop = Shop::new(secret);
    let (code, out, err) = shop.init(&["--yes"]);
    assert_eq!(code, 4, "{err}");
    assert!(
        out.contains("`flipside check flipside.yaml` says what is left to decide"),
        "{out}"
    );
    assert!(err.contains("the variable `SHOP_KEY` is not set"), "{err}");
    assert!(shop.plan().unwrap().contains("#   SHOP_KEY\n"));
    let given = flipside(shop.0.path(), &["check", "--set", "SHOP_KEY=1"]);
    assert_eq!(given.status.code(), Some(0));
}

#[test]
fn a_file_that_is_none_is_refused_before_anything_is_written() {
    for (compose, said) in [
        (
            "- a list\n",
            "a Compose file is a map of keys, and this is a list",
        ),
        ("services: {}\n", "compose.yaml: has no `services`"),
        (
            "services: [web]\n",
            "compose.yaml: has `services` that are a list",
        ),
        (
            "include: [other.yaml]\nservices: {web: {image: 'a:1'}}\n",
            "`include` is not followed",
        ),
        ("services: {web: [}\n", "this is not valid YAML"),
    ] {
        let shop = Shop::new(compose);
        let (code, _, err) = shop.init(&["--yes"]);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(said), "{err}");
        assert_eq!(shop.plan(), None);
    }
    let nowhere = tempfile::tempdir().unwrap();
    for (named, said) in [
        ("nope.yaml", "error: nope.yaml: cannot be read: "),
        (".", "error: .: cannot be read: "),
    ] {
        let ran = flipside(nowhere.path(), &["init", "--from", named, "--yes"]);
        assert_eq!(ran.status.code(), Some(2));
        let err = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(err.contains(said), "{err}");
        assert!(err.contains("`--from compose.yaml`"), "{err}");
    }
    let shop = Shop::new("services: {web: {image: 'a:1'}}\n");
    let variables = shop.0.path().join(".env");
    std::fs::write(variables, "COMPOSE_PROJECT_NAME=My Proj\n").unwrap();
    let (code, _, err) = shop.init(&["--yes"]);
    assert_eq!(code, 2, "{err}");
    let said = "compose.yaml: the variable `COMPOSE_PROJECT_NAME` is `My Proj`";
    assert!(err.contains(said), "{err}");
}

#[test]
fn a_plan_in_another_directory_names_the_file_from_there() {
    let shop = Shop::new(COMPOSE);
    std::fs::create_dir(shop.0.path().join("plans")).unwrap();
    let (code, _, err) = shop.init(&["--yes", "-o", "plans/shop.yaml"]);
    assert_eq!(code, 0, "{err}");
    let plan = std::fs::read_to_string(shop.0.path().join("plans/shop.yaml")).unwrap();
    assert!(plan.contains("\ncompose: ../compose.yaml\n"), "{plan}");
}

/// What `flipside init` shows on a terminal where that is answered.
fn answered(shop: &Shop, answers: &[u8]) -> String {
    let line = format!(
        "{} init --from compose.yaml",
        env!("CARGO_BIN_EXE_flipside")
    );
    let mut script = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(shop.0.path())
        .env("FLIPSIDE_STATE", shop.0.path().join("state"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(script.stdin.as_mut().unwrap(), answers).unwrap();
    let ran = script.wait_with_output().unwrap();
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[test]
fn what_is_left_open_is_written_only_where_a_person_says_so() {
    let asked = "environment: {QUEUE: 'http://queue:7000/'}";
    let compose = format!(
        "services:\n  web: {{image: 'shop:1', ports: ['8000'], depends_on: [queue], {asked}}}\n  queue: {{image: 'a:1'}}\n"
    );
    for (answers, line, sum) in [
        (
            "\ny\n",
            "\n  # queue: {run: live-only}\n",
            "1 left as comments",
        ),
        ("y\ny\n", "\n  queue: {run: live-only}\n", "5 decisions\r\n"),
    ] {
        let shop = Shop::new(&compose);
        let shown = answered(&shop, answers.as_bytes());
        assert_eq!(shown.matches("write it? [y/N]").count(), 1, "{shown}");
        assert!(shown.contains(sum), "{shown}");
        assert!(shop.plan().unwrap().contains(line), "{:?}", shop.plan());
    }
    let shop = Shop::new(&compose);
    let (code, out, err) = shop.init(&["--yes"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("1 left as comments"), "{out}");
}

#[test]
fn on_a_terminal_each_decision_is_asked_and_a_no_leaves_a_comment() {
    let shop = Shop::new(COMPOSE);
    // No to the first, its database; yes to its volume and its way in.
    let shown = answered(&shop, b"n\n\ny\n");
    assert!(
        shown.contains("services:\r\n  db: {run: shared}\r\n"),
        "{shown}"
    );
    assert!(shown.contains("db: {run: shared}"), "{shown}");
    assert!(shown.contains("a known data image"), "{shown}");
    assert_eq!(shown.matches("write it? [Y/n]").count(), 3, "{shown}");
    assert!(shown.contains("5 decisions, 1 left as comments"), "{shown}");
    let plan = shop.plan().unwrap();
    assert!(plan.contains("\n  # db: {run: shared}\n"), "{plan}");
    assert!(plan.contains("\nexpose: web:8000\n"), "{plan}");
}

/// What is written is committed.
#[test]
fn no_value_of_a_variable_is_written_into_a_plan() {
    let compose = "\
services:
  web:
    image: 'shop:1'
    ports: ['${PORT}:8000']
    healthcheck: {test: [CMD, curl, 'http://localhost:8000/up?token=${TOKEN}']}
    volumes: ['${DATA}:/data', '/var/run/docker.sock:/var/run/docker.sock']
    labels: ['traefik.http.middlewares.a.basicauth.users=${TOKEN}']
  db: {image: 'postgres:16', volumes: ['${DATA}-db:/var/lib/postgresql/data']}
";
    let shop = Shop::new(compose);
    std::fs::write(
        shop.0.path().join(".env"),
        "TOKEN=MARKER-1\nDATA=/srv/MARKER-2\nPORT=8123\n",
    )
    .unwrap();
    shop.init(&["--yes"]);
    let plan = shop.plan().unwrap();
    assert!(!plan.contains("MARKER"), "{plan}");
    assert!(plan.contains("expose: web:8000"), "{plan}");
    let (_, out, err) = shop.init(&["-o", "-"]);
    assert!(
        !out.contains("MARKER") && !err.contains("MARKER"),
        "{out}{err}"
    );
}

#[test]
fn ten_thousand_variables_without_a_value_are_no_trouble() {
    let many = "${NOPE} $ ".repeat(10_000);
    let shop = Shop::new(&format!(
        "services: {{web: {{image: 'shop:1', ports: ['80'], command: '{many}'}}}}\n"
    ));
    assert_eq!(shop.init(&["--yes"]).0, 4);
    let check = flipside(shop.0.path(), &["check"]);
    assert_eq!(check.status.code(), Some(2));
}

/// Each role changes twice at most, however long the chain is that it stands in: else this would
/// not end before the runner ends it.
#[test]
fn two_thousand_roles_in_a_row_are_settled() {
    let chain = |name: &str| {
        let role = |at: usize| {
            let next = at + 1;
            format!(
                "  {name}-{at:04}: {{image: 'acme/{name}-{at}:1', depends_on: [{name}-{next:04}]}}\n"
            )
        };
        let last = format!("  {name}-2000: {{image: 'acme/{name}-last:1'}}\n");
        (0..2000).map(role).collect::<String>() + &last
    };
    let db = "  db: {image: 'postgres:16', depends_on: [part-0000]}\n";
    let compose = format!("services:\n{db}{}{}", chain("part"), chain("worker"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("compose.yaml");
    std::fs::write(&file, compose).unwrap();
    let text = draft(&[file], directory.path(), &NO_INPUTS).unwrap().text();
    assert!(text.contains("  part-2000: {run: shared}"), "{text}");
    assert_eq!(text.matches("run: live-only").count(), 2001);
}

#[test]
fn what_compose_reads_by_itself_is_read_as_well() {
    let shop = Shop::new(COMPOSE);
    let more = "services: {web: {volumes: ['up:/up']}}\nvolumes: {up: }\n";
    std::fs::write(shop.0.path().join("compose.override.yaml"), more).unwrap();
    let (code, _, err) = shop.init(&["--yes"]);
    assert_eq!(code, 0, "{err}");
    let plan = shop.plan().unwrap();
    assert!(
        plan.contains("\ncompose: [compose.yaml, compose.override.yaml]\n"),
        "{plan}"
    );
    assert!(plan.contains("\n  up: {keep: across-releases"), "{plan}");
}

/// `COMPOSE_FILE` says which files are read, and `COMPOSE_PROFILES` what is on.
#[test]
fn what_compose_is_told_by_variables_holds_for_the_plan_too() {
    let told = |named: &str| {
        let shop = Shop::new(COMPOSE);
        let write =
            |name: &str, text: &str| std::fs::write(shop.0.path().join(name), text).unwrap();
        let mail = "services: {mail: {image: 'mail:1', profiles: [mail]}, bug: {image: 'bug:1', profiles: [debug]}}\n";
        write("prod.yaml", mail);
        // It is not read where others are named.
        write("compose.override.yaml", "services: {web: {tty: true}}\n");
        write(
            ".env",
            &format!(
                "COMPOSE_FILE={named}\nCOMPOSE_PATH_SEPARATOR=;\nCOMPOSE_PROFILES=mail,other\n"
            ),
        );
        let (code, _, err) = shop.init(&["--yes"]);
        assert_eq!(code, 0, "{err}");
        let good = flipside(shop.0.path(), &["check"]);
        assert_eq!(good.status.code(), Some(0));
        (
            shop.plan().unwrap(),
            String::from_utf8(good.stderr).unwrap(),
        )
    };
    let (plan, notes) = told("./compose.yaml;prod.yaml");
    assert!(
        plan.contains("\ncompose: [compose.yaml, prod.yaml]\n"),
        "{plan}"
    );
    assert!(plan.contains("\nprofiles: [mail]\n"), "{plan}");
    assert!(
        notes.contains("`bug` is off") && !notes.contains("`mail` is off"),
        "{notes}"
    );
    let shop = Shop::new(COMPOSE);
    std::fs::write(
        shop.0.path().join(".env"),
        "COMPOSE_FILE=compose.yaml:gone.yaml\n",
    )
    .unwrap();
    let (code, _, err) = shop.init(&["--yes"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("`COMPOSE_FILE` names it"), "{err}");
    let (plan, _) = told("prod.yaml");
    assert!(
        plan.contains("\ncompose: [compose.yaml, compose.override.yaml]\n"),
        "{plan}"
    );
    assert!(!plan.contains("profiles"), "{plan}");
}
