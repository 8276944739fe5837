//! The key that updates are signed with: from a file or a variable, never from a plan's text.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, TSigner};

use super::super::PointerError;

/// How far the clocks of both sides may be apart, in seconds: what RFC 8945 recommends.
const FUDGE: u16 = 300;

/// Where the key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A file in BIND's form: `key "name" { algorithm hmac-sha256; secret "…"; };`.
    File(PathBuf),
    /// A variable in the form of `dig -y`: `hmac-sha256:name:secret`.
    Variable(String),
}

impl Place {
    /// Reads the key.
    pub(super) async fn signer(&self) -> Result<TSigner, PointerError> {
        let text = match self {
            Self::File(path) => tokio::fs::read_to_string(path).await.map_err(|error| {
                self.failed(
                    &format!("cannot be read: {error}"),
                    "see to the file, then run this again",
                )
            })?,
            Self::Variable(name) => std::env::var(name)
                .map_err(|_| self.failed("is not set", "set it, then run this again"))?,
        };
        let read = match self {
            Self::File(_) => of_file(&text),
            Self::Variable(_) => of_variable(&text),
        };
        read.map_err(|why| {
            let form = match self {
                Self::File(_) => {
                    "write it as `tsig-keygen` does: `key \"NAME\" { algorithm hmac-sha256; secret \"…\"; };`"
                }
                Self::Variable(_) => "write it as for `dig -y`: `hmac-sha256:NAME:SECRET`",
            };
            self.failed(&why, form)
        })
    }

    /// What it is called, where that can be read; for messages.
    pub(super) async fn name(&self) -> String {
        match self.signer().await {
            Ok(signer) => format!("{} of {self}", signer.signer_name()),
            Err(_) => format!("of {self}"),
        }
    }

    fn failed(&self, why: &str, hint: &str) -> PointerError {
        PointerError::Failed {
            what: format!("the key for updates in {self} {why}"),
            hint: Some(hint.to_owned()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Variable(name) => write!(f, "the variable `{name}`"),
        }
    }
}

fn of_variable(text: &str) -> Result<TSigner, String> {
    let mut parts = text.trim().splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(algorithm), Some(name), Some(secret)) => signer(name, algorithm, secret),
        _ => Err("is not an algorithm, a name and a secret".into()),
    }
}

fn of_file(text: &str) -> Result<TSigner, String> {
    let words = words(text);
    let after = |word: &str| {
        let at = words.iter().position(|known| known == word)?;
        words.get(at + 1).map(String::as_str)
    };
    let missing = |what: &str| format!("has no `{what}`");
    signer(
        after("key").ok_or_else(|| missing("key"))?,
        after("algorithm").ok_or_else(|| missing("algorithm"))?,
        after("secret").ok_or_else(|| missing("secret"))?,
    )
}

/// The words of a file of BIND's, without comments and quotes.
fn words(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        plain.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let lines = plain.lines().filter(|line| {
        let line = line.trim_start();
        !line.starts_with('#') && !line.starts_with("//")
    });
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '{' | '}' | ';');
    lines
        .flat_map(|line| line.split(is_end))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn signer(name: &str, algorithm: &str, secret: &str) -> Result<TSigner, String> {
    let algorithm = match algorithm
        .trim_end_matches('.')
        .to_ascii_lowercase()
        .as_str()
    {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        other => {
            return Err(format!(
                "is of `{other}`, not of hmac-sha256 or hmac-sha512"
            ));
        }
    };
    let name = Name::from_ascii(name).map_err(|_| "has a name that is none".to_owned())?;
    let secret = STANDARD
        .decode(secret)
        .map_err(|_| "has a secret that is not base64".to_owned())?;
    TSigner::new(secret, algorithm, name, FUDGE).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_a_file_as_bind_has_it() {
        let text = "# made by hand\n/* old:\nkey \"no\" */\nkey \"shop.\" {\n\talgorithm hmac-sha512;\n\tsecret \"c2VjcmV0\";\n};\n";
        let Ok(signer) = of_file(text) else {
            panic!("no key: {text}");
        };
        assert_eq!(signer.signer_name().to_string(), "shop.");
        assert_eq!(signer.algorithm(), &TsigAlgorithm::HmacSha512);
        assert_eq!(signer.key(), b"secret");
    }

    #[test]
    fn a_key_is_read_from_a_variable_as_dig_has_it() {
        let Ok(signer) = of_variable("hmac-sha256:shop:c2VjcmV0\n") else {
            panic!("no key");
        };
        assert_eq!(signer.signer_name().to_string(), "shop.");
        assert_eq!(signer.key(), b"secret");
    }

    #[test]
    fn what_is_no_key_is_said_without_its_secret() {
        for (text, why) in [
            (
                "hmac-md5:shop:c2VjcmV0",
                "is of `hmac-md5`, not of hmac-sha256 or hmac-sha512",
            ),
            ("hmac-sha256:shop:!", "has a secret that is not base64"),
            ("c2VjcmV0", "is not an algorithm, a name and a secret"),
        ] {
            assert_eq!(of_variable(text).err().as_deref(), Some(why));
        }
        let no_secret = of_file("key \"shop\" { algorithm hmac-sha256; };");
        assert_eq!(no_secret.err().as_deref(), Some("has no `secret`"));
    }
}
