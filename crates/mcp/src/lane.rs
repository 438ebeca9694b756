use http::{HeaderMap, HeaderName};

use crate::message::Message;

/// Which way of speaking MCP a request belongs to.
///
/// | Lane | GET, HEAD | POST |
/// |---|---|---|
/// | plain | the event stream, for curl and `EventSource` (not for clients that name a version) | stateless calls, answered in JSON |
/// | session | a session's notifications | a session's messages |
/// | modern | – | stateless, per-request metadata, 2026-07-28 and later |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Names neither a session nor a modern version.
    Plain,
    /// Names a session (revision 2025-11-25, Streamable HTTP, "Session Management").
    Session,
    /// Names a version that knows no `initialize`.
    Modern {
        /// The version, as the client wrote it.
        version: String,
    },
}

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The first version that carries its metadata in every request.
const FIRST_MODERN: &str = "2026-07-28";

/// Whether an MCP client asks, who says which version it speaks in every
/// request after `initialize` (revision 2025-06-18, Transports, "Protocol
/// Version Header"). Browsers and curl do not.
pub(crate) fn names_version(headers: &HeaderMap) -> bool {
    headers.contains_key(VERSION)
}

impl Lane {
    /// The lane of a request with these headers, and this message if it is a POST.
    pub(crate) fn of(headers: &HeaderMap, message: Option<&Message>) -> Self {
        let in_header = headers
            .get(VERSION)
            .and_then(|version| version.to_str().ok());
        let in_message = message.and_then(Message::protocol_version);
        let mut versions = in_message.into_iter().chain(in_header);
        if let Some(version) = versions.find(|version| is_modern(version)) {
            return Self::Modern {
                version: version.to_owned(),
            };
        }
        match headers.contains_key(SESSION) {
            true => Self::Session,
            false => Self::Plain,
        }
    }
}

/// Versions are dates, so they are in the order of their text; what is no date
/// is no version.
fn is_modern(version: &str) -> bool {
    version.starts_with(|first: char| first.is_ascii_digit()) && version >= FIRST_MODERN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lane_is_told_by_version_and_session() {
        let check = |in_header: &str, session: bool, in_message: &str, expected: Lane| {
            let mut headers = HeaderMap::new();
            if !in_header.is_empty() {
                headers.insert(VERSION, in_header.parse().unwrap());
            }
            if session {
                headers.insert(SESSION, "s1".parse().unwrap());
            }
            let message = (!in_message.is_empty()).then(|| {
                let body = format!(
                    r#"{{"jsonrpc": "2.0", "id": 1, "method": "m", "params":
                     {{"_meta": {{"io.modelcontextprotocol/protocolVersion": "{in_message}"}}}}}}"#
                );
                Message::read(body.as_bytes()).unwrap()
            });
            let lane = Lane::of(&headers, message.as_ref());
            assert_eq!(lane, expected, "{in_header} {session} {in_message}");
        };
        let modern = |version: &str| Lane::Modern {
            version: version.to_owned(),
        };
        check("", false, "", Lane::Plain);
        check("2025-11-25", false, "", Lane::Plain);
        check("2026-07-27", false, "2025-11-25", Lane::Plain);
        check("nonsense", false, "", Lane::Plain);
        check("", true, "", Lane::Session);
        check("2025-11-25", true, "", Lane::Session);
        check("2026-07-28", false, "", modern("2026-07-28"));
        check("", false, "2026-07-28", modern("2026-07-28"));
        check("2025-11-25", false, "2099-01-01", modern("2099-01-01"));
        check("2026-07-28", true, "", modern("2026-07-28"));
    }
}
