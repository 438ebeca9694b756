use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// What every answer says to browsers: that it is what it says it is, that its
/// address is nobody's business, that nothing in it is to be run or framed, and
/// that it is for whoever asked, and for now.
pub(crate) const ALWAYS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
];

/// That this name is to be spoken to by TLS only, for a year (RFC 6797, section 6.1).
const TRANSPORT: (HeaderName, &str) = (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");

/// Adds the headers of every answer, where it does not know better. `transport`
/// says that browsers shall insist on TLS.
pub(crate) fn add(headers: &mut HeaderMap, transport: bool) {
    let transport = transport.then_some(TRANSPORT);
    for (name, value) in ALWAYS.into_iter().chain(transport) {
        let entry = headers.entry(name);
        entry.or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_know_better() {
        let mut headers = HeaderMap::new();
        let own = HeaderValue::from_static("default-src 'self'");
        headers.insert(header::CONTENT_SECURITY_POLICY, own.clone());
        add(&mut headers, false);
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], own);
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
        add(&mut headers, true);
        assert!(headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }
}
