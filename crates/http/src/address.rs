use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// The proxies in front of the server, and how they say where a request comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Where they are.
    pub networks: Vec<IpNet>,
    /// What they set.
    pub header: ProxyHeader,
}

/// A header in which proxies say where a request comes from. Only one of them
/// counts: a proxy that sets one passes the other on as anybody wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What a proxy adds to the requests that it passes on.
const ADDED_BY_PROXIES: [HeaderName; 6] = [
    X_FORWARDED_FOR,
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// Whether a request has come by a proxy, as far as it shows.
pub(crate) fn came_by_proxy(headers: &HeaderMap) -> bool {
    ADDED_BY_PROXIES
        .iter()
        .any(|name| headers.contains_key(name))
}

/// From where a request comes: who is at the other end of its connection, or,
/// if that is a proxy that is trusted, whoever that says.
///
/// Each proxy adds the address that it was called from at the end, so the list
/// is read from there, for as long as what is there is trusted. What
/// is before that could be anybody's invention.
pub(crate) fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &TrustedProxies,
) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.contain(*address);
    let mut address = peer.to_canonical();
    if !is_trusted(&address) {
        return address;
    }
    for said in trusted.header.addresses(headers).iter().rev() {
        // A proxy that does not say a usable address has hidden it.
        let Some(before) = said else { break };
        address = before.to_canonical();
        if !is_trusted(&address) {
            break;
        }
    }
    address
}

impl TrustedProxies {
    /// Whether one of them is there.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|net| net.contains(&address))
    }
}

impl ProxyHeader {
    /// The addresses that it says, in their order; none for what is no address.
    fn addresses(self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let elements = |name: HeaderName| {
            let values = headers.get_all(name).iter();
            values.flat_map(|value| value.to_str().unwrap_or_default().split(','))
        };
        match self {
            Self::XForwardedFor => elements(X_FORWARDED_FOR).map(address).collect(),
            Self::Forwarded => elements(header::FORWARDED).map(forwarded_for).collect(),
        }
    }
}

/// Of `for=192.0.2.1;proto=http`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(node.trim().trim_matches('"'))
}

/// With or without a port, and with brackets as IPv6 has them then.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    let without_port = || {
        text.rsplit_once(':')
            .and_then(|(host, _)| host.parse().ok())
    };
    text.parse().ok().or_else(without_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: ProxyHeader, peer: &str, headers: &[(&'static str, &str)], expected: &str) {
        let trusted = TrustedProxies {
            networks: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            header,
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let address = client_address(peer.parse().unwrap(), &map, &trusted);
        assert_eq!(address.to_string(), expected, "{peer} {headers:?}");
    }

    #[test]
    fn only_what_a_trusted_proxy_says_counts() {
        let check = |peer: &str, said: &[&str], expected: &str| {
            let headers: Vec<_> = said
                .iter()
                .map(|value| ("x-forwarded-for", *value))
                .collect();
            check(ProxyHeader::XForwardedFor, peer, &headers, expected);
        };
        check("192.0.2.1", &["198.51.100.1"], "192.0.2.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("::1", &["6.6.6.6, 198.51.100.1, 10.1.1.1"], "198.51.100.1");
        check(
            "10.0.0.1",
            &["6.6.6.6", "198.51.100.1:4711"],
            "198.51.100.1",
        );
        check("10.0.0.1", &["198.51.100.1, nonsense"], "10.0.0.1");
        check("::ffff:10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1");
    }

    #[test]
    fn the_standard_header_is_read_where_proxies_set_it() {
        let check = |said: &str, expected: &str| {
            check(
                ProxyHeader::Forwarded,
                "10.0.0.1",
                &[("forwarded", said)],
                expected,
            );
        };
        check("for=198.51.100.1;proto=https", "198.51.100.1");
        check(r#"for="[2001:db8::1]:4711", For=10.0.0.9"#, "2001:db8::1");
        check("for=_hidden", "10.0.0.1");
    }

    #[test]
    fn what_proxies_pass_on_unread_does_not_count() {
        let both = [
            ("forwarded", "for=6.6.6.6"),
            ("x-forwarded-for", "192.0.2.7"),
        ];
        check(ProxyHeader::XForwardedFor, "10.0.0.1", &both, "192.0.2.7");
        check(ProxyHeader::Forwarded, "10.0.0.1", &both, "6.6.6.6");
        check(ProxyHeader::Forwarded, "10.0.0.1", &both[1..], "10.0.0.1");
    }
}
