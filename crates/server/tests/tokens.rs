//! Tokens that somebody else issues: which are believed, through every door, and
//! what becomes of what was opened with them.

#[path = "common/mod.rs"]
mod common;
#[path = "common/modern.rs"]
mod modern;
#[path = "common/secured.rs"]
mod secured;

use std::sync::OnceLock;
use std::time::SystemTime;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::notification;
use modern::Modern;
use notification_testkit::{Response, eventually, signal};
use secured::{Credential, Secured};
use serde_json::{Value, json};

const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "https://events.example.com/mcp";

/// Whoever issues tokens, and the file by which the server knows him.
struct Issuer {
    key: Key,
    file: tempfile::NamedTempFile,
}

enum Key {
    Secret(&'static str),
    Rsa(&'static RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Issuer {
    fn new(key: Key) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        secured::write(&file, &key.as_known());
        Self { key, file }
    }

    fn of_every_kind() -> [Self; 4] {
        // It takes a while to find one.
        static RSA: OnceLock<RsaKeyPair> = OnceLock::new();
        let rsa = RSA.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        [Self::with_secret().key, Key::Rsa(rsa), p256(), ed25519()].map(Self::new)
    }

    fn with_secret() -> Self {
        Self::new(Key::Secret("a secret that only the issuer knows"))
    }

    /// A server that believes him.
    fn server(&self, more: &str) -> Secured {
        Secured::start(&self.settings(more))
    }

    fn settings(&self, more: &str) -> String {
        let setting = match self.key {
            Key::Secret(_) => "secret_file",
            _ => "public_key_file",
        };
        let path = self.file.path().display();
        format!(
            "[auth.jwt]\nissuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]\n\
             {setting} = \"{path}\"\nleeway_seconds = 0\n{more}\n"
        )
    }

    /// A token that says all it has to, with some claims otherwise; null takes one out.
    fn token(&self, changes: &Value) -> Credential {
        bearer(self.key.signed(&self.key.header(), &claims(changes)))
    }
}

impl Key {
    /// What the server is given.
    fn as_known(&self) -> String {
        let der = match self {
            Self::Secret(secret) => return (*secret).to_owned(),
            Self::Rsa(key) => key.public_key().as_der(),
            Self::P256(key) => key.public_key().as_der(),
            Self::Ed25519(key) => key.public_key().as_der(),
        };
        let base64 = STANDARD.encode(der.unwrap().as_ref());
        let lines: Vec<_> = base64.as_bytes().chunks(64).collect();
        let lines = String::from_utf8(lines.join(&b'\n')).unwrap();
        format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n")
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "typ": "at+jwt"})
    }

    /// A token (RFC 7515, section 7.1) whose header may say anything.
    fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => hs256(secret.as_bytes(), message),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Self::P256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// Another key of the same kind.
    fn another(&self) -> Self {
        match self {
            Self::Secret(_) => Self::Secret("a secret that somebody else made up"),
            Self::Rsa(_) => {
                static OTHER: OnceLock<RsaKeyPair> = OnceLock::new();
                Self::Rsa(OTHER.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
            }
            Self::P256(_) => p256(),
            Self::Ed25519(_) => ed25519(),
        }
    }
}

fn p256() -> Key {
    Key::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
}

fn ed25519() -> Key {
    Key::Ed25519(Ed25519KeyPair::generate().unwrap())
}

fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, message).as_ref().to_vec()
}

fn encode(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn bearer(token: String) -> Credential {
    Credential::Bearer(token)
}

fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": from_now(600),
        "iat": from_now(-1), "scope": "openid publish:ops/** subscribe:**",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value.is_null() {
            true => drop(claims.as_object_mut().unwrap().remove(name)),
            false => claims[name] = value.clone(),
        }
    }
    claims
}

fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs().cast_signed() + seconds
}

fn on(topic: &str) -> Value {
    json!({"type": "notification", "message": "m", "topic": topic})
}

/// Nothing is done with it through any door, and what is said does not repeat it.
fn check_is_refused(secured: &Secured, what: &str, credential: &Credential) {
    let Credential::Bearer(token) = credential else {
        unreachable!()
    };
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "send_notification", "arguments": {"message": "m", "topic": "ops/db"}}});
    let refused = |answer: &Response| {
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.contains(r#"error="invalid_token""#),
            "{what}: {challenge}"
        );
        assert_eq!(answer.header("set-cookie"), None, "{what}");
        assert!(!answer.body.contains(token), "{what}: {answer:?}");
    };
    for (method, path, body) in [
        ("GET", "/v1/session", None),
        ("POST", "/v1/session", None),
        ("POST", "/v1/events", Some(&on("ops/db"))),
        ("POST", "/v1/topics/ops/db", Some(&json!("m"))),
        ("GET", "/v1/events", None),
        ("POST", "/v1/tickets", Some(&json!({}))),
        ("POST", "/mcp", Some(&call)),
    ] {
        refused(&secured.ask(credential, method, path, body));
    }
    for path in ["/v1/stream", "/mcp"] {
        refused(&secured.open(credential, path).unwrap_err());
    }
    assert_eq!(secured.published(), 0, "{what}");
    assert_eq!(connections(secured), json!([]), "{what}");
}

fn connections(secured: &Secured) -> Value {
    let answer = secured.ask(&Secured::admin(), "GET", "/v1/connections", None);
    answer.json()["connections"].clone()
}

#[test]
fn a_good_token_is_believed_at_every_door() {
    for issuer in Issuer::of_every_kind() {
        let secured = issuer.server("");
        let token = issuer.token(&json!({}));
        let whoami = secured.ask(&token, "GET", "/v1/session", None).json();
        assert_eq!(
            (&whoami["principal"], &whoami["client_id"], &whoami["allow"]),
            (
                &json!("token:alice"),
                &json!("alice"),
                &json!(["publish:ops/**", "subscribe:**"])
            ),
            "{}",
            issuer.key.algorithm()
        );
        let mut streams = ["/v1/stream", "/mcp"].map(|path| secured.open(&token, path).unwrap());
        let ticket = secured.ask(&token, "POST", "/v1/tickets", Some(&json!({})));
        assert_eq!(ticket.status, 201, "{ticket:?}");
        let published = secured.ask(&token, "POST", "/v1/events", Some(&on("ops/db")));
        assert_eq!(published.status, 201, "{published:?}");
        let arguments = json!({"message": "by the tool", "topic": "ops/db"});
        let sent = secured.call(&token, "send_notification", &arguments);
        assert_eq!(sent["isError"], false, "{sent}");
        let cookie = secured.cookie(&token);
        let by_cookie = secured.ask(&cookie, "POST", "/v1/events", Some(&on("ops/db")));
        assert_eq!(by_cookie.status, 201, "{by_cookie:?}");
        for stream in &mut streams {
            let said = stream.take(4);
            assert_eq!(said[0]["status"], "connected");
            let messages = said[1..].iter().map(|event| event["message"].clone());
            assert_eq!(
                messages.collect::<Value>(),
                json!(["m", "by the tool", "m"])
            );
        }
    }
}

#[test]
fn a_bad_token_is_good_for_nothing() {
    for issuer in Issuer::of_every_kind() {
        let secured = issuer.server("");
        let key = &issuer.key;
        let algorithm = key.algorithm();
        let check = |what: &str, token: &Credential| {
            check_is_refused(&secured, &format!("{algorithm}: {what}"), token);
        };
        for (what, changes) in [
            ("expired", json!({"exp": from_now(-1)})),
            ("without an end", json!({"exp": null})),
            ("too early", json!({"nbf": from_now(600)})),
            (
                "of another issuer",
                json!({"iss": "https://evil.example.com"}),
            ),
            (
                "of the issuer with a slash",
                json!({"iss": format!("{ISSUER}/")}),
            ),
            ("of nobody", json!({"iss": null})),
            (
                "for another audience",
                json!({"aud": "https://events.example.com"}),
            ),
            ("for others", json!({"aud": ["a", "b"]})),
            ("for nobody", json!({"aud": null})),
            ("about nobody", json!({"sub": null})),
            ("about no client", json!({"sub": "no client"})),
        ] {
            check(what, &issuer.token(&changes));
        }
        let good = claims(&json!({}));
        let none = [json!({"alg": "none"}), json!({"alg": "None", "typ": "JWT"})];
        for header in none {
            let unsigned = format!("{}.{}.", encode(&header), encode(&good));
            check("unsigned", &bearer(unsigned));
            check("signed by none", &bearer(key.signed(&header, &good)));
        }
        // RFC 8725, section 2.1: what everybody knows is no secret.
        let confused = format!(
            "{}.{}",
            encode(&json!({"alg": "HS256", "typ": "JWT"})),
            encode(&good)
        );
        for secret in [key.as_known(), key.as_known().trim_end().to_owned()] {
            let signature = hs256(secret.as_bytes(), confused.as_bytes());
            let token = format!("{confused}.{}", URL_SAFE_NO_PAD.encode(signature));
            if !matches!(key, Key::Secret(_)) {
                check("signed with the public key as a secret", &bearer(token));
            }
        }
        for other in [
            "HS256", "HS512", "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA",
        ] {
            if other != algorithm {
                let token = key.signed(&json!({"alg": other}), &good);
                check(&format!("that says {other}"), &bearer(token));
            }
        }
        check(
            "signed with another key",
            &bearer(key.another().signed(&key.header(), &good)),
        );
        let brings = json!({"alg": algorithm, "jwk": {"kty": "oct", "k": "c2VjcmV0"},
                            "jku": "http://127.0.0.1:1/jwks", "kid": "../../../dev/null"});
        check(
            "that brings its own key",
            &bearer(key.another().signed(&brings, &good)),
        );
        let critical = json!({"alg": algorithm, "crit": ["b64"], "b64": false});
        check(
            "that asks for an extension",
            &bearer(key.signed(&critical, &good)),
        );
        let typed = json!({"alg": algorithm, "typ": "logout+jwt"});
        check("of another type", &bearer(key.signed(&typed, &good)));
        let token = key.signed(&key.header(), &good);
        let parts: Vec<_> = token.split('.').collect();
        let more = encode(&claims(&json!({"scope": "admin"})));
        let (header, signature) = (parts[0], parts[2]);
        check(
            "that was changed",
            &bearer(format!("{header}.{more}.{signature}")),
        );
        check(
            "that lost its signature",
            &bearer(format!("{header}.{}.", parts[1])),
        );
        check("that is cut", &bearer(token[..token.len() - 4].to_owned()));
        // It was none of the above that made them bad.
        let answer = secured.ask(&bearer(token), "GET", "/v1/session", None);
        assert_eq!(answer.status, 200, "{algorithm}: {answer:?}");
    }
}

#[test]
fn a_stream_is_warned_before_its_token_expires_and_then_ends() {
    let issuer = Issuer::with_secret();
    let secured = issuer.server("");
    let token = issuer.token(&json!({"exp": from_now(4)}));
    let cookie = secured.cookie(&token);
    let streams = [
        (&token, "/v1/stream"),
        (&token, "/mcp"),
        (&cookie, "/v1/stream"),
    ];
    let streams = streams.map(|(credential, path)| secured.open(credential, path).unwrap());
    for mut stream in streams {
        let said: Vec<_> = std::iter::from_fn(|| stream.next())
            .map(|event| event.data["status"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(said, ["connected", "credential_expiring", "unauthorized"]);
    }
    check_is_refused(&secured, "expired", &token);
    let by_cookie = secured.ask(&cookie, "POST", "/v1/events", Some(&on("ops/db")));
    assert_eq!((by_cookie.status, secured.published()), (401, 0));
}

#[test]
fn a_call_with_a_token_that_lacks_a_grant_is_challenged() {
    let issuer = Issuer::with_secret();
    let secured = issuer.server("");
    let token = issuer.token(&json!({"scope": "subscribe:dev"}));
    let notification = json!({"message": "m", "topic": "ops/db"});
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
        "name": "send_notification", "arguments": notification}});
    let modern = |accept: &str| {
        let call = Modern::call("send_notification", &notification).with_progress();
        let call = call.with_header("Accept", accept);
        secured.send(
            &token,
            "POST",
            "/mcp",
            &call.headers(),
            &call.body.to_string(),
        )
    };
    for answer in [
        secured.ask(&token, "POST", "/mcp", Some(&call)),
        modern("application/json, text/event-stream"),
        modern("text/event-stream"),
    ] {
        assert_eq!(answer.status, 403, "{answer:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        let wanted = r#"error="insufficient_scope", scope="publish:** subscribe:dev""#;
        assert!(challenge.contains(wanted), "{challenge}");
        let message = answer.json();
        assert_eq!(
            (&message["id"], &message["error"]["code"]),
            (&json!(7), &json!(-32024))
        );
    }
    for topic in ["ops/db", "dev"] {
        let refused = secured.ask(&token, "POST", "/v1/events", Some(&on(topic)));
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    assert_eq!(secured.published(), 0);
}

#[test]
fn the_groups_of_a_token_are_those_of_its_client() {
    let issuer = Issuer::with_secret();
    let secured = issuer.server("groups_claim = \"groups\"");
    let token = |sub: &str, groups: Value| issuer.token(&json!({"sub": sub, "groups": groups}));
    let alice = token("alice", json!(["staff", "ops"]));
    let mut streams = [
        alice.clone(),
        token("bob", json!("staff")),
        token("mallory", json!(null)),
        token("eve", json!(["other"])),
    ]
    .map(|token| secured.open(&token, "/v1/stream").unwrap());
    let admin = Secured::admin();
    for (message, groups) in [("to staff", ["staff"]), ("to ops", ["ops"])] {
        let event =
            json!({"type": "notification", "message": message, "audience": {"groups": groups}});
        let published = secured.ask(&admin, "POST", "/v1/events", Some(&event));
        assert_eq!(published.status, 201, "{published:?}");
    }
    secured.ask(&admin, "POST", "/v1/events", Some(&notification("to all")));
    let expected = [
        json!(["to staff", "to ops", "to all"]),
        json!(["to staff", "to all"]),
        json!(["to all"]),
        json!(["to all"]),
    ];
    for (stream, expected) in streams.iter_mut().zip(expected) {
        assert_eq!(stream.next().unwrap().data["status"], "connected");
        let said = stream.take(expected.as_array().unwrap().len());
        let messages: Value = said.iter().map(|event| event["message"].clone()).collect();
        assert_eq!(messages, expected);
    }
    let wrong = token("alice", json!(["no group"]));
    let answer = secured.ask(&wrong, "GET", "/v1/events", None);
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[test]
fn a_role_stands_for_its_grants_and_other_words_for_nothing() {
    let issuer = Issuer::with_secret();
    let roles = "grants_claim = \"roles\"\n\
                 roles = [\"operator = publish:ops/** subscribe:ops/**\"]";
    let secured = issuer.server(roles);
    let check = |roles: Value, allow: Value| {
        let token = issuer.token(&json!({"roles": roles, "scope": "admin"}));
        let whoami = secured.ask(&token, "GET", "/v1/session", None).json();
        assert_eq!(whoami["allow"], allow, "{roles}");
        token
    };
    let all = json!(["publish:ops/**", "subscribe:ops/**"]);
    let operator = check(json!(["operator", "Admin", "root"]), all.clone());
    check(json!("operator operator"), all);
    check(json!("operators admin:"), json!([]));
    check(json!(null), json!([]));
    let post = |topic: &str| secured.ask(&operator, "POST", "/v1/events", Some(&on(topic)));
    assert_eq!((post("ops/db").status, post("dev").status), (201, 403));
    assert_eq!(secured.published(), 1);
}

#[test]
fn a_token_bounds_how_much_is_published() {
    let issuer = Issuer::with_secret();
    let secured = issuer.server("events_per_hour_claim = \"quota\"");
    let token = || issuer.token(&json!({"quota": 2}));
    let post = |token: &Credential| {
        let answer = secured.ask(token, "POST", "/v1/events", Some(&on("ops/db")));
        answer.status
    };
    let (first, second) = (
        token(),
        issuer.token(&json!({"quota": 2, "jti": "another"})),
    );
    assert_eq!([post(&first), post(&second), post(&first)], [201, 201, 429]);
    assert_eq!(secured.published(), 2);
    for quota in [json!(0), json!("2"), json!(-1)] {
        assert_eq!(
            post(&issuer.token(&json!({"quota": quota}))),
            401,
            "{quota}"
        );
    }
}

#[test]
fn another_secret_ends_what_was_opened_with_the_former() {
    let former = Issuer::with_secret();
    let secured = former.server("");
    let token = former.token(&json!({}));
    let cookie = secured.cookie(&token);
    let ticket = || {
        let issued = secured.ask(&token, "POST", "/v1/tickets", Some(&json!({})));
        let ticket = issued.json()["ticket"].as_str().unwrap().to_owned();
        format!("/v1/stream?ticket={ticket}")
    };
    let (used, unused) = (ticket(), ticket());
    let address = secured.server.address();
    let mut streams = vec![
        secured.open(&token, "/v1/stream").unwrap(),
        secured.open(&token, "/mcp").unwrap(),
        secured.open(&cookie, "/v1/stream").unwrap(),
        notification_testkit::EventStream::try_open(address, &used, &[]).unwrap(),
    ];
    let of_a_key = secured.allowed("a", &["subscribe:**"]);
    let mut of_a_key = secured.open(&of_a_key, "/v1/stream").unwrap();

    let latter = Issuer::new(former.key.another());
    secured.configure(&latter.settings(""));
    signal(secured.server.pid(), libc::SIGHUP);
    let renewed = latter.token(&json!({}));
    eventually("the settings are read", || {
        secured.ask(&renewed, "GET", "/v1/session", None).status == 200
    });
    assert_eq!(secured.ask(&token, "GET", "/v1/session", None).status, 401);
    for stream in &mut streams {
        assert_eq!(stream.next().unwrap().data["status"], "connected");
        let last = stream.next().unwrap();
        assert_eq!(last.data["status"], "unauthorized", "{last:?}");
        assert_eq!(stream.next(), None);
    }
    let by_cookie = secured.ask(&cookie, "POST", "/v1/events", Some(&on("ops/db")));
    assert_eq!(by_cookie.status, 401, "{by_cookie:?}");
    let by_ticket = notification_testkit::EventStream::try_open(address, &unused, &[]);
    assert_eq!(by_ticket.unwrap_err().status, 401);
    assert_eq!(secured.published(), 0);

    let published = secured.ask(&renewed, "POST", "/v1/events", Some(&on("ops/db")));
    assert_eq!(published.status, 201, "{published:?}");
    assert_eq!(of_a_key.next().unwrap().data["status"], "connected");
    assert_eq!(of_a_key.next().unwrap().data["message"], "m");
}

#[test]
fn the_same_secret_again_ends_nothing() {
    let issuer = Issuer::with_secret();
    let secured = issuer.server("");
    let token = issuer.token(&json!({}));
    let mut stream = secured.open(&token, "/v1/stream").unwrap();
    secured.configure(&format!(
        "allowed_hosts = [\"events.example.com\"]\n{}",
        issuer.settings("")
    ));
    signal(secured.server.pid(), libc::SIGHUP);
    let named = [("Host", "events.example.com")];
    eventually("the settings are read", || {
        secured.server.request("GET", "/healthz", &named, "").status == 200
    });
    let published = secured.ask(&token, "POST", "/v1/events", Some(&on("ops/db")));
    assert_eq!(published.status, 201, "{published:?}");
    assert_eq!(stream.next().unwrap().data["status"], "connected");
    assert_eq!(stream.next().unwrap().data["message"], "m");
}
