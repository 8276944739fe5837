//! What a resumed run reads again: the recorded text and public values, today's secrets and files.

use flipside::core::plan::{Hook, ImageSource, Text};
use flipside::plan::{self, Loaded, PlanError, PlanRecord};

use super::fixture::{Fixture, MARKER};

const PLAN: &str = "\
name: shop
services:
  web:
    image: app:${TAG}${EMPTY:+no}${PASSWORD:+-p}${LATER:-}
    environment: {PASSWORD: , TOKEN: \"t-${PASSWORD}\", PUBLIC: x}
    command: [run, \"${PASSWORD}\"]
    env_file: [{path: app.env, required: false}]
    secrets: [tls]
    volumes: [\"./site:/srv:ro\"]
expose: web:8080
probes: [{http: {headers: {Authorization: \"Bearer ${PASSWORD}\"}}}]
pointer: {proxy: {listen: \":8080\"}}
secrets: {tls: {file: tls.key}}
configs: {made: {content: \"${PASSWORD}\"}}
";

fn image(loaded: &Loaded) -> &str {
    match &loaded.plan.roles.values().next().unwrap().image {
        ImageSource::Pull(image) => image,
        ImageSource::Build(_) => panic!(),
    }
}

fn reload(record: &PlanRecord, fixture: &Fixture) -> Result<Loaded, PlanError> {
    plan::reload(record, &fixture.inputs())
}

#[test]
fn a_record_reads_the_same_again_whatever_became_of_the_file_and_the_public_variables() {
    let mut fixture = Fixture::new();
    let loaded = fixture.load(PLAN).unwrap();
    assert_eq!(image(&loaded), "app:1.2-p");
    std::fs::write(fixture.path(), "edited: beyond recognition").unwrap();
    fixture.vars.insert("TAG".into(), "9.9".into());
    fixture.vars.insert("LATER".into(), "-later".into());
    fixture.overrides.insert("TAG".into(), "8.8".into());
    let again = reload(&loaded.record, &fixture).unwrap();
    assert_eq!(again.plan, loaded.plan);
    assert_eq!(again.record, loaded.record);
    let json = serde_json::to_string(&loaded.record).unwrap();
    assert_eq!(
        serde_json::from_str::<PlanRecord>(&json).unwrap(),
        loaded.record
    );
}

#[test]
fn the_given_name_is_kept() {
    let mut fixture = Fixture::new();
    fixture.name = Some("shop-staging".into());
    let loaded = fixture.load(PLAN).unwrap();
    fixture.name = None;
    assert_eq!(
        reload(&loaded.record, &fixture)
            .unwrap()
            .plan
            .service
            .as_str(),
        "shop-staging"
    );
}

#[test]
fn a_secret_that_changed_is_named_by_its_place() {
    let mut fixture = Fixture::new();
    let record = fixture.load(PLAN).unwrap().record;
    fixture
        .vars
        .insert("PASSWORD".into(), format!("{MARKER}-other"));
    let error = reload(&record, &fixture).unwrap_err();
    let said = error.to_string();
    assert!(!said.contains(MARKER), "{said}");
    for place in [
        "services.web.environment.PASSWORD",
        "services.web.environment.TOKEN",
        "services.web.command.1",
        "probes.0.http.headers.Authorization",
        "configs.made.content",
    ] {
        assert!(
            said.contains(&format!(
                "`{place}` is not what this release was begun with"
            )),
            "{place}: {said}"
        );
    }
    assert_eq!(error.problems.len(), 5, "{said}");
}

#[test]
fn a_secret_that_is_gone_is_named_by_its_place() {
    let fixture = Fixture::new();
    let record = fixture.load(PLAN).unwrap().record;
    std::fs::remove_file(fixture.file("app.env")).unwrap();
    let said = reload(&record, &fixture).unwrap_err().to_string();
    assert!(
        said.contains(
            "`services.web.environment.A` is missing, and this release was begun with it"
        ),
        "{said}"
    );

    let mut fixture = Fixture::new();
    let record = fixture
        .load(PLAN.replace("    command: [run, \"${PASSWORD}\"]\n", ""))
        .unwrap()
        .record;
    fixture.vars.remove("PASSWORD");
    let said = reload(&record, &fixture).unwrap_err().to_string();
    assert!(
        said.contains("the variable `PASSWORD` is not set"),
        "{said}"
    );
}

#[test]
fn files_that_changed_or_are_gone_are_named() {
    let fixture = Fixture::new();
    let record = fixture.load(PLAN).unwrap().record;
    std::fs::write(fixture.file("tls.key"), "another").unwrap();
    std::fs::write(fixture.file("site/css/main.css"), "h2 {}").unwrap();
    let error = reload(&record, &fixture).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("`secrets.tls.file` is not what this release was begun with"),
        "{said}"
    );
    assert!(
        said.contains("`services.web.volumes./srv` is not what this release was begun with"),
        "{said}"
    );
    assert_eq!(error.problems.len(), 2, "{said}");
    std::fs::remove_file(fixture.file("tls.key")).unwrap();
    let said = reload(&record, &fixture).unwrap_err().to_string();
    assert!(said.contains("`tls.key` cannot be read"), "{said}");
}

#[test]
fn a_value_of_a_secret_is_neither_in_the_record_nor_in_a_debug_print() {
    let fixture = Fixture::new();
    let loaded = fixture.load(PLAN).unwrap();
    assert!(!format!("{loaded:?}").contains(MARKER));
    assert!(
        !serde_json::to_string(&loaded.record)
            .unwrap()
            .contains(MARKER)
    );
    let key = std::fs::read_to_string(fixture.file("tls.key")).unwrap();
    let hidden = loaded.plan.hidden.iter().map(Text::reveal);
    assert_eq!(hidden.collect::<Vec<_>>(), [key]);
    assert_eq!(loaded.record.public["PASSWORD"], "set");
    assert_eq!(loaded.record.public["TAG"], "1.2");
    assert_eq!(loaded.record.text, PLAN);
}

#[test]
fn a_default_or_an_alternative_that_comes_or_goes_is_seen() {
    let plan = |command: &str| {
        format!(
            "name: shop\nservices: {{web: {{image: \"a:1\", command: {command}}}}}\nexpose: web:80\nprobes: none\n\
             pointer: {{proxy: {{listen: \":80\"}}}}\n"
        )
    };
    for command in ["\"${X:-a}\"", "\"${X:+a}\"", "\"${X-a}${X+b}\""] {
        let mut fixture = Fixture::new();
        let without = fixture.load(plan(command)).unwrap().record;
        fixture.vars.insert("X".into(), "x".into());
        let with = fixture.load(plan(command)).unwrap().record;
        reload(&with, &fixture).unwrap();
        let came = reload(&without, &fixture).unwrap_err().to_string();
        assert!(
            came.contains("`services.web.command` is not what"),
            "{came}"
        );
        fixture.vars.remove("X");
        reload(&without, &fixture).unwrap();
        let went = reload(&with, &fixture).unwrap_err().to_string();
        assert!(went.contains("`services.web.command` is missing"), "{went}");
    }
}

#[test]
fn another_checkout_with_another_umask_is_the_same_but_an_executable_bit_is_not() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    let record = fixture.load(PLAN).unwrap().record;
    let mode = |bits| {
        let path = fixture.file("site/index.html");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
        reload(&record, &fixture).is_ok()
    };
    assert_eq!([mode(0o600), mode(0o664), mode(0o755)], [true, true, false]);
}

#[test]
fn a_build_context_may_be_gone_when_a_run_is_resumed() {
    let fixture = Fixture::new();
    let text = PLAN.replace(
        "image: app:${TAG}${EMPTY:+no}${PASSWORD:+-p}${LATER:-}",
        "build: ./app",
    );
    let loaded = fixture.load(&text).unwrap();
    std::fs::remove_dir_all(fixture.file("app")).unwrap();
    assert_eq!(reload(&loaded.record, &fixture).unwrap().plan, loaded.plan);
    assert!(
        fixture
            .said(&text)
            .contains("the build context `./app` is not a directory")
    );
}

/// The journal's form: older records must be readable for ever, so this file is never changed.
#[test]
fn the_record_is_written_as_it_always_was() {
    let golden = include_str!("../golden/plan_record.json");
    let fixture = Fixture::new();
    let mut record = fixture.load(PLAN).unwrap().record;
    record.path = "flipside.yaml".into();
    record.directory = "/srv/shop".into();
    let written = serde_json::to_string_pretty(&record).unwrap();
    if std::env::var_os("FLIPSIDE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/plan_record.json");
        std::fs::write(path, format!("{written}\n")).unwrap();
        return;
    }
    assert_eq!(written, golden.trim_end());
    assert_eq!(serde_json::from_str::<PlanRecord>(golden).unwrap(), record);
}

#[test]
fn hooks_on_the_deployer_are_read_without_what_the_roles_need() {
    let mut fixture = Fixture::new();
    let hooks = "hooks:\n  on_rollback:\n    - {name: tell, run: [./tell.sh, \"${TAG}\"]}\n    \
                 - {name: clean, role: web, command: [clean]}\n    \
                 - {name: ask, http: {url: \"https://ci.example/${PASSWORD}\"}}\n    \
                 - {name: pass, run: [./tell.sh, \"${PASSWORD}\"]}\n";
    let record = fixture.load(format!("{PLAN}{hooks}")).unwrap().record;
    let names = |hooks: &[Hook]| -> Vec<String> {
        hooks.iter().map(|hook| hook.plan.name.clone()).collect()
    };
    std::fs::remove_file(fixture.file("tls.key")).unwrap();
    let (read, wrong) = plan::reload_hooks(&record, &fixture.inputs());
    assert_eq!(
        (names(&read), wrong),
        (vec!["tell".into(), "ask".into(), "pass".into()], None)
    );
    fixture.vars.remove("PASSWORD");
    let (read, wrong) = plan::reload_hooks(&record, &fixture.inputs());
    assert_eq!(names(&read), ["tell"]);
    let said = wrong.unwrap();
    assert_eq!(said.problems.len(), 2, "{said}");
    assert_eq!(
        said.problems[0].message,
        "the variable `PASSWORD` is not set"
    );
    for (form, word) in [
        (
            "environment: [TOKEN]",
            "`hooks.on_rollback.0.environment.TOKEN` is missing",
        ),
        (
            "environment: {TOKEN: }",
            "`hooks.on_rollback.0.environment.TOKEN` is missing",
        ),
        (
            "environment: {A: \"${TOKEN:-}\"}",
            "`hooks.on_rollback.0.environment.A` is missing",
        ),
    ] {
        let plan =
            format!("{PLAN}hooks:\n  on_rollback: [{{name: tell, run: [./tell.sh], {form}}}]\n");
        let mut fixture = Fixture::new();
        fixture.vars.insert("TOKEN".into(), MARKER.into());
        let record = fixture.load(plan).unwrap().record;
        fixture.vars.remove("TOKEN");
        let (read, wrong) = plan::reload_hooks(&record, &fixture.inputs());
        assert_eq!(names(&read), [""; 0], "{form}");
        let said = wrong.unwrap().to_string();
        assert!(said.contains(word), "{form}: {said}");
    }
    let edited = PlanRecord {
        text: "[".into(),
        ..record
    };
    let (read, wrong) = plan::reload_hooks(&edited, &fixture.inputs());
    assert!(read.is_empty() && wrong.is_some());
}
