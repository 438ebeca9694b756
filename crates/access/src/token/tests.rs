use std::sync::OnceLock;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Access, Grant, Grants, LimitsConfig, Presented, ServerSecret, Unauthenticated};

const SECRET: &[u8] = b"a secret that only the issuer knows";
const NOW: i64 = 1_700_000_000;

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn now() -> Timestamp {
    seconds(NOW)
}

fn config() -> TokenConfig {
    let grants = |text: &str| {
        text.split(' ')
            .map(|grant| grant.parse().unwrap())
            .collect()
    };
    TokenConfig {
        issuer: "https://issuer.example".into(),
        audiences: vec!["events".into(), "https://events.example".into()],
        leeway: Duration::from_secs(30),
        client_claim: Some("sub".into()),
        groups_claim: Some("groups".into()),
        grants_claim: Some("scope".into()),
        events_per_hour_claim: Some("quota".into()),
        roles: [("operator".to_owned(), grants("publish:ops/** acknowledge"))].into(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://issuer.example", "aud": "events", "sub": "alice",
        "exp": NOW + 600, "iat": NOW, "scope": "openid subscribe:ops/**",
    })
}

/// The claims, some of them otherwise; null takes one out.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value.is_null() {
            true => drop(claims.as_object_mut().unwrap().remove(name)),
            false => claims[name] = value.clone(),
        }
    }
    claims
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token whose header and claims may be anything at all.
fn signed(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", base64(header), base64(claims));
    let signature = base64(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hs256(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

/// A token that is signed with the secret.
fn token(claims: &Value) -> String {
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    signed(header, &claims.to_string(), hs256(SECRET))
}

/// Tokens that are verified with the secret.
fn tokens() -> Tokens {
    Tokens::new(config(), TokenKeys::secret(SECRET).unwrap())
}

fn verify(claims: &Value) -> Result<Arc<Principal>, TokenError> {
    tokens().verify(&token(claims), now())
}

/// Whoever issues tokens with keys of its own.
enum Issuer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Issuer {
    fn rsa() -> &'static Self {
        // It takes a while to find one.
        static RSA: OnceLock<Issuer> = OnceLock::new();
        RSA.get_or_init(|| Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn pem(&self) -> String {
        let der = match self {
            Self::Rsa(key) => key.public_key().as_der(),
            Self::P256(key) => key.public_key().as_der(),
            Self::Ed25519(key) => key.public_key().as_der(),
        };
        pem("PUBLIC KEY", der.unwrap().as_ref())
    }

    fn jwk(&self, kid: &str) -> Value {
        let mut key = match self {
            Self::Rsa(key) => {
                let public: RsaPublicKeyComponents<Vec<u8>> = key.public_key().into();
                json!({"kty": "RSA", "n": base64(public.n), "e": base64(public.e)})
            }
            Self::P256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)})
            }
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64(key.public_key())})
            }
        };
        key["kid"] = kid.into();
        key["use"] = "sig".into();
        key
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .unwrap();
                signature
            }
            Self::P256(key) => {
                let signature = key.sign(&SystemRandom::new(), message).unwrap();
                signature.as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A good token, signed with the key of this name.
    fn token(&self, kid: Option<&str>) -> String {
        let mut header = json!({"alg": self.algorithm()});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        signed(&header.to_string(), &claims().to_string(), |message| {
            self.sign(message)
        })
    }
}

fn pem(what: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).collect();
    let lines: Vec<_> = lines
        .iter()
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {what}-----\n{}\n-----END {what}-----\n",
        lines.join("\n")
    )
}

fn set(keys: &[Value]) -> JwkSet {
    JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn keys(keys: &[Value]) -> TokenKeys {
    TokenKeys::set(set(keys), seconds(NOW + 86_400))
}

fn grants(text: &str) -> Grants {
    Grants::new(text.split(' ').map(|grant| grant.parse().unwrap())).unwrap()
}

#[test]
fn a_good_token_says_who_asks() {
    let claims = with(json!({
        "groups": ["staff", "eu", "staff"], "quota": 100, "scope": "operator subscribe:** a:b",
    }));
    let principal = verify(&claims).unwrap();
    assert_eq!(&*principal.name, "token:alice");
    assert_eq!(principal.client, Some("alice".parse().unwrap()));
    let groups = ["eu", "staff"].map(|name| name.parse().unwrap());
    assert_eq!(principal.groups, Some(groups.to_vec()));
    let all = grants("publish:ops/** acknowledge subscribe:**");
    assert_eq!(principal.grants, all);
    assert_eq!(principal.events_per_hour.unwrap().get(), 100);
    // As late as another request with it would be refused.
    assert_eq!(principal.expires_at, Some(seconds(NOW + 630)));
}

#[test]
fn every_kind_of_key_verifies_its_own_tokens_and_no_others() {
    let issuers = [Issuer::rsa(), &Issuer::p256(), &Issuer::ed25519()];
    for issuer in issuers {
        let alone = TokenKeys::public_key(issuer.pem().as_bytes()).unwrap();
        let in_set = keys(&issuers.map(|issuer| issuer.jwk(issuer.algorithm())));
        let alone = Tokens::new(config(), alone);
        let in_set = Tokens::new(config(), in_set);
        for signer in issuers {
            let expected = match signer.algorithm() == issuer.algorithm() {
                true => Ok("token:alice".to_owned()),
                false => Err(TokenError::Algorithm),
            };
            // A key alone does not care what the token calls it.
            for kid in [None, Some("any")] {
                let verified = alone.verify(&signer.token(kid), now());
                assert_eq!(verified.map(|p| p.name.to_string()), expected);
            }
        }
        for kid in [None, Some(issuer.algorithm())] {
            assert!(in_set.verify(&issuer.token(kid), now()).is_ok());
        }
    }
}

/// The example of RFC 7515, appendix A.3: its signature is right, and so the
/// first thing that is wrong is its audience.
#[test]
fn the_example_of_the_specification_is_verified() {
    let key = json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6\
                 Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXF\
                 CgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let config = TokenConfig {
        issuer: "joe".into(),
        ..config()
    };
    let tokens = Tokens::new(config, keys(&[key]));
    assert_eq!(tokens.verify(token, now()), Err(TokenError::WrongAudience));
    let changed = token.replace("DtEh", "DtEi");
    assert_eq!(
        tokens.verify(&changed, now()),
        Err(TokenError::BadSignature)
    );
}

#[test]
fn alg_none_is_refused() {
    let claims = claims().to_string();
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        for sign in [vec![], vec![0; 32]] {
            let token = signed(&header, &claims, |_| sign);
            assert_eq!(tokens().verify(&token, now()), Err(TokenError::Malformed));
        }
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let issuer = Issuer::rsa();
    let pem = issuer.pem();
    let header = r#"{"alg":"HS256","kid":"a"}"#;
    let forged = signed(header, &claims().to_string(), hs256(pem.as_bytes()));
    let alone = TokenKeys::public_key(pem.as_bytes()).unwrap();
    for keys in [alone, keys(&[issuer.jwk("a")])] {
        let tokens = Tokens::new(config(), keys);
        assert_eq!(tokens.verify(&forged, now()), Err(TokenError::Algorithm));
    }
    let refused = TokenKeys::secret(pem.as_bytes()).unwrap_err();
    assert_eq!(refused, TokenKeyError::SecretIsKey);
}

#[test]
fn a_signature_by_another_algorithm_of_the_same_key_is_refused() {
    let Issuer::Rsa(key) = Issuer::rsa() else {
        unreachable!()
    };
    let token = signed(
        r#"{"alg":"PS256","kid":"a"}"#,
        &claims().to_string(),
        |message| {
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(
                &RSA_PSS_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .unwrap();
            signature
        },
    );
    let mut jwk = Issuer::rsa().jwk("a");
    let verified =
        |jwk: &Value| Tokens::new(config(), keys(std::slice::from_ref(jwk))).verify(&token, now());
    assert_eq!(verified(&jwk), Err(TokenError::Algorithm));
    jwk["alg"] = "PS256".into();
    assert!(verified(&jwk).is_ok());
}

#[test]
fn another_issuer_is_refused() {
    for iss in [
        json!(null),
        json!("https://issuer.example/"),
        json!("HTTPS://issuer.example"),
        json!(["https://issuer.example"]),
        json!(1),
    ] {
        assert_eq!(
            verify(&with(json!({ "iss": iss }))),
            Err(TokenError::WrongIssuer)
        );
    }
}

#[test]
fn another_audience_is_refused() {
    for aud in [
        json!(null),
        json!("other"),
        json!([]),
        json!(["other", "Events"]),
    ] {
        assert_eq!(
            verify(&with(json!({ "aud": aud }))),
            Err(TokenError::WrongAudience)
        );
    }
    for aud in [json!("events"), json!(["other", "https://events.example"])] {
        assert!(verify(&with(json!({ "aud": aud }))).is_ok());
    }
}

#[test]
fn a_token_without_an_end_is_refused() {
    for exp in [json!(null), json!("soon"), json!({}), json!(true)] {
        let refused = verify(&with(json!({ "exp": exp }))).unwrap_err();
        assert_eq!(refused, TokenError::claim("exp", "seconds since 1970"));
    }
}

#[test]
fn time_is_judged_with_leeway_also_when_a_token_is_known() {
    let tokens = tokens();
    let token = token(&with(json!({"nbf": NOW, "exp": NOW + 600})));
    let early = Err(TokenError::NotYetValid(seconds(NOW)));
    let late = Err(TokenError::Expired(seconds(NOW + 600)));
    // Twice, so that the second time it is known.
    for _ in 0..2 {
        let at = |second: i64| tokens.verify(&token, seconds(NOW + second)).map(drop);
        assert_eq!(at(-31), early);
        assert_eq!(at(-30), Ok(()));
        assert_eq!(at(600), Ok(()));
        assert_eq!(at(629), Ok(()));
        assert_eq!(at(630), late);
        assert_eq!(at(1_000_000), late);
    }
}

#[test]
fn times_may_be_any_number() {
    let fraction = verify(&with(json!({"exp": NOW as f64 + 0.5}))).unwrap();
    assert_eq!(
        fraction.expires_at,
        Some(Timestamp::from_millis(NOW * 1_000 + 30_500))
    );
    assert!(verify(&with(json!({"exp": 1e300, "nbf": -1e300}))).is_ok());
    assert!(verify(&with(json!({"exp": u64::MAX, "nbf": i64::MIN}))).is_ok());
    let past = verify(&with(json!({ "exp": i64::MIN })));
    assert!(matches!(past, Err(TokenError::Expired(_))));
    let future = verify(&with(json!({"exp": 1e300, "nbf": 1e300})));
    assert!(matches!(future, Err(TokenError::NotYetValid(_))));
}

#[test]
fn a_header_that_asks_for_more_is_refused() {
    let check = |header: &str, expected: Option<TokenError>| {
        let token = signed(header, &claims().to_string(), hs256(SECRET));
        assert_eq!(tokens().verify(&token, now()).err(), expected, "{header}");
    };
    check(
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        Some(TokenError::Critical),
    );
    check(
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        Some(TokenError::Critical),
    );
    check(r#"{"alg":"HS256","crit":[]}"#, Some(TokenError::Critical));
    check(r#"{"alg":"HS256","crit":1}"#, Some(TokenError::Malformed));
    for typ in ["JWT", "jwt", "at+jwt", "application/at+JWT"] {
        check(&format!(r#"{{"alg":"HS256","typ":"{typ}"}}"#), None);
    }
    for typ in ["", "JWE", "dpop+jwt", "logout+jwt", "secevent+jwt"] {
        let header = format!(r#"{{"alg":"HS256","typ":"{typ}"}}"#);
        check(&header, Some(TokenError::Type));
    }
    check(r#"{"alg":"HS384"}"#, Some(TokenError::Algorithm));
    check(r#"{"typ":"JWT"}"#, Some(TokenError::Malformed));
    check(
        r#"{"alg":"HS256","alg":"none"}"#,
        Some(TokenError::Malformed),
    );
    // A key that comes with the token is nobody's.
    check(
        r#"{"alg":"HS256","jku":"https://evil.example","jwk":{"kty":"oct","k":""}}"#,
        None,
    );
}

#[tokio::test]
async fn an_unknown_kid_asks_for_newer_keys() {
    let issuer = Issuer::p256();
    let tokens = Tokens::new(config(), keys(&[issuer.jwk("a")]));
    let refused = tokens.verify(&issuer.token(Some("b")), now());
    assert_eq!(refused, Err(TokenError::UnknownKey));
    tokens.keys_wanted().await;
    let asked_again = tokio::time::timeout(Duration::ZERO, tokens.keys_wanted()).await;
    assert!(asked_again.is_err());
    tokens.replace_keys(keys(&[issuer.jwk("a"), issuer.jwk("b")]));
    assert!(tokens.verify(&issuer.token(Some("b")), now()).is_ok());
}

#[test]
fn a_token_without_kid_needs_a_set_in_which_there_is_no_doubt() {
    let (one, two) = (Issuer::p256(), Issuer::p256());
    let sole = Tokens::new(config(), keys(&[one.jwk("a"), Issuer::rsa().jwk("r")]));
    assert!(sole.verify(&one.token(None), now()).is_ok());
    let doubtful = Tokens::new(config(), keys(&[one.jwk("a"), two.jwk("b")]));
    let refused = doubtful.verify(&one.token(None), now());
    assert_eq!(refused, Err(TokenError::NoKeyId));
}

#[test]
fn two_keys_of_one_kid_are_both_tried() {
    let (one, two, other) = (Issuer::p256(), Issuer::p256(), Issuer::p256());
    let all = [one.jwk("a"), two.jwk("a"), Issuer::rsa().jwk("a")];
    let tokens = Tokens::new(config(), keys(&all));
    for issuer in [&one, &two, Issuer::rsa()] {
        assert!(tokens.verify(&issuer.token(Some("a")), now()).is_ok());
    }
    let refused = tokens.verify(&other.token(Some("a")), now());
    assert_eq!(refused, Err(TokenError::BadSignature));
    let five: Vec<_> = (0..5).map(|_| Issuer::p256().jwk("a")).collect();
    let refused = JwkSet::parse(json!({ "keys": five }).to_string().as_bytes());
    assert_eq!(refused.unwrap_err(), TokenKeyError::SharedKeyId);
}

#[test]
fn another_key_under_the_same_kid_ends_the_tokens_of_the_first() {
    let (old, new) = (Issuer::p256(), Issuer::p256());
    let tokens = Tokens::new(config(), keys(&[old.jwk("a")]));
    let token = old.token(Some("a"));
    let principal = tokens.verify(&token, now()).unwrap();
    assert!(tokens.still_vouches(&principal.credential, now()));
    tokens.replace_keys(keys(&[new.jwk("a")]));
    assert_eq!(tokens.verify(&token, now()), Err(TokenError::BadSignature));
    assert!(!tokens.still_vouches(&principal.credential, now()));
    // What once was gone is not the same when it is back.
    tokens.replace_keys(keys(&[old.jwk("a")]));
    assert!(tokens.verify(&token, now()).is_ok());
    assert!(!tokens.still_vouches(&principal.credential, now()));
}

#[test]
fn a_rotation_that_keeps_a_key_keeps_what_it_vouched_for() {
    let (old, new) = (Issuer::p256(), Issuer::ed25519());
    let tokens = Tokens::new(config(), keys(&[old.jwk("a")]));
    let principal = tokens.verify(&old.token(Some("a")), now()).unwrap();
    tokens.replace_keys(keys(&[new.jwk("b"), old.jwk("a")]));
    tokens.configure(config(), None);
    assert!(tokens.still_vouches(&principal.credential, now()));
    let session = Credential::Session("s".into(), Box::new(principal.credential.clone()));
    assert!(tokens.still_vouches(&session, now()));
    let again = tokens.verify(&old.token(Some("a")), now()).unwrap();
    assert_eq!(again.credential, principal.credential);
    tokens.replace_keys(keys(&[new.jwk("b")]));
    assert!(!tokens.still_vouches(&principal.credential, now()));
    assert!(!tokens.still_vouches(&session, now()));
    assert!(!tokens.still_vouches(&Credential::Local, now()));
}

#[test]
fn other_settings_end_what_was_verified_under_the_old_ones() {
    let tokens = tokens();
    let token = token(&with(json!({"scope": "operator"})));
    let principal = tokens.verify(&token, now()).unwrap();
    let mut changed = config();
    changed
        .roles
        .insert("operator".into(), vec![Grant::Acknowledge]);
    tokens.configure(changed, None);
    assert!(!tokens.still_vouches(&principal.credential, now()));
    let again = tokens.verify(&token, now()).unwrap();
    assert_eq!(again.grants, grants("acknowledge"));
    let secret = TokenKeys::secret(b"another secret that is long enough").unwrap();
    tokens.configure(config(), Some(secret));
    assert_eq!(tokens.verify(&token, now()), Err(TokenError::BadSignature));
    // Nor does a key of another time vouch for it.
    let others = Tokens::new(config(), TokenKeys::secret(SECRET).unwrap());
    assert!(!others.still_vouches(&principal.credential, now()));
}

#[test]
fn keys_that_are_not_there_or_too_old_are_said_to_be_so() {
    let issuer = Issuer::p256();
    let tokens = Tokens::new(config(), TokenKeys::awaited());
    let token = issuer.token(Some("a"));
    let missing = Err(TokenError::KeysNotAvailable);
    assert_eq!(tokens.verify(&token, now()), missing);
    tokens.replace_keys(TokenKeys::set(set(&[issuer.jwk("a")]), seconds(NOW + 60)));
    let principal = tokens.verify(&token, now()).unwrap();
    assert!(tokens.verify(&token, seconds(NOW + 59)).is_ok());
    assert_eq!(tokens.verify(&token, seconds(NOW + 60)), missing);
    assert!(!tokens.still_vouches(&principal.credential, seconds(NOW + 60)));
    tokens.replace_keys(TokenKeys::set(set(&[issuer.jwk("a")]), seconds(NOW + 120)));
    assert!(tokens.verify(&token, seconds(NOW + 60)).is_ok());
    assert!(tokens.still_vouches(&principal.credential, seconds(NOW + 60)));
    // The issuer believes none of its keys any more.
    tokens.replace_keys(TokenKeys::set(set(&[]), seconds(NOW + 180)));
    assert_eq!(tokens.verify(&token, seconds(NOW + 60)), missing);
}

#[test]
fn a_set_keeps_only_keys_that_verify_signatures() {
    let good = Issuer::p256().jwk("good");
    let change = |changes: Value| {
        let mut key = good.clone();
        let changes = changes.as_object().unwrap().clone();
        key.as_object_mut().unwrap().extend(changes);
        key
    };
    let weak = Issuer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()).jwk("weak");
    let short = base64(&URL_SAFE_NO_PAD.decode(weak["n"].as_str().unwrap()).unwrap()[..128]);
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let (x, y) = p384.public_key().as_ref()[1..].split_at(48);
    let (x, y) = (base64(x), base64(y));
    let check = |key: Value, why: &str| {
        let set = set(&[good.clone(), key]);
        assert_eq!(set.names(), ["good"]);
        assert!(
            set.ignored()[0].contains(why),
            "{:?} is not {why}",
            set.ignored()
        );
    };
    check(change(json!({"use": "enc"})), "good: not for signatures");
    check(change(json!({"use": "other"})), "not for signatures");
    check(change(json!({"key_ops": ["sign"]})), "not for signatures");
    check(change(json!({"key_ops": []})), "not for signatures");
    check(change(json!({"d": "AAAA"})), "private");
    check(change(json!({"alg": "ES384"})), "algorithm");
    check(change(json!({"alg": "HS256"})), "algorithm");
    check(change(json!({"x": good["y"]})), "not a valid key");
    check(change(json!({"x": "???"})), "not a valid key");
    check(change(json!({"crv": "P-384"})), "kind of key");
    check(
        json!({"kty": "EC", "crv": "P-384", "x": x, "y": y}),
        "kind of key",
    );
    check(
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}),
        "not a valid key",
    );
    check(
        json!({"kty": "oct", "k": base64(SECRET), "kid": "a\nb"}),
        r"a\nb: a symmetric key",
    );
    check(
        json!({"kty": "oct", "k": base64(SECRET), "alg": "HS256"}),
        "a symmetric key",
    );
    check(
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": ""}),
        "kind of key",
    );
    check(json!({"kty": "RSA", "n": short, "e": "AQAB"}), "");
    check(
        json!({"kty": "RSA", "n": weak["n"], "e": "AQ"}),
        "not a valid key",
    );
    check(json!({"kty": "RSA", "n": "", "e": ""}), "not a valid key");
    check(json!({"kty": "RSA"}), "kind of key");
    check(json!("key"), "JSON Web Key");
    let same = set(&[good.clone(), change(json!({"key_ops": ["verify"]}))]);
    assert_eq!(same.names(), ["good"]);
}

#[test]
fn a_weak_rsa_key_is_refused() {
    // Of 1024 bits, made with `openssl genrsa 1024`.
    let n = "mZMpl5V3n7mAPKqX_ANYHpMhOI_CfcQz-ujfJiHqmoBzafF0sYgJ0tEkraFoZyF4m0THh_gPYbb4Ps8DO0pINW\
             GrkYiDV_3Yv0ylg0kLtJvGrFegyCoqAAeHEi6t9RK7SZs9PjWCCYfZEZGbfq8tz3AVvB1qfafBLTXCzgmahRc";
    let set = json!({"keys": [{"kty": "RSA", "n": n, "e": "AQAB"}]}).to_string();
    assert_eq!(
        JwkSet::parse(set.as_bytes()).unwrap_err(),
        TokenKeyError::EmptySet
    );
}

#[test]
fn an_oct_key_in_a_set_verifies_nothing() {
    let issuer = Issuer::p256();
    let oct = json!({"kty": "oct", "k": base64(SECRET), "kid": "s", "alg": "HS256"});
    let tokens = Tokens::new(config(), keys(&[oct.clone(), issuer.jwk("a")]));
    let token = signed(
        r#"{"alg":"HS256","kid":"s"}"#,
        &claims().to_string(),
        hs256(SECRET),
    );
    assert_eq!(tokens.verify(&token, now()), Err(TokenError::UnknownKey));
    let alone = JwkSet::parse(json!({ "keys": [oct] }).to_string().as_bytes());
    assert_eq!(alone.unwrap_err(), TokenKeyError::EmptySet);
}

#[test]
fn a_set_is_strict_and_bounded() {
    let check = |bytes: &[u8], error: TokenKeyError| {
        assert_eq!(JwkSet::parse(bytes).unwrap_err(), error);
    };
    for nothing in [
        "",
        "{}",
        "[]",
        "{\"keys\":1}",
        "{\"keys\":[],\"keys\":[]}",
        "<html>",
    ] {
        check(nothing.as_bytes(), TokenKeyError::NoSet);
    }
    assert!(JwkSet::parse(b"{\"keys\":[]}").is_ok());
    check(&vec![b' '; JwkSet::MAX_LEN + 1], TokenKeyError::LargeSet);
    let key = Issuer::p256().jwk("a");
    let many = json!({"keys": vec![key.clone(); 101]}).to_string();
    check(many.as_bytes(), TokenKeyError::LargeSet);
    assert_eq!(set(&vec![key; 100]).names(), ["a"]);
}

#[test]
fn a_key_file_that_is_not_what_it_should_be_is_refused() {
    let check = |pem: &str, error: TokenKeyError| {
        assert_eq!(TokenKeys::public_key(pem.as_bytes()).unwrap_err(), error);
    };
    check("", TokenKeyError::NoPublicKey);
    check("-----BEGIN PUBLIC KEY-----", TokenKeyError::NoPublicKey);
    check(&pem("PRIVATE KEY", b"x"), TokenKeyError::NoPublicKey);
    check(&pem("CERTIFICATE", b"x"), TokenKeyError::NoPublicKey);
    check(&pem("PUBLIC KEY", b"x"), TokenKeyError::UnknownKind);
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let der = p384.public_key().as_der().unwrap();
    check(&pem("PUBLIC KEY", der.as_ref()), TokenKeyError::UnknownKind);
    let secret = TokenKeys::secret(&[b'x'; 31]).unwrap_err();
    assert_eq!(secret, TokenKeyError::ShortSecret);
}

#[test]
fn an_oversized_token_is_refused_unread() {
    let padding = "x".repeat(Tokens::MAX_LEN);
    let refused = verify(&with(json!({ "padding": padding })));
    assert_eq!(refused, Err(TokenError::TooLong));
}

#[test]
fn garbage_is_refused() {
    let good = token(&claims());
    let two = good.rsplit_once('.').unwrap().0;
    for garbage in [
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a.b.c",
        "é.é.é",
        "\0",
        two,
        &format!("{good}."),
        &format!("{good}.x"),
        &format!(" {good}"),
        &format!("{good}="),
        &format!("{good}\n"),
        &good.replace('.', ".."),
    ] {
        let refused = tokens().verify(garbage, now());
        assert_eq!(refused, Err(TokenError::Malformed), "{garbage:?}");
    }
    let nested = "[".repeat(6_000);
    for claims in [
        "",
        "[]",
        "1",
        "\"x\"",
        "{",
        &nested,
        "{\"a\":1}x",
        "\u{feff}{}",
    ] {
        let token = signed(r#"{"alg":"HS256"}"#, claims, hs256(SECRET));
        let refused = tokens().verify(&token, now());
        assert_eq!(refused, Err(TokenError::Malformed), "{claims:?}");
    }
}

#[test]
fn a_tampered_token_is_refused_wherever_it_was_touched() {
    let tokens = tokens();
    let good = token(&claims());
    assert!(tokens.verify(&good, now()).is_ok());
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(tokens.verify(&changed, now()).is_err(), "{changed}");
    }
    let mut parts: Vec<_> = good.split('.').map(str::to_owned).collect();
    parts[1] = base64(with(json!({"scope": "admin"})).to_string());
    let refused = tokens.verify(&parts.join("."), now());
    assert_eq!(refused, Err(TokenError::BadSignature));
}

#[test]
fn who_it_is_about_can_be_shown() {
    let named = |sub: Value| {
        let config = TokenConfig {
            client_claim: None,
            ..config()
        };
        let tokens = Tokens::new(config, TokenKeys::secret(SECRET).unwrap());
        let verified = tokens.verify(&token(&with(json!({ "sub": sub }))), now());
        verified.map(|principal| principal.name.to_string())
    };
    let check = |sub: &str, name: &str| assert_eq!(named(json!(sub)).unwrap(), name);
    check(
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "token:auth0|5f7c8ec7c33c6c004bbafe82",
    );
    check("Zoë O'Neill", "token:Zoë O'Neill");
    check("a\nb\u{1b}[31m", r"token:a\nb\u{1b}[31m");
    check("a\u{202e}b\u{2028}", r"token:a\u{202e}b\u{2028}");
    check(r"a\nb", r"token:a\\nb");
    check(&"ä".repeat(255), &format!("token:{}", "ä".repeat(255)));
    for sub in [json!(null), json!(""), json!("x".repeat(256)), json!(1)] {
        let refused = TokenError::claim("sub", "a string of 1 to 255 characters");
        assert_eq!(named(sub), Err(refused));
    }
}

#[test]
fn a_claim_that_cannot_be_used_is_an_error() {
    let check = |changes: Value, claim: &str| match verify(&with(changes.clone())) {
        Err(TokenError::Claim { claim: named, .. }) => assert_eq!(named, claim),
        other => panic!("{changes}: {other:?}"),
    };
    check(json!({"sub": "alice smith"}), "sub");
    check(json!({"groups": ["a b"]}), "groups");
    check(json!({"groups": [1]}), "groups");
    check(json!({"groups": {"a": 1}}), "groups");
    check(json!({"scope": 1}), "scope");
    check(json!({"scope": [["admin"]]}), "scope");
    for quota in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("10"),
        json!(4_294_967_296_u64),
    ] {
        check(json!({ "quota": quota }), "quota");
    }
    check(json!({"iat": "now"}), "iat");
    check(json!({"nbf": []}), "nbf");
    check(json!({"aud": [1]}), "aud");
    let many: Vec<_> = (0..65).map(|n| format!("publish:t{n}")).collect();
    check(json!({"scope": many.join(" ")}), "scope");
    check(json!({ "scope": many }), "scope");
    assert_eq!(
        verify(&with(json!({"groups": "one"})))
            .unwrap()
            .groups
            .as_ref()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn grants_are_words_and_others_words_are_passed_over() {
    let check = |scope: Value, expected: &[&str]| {
        let principal = verify(&with(json!({ "scope": scope }))).unwrap();
        let grants: Vec<_> = principal.grants.iter().map(Grant::to_string).collect();
        assert_eq!(grants, expected, "{scope}");
    };
    check(json!(null), &[]);
    check(json!(""), &[]);
    check(json!("openid  email "), &[]);
    check(json!("admin"), &["admin"]);
    check(json!("Admin admin2 xadmin operator2"), &[]);
    check(json!("publish: publish:*** subscribe:a//b"), &[]);
    check(
        json!(["operator", "x", "subscribe:a"]),
        &["publish:ops/**", "subscribe:a", "acknowledge"],
    );
    // In a list, each is one word.
    check(json!(["admin acknowledge"]), &[]);
}

#[test]
fn a_claim_without_a_name_is_not_used() {
    let config = TokenConfig {
        client_claim: None,
        groups_claim: None,
        grants_claim: None,
        events_per_hour_claim: None,
        ..config()
    };
    let tokens = Tokens::new(config, TokenKeys::secret(SECRET).unwrap());
    let claims = with(json!({"groups": 1, "scope": "admin", "quota": "x"}));
    let principal = tokens.verify(&token(&claims), now()).unwrap();
    assert_eq!(principal.client, None);
    assert_eq!(principal.groups, None);
    assert_eq!(principal.grants, Grants::default());
    assert_eq!(principal.events_per_hour, None);
}

#[test]
fn errors_and_debug_output_keep_secrets() {
    let issuer = Issuer::rsa();
    let keys = TokenKeys::public_key(issuer.pem().as_bytes()).unwrap();
    let secret = TokenKeys::secret(SECRET).unwrap();
    let numbers: Vec<String> = SECRET.iter().map(u8::to_string).collect();
    for shown in [
        format!("{secret:?}"),
        format!("{:?}", tokens()),
        format!("{keys:?}"),
    ] {
        assert!(shown.contains("algorithm"), "{shown}");
        assert!(!shown.contains("only the issuer") && !shown.contains(&numbers.join(", ")));
    }
    let marked = with(json!({"sub": "a MARK", "aud": "events"}));
    let refused = verify(&marked).unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains("MARK"));
}

#[test]
#[ignore = "measures; run it with --release -- --ignored --nocapture"]
fn what_a_token_costs() {
    let issuer = Issuer::rsa();
    let tokens = Tokens::new(config(), keys(&[issuer.jwk("a")]));
    let token = issuer.token(Some("a"));
    let measure = |what: &str, times: u32, clear: bool| {
        let start = std::time::Instant::now();
        for _ in 0..times {
            if clear {
                tokens.verified.clear();
            }
            tokens.verify(&token, now()).unwrap();
        }
        println!(
            "{what}: {:?} for {} bytes",
            start.elapsed() / times,
            token.len()
        );
    };
    measure("verified", 10_000, true);
    measure("known", 1_000_000, false);
}

proptest! {
    #[test]
    fn whatever_comes_is_judged(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz::token(&bytes);
        fuzz::claims(&bytes);
        fuzz::key_set(&bytes);
    }

    #[test]
    fn whatever_stands_in_a_token_is_judged(
        header in "\\{(\"(alg|typ|kid|crit|jwk)\":(\"HS256\"|\"x\"|\\{\\}|\\[\\]|1|null),?){0,4}\\}",
        claims in any::<Vec<u8>>(),
        signature in any::<[u8; 32]>(),
    ) {
        let token = format!("{}.{}.{}", base64(header), base64(claims), base64(signature));
        fuzz::token(token.as_bytes());
    }

    #[test]
    fn whatever_is_claimed_is_judged(
        name in "iss|aud|sub|exp|nbf|iat|scope|c|g|e",
        text in any::<String>(),
        number in any::<f64>(),
        which in 0..5,
    ) {
        let value = match which {
            0 => json!(text),
            1 => json!(number),
            2 => json!([text]),
            3 => json!({ text: number }),
            _ => json!(null),
        };
        let mut claims = json!({"iss": "i", "aud": "a", "sub": "s", "exp": NOW + 1});
        claims[name] = value;
        fuzz::claims(claims.to_string().as_bytes());
    }

    #[test]
    fn whatever_a_key_is_it_is_judged(
        kty in "RSA|EC|OKP|oct|x", member in "n|e|x|y|crv|k|alg|use|key_ops|kid", text in "[A-Za-z0-9_-]{0,90}",
    ) {
        let mut key = json!({"kty": kty, "n": text, "e": "AQAB", "crv": "P-256", "x": text, "y": text});
        key[member] = text.into();
        fuzz::key_set(json!({ "keys": [key] }).to_string().as_bytes());
    }
}

#[test]
fn random_bytes_are_no_key() {
    let mut bytes = [0; 91];
    rand::fill(&mut bytes).unwrap();
    let refused = TokenKeys::public_key(pem("PUBLIC KEY", &bytes).as_bytes()).unwrap_err();
    assert_eq!(refused, TokenKeyError::UnknownKind);
}

#[test]
fn a_good_token_passes_from_where_somebody_guesses() {
    let secret = ServerSecret::new(&ServerSecret::generate());
    let access = Access::new(secret, LimitsConfig::default());
    access.set_tokens(Some(Arc::new(tokens())));
    let address = Some("192.0.2.1".parse().unwrap());
    let ask = |text: &str| access.authenticate(Presented::Bearer(text), address, now());
    let refused: Vec<_> = (0..30)
        .map(|n| ask(&format!("a.b.{n}")).unwrap_err())
        .collect();
    let limit_of = |refused: &Unauthenticated| match refused {
        Unauthenticated::Limited(limited) => Some(limited.limit.clone()),
        _ => None,
    };
    assert_eq!(limit_of(&refused[0]), None);
    let limit = limit_of(refused.last().unwrap()).unwrap();
    assert_eq!(limit, "address.failed_authentications");
    assert!(ask(&token(&claims())).is_ok());
    // There is an end to what is looked at, too.
    let refused: Vec<_> = (0..200)
        .map(|n| ask(&format!("c.d.{n}")).unwrap_err())
        .collect();
    let is_it = |refused| limit_of(refused).as_deref() == Some("address.token_verifications");
    assert!(refused.iter().any(is_it));
}
