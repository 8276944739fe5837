//! The one connection to the proxy: over its socket, or through the engine.
//!
//! It is made when it is first needed, verified, and made again once it has ended. It repeats no
//! request: what was under way when it ended is its caller's to judge.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::engine::EngineError;
use crate::proxy::control::{Client, Hello, SLOTS};

use super::container::{self, Found, Stand};
use super::{PointerError, ProxyPlan, Site, words};

/// How the proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Over its socket where that is in reach, else through the engine.
    Auto,
    /// Over its socket only.
    Socket,
    /// Through the engine only.
    Exec,
}

/// Which ways are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ways {
    /// All that [`Control`] allows.
    All,
    /// Not the engine's where the socket may still come: the proxy has just been started.
    SocketFirst,
}

/// Where connections are made and the present one is kept.
pub(super) struct Line {
    site: Site,
    kept: Mutex<Option<Link>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// A verified connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Link {
    client: Arc<Client>,
    /// What the proxy said of itself.
    pub(super) hello: Arc<Hello>,
}

impl Link {
    /// What speaks over it.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Refuses a plan of which the proxy is too old to know what it means.
    ///
    /// # Errors
    /// Where it is.
    pub(super) fn knows(&self, plan: &ProxyPlan, site: &Site) -> Result<(), PointerError> {
        let forwards = self.hello.knows.iter().any(|known| known == SLOTS);
        if plan.slots.is_some() && !forwards {
            return Err(words::knows_no_slots(&self.hello.version, site));
        }
        Ok(())
    }
}

/// What came of reaching for the proxy.
pub(super) enum Reached {
    /// It answers, and is the one meant.
    Open(Link),
    /// Its container is not running.
    Stopped(Found),
    /// Its container runs, but does not answer, for this reason.
    Deaf(Found, String),
    /// The engine has no container of this name.
    Absent,
}

/// Why the socket was no way in.
enum NoSocket {
    /// It was not to be tried.
    Untried,
    /// It is not there, or nothing listens on it: that may change.
    Closed(String),
    /// It cannot be used, for another reason.
    Barred(String),
}

impl Line {
    /// No connection yet.
    pub(super) fn to(site: Site) -> Self {
        let kept = Mutex::default();
        Self { site, kept }
    }

    /// Which proxy.
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    /// The connection, made now if there is none.
    ///
    /// # Errors
    /// Where the engine cannot be asked, the container is a stranger's, or the socket is another
    /// proxy's and no other way was allowed.
    pub(super) async fn reach(&self, ways: Ways) -> Result<Reached, PointerError> {
        let mut kept = self.kept.lock().await;
        if let Some(link) = &*kept
            && link.client.is_open()
        {
            return Ok(Reached::Open(link.clone()));
        }
        *kept = None;
        let (found, socket) = tokio::join!(container::find(&self.site), self.over_socket());
        let Some(found) = found? else {
            return Ok(Reached::Absent);
        };
        if found.stand == Stand::Stopped {
            return Ok(Reached::Stopped(found));
        }
        let why = match socket {
            Ok(link) if link.hello.identity == found.identity => {
                *kept = Some(link.clone());
                return Ok(Reached::Open(link));
            }
            Ok(_) if self.site.control == Control::Socket => return Err(self.other_proxy()),
            Ok(_) => "what answers there is another engine's proxy".to_owned(),
            Err(NoSocket::Untried) => String::new(),
            Err(NoSocket::Closed(why)) => {
                let may_come = ways == Ways::SocketFirst && self.site.docker.is_local();
                if may_come || self.site.control == Control::Socket {
                    return Ok(Reached::Deaf(found, why));
                }
                why
            }
            Err(NoSocket::Barred(why)) => {
                if self.site.control == Control::Socket {
                    return Err(self.site.away(why));
                }
                why
            }
        };
        if found.stand == Stand::Restarting {
            return Ok(Reached::Deaf(
                found,
                "its container is being restarted".into(),
            ));
        }
        match self.through_engine(&found).await {
            Ok(link) if link.hello.identity == found.identity => {
                *kept = Some(link.clone());
                Ok(Reached::Open(link))
            }
            Ok(_) => Ok(Reached::Deaf(
                found,
                "what answers in its container is another proxy".into(),
            )),
            Err(through) => {
                let why = match why.as_str() {
                    "" => format!("through the engine: {through}"),
                    why => format!("over its socket: {why}; through the engine: {through}"),
                };
                Ok(Reached::Deaf(found, why))
            }
        }
    }

    async fn over_socket(&self) -> Result<Link, NoSocket> {
        if self.site.control == Control::Exec {
            return Err(NoSocket::Untried);
        }
        let path = container::socket(&self.site);
        let client = Client::connect(&path).await.map_err(|error| {
            let why = format!("{}: {error}", path.display());
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => NoSocket::Closed(why),
                _ => NoSocket::Barred(why),
            }
        })?;
        greet(client).await.map_err(NoSocket::Closed)
    }

    fn other_proxy(&self) -> PointerError {
        PointerError::Failed {
            what: format!(
                "what answers on `{}` is not the proxy `{}` of engine {}",
                container::socket(&self.site).display(),
                self.site.name,
                self.site.docker.address()
            ),
            hint: Some(
                "name the engine with --engine URL, or another proxy with --proxy NAME".into(),
            ),
        }
    }

    async fn through_engine(&self, found: &Found) -> Result<Link, String> {
        let command = found.relay();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let stdio = self.site.docker.exec_stdio(&found.id, &command).await;
        let stdio = stdio.map_err(|error| match error {
            EngineError::Failed(failure) => failure.what,
            other => other.to_string(),
        })?;
        greet(Client::over(tokio::io::join(stdio.output, stdio.input))).await
    }
}

async fn greet(client: Client) -> Result<Link, String> {
    let hello = client.hello().await.map_err(|error| error.to_string())?;
    let (client, hello) = (Arc::new(client), Arc::new(hello));
    Ok(Link { client, hello })
}
