use http::{HeaderMap, HeaderName};

use crate::message::Message;
use crate::metadata::VERSION;

/// Which way of speaking MCP a request belongs to.
///
/// | Lane | GET, HEAD | POST |
/// |---|---|---|
/// | plain | the event stream, for curl and `EventSource` (not for clients that name a version) | stateless calls, answered in JSON |
/// | session | a session's notifications | a session's messages |
/// | modern | – | stateless, per-request metadata, 2026-07-28 and later |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Names neither a session nor a version in the way of modern ones.
    Plain,
    /// Names a session (revision 2025-11-25, Streamable HTTP, "Session Management").
    Session,
    /// Names its version in the request itself, or one that knows no `initialize`.
    Modern,
}

pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

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
    ///
    /// A request that names its version is stateless, whatever the version;
    /// `initialize` has a session or nothing follow it (revision 2026-07-28,
    /// "Backward Compatibility with Initialization-Based Versions"). A session's
    /// client may say more than it has to.
    pub(crate) fn of(headers: &HeaderMap, message: Option<&Message>) -> Self {
        let has_session = headers.contains_key(SESSION);
        let is_initialize = message.is_some_and(|message| message.method == "initialize");
        let is_modern = match message.and_then(Message::protocol_version) {
            Some(version) => !is_legacy(version) || !(has_session || is_initialize),
            None if is_initialize => false,
            None => {
                let versions = headers.get_all(VERSION).iter();
                let mut versions = versions.filter_map(|version| version.to_str().ok());
                versions.any(is_modern)
            }
        };
        match (is_modern, has_session) {
            (true, _) => Self::Modern,
            (false, true) => Self::Session,
            (false, false) => Self::Plain,
        }
    }
}

/// Versions are dates, so they are in the order of their text; what is no date
/// is no version.
fn is_modern(version: &str) -> bool {
    is_date(version) && version >= FIRST_MODERN
}

fn is_legacy(version: &str) -> bool {
    is_date(version) && version < FIRST_MODERN
}

fn is_date(version: &str) -> bool {
    version.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_lane_is_told_by_version_and_session() {
        let check = |in_header: &str, session: bool, method: &str, in_message: &str, expected| {
            let mut headers = HeaderMap::new();
            for version in in_header.split_terminator(';') {
                headers.append(VERSION, version.parse().unwrap());
            }
            if session {
                headers.insert(SESSION, "s1".parse().unwrap());
            }
            let message = (!method.is_empty()).then(|| {
                let mut meta = json!({});
                if !in_message.is_empty() {
                    meta = json!({"io.modelcontextprotocol/protocolVersion": in_message});
                }
                let params = json!({"_meta": meta});
                let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
                Message::read(body.to_string().as_bytes()).unwrap()
            });
            let lane = Lane::of(&headers, message.as_ref());
            assert_eq!(
                lane, expected,
                "{in_header} {session} {method} {in_message}"
            );
        };
        check("", false, "", "", Lane::Plain);
        check("2025-11-25", false, "", "", Lane::Plain);
        check("nonsense", false, "m", "", Lane::Plain);
        check("", true, "m", "", Lane::Session);
        check("2025-11-25", true, "", "", Lane::Session);
        check("2025-11-25", true, "m", "2025-11-25", Lane::Session);
        check("2026-07-28", false, "", "", Lane::Modern);
        check("2026-07-28", false, "m", "", Lane::Modern);
        check("2025-11-25;2026-07-28", false, "m", "", Lane::Modern);
        check("2026-07-28, 2025-11-25", false, "m", "", Lane::Modern);
        check("", false, "m", "2026-07-28", Lane::Modern);
        check("2025-11-25", false, "m", "2099-01-01", Lane::Modern);
        check("2025-11-25", false, "m", "2025-11-25", Lane::Modern);
        check("v999", false, "m", "v999", Lane::Modern);
        check("v999", true, "m", "v999", Lane::Modern);
        check("2026-07-28", true, "", "", Lane::Modern);
        check("", false, "initialize", "", Lane::Plain);
        check("2026-07-28", false, "initialize", "", Lane::Plain);
        check("2025-11-25", false, "initialize", "2025-11-25", Lane::Plain);
        check(
            "2026-07-28",
            false,
            "initialize",
            "2026-07-28",
            Lane::Modern,
        );
    }
}
