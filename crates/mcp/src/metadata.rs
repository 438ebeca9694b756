use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName};
use rmcp::model::{ClientCapabilities, ProtocolVersion};
use serde::Deserialize;
use serde_json::Value;

use crate::message::Message;
use crate::refusal::Refusal;
use crate::shorten::shorten;

/// The version that a request is in; also of revisions before 2026-07-28.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The keys in `_meta` (revision 2026-07-28, "Per-request protocol fields").
pub(crate) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const META_PROGRESS: &str = "progressToken";

/// Checks that the headers say of a request what it says itself: its version,
/// which is one of `supported`, its method, and what it names. What is between
/// client and server reads the headers alone (revision 2026-07-28, "Server
/// Validation").
pub(crate) fn agree(
    headers: &HeaderMap,
    message: &Message,
    supported: &[ProtocolVersion],
) -> Result<(), Refusal> {
    let version = single(headers, &VERSION)?.ok_or_else(|| missing(&VERSION))?;
    if let Some(own) = message.protocol_version() {
        same(&VERSION, version, own)?;
    }
    if !supported.iter().any(|known| known.as_str() == version) {
        return Err(Refusal::unsupported_version(version, supported));
    }
    let method = single(headers, &METHOD)?.ok_or_else(|| missing(&METHOD))?;
    same(&METHOD, method, &message.method)?;
    if let Some(own) = named(message) {
        let name = single(headers, &NAME)?.ok_or_else(|| missing(&NAME))?;
        same(&NAME, &plain(name)?, own)?;
    }
    Ok(())
}

/// Checks that a request says of itself all that it has to.
pub(crate) fn complete(message: &Message) -> Result<(), Refusal> {
    if message.protocol_version().is_none() {
        return Err(misfit(META_VERSION, "a string, which is required"));
    }
    let capabilities = message.meta(META_CAPABILITIES).unwrap_or(&Value::Null);
    if ClientCapabilities::deserialize(capabilities).is_err() {
        let expected = "an object of client capabilities, which is required";
        return Err(misfit(META_CAPABILITIES, expected));
    }
    match message.meta(META_PROGRESS) {
        Some(token) if !(token.is_string() || token.is_i64()) => {
            Err(misfit(META_PROGRESS, "a string or an integer"))
        }
        _ => Ok(()),
    }
}

/// Whether a client takes the handle of a task for an answer (MCP's extension for
/// tasks, "Capability Negotiation").
pub(crate) fn takes_tasks(message: &Message) -> bool {
    let capabilities = message.meta(META_CAPABILITIES).unwrap_or(&Value::Null);
    ClientCapabilities::deserialize(capabilities).is_ok_and(|it| it.supports_tasks())
}

/// What a request names, if it is of a kind that a header says the name of.
fn named(message: &Message) -> Option<&str> {
    let field = match message.method.as_str() {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        // Of the extension for tasks, "Routing Headers".
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    message.params.get(field)?.as_str()
}

/// The one value of a header. Of several, each intermediary may believe another.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::header_mismatch(format!(
            "the header {name} is there more than once"
        )));
    }
    match value.to_str() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(Refusal::header_mismatch(format!(
            "the header {name} has characters that are not ASCII"
        ))),
    }
}

fn same(name: &HeaderName, in_header: &str, own: &str) -> Result<(), Refusal> {
    if in_header == own {
        return Ok(());
    }
    let (in_header, own) = (shorten(in_header), shorten(own));
    Err(Refusal::header_mismatch(format!(
        "the header {name} says `{in_header}`, the request itself `{own}`"
    )))
}

/// A value as it was before it was made fit for a header ("Value Encoding").
fn plain(value: &str) -> Result<String, Refusal> {
    let encoded = value.strip_prefix("=?base64?");
    let Some(encoded) = encoded.and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(value.to_owned());
    };
    let bytes = BASE64_STANDARD.decode(encoded).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| {
        Refusal::header_mismatch(format!("the header {NAME} is not Base64 of UTF-8"))
    })
}

fn missing(name: &HeaderName) -> Refusal {
    Refusal::header_mismatch(format!("the header {name} is missing"))
}

fn misfit(key: &str, expected: &str) -> Refusal {
    Refusal::malformed(format!("invalid _meta: {key}: expected {expected}"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::handler::MODERN_VERSIONS;

    /// The status and code of what is refused; 200 and 0 if nothing is.
    fn outcome(checked: Result<(), Refusal>) -> (u16, i64) {
        let Err(refusal) = checked else {
            return (200, 0);
        };
        let response = refusal.into_response::<bytes::Bytes>();
        assert_ne!(response.status(), StatusCode::OK);
        let error: Value = serde_json::from_slice(response.body()).unwrap();
        let code = error["error"]["code"].as_i64().unwrap();
        (response.status().as_u16(), code)
    }

    fn request(method: &str, params: Value) -> Message {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        Message::read(message.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn headers_say_what_the_request_says() {
        let check = |headers: &[(&str, &[u8])], expected: (u16, i64)| {
            let name = "Grüße";
            let message = request(
                "tools/call",
                json!({"name": name, "_meta": {META_VERSION: "2026-07-28"}}),
            );
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                let value = HeaderValue::from_bytes(value).unwrap();
                map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
            let got = outcome(agree(&map, &message, &MODERN_VERSIONS));
            assert_eq!(got, expected, "{headers:?}");
        };
        const ENCODED: &[u8] = b"=?base64?R3LDvMOfZQ==?=";
        let version: (_, &[u8]) = ("mcp-protocol-version", b"2026-07-28");
        let method: (_, &[u8]) = ("mcp-method", b"tools/call");
        let name: (_, &[u8]) = ("mcp-name", ENCODED);
        let mismatch = (400, -32020);
        check(&[version, method, name], (200, 0));
        check(&[], mismatch);
        check(&[method, name], mismatch);
        check(&[version, name], mismatch);
        check(&[version, method], mismatch);
        check(&[version, version, method, name], mismatch);
        check(&[version, method, method, name], mismatch);
        check(&[version, method, name, name], mismatch);
        check(&[version, ("mcp-method", b"TOOLS/CALL"), name], mismatch);
        check(
            &[version, ("mcp-method", b"tools/call\xff"), name],
            mismatch,
        );
        check(
            &[("mcp-protocol-version", b"2025-11-25"), method, name],
            mismatch,
        );
        check(&[("mcp-protocol-version", b"\xff"), method, name], mismatch);
        for wrong in [
            &b""[..],
            b"Gr",
            "Grüße".as_bytes(),
            b"=?base64?R3LDvMOfZQ?=",
            b"=?BASE64?R3LDvMOfZQ==?=",
            b"=?base64?R3LDvMOfZQ==",
            b"=?base64?R3L DvMOfZQ==?=",
            b"=?base64?//79?=",
            b"=?base64??=",
            b"=?base64?=",
        ] {
            check(&[version, method, ("mcp-name", wrong)], mismatch);
        }
    }

    #[test]
    fn only_versions_that_are_spoken_are_taken() {
        let check = |in_header: &'static str, own: Value, expected: (u16, i64)| {
            let message = request("tools/list", json!({"_meta": {META_VERSION: own}}));
            let mut headers = HeaderMap::new();
            headers.insert(VERSION, HeaderValue::from_static(in_header));
            headers.insert(METHOD, HeaderValue::from_static("tools/list"));
            let got = outcome(agree(&headers, &message, &MODERN_VERSIONS));
            assert_eq!(got, expected, "{in_header} {own}");
        };
        check("2026-07-28", json!("2026-07-28"), (200, 0));
        check("2099-01-01", json!("2099-01-01"), (400, -32022));
        check("2025-11-25", json!("2025-11-25"), (400, -32022));
        check("v999.0.0", json!("v999.0.0"), (400, -32022));
        check("2099-01-01", json!(null), (400, -32022));
        check("2026-07-28", json!("v999.0.0"), (400, -32020));
        check("2026-07-28, 2025-11-25", json!("2026-07-28"), (400, -32020));
        // That it is missing is for `complete` to say.
        check("2026-07-28", json!(null), (200, 0));
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |meta: Value, expected: (u16, i64)| {
            let message = request("tools/list", json!({"_meta": meta}));
            assert_eq!(outcome(complete(&message)), expected, "{meta}");
        };
        let malformed = (400, -32602);
        check(json!({META_VERSION: "v", META_CAPABILITIES: {}}), (200, 0));
        check(json!({}), malformed);
        check(json!({META_VERSION: "v"}), malformed);
        check(json!({META_CAPABILITIES: {}}), malformed);
        check(json!({META_VERSION: 5, META_CAPABILITIES: {}}), malformed);
        check(json!({META_VERSION: "v", META_CAPABILITIES: []}), malformed);
        check(
            json!({META_VERSION: "v", META_CAPABILITIES: null}),
            malformed,
        );
        for (token, expected) in [
            (json!("t"), (200, 0)),
            (json!(7), (200, 0)),
            (json!(1.5), malformed),
            (json!({}), malformed),
        ] {
            let meta = json!({META_VERSION: "v", META_CAPABILITIES: {}, META_PROGRESS: token});
            check(meta, expected);
        }
        let nothing = request("tools/list", json!({}));
        assert_eq!(outcome(complete(&nothing)), malformed);
    }
}
