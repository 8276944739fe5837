//! The preview as those reach it who ask for it: at a port of its own.

use reqwest::Url;

use super::super::PointerError;
use super::super::outside::Outside;
use super::rules::Listener;

/// Where the candidate is reached while it is shown.
#[derive(Debug)]
pub(super) struct Preview {
    outside: Outside,
    command: String,
}

impl Preview {
    /// At `listener`, of a service that is reached at `url` by the name `host`.
    ///
    /// # Errors
    /// Where the URL is none.
    pub(super) fn new(
        url: &str,
        listener: &Listener,
        host: Option<&str>,
    ) -> Result<Self, PointerError> {
        let url = address(url, listener).ok_or_else(|| PointerError::Failed {
            what: format!("`{url}` is not a URL"),
            hint: None,
        })?;
        let outside = Outside::new(url.as_str(), host)?;
        let host = host.map_or(String::new(), |host| format!("-H 'Host: {host}' "));
        let command = format!("curl {host}{url}");
        Ok(Self { outside, command })
    }

    pub(super) fn outside(&self) -> &Outside {
        &self.outside
    }

    /// How a person asks.
    pub(super) fn command(&self) -> String {
        self.command.clone()
    }
}

/// The service's URL at another address and port. A certificate is for a name, which then stays.
fn address(url: &str, listener: &Listener) -> Option<Url> {
    let mut url: Url = url.parse().ok()?;
    url.set_path("/");
    url.set_query(None);
    url.set_fragment(None);
    url.set_port(Some(listener.port)).ok()?;
    let is_named = url.scheme() == "https" && url.domain().is_some();
    if let Some(ip) = listener.address.filter(|_| !is_named) {
        url.set_ip_host(ip).ok()?;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str, listener: &str, host: Option<&str>) -> Option<String> {
        let listener = Listener::read(listener)?;
        let preview = Preview::new(url, &listener, host).ok()?;
        Some(preview.command())
    }

    #[test]
    fn a_person_is_told_where_it_is() {
        let url = "http://192.0.2.7/shop?a=1#b";
        assert_eq!(
            told(url, "192.0.2.7:8081", None).as_deref(),
            Some("curl http://192.0.2.7:8081/")
        );
        assert_eq!(
            told(url, "[2001:db8::7]:8081", Some("shop.example")).as_deref(),
            Some("curl -H 'Host: shop.example' http://[2001:db8::7]:8081/")
        );
        assert_eq!(
            told("http://shop.example", ":8081", None).as_deref(),
            Some("curl http://shop.example:8081/")
        );
        let tls = "https://shop.example";
        assert_eq!(
            told(tls, "192.0.2.7:8443", None).as_deref(),
            Some("curl https://shop.example:8443/")
        );
    }
}
