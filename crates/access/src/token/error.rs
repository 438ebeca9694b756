use jsonwebtoken::errors::{Error, ErrorKind};
use notification_event::Timestamp;

/// Why a token was refused. Says nothing of what the token holds, so that it
/// may be shown to whoever sent it and to whoever reads the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than [`Tokens::MAX_LEN`](crate::Tokens::MAX_LEN).
    #[error("the token is longer than 8192 bytes")]
    TooLong,
    /// It is no JSON Web Signature in the compact form (RFC 7515, section 7.1), or
    /// its header or claims are no JSON. A token without a signature is none either.
    #[error("the token is malformed: expected a signed JSON Web Token")]
    Malformed,
    /// Its header gives another type (RFC 8725, section 3.11).
    #[error("the token is of another type: expected JWT or at+jwt")]
    Type,
    /// Its header has `crit` (RFC 7515, section 4.1.11).
    #[error("the token asks for an extension that is not known")]
    Critical,
    /// It was signed by another algorithm than the one its key is for.
    #[error("the token is signed by another algorithm than its key is for")]
    Algorithm,
    /// No key is known by the `kid` of its header, or none is of its kind.
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    /// It has no `kid`, and several keys may be meant.
    #[error("the token does not say with which of several keys it is signed: expected a kid")]
    NoKeyId,
    /// There are no keys to verify it with, or they are too old to be believed.
    /// Nothing is wrong with the token.
    #[error("the keys that tokens are verified with are not available")]
    KeysNotAvailable,
    /// It was not signed with the key.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `iss` is missing or another.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// `aud` is missing or names others.
    #[error("the token is for another audience")]
    WrongAudience,
    /// `exp` has passed.
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    /// `nbf` is to come.
    #[error("the token is not valid before {0}")]
    NotYetValid(Timestamp),
    /// A claim is missing, or not what it has to be.
    #[error("the token's claim {claim} cannot be used: expected {expected}")]
    Claim {
        /// Its name.
        claim: String,
        /// What would have been accepted.
        expected: &'static str,
    },
}

impl TokenError {
    /// Whether it was never signed by whom it should be, as far as anybody can tell.
    pub(crate) fn is_guess(&self) -> bool {
        !matches!(
            self,
            Self::KeysNotAvailable
                | Self::WrongIssuer
                | Self::WrongAudience
                | Self::Expired(_)
                | Self::NotYetValid(_)
                | Self::Claim { .. }
        )
    }

    pub(super) fn claim(claim: &str, expected: &'static str) -> Self {
        let claim = claim.to_owned();
        Self::Claim { claim, expected }
    }
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidToken
            | ErrorKind::Base64(_)
            | ErrorKind::Json(_)
            | ErrorKind::Utf8(_) => Self::Malformed,
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Self::Algorithm,
            // Whatever else is wrong, it was not verified.
            _ => Self::BadSignature,
        }
    }
}
