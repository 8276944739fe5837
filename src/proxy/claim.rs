//! What a service claims of the proxy: an address to listen on, and the hosts it answers for there.
//!
//! Pure. The proxy refuses a write by this, and a deploy knows by it beforehand that it would.

use std::net::SocketAddr;

use super::control::{Code, ControlError, Entry};
use super::refuse::{host_taken, listen_taken};
use super::routes::normal_host;
use super::table::parse_listen;

pub use super::listen::Others;

/// The claim of one service.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Name of the service.
    pub service: &'a str,
    /// As in [`Entry::listen`].
    pub listen: &'a str,
    /// As in [`Entry::hosts`].
    pub hosts: &'a [String],
    /// As in [`super::table::Preview::hosts`].
    pub shown: &'a [String],
}

impl<'a> Claim<'a> {
    /// That of an entry.
    pub fn of(entry: &'a Entry) -> Claim<'a> {
        Claim {
            service: &entry.service,
            listen: &entry.listen,
            hosts: &entry.hosts,
            shown: entry.preview.as_ref().map_or(&[], |preview| &preview.hosts),
        }
    }

    /// Refuses a host that another service of `entries` has on the same listener.
    ///
    /// # Errors
    ///
    /// Where one has.
    pub fn refuse_taken_host<'b>(
        &self,
        entries: impl IntoIterator<Item = &'b Entry>,
    ) -> Result<(), ControlError> {
        let at = parse_listen(self.listen).ok();
        let others = entries.into_iter().map(Claim::of);
        let mut others = others.filter(|other| {
            other.service != self.service && parse_listen(other.listen).ok() == at && at.is_some()
        });
        let taken = others.find_map(|other| Some((other.service, self.shared_host(&other)?)));
        taken.map_or(Ok(()), |(other, host)| {
            Err(host_taken(other, host, self.listen))
        })
    }

    /// A host that both answer for; an empty one stands for the default.
    fn shared_host(&self, other: &Claim<'_>) -> Option<&'a str> {
        if self.hosts.is_empty() && other.hosts.is_empty() {
            return Some("");
        }
        let has = |host: &str| {
            let host = normal_host(host);
            let mut others = other.hosts.iter().chain(other.shown);
            others.any(|own| normal_host(own) == host)
        };
        let mut own = self.hosts.iter().chain(self.shown);
        own.find(|host| has(host)).map(String::as_str)
    }

    /// Who may already listen where this asks for it, with `entries` served and the addresses `open`
    /// listened on; `None` where its own address is open.
    ///
    /// # Errors
    ///
    /// Where another service listens so that it cannot be opened.
    pub fn others<'b>(
        &self,
        entries: impl IntoIterator<Item = &'b Entry>,
        open: impl Clone + IntoIterator<Item = SocketAddr>,
    ) -> Result<Option<Others>, ControlError> {
        let address = parse_listen(self.listen)
            .map_err(|wrong| ControlError::new(Code::BadRequest, wrong))?;
        if open.clone().into_iter().any(|open| open == address) {
            return Ok(None);
        }
        let Some(own) = open.into_iter().find(|open| overlap(*open, address)) else {
            return Ok(Some(Others::None));
        };
        let mut others = entries.into_iter().filter(|it| it.service != self.service);
        match others.find(|other| parse_listen(&other.listen) == Ok(own)) {
            Some(other) => Err(listen_taken(address, &other.service, own)),
            None => Ok(Some(Others::Own)),
        }
    }
}

/// Whether sockets on both addresses would get the same clients.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && any
}
