use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use notification_event::ParseError;

/// What the secrets of receivers begin with (Standard Webhooks, "Signature scheme").
const PREFIX: &str = "whsec_";

/// What public keys begin with.
const PUBLIC_PREFIX: &str = "whpk_";

/// How long a secret is, in bytes (Standard Webhooks, "Signature scheme").
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

/// What a receiver and the server know, under which deliveries are signed:
/// `whsec_` and 24 to 64 bytes in base64. Is never shown by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A new one, of 32 random bytes.
    pub fn generate() -> Self {
        let mut bytes = vec![0; 32];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.expect("the system has random numbers");
        Self(bytes)
    }

    /// As receivers know it.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.0))
    }

    /// The signature of a message: `v1,` and an HMAC-SHA256 in base64.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut signing = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, &self.0));
        signing.update(signed_prefix(id, timestamp).as_bytes());
        signing.update(body);
        format!("v1,{}", BASE64.encode(signing.sign()))
    }
}

impl FromStr for Secret {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bytes = text.strip_prefix(PREFIX).and_then(|encoded| {
            // With padding or without it, as either is in use.
            let encoded = encoded.trim_end_matches('=');
            base64::prelude::BASE64_STANDARD_NO_PAD.decode(encoded).ok()
        });
        let bytes = bytes.filter(|bytes| LENGTH.contains(&bytes.len()));
        bytes.map(Self).ok_or(ParseError {
            what: "secret",
            expected: "whsec_ and 24 to 64 bytes in base64",
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The server's own key, whose signatures anybody can verify.
pub(crate) struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes"))
    }

    /// As receivers know it.
    pub(crate) fn public(&self) -> String {
        format!("{PUBLIC_PREFIX}{}", BASE64.encode(self.0.public_key()))
    }

    /// The signature of a message: `v1a,` and one of Ed25519 in base64.
    pub(crate) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let message = [signed_prefix(id, timestamp).as_bytes(), body].concat();
        format!("v1a,{}", BASE64.encode(self.0.sign(&message)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// What is signed before the body.
fn signed_prefix(id: &str, timestamp: u64) -> String {
    format!("{id}.{timestamp}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn a_known_message_has_its_known_signature() {
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_24_to_64_bytes_and_is_not_shown() {
        for length in [24, 25, 64] {
            let text = format!("whsec_{}", BASE64.encode(vec![7; length]));
            let secret: Secret = text.parse().unwrap();
            assert_eq!(secret.reveal(), text);
            assert_eq!(format!("{secret:?}"), "Secret");
            assert_eq!(text.trim_end_matches('=').parse(), Ok(secret));
        }
        let of = |length| format!("whsec_{}", BASE64.encode(vec![7; length]));
        for wrong in [&of(23), &of(65), "whsec_", "whsec_?", "", &of(32)[6..]] {
            assert!(wrong.parse::<Secret>().is_err(), "{wrong}");
        }
        assert_ne!(Secret::generate(), Secret::generate());
    }

    #[test]
    fn anybody_can_verify_what_the_server_signs() {
        use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
        let key = SigningKey::new(&[7; 32]);
        let signature = key.sign("id", 5, b"body");
        let signature = BASE64.decode(&signature["v1a,".len()..]).unwrap();
        let public = BASE64.decode(&key.public()["whpk_".len()..]).unwrap();
        let verified = UnparsedPublicKey::new(&ED25519, public).verify(b"id.5.body", &signature);
        assert!(verified.is_ok());
    }
}
