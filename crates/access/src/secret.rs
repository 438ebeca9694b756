use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many random characters a secret has: 43 of 62 are 256 bits.
pub(crate) const SECRET_LEN: usize = 43;

/// Random characters that nobody guesses, each as likely as the others.
pub(crate) fn random(len: usize) -> String {
    let mut text = String::with_capacity(len);
    let mut bytes = [0; 64];
    while text.len() < len {
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the system has random numbers");
        // Of 256 values the last eight would make some characters likelier.
        let even = bytes.iter().filter(|byte| **byte < 248);
        let characters = even.map(|byte| ALPHABET[usize::from(*byte) % 62] as char);
        text.extend(characters.take(len - text.len()));
    }
    text
}

/// What the server knows and nobody else, under which it remembers secrets. A
/// copy of its log without it is no help in finding a secret out.
#[derive(Clone)]
pub struct ServerSecret(hmac::Key);

/// What is remembered of a secret.
#[derive(Clone, Copy)]
pub(crate) struct Digest([u8; 32]);

impl ServerSecret {
    /// The length, in bytes.
    pub const LEN: usize = 32;

    /// The secret that was kept.
    pub fn new(bytes: &[u8; Self::LEN]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, bytes))
    }

    /// A new one.
    pub fn generate() -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the system has random numbers");
        bytes
    }

    /// A secret of 256 bits for this purpose alone: always the same.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        self.digest(purpose).bytes()
    }

    /// Bytes as they can be stored where others may read: encrypted (AES-256-GCM)
    /// and bound to what they are stored for.
    pub fn seal(&self, what_for: &str, bytes: &[u8]) -> String {
        let mut sealed = bytes.to_vec();
        let aad = Aad::from(what_for.as_bytes());
        let nonce = self.sealing().seal_in_place_append_tag(aad, &mut sealed);
        let nonce = nonce.expect("it is short");
        BASE64.encode([&nonce.as_ref()[..], &sealed].concat())
    }

    /// What was [sealed](Self::seal); none if it was not by this server and for this.
    pub fn unseal(&self, what_for: &str, sealed: &str) -> Option<Vec<u8>> {
        let mut sealed = BASE64.decode(sealed).ok()?;
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(what_for.as_bytes());
        let bytes = self.sealing().open_in_place(nonce, aad, sealed).ok()?;
        Some(bytes.to_vec())
    }

    fn sealing(&self) -> RandomizedNonceKey {
        let key = self.derive("seal");
        RandomizedNonceKey::new(&AES_256_GCM, &key).expect("256 bits")
    }

    pub(crate) fn digest(&self, text: &str) -> Digest {
        let tag = hmac::sign(&self.0, text.as_bytes());
        Digest(tag.as_ref().try_into().expect("256 bits"))
    }
}

impl fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerSecret")
    }
}

impl Digest {
    /// Takes the same time wherever the two differ.
    pub(crate) fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    pub(crate) fn bytes(self) -> [u8; 32] {
        self.0
    }

    pub(crate) fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_told_from_others_and_kept_as_text() {
        let secret = ServerSecret::new(&ServerSecret::generate());
        let digest = secret.digest("one");
        assert!(digest.is(&secret.digest("one")) && !digest.is(&secret.digest("two")));
        let other = ServerSecret::new(&ServerSecret::generate());
        assert!(!digest.is(&other.digest("one")));
        assert!(Digest::from_hex(&digest.to_hex()).unwrap().is(&digest));
        for wrong in ["", "zz", &"é".repeat(32), &"+1".repeat(32)] {
            let read = Digest::from_hex(wrong);
            assert!(read.is_none_or(|read| !read.is(&digest)), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_same_server_for_the_same_thing() {
        let secret = ServerSecret::new(&ServerSecret::generate());
        let sealed = secret.seal("a", b"whsec");
        assert!(!sealed.contains("whsec") && sealed != secret.seal("a", b"whsec"));
        assert_eq!(secret.unseal("a", &sealed).unwrap(), b"whsec");
        let other = ServerSecret::new(&ServerSecret::generate());
        assert!(secret.unseal("b", &sealed).is_none());
        assert!(other.unseal("a", &sealed).is_none());
        for wrong in ["", "AAAA", "?", &sealed[..sealed.len() - 4]] {
            assert!(secret.unseal("a", wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn random_text_is_of_its_alphabet_and_never_the_same() {
        let (one, two) = (random(SECRET_LEN), random(SECRET_LEN));
        assert_eq!(one.len(), SECRET_LEN);
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(one, two);
    }
}
