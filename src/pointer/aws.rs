//! AWS as its kinds of pointers ask it: where, as whom, and what its refusals mean.
//!
//! Credentials come from where AWS's own tools have them: variables, profiles, web identity, SSO, and
//! what a container or an instance is given. Nothing is repeated, but for one thing: what AWS was too
//! busy to look at is asked again, with backoff and jitter. That stands here and not in `perform`,
//! which sees whole calls: a move is several requests, AWS refuses any one of them, and only that one
//! has not been done. The caller's deadline bounds it, as it bounds everything.

use std::error::Error;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use super::PointerError;
use super::section::{Key, Takes, Wrong};

mod carrier;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// How long an answer may take to begin.
const READ: Duration = Duration::from_secs(4);

/// How long one request may take, its credentials' own time included, which is at most five seconds.
const ATTEMPT: Duration = Duration::from_secs(8);

/// How often what AWS was too busy for is asked again. All of it ends within ten seconds.
const TRIES: usize = 12;

/// The shortest and the longest wait between two of them; jitter makes it up to twice as long.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(400)];

/// What AWS says when it has not looked at a request, and will at another time.
const BUSY: [&str; 8] = [
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Where credentials are looked for.
const LOOKED_FOR: &str = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile in ~/.aws (AWS_PROFILE, or the plan's `profile`), a web identity (AWS_WEB_IDENTITY_TOKEN_FILE), SSO, and what this container or machine is given";

/// What the SDK says when nobody has given it credentials in time; the type of that is its own.
const LATE: &str = "identity resolver timed out";

/// What mends that there are none.
const GIVE: &str = "give them in one of these places (with SSO: `aws sso login`), and see that `aws sts get-caller-identity` answers with them";

/// `region` of a plan.
pub const REGION: Key = Key {
    name: "region",
    also: None,
    takes: Takes::Text("a region such as `eu-central-1`"),
    missing: None,
    means: "AWS's region; by default that of the variables or the profile.",
};

/// `profile` of a plan.
pub const PROFILE: Key = Key {
    name: "profile",
    also: None,
    takes: Takes::Text("the name of a profile"),
    missing: None,
    means: "The profile in `~/.aws` whose credentials are used; by default AWS's usual chain.",
};

/// `endpoint` of a plan.
pub const ENDPOINT: Key = Key {
    name: "endpoint",
    also: None,
    takes: Takes::Text("a URL such as `https://vpce-1.route53.example`"),
    missing: None,
    means: "Where AWS is asked, by HTTPS, in place of its public endpoint.",
};

/// What of a plan says where AWS is asked, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AwsPlan {
    /// AWS's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The profile whose credentials are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// In place of AWS's public endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// What is wrong with the endpoint in a plan's settings.
#[must_use]
pub fn wrong(settings: &Map<String, Value>) -> Option<Wrong> {
    let endpoint = settings.get("endpoint")?.as_str()?;
    (!is_endpoint(endpoint)).then(|| Wrong {
        key: "endpoint",
        message: format!("`{endpoint}` is not a place where AWS could be asked safely"),
        help: "write a URL that begins with `https://`; `http://` only on this machine itself"
            .into(),
    })
}

/// Whether what is asked there is read by nobody on the way.
fn is_endpoint(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            address.is_ok_and(|address| address.is_loopback())
        }
        _ => false,
    }
}

/// AWS, by a plan.
#[derive(Debug)]
pub struct Aws {
    plan: AwsPlan,
    home: Option<&'static str>,
    given: Option<Credentials>,
    config: OnceCell<SdkConfig>,
}

impl Aws {
    /// AWS where the plan says; `home` is the region that is asked where nothing names one, for a
    /// service that is the same in all of them.
    ///
    /// # Errors
    /// Where the endpoint is none.
    pub fn new(plan: AwsPlan, home: Option<&'static str>) -> Result<Self, PointerError> {
        if let Some(endpoint) = plan.endpoint.as_ref().filter(|text| !is_endpoint(text)) {
            return Err(PointerError::Failed {
                what: format!("`{endpoint}` is not a place where AWS could be asked safely"),
                hint: Some("name one by HTTPS".into()),
            });
        }
        Ok(Self {
            plan,
            home,
            given: None,
            config: OnceCell::new(),
        })
    }

    /// The same with these credentials, and none from anywhere else.
    #[must_use]
    pub fn with_key(self, id: &str, secret: &str) -> Self {
        Self {
            given: Some(Credentials::new(id, secret, None, None, "given")),
            ..self
        }
    }

    /// What a client of AWS's is made of.
    ///
    /// # Errors
    /// Where nothing says in which region.
    pub async fn config(&self) -> Result<&SdkConfig, PointerError> {
        let config = self.config.get_or_init(|| self.load()).await;
        if config.region().is_none() {
            return Err(PointerError::Failed {
                what: "nothing says in which of AWS's regions: looked for the plan's `region`, AWS_REGION, AWS_DEFAULT_REGION, the profile, and what this machine is given".into(),
                hint: Some("add `region: NAME` to the plan's `pointer`, or set AWS_REGION".into()),
            });
        }
        Ok(config)
    }

    async fn load(&self) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(ATTEMPT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(carrier::Carrier::default())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        let profile = self.plan.profile.as_ref();
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &self.plan.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(given) = &self.given {
            loader = loader.credentials_provider(given.clone());
        }
        loader = match (&self.plan.region, self.home) {
            (Some(region), _) => loader.region(Region::new(region.clone())),
            (None, None) => loader,
            (None, Some(home)) => {
                let mut of_profile = ProfileFileRegionProvider::builder();
                if let Some(profile) = profile {
                    of_profile = of_profile.profile_name(profile);
                }
                loader.region(
                    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                        .or_else(of_profile.build())
                        .or_else(Region::new(home)),
                )
            }
        };
        loader.load().await
    }
}

/// Why AWS has not done what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It could not be asked.
    Away(String),
    /// It has been asked, and its answer is not known.
    Lost(String),
    /// It was asked by nobody that it could know: what, and what mends it.
    Nobody(String, String),
    /// It said no.
    Said(Said),
}

/// A refusal of AWS's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Which, as AWS calls it: `AccessDenied`.
    pub code: String,
    /// In AWS's own words.
    pub message: String,
    /// By which AWS's support finds the request.
    pub request: Option<String>,
    /// The status of HTTP.
    pub status: u16,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AWS says {}: {}", self.code, self.message)?;
        match &self.request {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl Said {
    /// Whether it has not looked at the request, and will at another time.
    fn is_busy(&self) -> bool {
        BUSY.contains(&self.code.as_str())
    }

    /// What mends it, where that is the same for all that is asked of AWS; `page` of the guide says
    /// what the credentials must be allowed.
    fn hint(&self, page: &str) -> Option<String> {
        Some(match self.code.as_str() {
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => {
                format!("let these credentials do it; what is needed: flipside help {page}")
            }
            "ExpiredToken" | "ExpiredTokenException" => {
                "get new credentials (with SSO: `aws sso login`), then run this again".into()
            }
            "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch" => {
                format!(
                    "AWS does not know these credentials, or they are of another account: {GIVE}"
                )
            }
            "RequestExpired" | "RequestTimeTooSkewed" | "InvalidSignatureException" => {
                "set this machine's clock, by NTP, and see that the secret is whole".into()
            }
            _ => return None,
        })
    }
}

impl Trouble {
    /// As the error of a call that only asks, of this pointer, whose page of the guide is `page`.
    #[must_use]
    pub fn of_read(self, pointer: &str, page: &str) -> PointerError {
        self.error(pointer, page, |pointer, why| PointerError::OutOfReach {
            pointer,
            why,
        })
    }

    /// As the error of a call that changes something.
    #[must_use]
    pub fn of_write(self, pointer: &str, page: &str) -> PointerError {
        self.error(pointer, page, |pointer, why| PointerError::Lost {
            pointer,
            why,
        })
    }

    fn error(
        self,
        pointer: &str,
        page: &str,
        unknown: impl Fn(String, String) -> PointerError,
    ) -> PointerError {
        let away = |why| PointerError::OutOfReach {
            pointer: pointer.to_owned(),
            why,
        };
        match self {
            Self::Away(why) => away(why),
            Self::Lost(why) => unknown(pointer.to_owned(), why),
            Self::Nobody(what, hint) => PointerError::Failed {
                what: format!("{pointer}: {what}"),
                hint: Some(hint),
            },
            Self::Said(said) if said.is_busy() => away(said.to_string()),
            Self::Said(said) if said.status >= 500 => unknown(pointer.to_owned(), said.to_string()),
            Self::Said(said) => PointerError::Failed {
                what: format!("{pointer}: {said}"),
                hint: said.hint(page),
            },
        }
    }
}

/// The answer to one request, which is made again while AWS is too busy to look at it.
///
/// # Errors
/// Why there is none.
pub async fn asked<T, E, F>(request: impl Fn() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: Error + ProvideErrorMetadata + 'static,
{
    let [least, most] = WAITS;
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(least)
        .with_max_delay(most)
        .with_jitter()
        .with_max_times(TRIES)
        .build();
    loop {
        let trouble = match request().await {
            Ok(answer) => return Ok(answer),
            Err(error) => trouble(error),
        };
        match (&trouble, waits.next()) {
            (Trouble::Said(said), Some(wait)) if said.is_busy() => tokio::time::sleep(wait).await,
            _ => return Err(trouble),
        }
    }
}

fn trouble<E>(error: SdkError<E, HttpResponse>) -> Trouble
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if let (Some(service), Some(raw)) = (error.as_service_error(), error.raw_response()) {
        let meta = service.meta();
        let status = raw.status().as_u16();
        let body = String::from_utf8_lossy(raw.body().bytes().unwrap_or_default());
        let (root, messages) = unwrapped(&body);
        let code = meta.code().map(str::to_owned).or(root);
        let message = meta.message().map(str::to_owned);
        return Trouble::Said(Said {
            code: code.unwrap_or_else(|| format!("HTTP {status}")),
            message: message
                .or(messages)
                .unwrap_or_else(|| "and nothing more".into()),
            request: meta.extra("aws_request_id").map(str::to_owned),
            status,
        });
    }
    let why = words(&error);
    let carried = cause::<reqwest::Error>(&error);
    let unsent = carried.is_some_and(reqwest::Error::is_connect);
    let late = || {
        Trouble::Away(format!(
            "no credentials came in time; looked for: {LOOKED_FOR}"
        ))
    };
    match (cause::<CredentialsError>(&error), &error) {
        (Some(CredentialsError::ProviderTimedOut(_)), _) => late(),
        (None, SdkError::DispatchFailure(_)) if why.contains(LATE) => late(),
        (Some(_), _) if carried.is_some() => {
            Trouble::Away(format!("what gives the credentials is out of reach: {why}"))
        }
        (Some(CredentialsError::CredentialsNotLoaded(_)), _) => Trouble::Nobody(
            format!("there are no credentials; looked for: {LOOKED_FOR}"),
            GIVE.into(),
        ),
        (Some(other), _) => Trouble::Nobody(
            format!(
                "there are no credentials that can be used: {}; looked for: {LOOKED_FOR}",
                words(other)
            ),
            GIVE.into(),
        ),
        (None, SdkError::ConstructionFailure(_)) => Trouble::Nobody(
            format!("AWS's client cannot ask this: {why}"),
            "use the flipside that made the release, or a newer one".into(),
        ),
        (None, SdkError::DispatchFailure(_)) if unsent => Trouble::Away(why),
        (None, _) => Trouble::Lost(why),
    }
}

/// The code and the messages of a refusal that is not in the form of all others: Route 53's
/// `<InvalidChangeBatch><Messages><Message>…`, which the SDK does not read.
fn unwrapped(body: &str) -> (Option<String>, Option<String>) {
    let is_word = |tag: &&str| tag.starts_with(|sign: char| sign.is_ascii_uppercase());
    let root = body.split('<').skip(1).find(is_word);
    let code = root.and_then(|tag| tag.split([' ', '>']).next());
    let texts = body.split("<Message>").skip(1);
    let texts: Vec<String> = texts
        .filter_map(|text| text.split('<').next())
        .map(|text| {
            text.replace("&apos;", "'")
                .replace("&quot;", "\"")
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&")
        })
        .collect();
    let messages = (!texts.is_empty()).then(|| texts.join("; "));
    (
        code.filter(|code| *code != "ErrorResponse")
            .map(str::to_owned),
        messages,
    )
}

/// An error with what caused it, each said once.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_words = next.to_string();
        if !text.contains(&next_words) {
            text = format!("{text}: {next_words}");
        }
        cause = next.source();
    }
    text
}

/// The cause of this type.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_is_not_wrapped_is_read() {
        let body = "<?xml version=\"1.0\"?>\n<InvalidChangeBatch xmlns=\"x\"><Messages><Message>Tried \
                    [name=&apos;a&apos;]</Message><Message>two</Message></Messages></InvalidChangeBatch>";
        let code = Some("InvalidChangeBatch".to_owned());
        assert_eq!(
            unwrapped(body),
            (code, Some("Tried [name='a']; two".into()))
        );
        assert_eq!(unwrapped("Bad Gateway"), (None, None));
    }

    #[test]
    fn an_endpoint_is_read_by_nobody_on_the_way() {
        for (text, is_one) in [
            ("https://route53.example", true),
            ("http://127.0.0.1:5000", true),
            ("http://[::1]:5000", true),
            ("http://localhost:5000", false),
            ("http://192.0.2.1", false),
            ("ftp://127.0.0.1", false),
            ("route53.example", false),
        ] {
            assert_eq!(is_endpoint(text), is_one, "{text}");
        }
    }
}
