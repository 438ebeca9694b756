use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::stream;

/// Who may talk to the server, as far as a browser tells: against pages of
/// other sites, and against names that suddenly resolve to this machine (DNS
/// rebinding).
#[derive(Clone, Debug, Default)]
pub struct GuardConfig {
    /// Whether only this machine can reach the server.
    pub loopback_only: bool,
    /// Names (with or without a port) by which the server is reached, beside
    /// addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Whether it speaks TLS, so that only pages that came that way are its own.
    pub is_secure: bool,
    /// Which sites' pages may use the server.
    pub origins: Origins,
}

/// Which sites' pages may use the server, beside those that it serves itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Those of this machine, on any port.
    #[default]
    Loopback,
    /// These, as browsers write them: `https://app.example.com`.
    Listed(Vec<String>),
    /// All of them.
    Any,
}

impl GuardConfig {
    /// Refuses a request by its Host or Origin, with a sentence for the client.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), (StatusCode, String)> {
        let host = host(uri, headers).ok_or_else(|| {
            (
                StatusCode::BAD_REQUEST,
                "exactly one valid Host is needed".to_owned(),
            )
        })?;
        if !self.allows_host(&host) {
            let detail = format!(
                "Host {host} is not allowed; allowed_hosts in the configuration names those that are"
            );
            return Err((StatusCode::FORBIDDEN, detail));
        }
        if is_embedded_elsewhere(headers) || is_stream_of_a_link(uri, headers) {
            let detail =
                "pages of other sites may not embed what this server answers, nor link to a stream";
            return Err((StatusCode::FORBIDDEN, detail.to_owned()));
        }
        for origin in headers.get_all(header::ORIGIN) {
            if !self.allows_origin(origin, Some(&host)) {
                let detail = "this Origin is not allowed; allowed_origins in the configuration names those that are";
                return Err((StatusCode::FORBIDDEN, detail.to_owned()));
            }
        }
        Ok(())
    }

    /// Whether pages of this origin are this server's own, for a request that passed.
    pub(crate) fn is_own_origin(
        &self,
        origin: &HeaderValue,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        // What came in clear, anybody on the way could have written.
        let may_be_ours = !self.is_secure || origin.starts_with("https://");
        let origin = authority_of(origin);
        may_be_ours && origin.is_some() && origin == host(uri, headers)
    }

    /// What browsers are told about other origins: those that are `allowed`.
    pub(crate) fn cors(
        allowed: impl Fn(&HeaderValue) -> bool + Clone + Send + Sync + 'static,
    ) -> CorsLayer {
        let allowed = AllowOrigin::predicate(move |origin, _| allowed(origin));
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            .allow_headers(
                [
                    "accept",
                    "audience",
                    "authorization",
                    "cache-control",
                    "content-type",
                    "last-event-id",
                    "mcp-method",
                    "mcp-name",
                    "mcp-protocol-version",
                    "mcp-session-id",
                    "priority",
                    "tags",
                    "title",
                    "type",
                ]
                .map(HeaderName::from_static),
            )
            .expose_headers(
                ["mcp-session-id", "retry-after", "www-authenticate"].map(HeaderName::from_static),
            )
            .allow_private_network(true)
            .max_age(std::time::Duration::from_secs(600))
    }

    fn allows_host(&self, host: &Authority) -> bool {
        let listed = |allowed: &String| {
            allowed.eq_ignore_ascii_case(host.as_str()) || allowed.eq_ignore_ascii_case(host.host())
        };
        match ip_address(host.host()) {
            // An address cannot be rebound, so it only has to be one we may listen on.
            Some(ip) if ip.is_loopback() || !self.loopback_only => true,
            _ => is_localhost(host.host()) || self.allowed_hosts.iter().any(listed),
        }
    }

    /// `host` is the request's own, which has been allowed: its pages are ours.
    pub(crate) fn allows_origin(&self, origin: &HeaderValue, host: Option<&Authority>) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let authority = authority_of(origin);
        // Without TLS of our own a proxy may be speaking it for us.
        let may_be_ours = !self.is_secure || origin.starts_with("https://");
        if may_be_ours && host.is_some() && host == authority.as_ref() {
            return true;
        }
        match &self.origins {
            Origins::Any => true,
            Origins::Listed(listed) => listed.iter().any(|o| o.eq_ignore_ascii_case(origin)),
            Origins::Loopback => authority.is_some_and(|authority| {
                let host = authority.host();
                is_localhost(host) || ip_address(host).is_some_and(|ip| ip.is_loopback())
            }),
        }
    }
}

/// The authority of an origin, as browsers write it.
fn authority_of(origin: &str) -> Option<Authority> {
    let rest = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))?;
    rest.parse().ok().filter(has_no_userinfo)
}

/// Whether a page of another site has a browser fetch this as an image, a
/// script, a frame and the like, for which it sends no Origin (Fetch Metadata,
/// section 2). Following a link is not that.
fn is_embedded_elsewhere(headers: &HeaderMap) -> bool {
    let frames = ["frame", "iframe", "object", "embed"];
    let is_link = says(headers, "sec-fetch-mode", "navigate")
        && !frames
            .iter()
            .any(|frame| says(headers, "sec-fetch-dest", frame));
    says(headers, "sec-fetch-site", "cross-site")
        && !is_link
        && !headers.contains_key(header::ORIGIN)
}

/// Whether a link of another site leads to a stream. There is nothing to see
/// there, but to open it may move the place of a durable client.
fn is_stream_of_a_link(uri: &Uri, headers: &HeaderMap) -> bool {
    stream::is_path(uri.path())
        && says(headers, "sec-fetch-site", "cross-site")
        && says(headers, "sec-fetch-mode", "navigate")
}

fn says(headers: &HeaderMap, name: &str, value: &str) -> bool {
    headers.get(name).is_some_and(|given| given == value)
}

/// The host that a request is for: of its target if that has one (RFC 9112,
/// section 3.2.2), else of the Host header. None if that is not one authority.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    let authority: Authority = match uri.authority() {
        Some(authority) => authority.clone(),
        None => host?.to_str().ok()?.parse().ok()?,
    };
    has_no_userinfo(&authority).then_some(authority)
}

/// Browsers never send it here (RFC 9110, section 4.2.4), others mean to deceive.
fn has_no_userinfo(authority: &Authority) -> bool {
    !authority.as_str().contains('@')
}

fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}

fn ip_address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &GuardConfig, host: &str, origin: Option<&str>, expected: u16) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let status = match guard.check(&Uri::from_static("/"), &headers) {
            Ok(()) => 200,
            Err((status, _)) => status.as_u16(),
        };
        assert_eq!(status, expected, "{host} {origin:?}");
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_pass() {
        let guard = GuardConfig {
            loopback_only: true,
            ..GuardConfig::default()
        };
        for host in [
            "localhost",
            "localhost:8005",
            "LOCALHOST",
            "127.0.0.1:8005",
            "127.1.2.3",
            "[::1]:8005",
        ] {
            check(&guard, host, None, 200);
        }
        for host in [
            "evil.test",
            "evil.test:8005",
            "localhost.evil.test",
            "192.0.2.1",
            "127.0.0.1.evil.test",
        ] {
            check(&guard, host, None, 403);
        }
        for host in [
            "",
            "a b",
            "http://localhost",
            "user@localhost",
            "localhost@evil.test",
        ] {
            check(&guard, host, None, 400);
        }
    }

    #[test]
    fn names_have_to_be_listed_and_addresses_not() {
        let guard = GuardConfig {
            allowed_hosts: vec!["events.example.com".into(), "other.example.com:8443".into()],
            ..GuardConfig::default()
        };
        check(&guard, "192.0.2.1:8005", None, 200);
        check(&guard, "events.example.com", None, 200);
        check(&guard, "Events.example.com:8005", None, 200);
        check(&guard, "other.example.com:8443", None, 200);
        check(&guard, "other.example.com:8444", None, 403);
        check(&guard, "evil.test", None, 403);
    }

    #[test]
    fn two_hosts_are_one_too_many() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost".parse().unwrap());
        headers.append(header::HOST, "localhost".parse().unwrap());
        let refused = GuardConfig::default().check(&Uri::from_static("/"), &headers);
        assert_eq!(refused.unwrap_err().0, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn origins_of_this_machine_pass_by_default() {
        let guard = GuardConfig::default();
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1:8005",
            "https://localhost",
            "http://[::1]:5173",
        ] {
            check(&guard, "localhost:8005", Some(origin), 200);
        }
        for origin in [
            "http://evil.test",
            "null",
            "http://localhost.evil.test",
            "file://",
            "http://192.0.2.1",
            "http://evil.test@localhost",
            "",
        ] {
            check(&guard, "localhost:8005", Some(origin), 403);
        }
        // A page that this server itself served, wherever it is reached.
        check(&guard, "192.0.2.1:8005", Some("http://192.0.2.1:8005"), 200);
        check(&guard, "192.0.2.1:8005", Some("http://192.0.2.1:9000"), 403);
        check(
            &guard,
            "192.0.2.1:8005",
            Some("https://192.0.2.1:8005"),
            200,
        );
    }

    #[test]
    fn under_tls_only_a_page_that_came_that_way_is_our_own() {
        let guard = GuardConfig {
            is_secure: true,
            ..GuardConfig::default()
        };
        check(
            &guard,
            "192.0.2.1:8005",
            Some("https://192.0.2.1:8005"),
            200,
        );
        check(&guard, "192.0.2.1:8005", Some("http://192.0.2.1:8005"), 403);
    }

    #[test]
    fn what_other_sites_embed_is_refused_and_links_are_not() {
        let check_at = |path, headers: &[(&'static str, &'static str)], expected: bool| {
            let mut map = HeaderMap::new();
            map.insert(header::HOST, "localhost".parse().unwrap());
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            let passes = GuardConfig::default()
                .check(&Uri::from_static(path), &map)
                .is_ok();
            assert_eq!(passes, expected, "{path} {headers:?}");
        };
        let check = |headers: &[(&'static str, &'static str)], expected| {
            check_at("/", headers, expected);
        };
        check(
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "no-cors"),
            ],
            false,
        );
        check(&[("sec-fetch-site", "cross-site")], false);
        check(
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
            ],
            true,
        );
        check(
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "no-cors"),
            ],
            true,
        );
        let other_site = ("sec-fetch-site", "cross-site");
        let navigates = ("sec-fetch-mode", "navigate");
        check(
            &[other_site, navigates, ("sec-fetch-dest", "document")],
            true,
        );
        for frame in ["frame", "iframe", "object", "embed"] {
            check(&[other_site, navigates, ("sec-fetch-dest", frame)], false);
        }
        for stream in ["/v1/stream?client_id=x&durable=true", "/mcp"] {
            check_at(stream, &[other_site, navigates], false);
            // Somebody who types the address, and a page of the server itself.
            check_at(stream, &[("sec-fetch-site", "none"), navigates], true);
            check_at(
                stream,
                &[("sec-fetch-site", "same-origin"), navigates],
                true,
            );
        }
        let cors = ("sec-fetch-mode", "cors");
        check(
            &[
                ("sec-fetch-site", "cross-site"),
                cors,
                ("origin", "http://localhost:1"),
            ],
            true,
        );
        check(
            &[
                ("sec-fetch-site", "cross-site"),
                cors,
                ("origin", "http://evil.test"),
            ],
            false,
        );
    }

    #[test]
    fn listed_origins_replace_the_default() {
        let guard = GuardConfig {
            origins: Origins::Listed(vec!["https://app.example.com".into()]),
            ..GuardConfig::default()
        };
        check(&guard, "localhost", Some("https://app.example.com"), 200);
        check(&guard, "localhost", Some("http://app.example.com"), 403);
        check(&guard, "localhost", Some("http://localhost:3000"), 403);
        let any = GuardConfig {
            origins: Origins::Any,
            ..GuardConfig::default()
        };
        check(&any, "localhost", Some("null"), 200);
    }
}
