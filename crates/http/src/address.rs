use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// From where a request comes: who is at the other end of its connection, or,
/// if that is a proxy that is trusted, whoever that says.
///
/// Each proxy adds the address that it was called from at the end, so the list
/// is read from there, for as long as what is there is trusted. What
/// is before that could be anybody's invention.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut address = peer.to_canonical();
    if !is_trusted(&address) {
        return address;
    }
    for said in said(headers).iter().rev() {
        // A proxy that does not say a usable address has hidden it.
        let Some(before) = said else { break };
        address = before.to_canonical();
        if !is_trusted(&address) {
            break;
        }
    }
    address
}

/// The addresses that `Forwarded` (RFC 7239) says, or else `X-Forwarded-For`,
/// in their order; none for what is no address.
fn said(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let elements = |name: HeaderName| {
        let values = headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap_or_default().split(','))
    };
    match headers.contains_key(header::FORWARDED) {
        true => elements(header::FORWARDED)
            .flatten()
            .map(forwarded_for)
            .collect(),
        false => elements(X_FORWARDED_FOR).flatten().map(address).collect(),
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

    #[test]
    fn only_what_a_trusted_proxy_says_counts() {
        let check = |peer: &str, headers: &[(&'static str, &str)], expected: &str| {
            let trusted = ["10.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap());
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            let address = client_address(peer.parse().unwrap(), &map, &trusted);
            assert_eq!(address.to_string(), expected, "{peer} {headers:?}");
        };
        let xff = "x-forwarded-for";
        check("192.0.2.1", &[(xff, "198.51.100.1")], "192.0.2.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[(xff, "198.51.100.1")], "198.51.100.1");
        check(
            "::1",
            &[(xff, "6.6.6.6, 198.51.100.1, 10.1.1.1")],
            "198.51.100.1",
        );
        check(
            "10.0.0.1",
            &[(xff, "6.6.6.6"), (xff, "198.51.100.1:4711")],
            "198.51.100.1",
        );
        check("10.0.0.1", &[(xff, "198.51.100.1, nonsense")], "10.0.0.1");
        check(
            "::ffff:10.0.0.1",
            &[(xff, "[2001:db8::1]:443")],
            "2001:db8::1",
        );
        let forwarded = "forwarded";
        check(
            "10.0.0.1",
            &[(forwarded, "for=198.51.100.1;proto=https")],
            "198.51.100.1",
        );
        check(
            "10.0.0.1",
            &[
                (forwarded, r#"for="[2001:db8::1]:4711", For=10.0.0.9"#),
                (xff, "6.6.6.6"),
            ],
            "2001:db8::1",
        );
        check(
            "10.0.0.1",
            &[(forwarded, "for=_hidden"), (xff, "6.6.6.6")],
            "10.0.0.1",
        );
    }
}
