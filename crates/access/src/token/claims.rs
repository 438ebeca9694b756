use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use notification_event::{ClientId, GroupName, Timestamp};
use serde_json::{Map, Value};

use super::{TokenError, shown};
use crate::{Credential, Grant, Grants, Principal};

/// What tokens have to say, and what is made of it. A claim without a name is
/// not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The `iss` that is required.
    pub issuer: String,
    /// `aud` has to be or contain one of these.
    pub audiences: Vec<String>,
    /// How far the clocks of the issuer and this server may differ.
    pub leeway: Duration,
    /// Which claim says who the client is.
    pub client_claim: Option<String>,
    /// Which claim lists the client's groups.
    pub groups_claim: Option<String>,
    /// Which claim has the grants: the words of a string, as OAuth writes a
    /// `scope` (RFC 6749, section 3.3), or a list of them.
    pub grants_claim: Option<String>,
    /// Which claim bounds how many events are published in an hour.
    pub events_per_hour_claim: Option<String>,
    /// Words among the grants that stand for several.
    pub roles: BTreeMap<String, Vec<Grant>>,
}

/// The longest `sub`, in characters (OpenID Connect Core, section 2).
const MAX_SUBJECT: usize = 255;

type Claims = Map<String, Value>;

impl TokenConfig {
    /// Whom the claims of a verified token are about, and from when until when
    /// that is so.
    pub(super) fn read(
        &self,
        claims: &Claims,
        credential: Credential,
    ) -> Result<(Principal, Range<Timestamp>), TokenError> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(TokenError::WrongIssuer);
        }
        let audiences = words(claims, "aud")?.unwrap_or_default();
        if !audiences.iter().any(|aud| self.audiences.contains(aud)) {
            return Err(TokenError::WrongAudience);
        }
        let expires_at = time(claims, "exp")?.ok_or(TokenError::claim("exp", TIME))?;
        let begins_at = time(claims, "nbf")?.unwrap_or(Timestamp::from_millis(i64::MIN));
        time(claims, "iat")?;
        let valid = begins_at.before(self.leeway)..expires_at.after(self.leeway);
        let principal = Principal {
            name: format!("token:{}", subject(claims)?).into(),
            credential,
            grants: self.grants(claims)?,
            client: self.client(claims)?,
            groups: self.groups(claims)?,
            events_per_hour: self.events_per_hour(claims)?,
            expires_at: Some(valid.end),
        };
        Ok((principal, valid))
    }

    fn grants(&self, claims: &Claims) -> Result<Grants, TokenError> {
        let Some(claim) = &self.grants_claim else {
            return Ok(Grants::default());
        };
        let words = match claims.get(claim) {
            Some(Value::String(scope)) => {
                scope.split_ascii_whitespace().map(str::to_owned).collect()
            }
            _ => words(claims, claim)?.unwrap_or_default(),
        };
        let mut grants = Vec::new();
        for word in words {
            match (self.roles.get(&word), word.parse()) {
                (Some(role), _) => grants.extend(role.iter().cloned()),
                (None, Ok(grant)) => grants.push(grant),
                // A word of somebody else's: scopes are for many servers.
                (None, Err(_)) => {}
            }
        }
        Grants::new(grants).map_err(|error| TokenError::claim(claim, error.expected))
    }

    fn client(&self, claims: &Claims) -> Result<Option<ClientId>, TokenError> {
        let Some((claim, value)) = used(claims, self.client_claim.as_deref()) else {
            return Ok(None);
        };
        let parsed = value.as_str().unwrap_or_default().parse();
        parsed
            .map(Some)
            .map_err(|error: notification_event::ParseError| {
                TokenError::claim(claim, error.expected)
            })
    }

    fn groups(&self, claims: &Claims) -> Result<Option<Vec<GroupName>>, TokenError> {
        let Some(claim) = &self.groups_claim else {
            return Ok(None);
        };
        // Some issuers leave out a list that is empty.
        let names = words(claims, claim)?.unwrap_or_default();
        let groups: Result<Vec<GroupName>, _> = names.iter().map(|name| name.parse()).collect();
        let mut groups = groups.map_err(|error| TokenError::claim(claim, error.expected))?;
        groups.sort();
        groups.dedup();
        Ok(Some(groups))
    }

    fn events_per_hour(&self, claims: &Claims) -> Result<Option<NonZeroU32>, TokenError> {
        let Some((claim, value)) = used(claims, self.events_per_hour_claim.as_deref()) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let number = number.and_then(NonZeroU32::new).map(Some);
        number.ok_or(TokenError::claim(claim, "an integer from 1 to 4294967295"))
    }
}

/// A claim that has a name and is there.
fn used<'a>(claims: &'a Claims, claim: Option<&'a str>) -> Option<(&'a str, &'a Value)> {
    let claim = claim?;
    let value = claims.get(claim).filter(|value| !value.is_null())?;
    Some((claim, value))
}

/// A claim that is a string or a list of them, each as it is.
fn words(claims: &Claims, claim: &str) -> Result<Option<Vec<String>>, TokenError> {
    let wrong = || TokenError::claim(claim, "a string or a list of strings");
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(one)) => Ok(Some(vec![one.clone()])),
        Some(Value::Array(list)) => {
            let words = list.iter().map(|word| word.as_str().map(str::to_owned));
            words.collect::<Option<_>>().map(Some).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}

const TIME: &str = "seconds since 1970";

/// A NumericDate (RFC 7519, section 2): seconds, perhaps with a fraction.
fn time(claims: &Claims, claim: &str) -> Result<Option<Timestamp>, TokenError> {
    let Some((claim, value)) = used(claims, Some(claim)) else {
        return Ok(None);
    };
    let whole = value.as_i64().map(|seconds| seconds.saturating_mul(1_000));
    let millis = whole.or(value.as_f64().map(|seconds| (seconds * 1_000.0) as i64));
    let millis = millis.ok_or(TokenError::claim(claim, TIME))?;
    Ok(Some(Timestamp::from_millis(millis)))
}

/// Who it is about. Whoever has no name could not be told from others.
fn subject(claims: &Claims) -> Result<String, TokenError> {
    let subject = claims
        .get("sub")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match subject.chars().count() {
        1..=MAX_SUBJECT => Ok(shown(subject)),
        _ => Err(TokenError::claim("sub", "a string of 1 to 255 characters")),
    }
}
