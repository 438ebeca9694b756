use std::fmt;

use aws_lc_rs::rsa::PublicKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RsaPublicKeyComponents,
};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use notification_event::Timestamp;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use super::JwkSet;

/// What tokens are verified with.
#[derive(Clone, Debug)]
pub struct TokenKeys(pub(super) Source);

#[derive(Clone, Debug)]
pub(super) enum Source {
    /// One key, whatever a token calls it.
    One(Key),
    /// Keys that are called by their `kid`, believed until then.
    Set(JwkSet, Timestamp),
    /// A set that was not fetched yet.
    Awaited,
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeyError {
    /// A secret that can be guessed (RFC 7518, section 3.2).
    #[error("the secret is too short: expected at least 32 bytes")]
    ShortSecret,
    /// A key in PEM in the place of a secret: as a secret, a public key would let
    /// everybody issue tokens (RFC 8725, section 2.1).
    #[error("this is a key in PEM, which is no secret")]
    SecretIsKey,
    /// No PEM, or one of something else.
    #[error("this is no public key in PEM: expected a block BEGIN PUBLIC KEY")]
    NoPublicKey,
    /// A key of another kind.
    #[error("this kind of key is not known: expected RSA, P-256 or Ed25519")]
    UnknownKind,
    /// An RSA key that is too weak (RFC 7518, section 3.3), or absurdly large.
    #[error("this RSA key is of the wrong size: expected 2048 to 8192 bits")]
    RsaSize,
    /// The numbers of the key are not those of a key.
    #[error("this is not a valid key")]
    Invalid,
    /// A set larger than [`JwkSet::MAX_LEN`], or with more keys than [`JwkSet::MAX_KEYS`].
    #[error("the key set is too large: expected at most 262144 bytes and 100 keys")]
    LargeSet,
    /// No JWK Set (RFC 7517, section 5).
    #[error("this is no JWK Set: expected a JSON object with a list \"keys\"")]
    NoSet,
    /// More keys are called the same than one can be expected to try.
    #[error("more than 4 keys in the set share one kid")]
    SharedKeyId,
    /// A set of keys none of which can verify a token.
    #[error("the key set has no key that could verify a token")]
    EmptySet,
}

impl TokenKeys {
    /// The shortest secret, in bytes.
    pub const MIN_SECRET: usize = 32;

    /// A secret that is shared with whoever issues the tokens: HS256, and nothing else.
    pub fn secret(secret: &[u8]) -> Result<Self, TokenKeyError> {
        if secret.len() < Self::MIN_SECRET {
            return Err(TokenKeyError::ShortSecret);
        }
        if secret.trim_ascii_start().starts_with(b"-----BEGIN ") {
            return Err(TokenKeyError::SecretIsKey);
        }
        let key = DecodingKey::from_secret(secret);
        Ok(Self(Source::One(Key::new(Algorithm::HS256, key))))
    }

    /// A public key (SubjectPublicKeyInfo in PEM). What it is decides what tokens
    /// are signed by, whatever they say (RFC 8725, section 3.1): RS256, ES256 or EdDSA.
    pub fn public_key(pem: &[u8]) -> Result<Self, TokenKeyError> {
        let info =
            SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| TokenKeyError::NoPublicKey)?;
        let key = Key::p256(&info).or_else(|_| Key::ed25519(&info));
        let key = key.or_else(|_| Key::rsa(&info, Algorithm::RS256));
        key.map(|key| Self(Source::One(key))).map_err(|e| match e {
            TokenKeyError::RsaSize => e,
            _ => TokenKeyError::UnknownKind,
        })
    }

    /// A set that was fetched, and is believed until then.
    pub fn set(set: JwkSet, good_until: Timestamp) -> Self {
        Self(Source::Set(set, good_until))
    }

    /// A set that is yet to be fetched.
    pub fn awaited() -> Self {
        Self(Source::Awaited)
    }

    pub(super) fn all(&self) -> &[Key] {
        match &self.0 {
            Source::One(key) => std::slice::from_ref(key),
            Source::Set(set, _) => &set.keys,
            Source::Awaited => &[],
        }
    }

    /// Whether what is not signed with them is not signed. An issuer that publishes
    /// none is not ready.
    pub(super) fn are_good(&self, now: Timestamp) -> bool {
        match &self.0 {
            Source::One(_) => true,
            Source::Set(set, until) => now < *until && !set.keys.is_empty(),
            Source::Awaited => false,
        }
    }
}

/// A key, and the one algorithm that it is for.
#[derive(Clone)]
pub(super) struct Key {
    /// How a set calls it.
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl Key {
    fn new(algorithm: Algorithm, key: DecodingKey) -> Self {
        Self {
            id: None,
            algorithm,
            key,
        }
    }

    /// An RSA key, for one of the algorithms of RSA.
    pub(super) fn rsa(info: &[u8], algorithm: Algorithm) -> Result<Self, TokenKeyError> {
        let key = PublicKey::from_der(info).map_err(|_| TokenKeyError::Invalid)?;
        let RsaPublicKeyComponents { n, e } = (&key).into();
        let unused = n.first().map_or(0, |first: &u8| first.leading_zeros());
        match n.len() * 8 - unused as usize {
            2_048..=8_192 => {}
            _ => return Err(TokenKeyError::RsaSize),
        }
        let key = DecodingKey::from_rsa_raw_components(&n, &e);
        Ok(Self::new(algorithm, key))
    }

    /// A key on P-256, as SubjectPublicKeyInfo or an uncompressed point.
    pub(super) fn p256(key: &[u8]) -> Result<Self, TokenKeyError> {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).map_err(|_| TokenKeyError::Invalid)?;
        Ok(Self::new(Algorithm::ES256, DecodingKey::from_ec_der(key)))
    }

    /// An Ed25519 key, as SubjectPublicKeyInfo or its 32 bytes.
    pub(super) fn ed25519(key: &[u8]) -> Result<Self, TokenKeyError> {
        ParsedPublicKey::new(&ED25519, key).map_err(|_| TokenKeyError::Invalid)?;
        Ok(Self::new(Algorithm::EdDSA, DecodingKey::from_ed_der(key)))
    }

    /// Whether it is the same key under the same name.
    pub(super) fn is(&self, other: &Self) -> bool {
        type Kind = DecodingKeyKind;
        let same = match (self.key.kind(), other.key.kind()) {
            (Kind::SecretOrDer(own), Kind::SecretOrDer(others)) => own == others,
            (
                Kind::RsaModulusExponent { n, e },
                Kind::RsaModulusExponent {
                    n: others_n,
                    e: others_e,
                },
            ) => n == others_n && e == others_e,
            _ => false,
        };
        same && self.algorithm == other.algorithm && self.id == other.id
    }
}

/// Its name, and not what it is.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
