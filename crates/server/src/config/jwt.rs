use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use notification_access::Grant;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::value;
use crate::JwksUrl;

/// Tokens that somebody else issues.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Jwt {
    #[serde(deserialize_with = "value::text")]
    pub issuer: Option<String>,
    #[serde(deserialize_with = "value::texts")]
    pub audience: Vec<String>,
    #[serde(deserialize_with = "value::path")]
    pub secret_file: Option<PathBuf>,
    #[serde(deserialize_with = "value::path")]
    pub public_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "jwks_url")]
    pub jwks_url: Option<JwksUrl>,
    #[serde(deserialize_with = "value::path")]
    pub jwks_ca_file: Option<PathBuf>,
    #[serde(
        rename = "jwks_refresh_seconds",
        deserialize_with = "value::seconds::<10, 86_400, _>"
    )]
    pub jwks_refresh: Duration,
    #[serde(
        rename = "jwks_max_age_seconds",
        deserialize_with = "value::seconds::<60, 31_536_000, _>"
    )]
    pub jwks_max_age: Duration,
    #[serde(
        rename = "leeway_seconds",
        deserialize_with = "value::seconds::<0, 300, _>"
    )]
    pub leeway: Duration,
    #[serde(deserialize_with = "value::text")]
    pub client_claim: Option<String>,
    #[serde(deserialize_with = "value::text")]
    pub groups_claim: Option<String>,
    #[serde(deserialize_with = "value::text")]
    pub grants_claim: Option<String>,
    #[serde(deserialize_with = "value::text")]
    pub events_per_hour_claim: Option<String>,
    #[serde(deserialize_with = "roles")]
    pub roles: BTreeMap<String, Vec<Grant>>,
}

impl Jwt {
    /// Which setting does not go with the others, and what was expected.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let sources = [
            ("auth.jwt.secret_file", self.secret_file.is_some()),
            ("auth.jwt.public_key_file", self.public_key_file.is_some()),
            ("auth.jwt.jwks_url", self.jwks_url.is_some()),
        ];
        let mut given = sources.iter().filter(|(_, is_given)| *is_given);
        let source = given.next();
        if let Some((second, _)) = given.next() {
            let detail = "expected only one of secret_file, public_key_file and jwks_url";
            return Err((second, detail));
        }
        let names = [
            ("auth.jwt.issuer", self.issuer.is_some()),
            ("auth.jwt.audience", !self.audience.is_empty()),
        ];
        for (name, is_given) in names {
            match (source, is_given) {
                (Some(_), false) => {
                    return Err((name, "expected it, as there is a key for tokens"));
                }
                (None, true) => {
                    let detail =
                        "expected one of secret_file, public_key_file and jwks_url as well";
                    return Err((name, detail));
                }
                _ => {}
            }
        }
        if self.jwks_ca_file.is_some() && self.jwks_url.is_none() {
            return Err((
                "auth.jwt.jwks_ca_file",
                "expected auth.jwt.jwks_url as well",
            ));
        }
        if self.jwks_max_age < self.jwks_refresh {
            let detail = "expected at least auth.jwt.jwks_refresh_seconds";
            return Err(("auth.jwt.jwks_max_age_seconds", detail));
        }
        Ok(())
    }
}

fn jwks_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<JwksUrl>, D::Error> {
    let text = value::text(from)?;
    let url = text.map(|text| text.parse()).transpose();
    url.map_err(D::Error::custom)
}

/// Lines such as `operator = publish:ops/** acknowledge`.
fn roles<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Vec<Grant>>, D::Error> {
    let expected = |role: &str| {
        let example = "operator = publish:ops/** acknowledge";
        D::Error::custom(format!("{role:?}: expected roles such as \"{example}\""))
    };
    let mut roles = BTreeMap::new();
    for line in value::texts(from)? {
        let (name, grants) = line.split_once('=').ok_or_else(|| expected(&line))?;
        let name = name.trim();
        let grants: Result<Vec<Grant>, _> = grants.split_whitespace().map(str::parse).collect();
        let grants = grants.map_err(|error| D::Error::custom(format!("{name:?}: {error}")))?;
        // A word that is a grant would mean two things.
        let is_word = !name.is_empty() && !name.contains(char::is_whitespace);
        if !is_word || name.parse::<Grant>().is_ok() || grants.is_empty() {
            return Err(expected(&line));
        }
        if roles.insert(name.to_owned(), grants).is_some() {
            return Err(D::Error::custom(format!(
                "{name:?}: expected each role once"
            )));
        }
    }
    Ok(roles)
}
