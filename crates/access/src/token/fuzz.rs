//! Whatever comes, it is refused or believed, and nothing panics.

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use notification_event::Timestamp;
use serde_json::Value;

use super::{JwkSet, TokenConfig, TokenKeys, Tokens};

const SECRET: &[u8] = b"a secret of 32 bytes, at least..";
const NOW: i64 = 1_700_000_000_000;

/// Panics if a token cannot be judged, or if one is believed without the secret.
pub(crate) fn token(bytes: &[u8]) {
    let token = String::from_utf8_lossy(bytes);
    let refused = tokens()
        .verify(&token, Timestamp::from_millis(NOW))
        .is_err();
    // A fuzzer does not find a signature.
    assert!(refused, "{token}");
}

/// Panics if the claims of a token that was signed cannot be judged, or are
/// judged another way when it comes again.
pub(crate) fn claims(bytes: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let header = Header::new(Algorithm::HS256);
    let key = EncodingKey::from_secret(SECRET);
    let token = encode(&header, &claims, &key).expect("the secret signs");
    let (tokens, now) = (tokens(), Timestamp::from_millis(NOW));
    let first = tokens.verify(&token, now);
    assert_eq!(tokens.verify(&token, now), first);
    if let Ok(principal) = first {
        assert!(!principal.name.chars().any(char::is_control));
        assert!(tokens.still_vouches(&principal.credential, now));
    }
}

/// Panics if a key set cannot be judged.
pub(crate) fn key_set(bytes: &[u8]) {
    if let Ok(set) = JwkSet::parse(bytes) {
        assert!(set.is_same(&set));
    }
}

fn tokens() -> Tokens {
    let config = TokenConfig {
        issuer: "i".into(),
        audiences: vec!["a".into()],
        leeway: Duration::from_secs(30),
        client_claim: Some("c".into()),
        groups_claim: Some("g".into()),
        grants_claim: Some("scope".into()),
        events_per_hour_claim: Some("e".into()),
        roles: BTreeMap::new(),
    };
    Tokens::new(config, TokenKeys::secret(SECRET).expect("long enough"))
}
