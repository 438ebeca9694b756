use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use notification_event::Invalid;
use url::{Host, Url};

use crate::Guard;

/// The longest that an address may be, in bytes.
const MAX_LEN: usize = 2_048;

/// Where deliveries go: an address of a receiver. What is beyond its host may be
/// a secret of the receiver, so that is not shown by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    uri: Uri,
}

impl Endpoint {
    /// Reads an address: https, or http to this machine where the guard lets that be.
    pub fn parse(text: &str, guard: &Guard) -> Result<Self, Invalid> {
        let expected = match guard.allow_loopback {
            true => "an https:// URL, or http:// on this machine, without user, password and #",
            false => "an https:// URL without user, password and #",
        };
        let refused = || Invalid::value(expected);
        if text.len() > MAX_LEN {
            return Err(Invalid::value(format!("at most {MAX_LEN} bytes")));
        }
        let url = Url::parse(text).map_err(|_| refused())?;
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(refused()),
        };
        let is_safe = match url.scheme() {
            "https" => true,
            "http" => guard.allow_loopback && is_loopback,
            _ => false,
        };
        let has_more =
            !url.username().is_empty() || url.password().is_some() || url.fragment().is_some();
        if !is_safe || has_more {
            return Err(refused());
        }
        let endpoint = Self {
            uri: url.as_str().parse().map_err(|_| refused())?,
            url,
        };
        match endpoint.address() {
            Some(address) if !guard.permits(address) => Err(Invalid::value(
                "a public address: this one is not, and is not among webhooks.allow_networks",
            )),
            _ => Ok(endpoint),
        }
    }

    /// As it was given, in one spelling.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Its path, without a query.
    pub(crate) fn path(&self) -> &str {
        self.url.path()
    }

    /// Scheme, host and port: what is the same for all receivers at one place.
    pub(crate) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The document of that place which says where receivers are.
    pub(crate) fn receivers_document(&self) -> Uri {
        let mut document = self.url.clone();
        document.set_path("/.well-known/mcp-webhook-receiver.json");
        document.set_query(None);
        document.as_str().parse().expect("a part of a URL")
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Its host, if that is an address and no name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.url.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.url.host_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_of_public_places_is_taken() {
        let guard = Guard::default();
        for right in [
            "https://hooks.example.com/a?b=c",
            "https://hooks.example.com:8443/",
            "https://8.8.8.8/",
            "https://[2606:4700::1]/",
            "https://localhost/", // refused when it is resolved
        ] {
            assert!(Endpoint::parse(right, &guard).is_ok(), "{right}");
        }
        for wrong in [
            "http://hooks.example.com/",
            "http://127.0.0.1/",
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://[fd00:ec2::254]/",
            "https://10.0.0.1/",
            "https://user@example.com/",
            "https://user:password@example.com/",
            "https://example.com/#fragment",
            "ftp://example.com/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://",
            "/relative",
            "",
            &format!("https://example.com/{}", "x".repeat(MAX_LEN)),
        ] {
            assert!(Endpoint::parse(wrong, &guard).is_err(), "{wrong}");
        }
    }

    #[test]
    fn this_machine_is_reached_where_that_is_allowed_and_by_http_only_there() {
        let guard = Guard {
            allow_loopback: true,
            ..Guard::default()
        };
        for right in [
            "http://127.0.0.1:3000/h",
            "http://localhost:3000/h",
            "http://[::1]/",
        ] {
            assert!(Endpoint::parse(right, &guard).is_ok(), "{right}");
        }
        for wrong in [
            "http://example.com/",
            "http://10.0.0.1/",
            "http://169.254.169.254/",
        ] {
            assert!(Endpoint::parse(wrong, &guard).is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_shows_its_host_and_no_more() {
        let text = "https://Hooks.Example.com/T000/secret?token=s";
        let endpoint = Endpoint::parse(text, &Guard::default()).unwrap();
        assert_eq!(format!("{endpoint:?}"), "Endpoint(hooks.example.com)");
        assert_eq!(endpoint.origin(), "https://hooks.example.com");
        let document = "https://hooks.example.com/.well-known/mcp-webhook-receiver.json";
        assert_eq!(endpoint.receivers_document().to_string(), document);
    }
}
