//! Who asks: what a request brings, held against what `access` knows. Whoever is
//! let in is found among the request's extensions, as the [`Caller`] that a door
//! then does everything through.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use notification_access::{Credential, Denied, Grant, Presented, Unauthenticated};
use notification_hub::{Caller, RefusalReason};

use crate::address::{came_by_proxy, client_address};
use crate::handoff::Handoff;
use crate::http::Http;
use crate::problem::Problem;
use crate::resource_metadata::scope_of;
use crate::stream;
use crate::wire::Wire;

/// The cookie of a session. Browsers take one of this name only from a page's
/// own host, and only with `Secure` (RFC 6265bis, section 4.1.3.2).
pub(crate) const COOKIE: &str = "__Host-notification-session";

/// Query parameters in which people put what must not be in a URL.
const NOT_IN_A_URL: [&str; 10] = [
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "bearer",
    "jwt",
    "key",
    "password",
    "token",
];

/// Makes the answer of a refusal, from its status and a sentence.
pub(crate) type MakeRefusal = fn(StatusCode, &str) -> Response;

/// What is in front of all doors, behind the guard.
pub(crate) async fn identify(
    State((http, refusal)): State<(Http, MakeRefusal)>,
    mut request: Request,
    next: Next,
) -> Response {
    let is_mcp = request.uri().path() == "/mcp";
    let address = address(&http, request.extensions(), request.headers());
    let has_credentials = request.headers().contains_key(header::AUTHORIZATION);
    let found = find(&http, &request, address);
    let mut token = None;
    let response = match found {
        Ok(found) => {
            let is_known = found.is_some();
            token = found.as_ref().and_then(Found::token);
            if let Some(Found { caller, ticket }) = found {
                request.extensions_mut().insert(caller);
                if let Some(ticket) = ticket {
                    request.extensions_mut().insert(ticket);
                }
            }
            match is_mcp && !is_known {
                true => Err(missing()),
                false => Ok(next.run(request).await),
            }
        }
        Err(problem) => Err(problem),
    };
    let mut response = response.unwrap_or_else(|problem| {
        let reason = match problem.status() {
            StatusCode::TOO_MANY_REQUESTS => RefusalReason::Limited,
            StatusCode::FORBIDDEN => RefusalReason::Foreign,
            _ => RefusalReason::Unauthenticated,
        };
        http.hub.refused(reason, address, problem.detail());
        match is_mcp {
            true => problem.into_response_as(refusal),
            false => problem.into_response(),
        }
    });
    let refused = Refused {
        is_mcp,
        has_credentials,
        token,
    };
    refused.challenge(&http, &mut response);
    response
}

/// What came out of looking who asks.
struct Found {
    caller: Caller,
    /// The ticket it came with, if it did.
    ticket: Option<TicketFilter>,
}

impl Found {
    /// Whoever came with a token, for which another can be asked.
    fn token(&self) -> Option<Caller> {
        let credential = &self.caller.principal().credential;
        matches!(credential, Credential::Token(_)).then(|| self.caller.clone())
    }
}

/// What the ticket that was redeemed is for.
#[derive(Clone, Debug)]
pub(crate) struct TicketFilter(pub(crate) notification_event::Filter);

/// Who asks; none if he does not say, and has to where that matters.
fn find(http: &Http, request: &Request, address: Option<IpAddr>) -> Result<Option<Found>, Problem> {
    let access = http.hub.access();
    access.admit_request(address)?;
    let (headers, uri) = (request.headers(), request.uri());
    refuse_secrets(uri)?;
    let bearer = bearer(headers)?;
    if let Some(ticket) = ticket(request)? {
        if bearer.is_some() {
            let detail = "either a ticket or an Authorization header, not both";
            return Err(Problem::bad_request(detail));
        }
        let ticket = access.redeem(&ticket, Http::now())?;
        access.admit_request_of(&ticket.principal)?;
        return Ok(Some(Found {
            caller: http.hub.caller(ticket.principal, address),
            ticket: Some(TicketFilter(ticket.filter)),
        }));
    }
    let cookie = cookie(headers)?;
    let presented = match (&bearer, &cookie) {
        (Some(text), _) => Presented::Bearer(text),
        (None, Some(text)) => {
            only_own_pages(http, request)?;
            Presented::Session(text)
        }
        (None, None) => Presented::Nothing,
    };
    let principal = match access.authenticate(presented, address, Http::now()) {
        Ok(principal) => principal,
        Err(Unauthenticated::Missing) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if principal.is_local() && came_by_proxy(headers) && !http.settings().is_open_to_proxies {
        return Err(only_from_here());
    }
    access.admit_request_of(&principal)?;
    Ok(Some(Found {
        caller: http.hub.caller(principal, address),
        ticket: None,
    }))
}

/// From where a request comes; none if it did not come over a socket.
pub(crate) fn address(http: &Http, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let wire = extensions.get::<Arc<Wire>>().map(|wire| wire.peer());
    let peer = wire.or_else(|| extensions.get::<Handoff>().map(|h| h.wire.peer()))?;
    let trusted = &http.settings().trusted_proxies;
    Some(client_address(peer.ip(), headers, trusted))
}

/// The credential of `Authorization: Bearer …` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next(), values.next()) else {
        return Err(Problem::bad_request(
            "Authorization: expected this header once",
        ));
    };
    let Some(value) = value else {
        return Ok(None);
    };
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    let credential = text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match credential.map(|(_, credential)| credential.trim()) {
        Some(credential) if !credential.is_empty() => Ok(Some(credential.to_owned())),
        _ => {
            let detail = "Authorization: expected Bearer and a key or token";
            Err(Problem::new(StatusCode::UNAUTHORIZED, detail))
        }
    }
}

/// The ticket in the query of a stream.
fn ticket(request: &Request) -> Result<Option<String>, Problem> {
    if request.method() != Method::GET || !stream::is_path(request.uri().path()) {
        return Ok(None);
    }
    let mut tickets = query(request.uri()).filter(|(name, _)| name == "ticket");
    let ticket = tickets.next().map(|(_, ticket)| ticket.into_owned());
    match tickets.next() {
        Some(_) => Err(Problem::bad_request("ticket: expected this parameter once")),
        None => Ok(ticket),
    }
}

/// The value of our cookie (RFC 6265, section 5.4).
fn cookie(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let values = headers.get_all(header::COOKIE).iter();
    let pairs = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(name, _)| *name == COOKIE);
    let found = ours.next().map(|(_, value)| value.to_owned());
    match ours.next() {
        Some(_) => Err(Problem::bad_request("Cookie: expected one session")),
        None => Ok(found),
    }
}

/// A cookie comes along whoever made the browser ask, so what comes with one
/// has to come from a page of this server: the browser itself says so, in
/// Sec-Fetch-Site or Origin. To read without either is what browsers did before
/// they said it; to change something is not.
fn only_own_pages(http: &Http, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let site = headers.get("sec-fetch-site");
    let is_own_site = site.map(|site| site == "same-origin" || (site == "none" && is_reading));
    let origin = headers.get(header::ORIGIN);
    let is_own_origin = origin.map(|origin| {
        let guard = &http.settings().guard;
        guard.is_own_origin(origin, request.uri(), headers)
    });
    match (is_own_site, is_own_origin) {
        (Some(false), _) | (_, Some(false)) => {
            let detail = "the cookie of a session is taken from this server's own pages only; \
                          other pages use tickets or tokens";
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
        (None, None) if !is_reading => {
            let detail = "with the cookie of a session, a request that changes something needs \
                          the header Origin or Sec-Fetch-Site, as browsers send them";
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
        _ => Ok(()),
    }
}

/// URLs are logged, kept in histories, and sent on in Referer.
fn refuse_secrets(uri: &Uri) -> Result<(), Problem> {
    let secret = query(uri).find_map(|(name, _)| {
        let known = NOT_IN_A_URL.iter();
        known
            .copied()
            .find(|known| name.eq_ignore_ascii_case(known))
    });
    match secret {
        None => Ok(()),
        Some(name) => {
            let detail = format!(
                "{name}: keys and tokens are not taken from a URL, where logs and histories keep \
                 them; send Authorization: Bearer, or, from an EventSource, get a ticket with \
                 POST /v1/tickets. Whatever this was should be revoked"
            );
            Err(Problem::bad_request(detail))
        }
    }
}

fn query(uri: &Uri) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
}

/// Whoever comes by a proxy may be anywhere.
fn only_from_here() -> Problem {
    let detail = "this request came by a proxy, and this server is open to its own machine only: \
                  create a key (notification-server key create --name admin --allow admin) and \
                  restart it, or set insecure_no_auth if everyone who reaches the proxy may do \
                  everything";
    Problem::new(StatusCode::FORBIDDEN, detail)
}

fn missing() -> Problem {
    let detail = "authentication is required: send Authorization: Bearer with a key or a token";
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

/// A request that is perhaps refused.
struct Refused {
    is_mcp: bool,
    has_credentials: bool,
    /// Who came with a token, if it was good.
    token: Option<Caller>,
}

impl Refused {
    /// Says how to be let in (RFC 6750, section 3; RFC 9728, section 5.1).
    fn challenge(&self, http: &Http, response: &mut Response) {
        let denied = response.extensions().get::<Denied>();
        let error = match (response.status(), denied) {
            (StatusCode::UNAUTHORIZED, _) if self.has_credentials => {
                r#", error="invalid_token""#.to_owned()
            }
            (StatusCode::UNAUTHORIZED, _) => String::new(),
            (StatusCode::FORBIDDEN, Some(Denied { needed })) => {
                let scope = self.scope(needed);
                format!(r#", error="insufficient_scope", scope="{scope}""#)
            }
            _ => return,
        };
        let metadata = match http.config.authorization_servers.is_empty() {
            true => String::new(),
            false => {
                let (url, path) = (&http.config.base_url, if self.is_mcp { "/mcp" } else { "" });
                format!(r#", resource_metadata="{url}/.well-known/oauth-protected-resource{path}""#)
            }
        };
        let challenge = format!(r#"Bearer realm="notification-server"{error}{metadata}"#);
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
    }

    /// What the next token has to be asked for: what this one allows, which would
    /// be lost with it, and what was missing (MCP 2025-11-25, "Scope Challenge Handling").
    fn scope(&self, needed: &Grant) -> String {
        let Some(caller) = &self.token else {
            return needed.to_string();
        };
        let own = caller.principal().grants.iter().map(Grant::to_string);
        let scopes: BTreeSet<_> = own.chain([scope_of(needed)]).collect();
        Vec::from_iter(scopes).join(" ")
    }
}

/// Whoever asks has to be known.
impl FromRequestParts<Http> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Response> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| {
            let problem = missing();
            let reason = RefusalReason::Unauthenticated;
            let address = address(http, &parts.extensions, &parts.headers);
            http.hub.refused(reason, address, problem.detail());
            problem.into_response()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_strictly() {
        let check = |values: &[&'static str], expected: Result<Option<&str>, u16>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            let read = bearer(&headers).map_err(|problem| problem.status().as_u16());
            assert_eq!(
                read.as_ref().map(Option::as_deref),
                expected.as_ref().map(|e| *e),
                "{values:?}"
            );
        };
        check(&[], Ok(None));
        check(&["Bearer a.b"], Ok(Some("a.b")));
        check(&["bearer  a "], Ok(Some("a")));
        check(&["Bearer"], Err(401));
        check(&["Bearer "], Err(401));
        check(&["Basic YTpi"], Err(401));
        check(&["Bearer a", "Bearer b"], Err(400));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let check = |values: &[&'static str], expected: Result<Option<&str>, u16>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::COOKIE, value.parse().unwrap());
            }
            let read = cookie(&headers).map_err(|problem| problem.status().as_u16());
            assert_eq!(
                read.as_ref().map(Option::as_deref),
                expected.as_ref().map(|e| *e),
                "{values:?}"
            );
        };
        check(&[], Ok(None));
        check(&["a=b; __Host-notification-session=x; c"], Ok(Some("x")));
        check(&["a=b", "__Host-notification-session=x=y"], Ok(Some("x=y")));
        check(&["x__Host-notification-session=x"], Ok(None));
        check(
            &[
                "__Host-notification-session=x",
                "__Host-notification-session=y",
            ],
            Err(400),
        );
    }

    #[test]
    fn secrets_are_not_taken_from_a_url() {
        let check = |uri: &'static str, ok: bool| {
            let refused = refuse_secrets(&Uri::from_static(uri)).err();
            assert_eq!(refused.is_none(), ok, "{uri}");
            if let Some(problem) = refused {
                assert!(!problem.detail().contains("s3cret"));
            }
        };
        check("/v1/stream?topic=key", true);
        check("/v1/stream?ticket=tkt_x", true);
        check("/v1/stream?token=s3cret", false);
        check("/v1/stream?Access%5FToken=s3cret", false);
        check("/mcp?api_key=s3cret", false);
    }
}
