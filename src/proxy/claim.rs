//! What a service claims of the proxy: an address to listen on with the hosts it answers for there,
//! or the addresses of its slots.
//!
//! Pure. The proxy refuses a write by this, and a deploy knows by it beforehand that it would.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::control::{ControlError, Entry};
use super::refuse::{host_taken, listen_taken};
use super::routes::normal_host;
use super::table::{addresses, meet, parse_listen};

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
    /// As in [`Entry::slots`].
    pub slots: &'a BTreeMap<String, String>,
}

impl<'a> Claim<'a> {
    /// That of an entry.
    pub fn of(entry: &'a Entry) -> Claim<'a> {
        Claim {
            service: &entry.service,
            listen: &entry.listen,
            hosts: &entry.hosts,
            shown: entry.preview.as_ref().map_or(&[], |preview| &preview.hosts),
            slots: &entry.slots,
        }
    }

    /// Every address that is the service's.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        addresses(self.listen, self.slots)
    }

    /// Refuses what another service of `entries` has: a host on the same listener, or the address of
    /// a slot, which nobody shares.
    ///
    /// # Errors
    ///
    /// Where one has.
    pub fn refuse_taken<'b>(
        &self,
        entries: impl IntoIterator<Item = &'b Entry>,
    ) -> Result<(), ControlError> {
        let at = parse_listen(self.listen).ok();
        let others = entries.into_iter().map(Claim::of);
        for other in others.filter(|other| other.service != self.service) {
            if let Some((own, its)) = self.shared_address(&other) {
                return Err(listen_taken(own, other.service, its));
            }
            if at.is_some()
                && parse_listen(other.listen).ok() == at
                && let Some(host) = self.shared_host(&other)
            {
                return Err(host_taken(other.service, host, self.listen));
            }
        }
        Ok(())
    }

    /// Addresses of both that meet, where one of them is a slot's.
    fn shared_address(&self, other: &Claim<'_>) -> Option<(SocketAddr, SocketAddr)> {
        if self.slots.is_empty() && other.slots.is_empty() {
            return None;
        }
        self.addresses().find_map(|own| {
            let mut its = other.addresses();
            Some((own, its.find(|its| meet(own, *its))?))
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

    /// Who may already listen at `address`, one of the service's, with `entries` served and the
    /// addresses `open` listened on; `None` where it is open itself.
    ///
    /// # Errors
    ///
    /// Where another service listens so that it cannot be opened.
    pub fn others<'b>(
        &self,
        address: SocketAddr,
        entries: impl Clone + IntoIterator<Item = &'b Entry>,
        open: impl Clone + IntoIterator<Item = SocketAddr>,
    ) -> Result<Option<Others>, ControlError> {
        if open.clone().into_iter().any(|open| open == address) {
            return Ok(None);
        }
        let mut found = Others::None;
        for open in open.into_iter().filter(|open| meet(*open, address)) {
            let mut others = entries.clone().into_iter();
            let listens = |it: &Entry| it.listens().any(|listens| listens == open);
            if let Some(other) = others.find(|it| it.service != self.service && listens(it)) {
                return Err(listen_taken(address, &other.service, open));
            }
            found = Others::Own;
        }
        Ok(Some(found))
    }
}
