//! Where credentials come from: each place of AWS's usual chain, by the real program; and what is said
//! where they are wrong, have expired, come too late or are nowhere.
//!
//! What a task of ECS is given at a relative URI differs from a full one by its address alone, which is
//! AWS's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::kit::NAME;
use crate::real_crash::kit::{Settings, Stage, sh};
use crate::real_crash::running::{Ran, Running};
use crate::support::aws::{Answer, Asked, FakeAws, Fault, refusal};
use crate::support::backends::until;
use crate::support::ports::free_port;
use crate::support::route53::{ID, Route53};

/// What is given: a key, its secret, and the session that both are of.
const GIVEN: [&str; 3] = ["AKIDGIVEN", "the/secret+of=it", "the-session-of-it"];

/// What those show who are given it.
const SHOWN: [&str; 3] = ["container-token", "portal-token", "web-token"];

/// The SHA-1 of `https://portal.example/start`, by which AWS's tools keep a token.
const PORTAL: &str = "5863e3e4b5a9564b6e829cf4aa6724bdbf9788a5";

/// A service in Route 53, and who gives credentials.
struct Scene {
    stage: Stage,
    server: Route53,
    giver: FakeAws,
    settings: Settings,
}

/// The SSO portal, STS, a container's and an instance's giver, each at its own path.
fn give(asked: &Asked) -> Answer {
    let [id, secret, session] = GIVEN;
    let given = json!({
        "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": id, "SecretAccessKey": secret,
        "Token": session, "Expiration": "2099-01-01T00:00:00Z", "LastUpdated": "2026-01-01T00:00:00Z",
    });
    let shows = |header, token| asked.header(header) == Some(token);
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/container") if shows("authorization", SHOWN[0]) => (200, given.to_string()),
        ("GET", "/federation/credentials") if shows("x-amz-sso_bearer_token", SHOWN[1]) => {
            let role = json!({"accessKeyId": id, "secretAccessKey": secret,
                "sessionToken": session, "expiration": 4_070_908_800_000_u64});
            (200, json!({"roleCredentials": role}).to_string())
        }
        ("GET", "/federation/credentials") => {
            let kind = "UnauthorizedException";
            let said = json!({"__type": kind, "message": "Session token not found or invalid"});
            (401, said.to_string())
        }
        ("POST", "/")
            if asked
                .body
                .contains(&format!("WebIdentityToken={}", SHOWN[2])) =>
        {
            let body = format!(
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                 <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
                 <SessionToken>{session}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
                 </Credentials><AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>\
                 <AssumedRoleId>r:s</AssumedRoleId></AssumedRoleUser>\
                 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            );
            (200, body)
        }
        ("PUT", "/latest/api/token") => (200, "instance-token".into()),
        ("GET", "/latest/meta-data/iam/security-credentials/") => (200, "deployer".into()),
        ("GET", "/latest/meta-data/iam/security-credentials/deployer") => (200, given.to_string()),
        _ => refusal(403, "AccessDenied", "nothing is given here"),
    }
}

/// What a run finds: variables, and files below its home.
#[derive(Default)]
struct Finds {
    variables: Vec<(&'static str, String)>,
    files: Vec<(PathBuf, String)>,
}

impl Finds {
    fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn file(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.files.push((path.into(), text.into()));
        self
    }

    /// A key in the variables.
    fn key() -> Self {
        Self::default()
            .variable("AWS_ACCESS_KEY_ID", GIVEN[0])
            .variable("AWS_SECRET_ACCESS_KEY", GIVEN[1])
            .variable("AWS_SESSION_TOKEN", GIVEN[2])
    }

    fn profile(name: &str) -> Self {
        let [id, secret, session] = GIVEN;
        let text = format!(
            "[ops]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n\
             aws_session_token = {session}\n"
        );
        let profile = Self::default().variable("AWS_PROFILE", name);
        profile.file(".aws/credentials", text)
    }

    /// A token of the SSO portal's.
    fn sso(portal: &str, token: &str) -> Self {
        let config = "[profile sso]\nsso_start_url = https://portal.example/start\n\
                      sso_region = eu-central-1\nsso_account_id = 123456789012\n\
                      sso_role_name = deployer\n";
        let token = json!({"accessToken": token, "expiresAt": "2099-01-01T00:00:00Z",
            "region": "eu-central-1", "startUrl": "https://portal.example/start"});
        Self::default()
            .variable("AWS_PROFILE", "sso")
            .variable("AWS_ENDPOINT_URL_SSO", portal)
            .file(".aws/config", config)
            .file(format!(".aws/sso/cache/{PORTAL}.json"), token.to_string())
    }

    fn web_identity(sts: &str, home: &Path) -> Self {
        Self::default()
            .variable("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/deployer")
            .variable("AWS_ROLE_SESSION_NAME", "shop")
            .variable("AWS_ENDPOINT_URL_STS", sts)
            .variable(
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                home.join("token").display().to_string(),
            )
            .file("token", SHOWN[2])
    }

    fn container(giver: &str) -> Self {
        Self::default()
            .variable(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                format!("{giver}/container"),
            )
            .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", SHOWN[0])
    }

    fn instance(giver: &str) -> Self {
        Self::default().variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", giver)
    }
}

impl Scene {
    async fn new() -> Self {
        let server = Route53::start().await;
        let section = json!({"route53": {
            "zone": ID,
            "name": NAME,
            "ttl": "1s",
            "servers": [server.server.to_string()],
            "url": format!("http://{NAME}:8080"),
            "endpoint": server.api.endpoint(),
        }});
        let scene = Self {
            stage: Stage::new().await,
            settings: Settings {
                pointer: Some(section.to_string()),
                ..Settings::default()
            },
            giver: FakeAws::start(give).await,
            server,
        };
        scene.stage.write_plan("1", &scene.settings);
        scene
    }

    fn home(&self) -> PathBuf {
        self.stage.state().with_file_name("home")
    }

    /// Runs it where nothing but this is to be found.
    async fn run(&self, words: &[&str], finds: &Finds) -> Ran {
        let home = self.home();
        // The last run's, if there was one.
        std::fs::remove_dir_all(&home).ok();
        std::fs::create_dir(&home).unwrap();
        for (path, text) in &finds.files {
            let path = home.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut command: Command = self.stage.command(words);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        let finds_instance = |(name, _): &(&str, String)| name.contains("METADATA");
        if !finds.variables.iter().any(finds_instance) {
            command.env("AWS_EC2_METADATA_DISABLED", "true");
        }
        command
            .env("HOME", &home)
            .env("AWS_REGION", "eu-central-1")
            .envs(finds.variables.iter().map(|(name, value)| (name, value)));
        Running::start(command).ended().await
    }

    /// The places where credentials are found.
    fn places(&self) -> [(&'static str, Finds); 6] {
        let giver = self.giver.endpoint();
        [
            ("variables", Finds::key()),
            ("profile", Finds::profile("ops")),
            ("sso", Finds::sso(&giver, SHOWN[1])),
            ("web identity", Finds::web_identity(&giver, &self.home())),
            ("container", Finds::container(&giver)),
            ("instance", Finds::instance(&giver)),
        ]
    }
}

/// Nothing that only those may see who are given it.
#[track_caller]
fn hides(text: &str, context: &str) {
    for secret in [GIVEN[1], GIVEN[2], SHOWN[0], SHOWN[1], SHOWN[2]] {
        assert!(!text.contains(secret), "{context}: {secret}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_found_in_each_of_the_usual_places() {
    let scene = Scene::new().await;
    for (place, finds) in scene.places() {
        let before = scene.server.api.heard().len();
        let ran = scene.run(&["deploy", "--dry-run"], &finds).await;
        assert_eq!(ran.code, 0, "{place}: {ran:#?}");
        hides(&format!("{:?} {}", ran.lines, ran.talk), place);
        let heard = scene.server.api.heard();
        assert!(heard.len() > before, "{place}");
        for asked in &heard[before..] {
            let signed = asked.header("authorization").unwrap();
            let by = format!("Credential={}/", GIVEN[0]);
            assert!(signed.contains(&by), "{place}: {signed}");
            let session = asked.header("x-amz-security-token");
            assert_eq!(session, Some(GIVEN[2]), "{place}");
        }
    }
}

/// The plan's own profile, and none of the variables'.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plans_profile_is_the_one_that_is_used() {
    let mut scene = Scene::new().await;
    let pointer = scene.settings.pointer.as_mut().unwrap();
    *pointer = pointer.replacen("{\"route53\":{", "{\"route53\":{\"profile\":\"ops\",", 1);
    scene.stage.write_plan("1", &scene.settings);
    let finds = Finds::profile("another");
    let ran = scene.run(&["deploy", "--dry-run"], &finds).await;
    ran.ends(0);
    let heard = scene.server.api.heard();
    let signed = heard[0].header("authorization").unwrap();
    assert!(signed.contains(GIVEN[0]), "{signed}");
}

/// What is said of each, with what mends it; nothing is stood up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_cannot_be_used_are_told_with_where_they_were_looked_for() {
    let scene = Scene::new().await;
    let giver = scene.giver.endpoint();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let finds = |variables: Finds, name, value: &str| variables.variable(name, value);
    let none = "there are no credentials";
    let cases: [(&str, Finds, &[&str]); 9] = [
        (
            "nothing",
            Finds::default(),
            &[none, "AWS_ACCESS_KEY_ID", "aws sts get-caller-identity"],
        ),
        (
            "no such profile",
            Finds::profile("nobody"),
            &[none, "AWS_PROFILE", "aws sts get-caller-identity"],
        ),
        (
            "an old token of the portal's",
            Finds::sso(&giver, "old"),
            &[none, "Session token not found", "aws sso login"],
        ),
        (
            "a portal that is down",
            Finds::sso(&nobody, SHOWN[1]),
            &["what gives the credentials is out of reach"],
        ),
        (
            "a token that STS does not know",
            Finds::web_identity(&giver, &scene.home()).file("token", "stolen"),
            &[none, "AccessDenied", "nothing is given here"],
        ),
        (
            "no token",
            finds(
                Finds::web_identity(&giver, &scene.home()),
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "/nowhere/token",
            ),
            &[none, "No such file", "AWS_WEB_IDENTITY_TOKEN_FILE"],
        ),
        (
            "an STS that is down",
            Finds::web_identity(&nobody, &scene.home()),
            &["what gives the credentials is out of reach"],
        ),
        (
            "a container's giver that gives none",
            finds(
                Finds::container(&giver),
                "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                "another",
            ),
            &[none],
        ),
        (
            "a container's giver that is down",
            Finds::container(&nobody),
            &["what gives the credentials is out of reach"],
        ),
    ];
    let mut wrong = Vec::new();
    for (what, finds, words) in cases {
        let ran = scene.run(&["deploy"], &finds).await;
        let said = format!("{:?} {}", ran.lines, ran.talk);
        hides(&said, what);
        if ran.code == 0 || words.iter().any(|word| !said.contains(word)) {
            wrong.push(format!("{what}: {words:?}: {} {said}", ran.code));
        }
        assert!(ran.took < Duration::from_secs(25), "{what}: {:?}", ran.took);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(scene.server.api.heard().len(), 0);
}

/// AWS's own words for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_aws_does_not_take_are_told_with_what_mends_it() {
    let scene = Scene::new().await;
    for (code, hint) in [
        ("InvalidClientTokenId", "aws sts get-caller-identity"),
        ("SignatureDoesNotMatch", "aws sts get-caller-identity"),
        ("ExpiredToken", "aws sso login"),
        ("RequestExpired", "clock"),
        ("AccessDenied", "flipside help route53"),
    ] {
        let refuses = Fault::Says(refusal(403, code, "because of the test"));
        scene.server.api.fault(|_| true, 1, refuses);
        let ran = scene.run(&["deploy"], &Finds::key()).await;
        assert_ne!(ran.code, 0, "{code}: {ran:#?}");
        let said = format!("{:?} {}", ran.lines, ran.talk);
        hides(&said, code);
        for words in [&format!("AWS says {code}: because of the test"), hint] {
            assert!(said.contains(words), "{code}: {words}: {said}");
        }
    }
    let deployed = scene.run(&["deploy"], &Finds::key()).await;
    deployed.ends(0);
    let down = ["down", &scene.stage.service, "--yes"];
    scene.run(&down, &Finds::key()).await.ends(0);
}

/// Whoever should give them takes the connection and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_come_too_late_hold_nobody_up() {
    let scene = Scene::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", silent.local_addr().unwrap());
    let takes = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            all.push(stream);
        }
    });
    for (what, finds) in [
        ("instance", Finds::instance(&at)),
        ("container", Finds::container(&at)),
        ("sso", Finds::sso(&at, SHOWN[1])),
        ("web identity", Finds::web_identity(&at, &scene.home())),
    ] {
        let ran = scene.run(&["deploy"], &finds).await;
        assert_ne!(ran.code, 0, "{what}: {ran:#?}");
        assert!(ran.took < Duration::from_secs(25), "{what}: {:?}", ran.took);
        let said = format!("{:?} {}", ran.lines, ran.talk);
        let told = [
            "no credentials came in time",
            "what gives the credentials",
            "there are no credentials",
        ];
        assert!(
            told.iter().any(|words| said.contains(words)),
            "{what}: {said}"
        );
        hides(&said, what);
    }
    assert_eq!(scene.server.api.heard().len(), 0);
    takes.abort();
}

/// Neither the journal nor the engine knows them afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_is_kept_nowhere() {
    let scene = Scene::new().await;
    let finds = Finds::web_identity(&scene.giver.endpoint(), &scene.home());
    let mut said = String::new();
    let service = &scene.stage.service;
    for words in [
        &["deploy", "-v"][..],
        &["status", service],
        &["history", service],
    ] {
        let ran = scene.run(words, &finds).await;
        ran.ends(0);
        said += &format!("{:?} {}", ran.lines, ran.talk);
    }
    let label = format!("label=flipside.service={service}");
    for kind in ["container", "network", "volume"] {
        let all: &[&str] = if kind == "container" { &["-a"] } else { &[] };
        let list = [&["docker", kind, "ls", "-q", "--filter", &label], all].concat();
        for id in sh(&list).lines() {
            said += &sh(&["docker", kind, "inspect", id]);
        }
    }
    let mut files = vec![scene.stage.state()];
    while let Some(path) = files.pop() {
        match std::fs::read_dir(&path) {
            Ok(below) => files.extend(below.map(|entry| entry.unwrap().path())),
            Err(_) => said += &String::from_utf8_lossy(&std::fs::read(&path).unwrap()),
        }
    }
    assert!(said.contains("route53"), "{said}");
    hides(&said, "what is kept");
    let down = ["down", service, "--yes"];
    scene.run(&down, &finds).await.ends(0);
    until("an empty zone", async || {
        scene.server.all().is_empty().then_some(())
    })
    .await;
}
