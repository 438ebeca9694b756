#![allow(dead_code, reason = "not every test uses all of it")]

use std::io::Write;

use notification_testkit::{EventStream, Response, ServerProcess, request};
use serde_json::{Value, json};

use crate::common::BINARY;

/// What the operator made up.
pub(crate) const ADMIN: &str = "an-operators-own-key-of-more-than-32-characters";

/// A server where everybody has to say who they are.
pub(crate) struct Secured {
    pub(crate) server: ServerProcess,
    pub(crate) config: tempfile::NamedTempFile,
    pub(crate) admin_key: tempfile::NamedTempFile,
}

/// How somebody says who they are.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    Bearer(String),
    /// The cookie of a session, as a browser sends it from a page of the server.
    Cookie(String),
}

impl Secured {
    pub(crate) fn start(settings: &str) -> Self {
        let admin_key = file(ADMIN);
        let config = file("");
        let path = config.path().to_str().unwrap().to_owned();
        write(&config, &Self::settings(&admin_key, settings));
        let server = ServerProcess::start(BINARY, &["--config", &path]);
        Self {
            server,
            config,
            admin_key,
        }
    }

    fn settings(admin_key: &tempfile::NamedTempFile, settings: &str) -> String {
        let path = admin_key.path().to_str().unwrap();
        format!("{settings}\n[auth]\nadmin_key_file = \"{path}\"\n")
    }

    /// Writes other settings into its file.
    pub(crate) fn configure(&self, settings: &str) {
        write(&self.config, &Self::settings(&self.admin_key, settings));
    }

    pub(crate) fn admin() -> Credential {
        Credential::Bearer(ADMIN.to_owned())
    }

    /// Creates a key: its id, and a credential.
    pub(crate) fn key(&self, wanted: &Value) -> (String, Credential) {
        let created = self.ask(&Self::admin(), "POST", "/v1/keys", Some(wanted));
        assert_eq!(created.status, 201, "{created:?}");
        let key = created.json();
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        (text("id"), Credential::Bearer(text("key")))
    }

    /// A credential with these grants.
    pub(crate) fn allowed(&self, name: &str, allow: &[&str]) -> Credential {
        self.key(&json!({"name": name, "allow": allow})).1
    }

    /// Exchanges a credential for the cookie of a session.
    pub(crate) fn cookie(&self, of: &Credential) -> Credential {
        let begun = self.ask(of, "POST", "/v1/session", None);
        assert_eq!(begun.status, 201, "{begun:?}");
        let cookie = begun.header("set-cookie").unwrap();
        let (pair, attributes) = cookie.split_once(';').unwrap();
        for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
            assert!(attributes.contains(attribute), "{cookie}");
        }
        Credential::Cookie(pair.to_owned())
    }

    pub(crate) fn headers(&self, credential: &Credential) -> Vec<(&'static str, String)> {
        match credential {
            Credential::Bearer(text) => vec![("Authorization", format!("Bearer {text}"))],
            Credential::Cookie(pair) => vec![
                ("Cookie", pair.clone()),
                ("Origin", self.server.url("")),
                ("Sec-Fetch-Site", "same-origin".to_owned()),
            ],
        }
    }

    pub(crate) fn ask(
        &self,
        credential: &Credential,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Response {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let json = ("Content-Type", "application/json");
        self.send(credential, method, path, &[json], &body)
    }

    pub(crate) fn send(
        &self,
        credential: &Credential,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let own = self.headers(credential);
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = more.iter().copied().chain(own).collect();
        request(self.server.address(), method, path, &headers, body)
    }

    pub(crate) fn open(
        &self,
        credential: &Credential,
        path: &str,
    ) -> Result<EventStream, Response> {
        self.open_with(credential, path, &[])
    }

    pub(crate) fn open_with(
        &self,
        credential: &Credential,
        path: &str,
        more: &[(&str, &str)],
    ) -> Result<EventStream, Response> {
        let own = self.headers(credential);
        let own = own.iter().map(|(n, v)| (*n, v.as_str()));
        let headers: Vec<_> = more.iter().copied().chain(own).collect();
        EventStream::try_open(self.server.address(), path, &headers)
    }

    /// What a tool answers: its result.
    pub(crate) fn call(&self, credential: &Credential, tool: &str, arguments: &Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let answer = self.ask(credential, "POST", "/mcp", Some(&call));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["result"].clone()
    }

    /// Everything that was published, without what the server says itself.
    pub(crate) fn published(&self) -> usize {
        let page = self.ask(&Self::admin(), "GET", "/v1/events?limit=1000", None);
        page.json()["events"].as_array().unwrap().len()
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(&file, text);
    file
}

pub(crate) fn write(file: &tempfile::NamedTempFile, text: &str) {
    let mut to = std::fs::File::create(file.path()).unwrap();
    to.write_all(text.as_bytes()).unwrap();
}
