use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::RsaPublicKeyComponents;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use super::key::{Key, TokenKeyError};
use super::shown;

/// The keys of a JWK Set (RFC 7517, section 5) that can verify a token.
#[derive(Clone, Debug)]
pub struct JwkSet {
    pub(super) keys: Vec<Key>,
    ignored: Vec<String>,
}

impl JwkSet {
    /// The longest, in bytes.
    pub const MAX_LEN: usize = 256 * 1024;

    /// The most keys in one, also counting those that are passed over.
    pub const MAX_KEYS: usize = 100;

    /// How many keys of one `kid` are tried (RFC 7517, section 4.5, has them be
    /// distinct, or alternatives): as many signatures has whoever sends nonsense
    /// computed.
    const MAX_SHARED: usize = 4;

    /// Reads a set. A key that cannot verify a token, be it for something else,
    /// of a kind that is not known or plainly wrong, is passed over (RFC 7517,
    /// section 5), and so are symmetric keys: whoever could read the set could
    /// issue tokens. A set of only such keys was meant for others, and is an error;
    /// one without any says that no token is to be believed.
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenKeyError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(TokenKeyError::LargeSet);
        }
        let Written { keys } = serde_json::from_slice(bytes).map_err(|_| TokenKeyError::NoSet)?;
        if keys.len() > Self::MAX_KEYS {
            return Err(TokenKeyError::LargeSet);
        }
        let mut set = Self {
            keys: Vec::new(),
            ignored: Vec::new(),
        };
        for key in keys {
            let name = key["kid"].as_str().map_or("a key".to_owned(), shown);
            match read(key) {
                Ok(key) if set.keys.iter().any(|other| other.is(&key)) => {}
                Ok(key) => set.keys.push(key),
                Err(why) => set.ignored.push(format!("{name}: {why}")),
            }
        }
        let shares = |key: &Key| set.keys.iter().filter(|other| other.id == key.id).count();
        let mut named = set.keys.iter().filter(|key| key.id.is_some());
        if named.any(|key| shares(key) > Self::MAX_SHARED) {
            return Err(TokenKeyError::SharedKeyId);
        }
        match set.keys.is_empty() && !set.ignored.is_empty() {
            true => Err(TokenKeyError::EmptySet),
            false => Ok(set),
        }
    }

    /// What its keys are called, to be shown to people.
    pub fn names(&self) -> Vec<String> {
        let name = |key: &Key| key.id.as_deref().map_or("a key without kid".into(), shown);
        self.keys.iter().map(name).collect()
    }

    /// The keys that were passed over, each with the reason, to be shown to people.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Whether both have the same keys under the same names.
    pub fn is_same(&self, other: &Self) -> bool {
        let within = |a: &Self, b: &Self| a.keys.iter().all(|key| b.keys.iter().any(|k| k.is(key)));
        within(self, other) && within(other, self)
    }
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

/// One key, or why it is of no use.
fn read(written: Value) -> Result<Key, String> {
    if written.get("d").is_some() {
        return Err("a private key, which everybody can read".into());
    }
    let written: Jwk = serde_json::from_value(written)
        .map_err(|_| "not a JSON Web Key of a known kind".to_owned())?;
    let common = &written.common;
    let other_use = |usage| usage != &PublicKeyUse::Signature;
    let no_verify = |operations: &Vec<_>| !operations.contains(&KeyOperations::Verify);
    if common.public_key_use.as_ref().is_some_and(other_use)
        || common.key_operations.as_ref().is_some_and(no_verify)
    {
        return Err("not for signatures".into());
    }
    let invalid = |_| TokenKeyError::Invalid.to_string();
    let key = match &written.algorithm {
        AlgorithmParameters::RSA(_) => {
            let decoded = DecodingKey::from_jwk(&written).map_err(invalid)?;
            rsa(&decoded, rsa_algorithm(common.key_algorithm)?)
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            only(common.key_algorithm, KeyAlgorithm::ES256)?;
            let decoded = DecodingKey::from_jwk(&written).map_err(invalid)?;
            decoded.try_get_as_bytes().map_err(invalid).map(Key::p256)?
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            only(common.key_algorithm, KeyAlgorithm::EdDSA)?;
            let decoded = DecodingKey::from_jwk(&written).map_err(invalid)?;
            let bytes = decoded.try_get_as_bytes().map_err(invalid)?;
            Key::ed25519(bytes)
        }
        AlgorithmParameters::OctetKey(_) => {
            return Err("a symmetric key, which everybody can read".into());
        }
        _ => return Err(TokenKeyError::UnknownKind.to_string()),
    };
    let mut key = key.map_err(|error| error.to_string())?;
    key.id = written.common.key_id;
    Ok(key)
}

fn rsa(decoded: &DecodingKey, algorithm: Algorithm) -> Result<Key, TokenKeyError> {
    let DecodingKeyKind::RsaModulusExponent { n, e } = decoded.kind() else {
        return Err(TokenKeyError::Invalid);
    };
    let info = RsaPublicKeyComponents { n, e }.as_der();
    Key::rsa(
        info.map_err(|_| TokenKeyError::Invalid)?.as_ref(),
        algorithm,
    )
}

/// The algorithm that an RSA key is for; RS256 if it does not say.
fn rsa_algorithm(given: Option<KeyAlgorithm>) -> Result<Algorithm, String> {
    match given {
        None | Some(KeyAlgorithm::RS256) => Ok(Algorithm::RS256),
        Some(KeyAlgorithm::RS384) => Ok(Algorithm::RS384),
        Some(KeyAlgorithm::RS512) => Ok(Algorithm::RS512),
        Some(KeyAlgorithm::PS256) => Ok(Algorithm::PS256),
        Some(KeyAlgorithm::PS384) => Ok(Algorithm::PS384),
        Some(KeyAlgorithm::PS512) => Ok(Algorithm::PS512),
        Some(_) => Err(OTHER_ALGORITHM.into()),
    }
}

fn only(given: Option<KeyAlgorithm>, expected: KeyAlgorithm) -> Result<(), String> {
    match given.is_none_or(|given| given == expected) {
        true => Ok(()),
        false => Err(OTHER_ALGORITHM.into()),
    }
}

const OTHER_ALGORITHM: &str = "for an algorithm that is not known";
