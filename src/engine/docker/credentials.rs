//! Credentials for registries, as Docker's own client keeps them: in `config.json`, or behind a
//! helper program `docker-credential-NAME`.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::docker::{config_directory, refused, refused_hint};
use crate::engine::EngineError;

/// Docker Hub's name in references and in credential stores.
const HUB: &str = "docker.io";
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// How long a helper may take: it may ask a cloud for a short-lived token.
const HELPER: Duration = Duration::from_secs(20);

/// An image reference, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Host and port of the registry, `docker.io` where none is written.
    pub(super) registry: String,
    /// The reference without tag and digest, as written.
    pub(super) name: String,
    /// The tag or digest; `latest` where none is written.
    pub(super) tag: String,
}

impl Reference {
    /// Takes `text` apart; it is not checked.
    pub(super) fn new(text: &str) -> Self {
        let (name, tag) = match text.split_once('@') {
            Some((name, digest)) => {
                let bare = untagged(name).map_or(name, |(bare, _)| bare);
                (bare, digest)
            }
            None => untagged(text).unwrap_or((text, "latest")),
        };
        let first = name.split_once('/').map(|(first, _)| first);
        let registry = first.filter(|first| first.contains(['.', ':']) || *first == "localhost");
        Self {
            registry: registry.unwrap_or(HUB).to_owned(),
            name: name.to_owned(),
            tag: tag.to_owned(),
        }
    }
}

/// Splits off a tag; a colon before a slash is a port's.
fn untagged(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: Option<HashMap<String, Option<Auth>>>,
    cred_helpers: Option<HashMap<String, Option<String>>>,
    creds_store: Option<String>,
}

impl Config {
    async fn read(directory: &Path) -> Result<Self, EngineError> {
        let path = directory.join("config.json");
        let text = match tokio::fs::read_to_string(&path).await {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(refused(format!("`{}`: {error}", path.display()))),
        };
        serde_json::from_str(&text)
            .map_err(|error| refused(format!("`{}` cannot be read: {error}", path.display())))
    }

    /// The helper that keeps the credentials of a registry; an empty name is none.
    fn helper(&self, registry: &str, key: &str) -> Option<&str> {
        let own = self.cred_helpers.as_ref().and_then(|helpers| {
            let named = [registry, key]
                .into_iter()
                .find_map(|name| helpers.get(name));
            named?.as_deref()
        });
        let helpers = [own, self.creds_store.as_deref()];
        let mut helpers = helpers.into_iter().flatten();
        helpers.find(|helper| !helper.is_empty())
    }

    async fn find(&self, registry: &str) -> Result<Option<DockerCredentials>, EngineError> {
        let key = match registry {
            HUB => HUB_KEY,
            other => other,
        };
        if let Some(helper) = self.helper(registry, key)
            && let Some(found) = ask(helper, key).await?
        {
            return Ok(Some(found));
        }
        let mut entries = self.auths.iter().flatten();
        let entry = entries.find(|(name, _)| bare(name) == bare(key));
        Ok(entry.and_then(|(_, auth)| read(auth.as_ref()?, key)))
    }

    /// The registries that are named anywhere.
    fn registries(&self) -> BTreeSet<&str> {
        let auths = self.auths.iter().flatten().map(|(name, _)| bare(name));
        let helpers = self.cred_helpers.iter().flatten();
        let all = auths.chain(helpers.map(|(name, _)| bare(name)));
        all.map(|name| match name == bare(HUB_KEY) {
            true => HUB,
            false => name,
        })
        .collect()
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The credentials for a registry; `None` where there are none.
pub(super) async fn find(registry: &str) -> Result<Option<DockerCredentials>, EngineError> {
    match config_directory() {
        Some(directory) => find_in(&directory, registry).await,
        None => Ok(None),
    }
}

/// The credentials of every registry that the configuration names. A helper that fails is passed
/// over: it may be of a registry that nobody needs.
pub(super) async fn all() -> Result<HashMap<String, DockerCredentials>, EngineError> {
    match config_directory() {
        Some(directory) => all_in(&directory).await,
        None => Ok(HashMap::new()),
    }
}

async fn find_in(
    directory: &Path,
    registry: &str,
) -> Result<Option<DockerCredentials>, EngineError> {
    Config::read(directory).await?.find(registry).await
}

async fn all_in(directory: &Path) -> Result<HashMap<String, DockerCredentials>, EngineError> {
    let config = Config::read(directory).await?;
    let mut all = HashMap::new();
    for registry in config.registries() {
        match config.find(registry).await {
            Ok(Some(login)) => {
                let key = login.serveraddress.clone();
                all.insert(key.unwrap_or_else(|| registry.to_owned()), login);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(registry, "its credentials are not known: {error}"),
        }
    }
    Ok(all)
}

/// Old configurations write registries as addresses.
fn bare(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or(key.strip_prefix("http://"))
        .unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

fn read(auth: &Auth, key: &str) -> Option<DockerCredentials> {
    let decoded = auth
        .auth
        .as_ref()
        .and_then(|text| STANDARD.decode(text).ok());
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded
        .as_ref()
        .and_then(|text| text.trim_end_matches('\0').split_once(':'));
    let (username, password) = match pair {
        Some((name, word)) => (Some(name.to_owned()), Some(word.to_owned())),
        None => (auth.username.clone(), auth.password.clone()),
    };
    let token = auth.identitytoken.clone().filter(|token| !token.is_empty());
    (username.is_some() || token.is_some()).then(|| DockerCredentials {
        username,
        password: password.filter(|_| token.is_none()),
        identitytoken: token,
        serveraddress: Some(key.to_owned()),
        ..DockerCredentials::default()
    })
}

/// Asks `docker-credential-NAME get`.
async fn ask(helper: &str, key: &str) -> Result<Option<DockerCredentials>, EngineError> {
    let program = format!("docker-credential-{helper}");
    let wrong = |why: String| {
        refused_hint(
            format!("`{program}`, which Docker's configuration names for `{key}`: {why}"),
            format!("install it, or take `{helper}` out of Docker's `config.json`"),
        )
    };
    let child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| wrong(error.to_string()))?;
    let input = child.stdin.take();
    let talk = async {
        if let Some(mut input) = input {
            input.write_all(format!("{key}\n").as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(HELPER, talk)
        .await
        .map_err(|_| wrong(format!("no answer within {} s", HELPER.as_secs())))?
        .map_err(|error| wrong(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(wrong(format!("{}: {}", output.status, said.trim())));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| wrong("its answer cannot be read".into()))?;
    let token = answer.username == "<token>";
    Ok(Some(DockerCredentials {
        username: (!token).then_some(answer.username),
        password: (!token).then(|| answer.secret.clone()),
        identitytoken: token.then_some(answer.secret),
        serveraddress: Some(key.to_owned()),
        ..DockerCredentials::default()
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn check(text: &str, registry: &str, name: &str, tag: &str) {
        let expected = Reference {
            registry: registry.into(),
            name: name.into(),
            tag: tag.into(),
        };
        assert_eq!(Reference::new(text), expected);
    }

    #[test]
    fn references_are_taken_apart() {
        check("web", "docker.io", "web", "latest");
        check("me/web:1", "docker.io", "me/web", "1");
        check(
            "reg.example:5000/web",
            "reg.example:5000",
            "reg.example:5000/web",
            "latest",
        );
        check("localhost/web:2", "localhost", "localhost/web", "2");
        check("web:1@sha256:ab", "docker.io", "web", "sha256:ab");
    }

    #[tokio::test]
    async fn credentials_come_from_the_configuration_or_its_helper() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let pair = STANDARD.encode("me:pass:word");
        let text = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{pair}"}},
                "reg.example":{{"identitytoken":"t","auth":"{pair}"}}}},
                "credHelpers":{{"cloud.example":"none-such-here"}}}}"#
        );
        std::fs::write(&path, text).unwrap();
        let hub = find_in(dir.path(), "docker.io").await.unwrap().unwrap();
        assert_eq!(hub.username.as_deref(), Some("me"));
        assert_eq!(hub.password.as_deref(), Some("pass:word"));
        let token = find_in(dir.path(), "reg.example").await.unwrap().unwrap();
        assert_eq!(
            (token.identitytoken.as_deref(), token.password),
            (Some("t"), None)
        );
        assert!(
            find_in(dir.path(), "other.example")
                .await
                .unwrap()
                .is_none()
        );
        let error = find_in(dir.path(), "cloud.example").await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("docker-credential-none-such-here"),
            "{error}"
        );
        std::fs::remove_file(path).unwrap();
        assert!(find_in(dir.path(), "docker.io").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_empty_helper_and_null_sections_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let pair = STANDARD.encode("me:word");
        let text = format!(
            r#"{{"auths":{{"reg.example":{{"auth":"{pair}"}},"null.example":null}},
                "credHelpers":{{"reg.example":"","other.example":null}},"credsStore":""}}"#
        );
        std::fs::write(&path, text).unwrap();
        let found = find_in(dir.path(), "reg.example").await.unwrap().unwrap();
        assert_eq!(found.username.as_deref(), Some("me"));
        for none in ["null.example", "other.example", "docker.io"] {
            assert!(find_in(dir.path(), none).await.unwrap().is_none(), "{none}");
        }
        std::fs::write(
            &path,
            r#"{"auths":null,"credHelpers":null,"credsStore":null}"#,
        )
        .unwrap();
        assert!(find_in(dir.path(), "docker.io").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn all_credentials_leave_out_a_helper_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        let pair = STANDARD.encode("me:word");
        let text = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{pair}"}},
                "reg.example":{{"auth":"{pair}"}}}},"credHelpers":{{"cloud.example":"none-such-here"}}}}"#
        );
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        let all = all_in(dir.path()).await.unwrap();
        let mut names: Vec<_> = all.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, [HUB_KEY, "reg.example"]);
    }
}
