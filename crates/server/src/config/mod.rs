//! Everything that can be set.

mod jwt;
mod layers;
mod value;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notification_event::Declaration;
use notification_http::{IpNet, Origins, ProxyHeader};
use notification_hub::Rate;
use serde::Deserialize;

pub use self::jwt::Jwt;
pub use self::layers::Flag;
use self::layers::{DEFAULT, Layers};
pub use self::value::{AuthMode, DataDir, Durability, EventErrorCodes, LogFormat};

/// Everything that can be set. `default.toml`, beside this file, says what each means.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "documented in default.toml, once for code and people"
)]
pub struct Config {
    #[serde(deserialize_with = "value::address")]
    pub bind: SocketAddr,
    #[serde(deserialize_with = "value::url")]
    pub public_url: Option<String>,
    #[serde(deserialize_with = "value::data_dir")]
    pub data_dir: DataDir,
    pub durability: Durability,
    pub insecure_no_auth: bool,
    #[serde(deserialize_with = "value::hosts")]
    pub allowed_hosts: Vec<String>,
    #[serde(deserialize_with = "value::origins")]
    pub allowed_origins: Origins,
    #[serde(deserialize_with = "value::networks")]
    pub trusted_proxies: Vec<IpNet>,
    #[serde(deserialize_with = "value::proxy_header")]
    pub trusted_proxy_header: ProxyHeader,
    pub tls: Tls,
    pub auth: Auth,
    pub limits: Limits,
    pub logging: Logging,
    pub retention: Retention,
    pub http: Http,
    pub stream: Stream,
    pub mcp: Mcp,
    pub events: Events,
    pub webhooks: Webhooks,
    pub clients: Clients,
    pub tasks: Tasks,
    pub shutdown: Shutdown,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Auth {
    pub mode: AuthMode,
    #[serde(deserialize_with = "value::path")]
    pub admin_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "value::urls")]
    pub authorization_servers: Vec<String>,
    pub jwt: Jwt,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Limits {
    pub total: Quota,
    pub principal: Quota,
    pub address: AddressQuota,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct AddressQuota {
    #[serde(deserialize_with = "value::quota")]
    pub requests_per_second: Option<u64>,
    #[serde(deserialize_with = "value::quota")]
    pub events_per_second: Option<u64>,
    #[serde(deserialize_with = "value::quota")]
    pub bytes_per_second: Option<u64>,
    #[serde(deserialize_with = "value::quota")]
    pub streams: Option<u64>,
    #[serde(deserialize_with = "value::quota")]
    pub connections: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Quota {
    #[serde(deserialize_with = "value::quota")]
    pub requests_per_second: Option<u64>,
    #[serde(deserialize_with = "value::quota")]
    pub events_per_second: Option<u64>,
    #[serde(deserialize_with = "value::quota")]
    pub bytes_per_second: Option<u64>,
    #[serde(deserialize_with = "value::quota")]
    pub streams: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Tls {
    #[serde(deserialize_with = "value::path")]
    pub certificate_file: Option<PathBuf>,
    #[serde(deserialize_with = "value::path")]
    pub key_file: Option<PathBuf>,
    pub self_signed: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Logging {
    pub format: LogFormat,
    #[serde(deserialize_with = "value::level")]
    pub level: tracing::Level,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Retention {
    #[serde(deserialize_with = "value::bound")]
    pub max_age_seconds: Option<u64>,
    #[serde(deserialize_with = "value::bound")]
    pub max_events: Option<u64>,
    #[serde(deserialize_with = "value::bound")]
    pub max_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Http {
    #[serde(
        rename = "head_timeout_seconds",
        deserialize_with = "value::seconds::<1, 3600, _>"
    )]
    pub head_timeout: Duration,
    #[serde(
        rename = "body_timeout_seconds",
        deserialize_with = "value::seconds::<1, 3600, _>"
    )]
    pub body_timeout: Duration,
    #[serde(
        rename = "answer_timeout_seconds",
        deserialize_with = "value::seconds::<1, 3600, _>"
    )]
    pub answer_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Stream {
    pub enabled: bool,
    #[serde(
        rename = "heartbeat_seconds",
        deserialize_with = "value::seconds::<1, 3600, _>"
    )]
    pub heartbeat: Duration,
    #[serde(
        rename = "retry_min_ms",
        deserialize_with = "value::millis::<0, 600_000, _>"
    )]
    pub retry_min: Duration,
    #[serde(
        rename = "retry_max_ms",
        deserialize_with = "value::millis::<0, 600_000, _>"
    )]
    pub retry_max: Duration,
    #[serde(
        rename = "peer_timeout_seconds",
        deserialize_with = "value::seconds::<1, 3600, _>"
    )]
    pub peer_timeout: Duration,
    #[serde(deserialize_with = "value::integer::<4_096, 16_777_216, _>")]
    pub send_buffer_bytes: u64,
    #[serde(deserialize_with = "value::rate")]
    pub max_rate: Option<Rate>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Clients {
    #[serde(
        rename = "leave_after_seconds",
        deserialize_with = "value::seconds::<1, 3600, _>"
    )]
    pub leave_after: Duration,
    #[serde(
        rename = "forget_after_seconds",
        deserialize_with = "value::seconds::<60, 315_360_000, _>"
    )]
    pub forget_after: Duration,
    #[serde(deserialize_with = "value::integer::<1, 100_000, _>")]
    pub max_unacknowledged: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Mcp {
    #[serde(deserialize_with = "value::integer::<1, 1_000_000, _>")]
    pub max_sessions: u64,
    #[serde(
        rename = "session_idle_seconds",
        deserialize_with = "value::seconds::<1, 31_536_000, _>"
    )]
    pub session_idle: Duration,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Events {
    pub allow_undeclared: bool,
    #[serde(
        rename = "heartbeat_seconds",
        deserialize_with = "value::seconds::<1, 30, _>"
    )]
    pub heartbeat: Duration,
    pub error_codes: EventErrorCodes,
    #[serde(deserialize_with = "value::declarations")]
    pub types: Vec<Declaration>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Webhooks {
    pub dev_allow_loopback: bool,
    #[serde(deserialize_with = "value::networks")]
    pub allow_networks: Vec<IpNet>,
    #[serde(deserialize_with = "value::receivers")]
    pub allowed_receivers: Vec<String>,
    #[serde(deserialize_with = "value::path")]
    pub ca_file: Option<PathBuf>,
    #[serde(
        rename = "timeout_seconds",
        deserialize_with = "value::seconds::<1, 60, _>"
    )]
    pub timeout: Duration,
    #[serde(deserialize_with = "value::delays")]
    pub retry_delays: Vec<Duration>,
    #[serde(
        rename = "retry_window_seconds",
        deserialize_with = "value::seconds::<1, 604_800, _>"
    )]
    pub retry_window: Duration,
    #[serde(deserialize_with = "value::integer::<1, 1_000_000, _>")]
    pub suspend_after_attempts: u64,
    #[serde(deserialize_with = "value::integer::<1, 100, _>")]
    pub suspend_failure_percent: u64,
    #[serde(deserialize_with = "value::integer::<1, 10_000, _>")]
    pub destination_concurrency: u64,
    #[serde(deserialize_with = "value::quota")]
    pub destination_per_second: Option<u64>,
    #[serde(deserialize_with = "value::integer::<1, 1_000_000, _>")]
    pub max: u64,
    #[serde(
        rename = "rotation_grace_seconds",
        deserialize_with = "value::seconds::<0, 31_536_000, _>"
    )]
    pub rotation_grace: Duration,
    #[serde(
        rename = "subscription_min_seconds",
        deserialize_with = "value::seconds::<1, 31_536_000, _>"
    )]
    pub subscription_min: Duration,
    #[serde(
        rename = "subscription_max_seconds",
        deserialize_with = "value::seconds::<1, 31_536_000, _>"
    )]
    pub subscription_max: Duration,
    pub sign_with_key: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Tasks {
    #[serde(
        rename = "stalled_after_seconds",
        deserialize_with = "value::seconds::<1, 31_536_000, _>"
    )]
    pub stalled_after: Duration,
    #[serde(
        rename = "forget_after_seconds",
        deserialize_with = "value::seconds::<1, 315_360_000, _>"
    )]
    pub forget_after: Duration,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in default.toml")]
pub struct Shutdown {
    #[serde(
        rename = "drain_seconds",
        deserialize_with = "value::seconds::<0, 60, _>"
    )]
    pub drain: Duration,
}

/// Why the settings make no sense: what is wrong, and where it was set.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or is not TOML.
    #[error("cannot read the configuration {}: {detail}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        detail: String,
    },
    /// A setting of this name does not exist.
    #[error("unknown setting {key} in {origin}; known are {}", known.join(", "))]
    UnknownKey {
        /// The name.
        key: String,
        /// Where it was set.
        origin: String,
        /// Every setting there is.
        known: Vec<String>,
    },
    /// A variable of the environment is not text.
    #[error("the environment variable {0} is not UTF-8")]
    NotText(String),
    /// A setting cannot have this value.
    #[error("{key} = {value}, set by {origin}: {detail}")]
    BadValue {
        /// The setting.
        key: String,
        /// What it was set to.
        value: String,
        /// Where it was set.
        origin: String,
        /// What was expected.
        detail: String,
    },
}

/// The defaults.
impl Default for Config {
    fn default() -> Self {
        Self::from_layers(&Layers::new()).expect("the default file is a valid configuration")
    }
}

impl Config {
    /// The commented file of all settings with their defaults.
    pub const DEFAULT_FILE: &str = DEFAULT;

    /// Reads the settings: flags before environment before file before defaults.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: impl IntoIterator<Item = Flag>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::new();
        if let Some(file) = file {
            layers.add_file(file)?;
        }
        layers.add_environment(environment)?;
        layers.add_flags(flags)?;
        Self::from_layers(&layers)
    }

    /// The settings, and sections of them, that differ in `other` and do not
    /// change while a server runs.
    pub(crate) fn needs_restart(&self, other: &Self) -> Vec<&'static str> {
        let auth = |config: &Self| (config.auth.mode, config.auth.authorization_servers.clone());
        let differ = [
            ("bind", self.bind != other.bind),
            ("public_url", self.public_url != other.public_url),
            ("data_dir", self.data_dir != other.data_dir),
            ("durability", self.durability != other.durability),
            (
                "insecure_no_auth",
                self.insecure_no_auth != other.insecure_no_auth,
            ),
            ("auth", auth(self) != auth(other)),
            ("tls", self.tls != other.tls),
            ("logging", self.logging != other.logging),
            ("retention", self.retention != other.retention),
            ("http", self.http != other.http),
            ("stream", self.stream != other.stream),
            ("mcp", self.mcp != other.mcp),
            ("events", self.events != other.events),
            ("webhooks", self.webhooks != other.webhooks),
            ("clients", self.clients != other.clients),
            ("tasks", self.tasks != other.tasks),
            ("shutdown", self.shutdown != other.shutdown),
        ];
        differ
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect()
    }

    fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        let bad_value = |key: &str, detail: String| {
            let given = layers.get(key);
            ConfigError::BadValue {
                key: key.to_owned(),
                value: given.map_or("nothing".to_owned(), |(value, _)| value.to_string()),
                origin: given.map_or("nobody".to_owned(), |(_, origin)| origin.to_string()),
                detail,
            }
        };
        let config: Self = serde_path_to_error::deserialize(layers.table()).map_err(|error| {
            // An element of a list is not a setting, the list is.
            let path = error.path().to_string();
            let key = path.split('[').next().unwrap_or_default();
            bad_value(key, error.inner().message().to_owned())
        })?;
        if config.stream.retry_min > config.stream.retry_max {
            let detail = "expected at most stream.retry_max_ms";
            return Err(bad_value("stream.retry_min_ms", detail.to_owned()));
        }
        if config.webhooks.subscription_min > config.webhooks.subscription_max {
            let detail = "expected at most webhooks.subscription_max_seconds";
            let key = "webhooks.subscription_min_seconds";
            return Err(bad_value(key, detail.to_owned()));
        }
        if config.insecure_no_auth && config.auth.mode == AuthMode::Required {
            let detail = "expected false, as auth.mode is \"required\"";
            return Err(bad_value("insecure_no_auth", detail.to_owned()));
        }
        let checked = config.auth.jwt.check();
        checked.map_err(|(key, detail)| bad_value(key, detail.to_owned()))?;
        let Tls {
            certificate_file,
            key_file,
            self_signed,
        } = &config.tls;
        let mistake = match (certificate_file, key_file, self_signed) {
            (Some(_), None, _) => Some(("key_file", "expected the key of tls.certificate_file")),
            (None, Some(_), _) => Some((
                "certificate_file",
                "expected the certificate that tls.key_file is for",
            )),
            (Some(_), Some(_), true) => Some((
                "self_signed",
                "expected false, as there is a tls.certificate_file",
            )),
            _ => None,
        };
        if let Some((name, detail)) = mistake {
            return Err(bad_value(&format!("tls.{name}"), detail.to_owned()));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn load(
        file: &str,
        environment: &[(&str, &str)],
        flags: Vec<Flag>,
    ) -> Result<Config, ConfigError> {
        let mut path = tempfile::NamedTempFile::new().unwrap();
        path.write_all(file.as_bytes()).unwrap();
        let environment = environment
            .iter()
            .map(|(k, v)| (format!("NOTIFICATION_SERVER_{k}").into(), v.into()));
        Config::load(Some(path.path()), environment, flags)
    }

    fn bind(value: &str) -> Flag {
        Flag {
            key: "bind",
            name: "bind",
            value: value.into(),
        }
    }

    #[test]
    fn the_default_file_is_complete_and_valid() {
        let config = Config::default();
        assert_eq!(config.bind.to_string(), "127.0.0.1:8005");
        assert_eq!(config.durability, Durability::Fsync);
        assert_eq!(config.stream.heartbeat, Duration::from_secs(15));
        assert_eq!(config.allowed_origins, Origins::Loopback);
    }

    #[test]
    fn flags_come_before_environment_before_file() {
        let file = "bind = \"127.0.0.1:1\"\n[stream]\nheartbeat_seconds = 1";
        let config = load(file, &[], vec![]).unwrap();
        assert_eq!(
            (config.bind.port(), config.stream.heartbeat.as_secs()),
            (1, 1)
        );
        let environment = [("BIND", "127.0.0.1:2"), ("STREAM_HEARTBEAT_SECONDS", "2")];
        let config = load(file, &environment, vec![]).unwrap();
        assert_eq!(
            (config.bind.port(), config.stream.heartbeat.as_secs()),
            (2, 2)
        );
        let config = load(file, &environment, vec![bind("127.0.0.1:3")]).unwrap();
        assert_eq!(
            (config.bind.port(), config.stream.heartbeat.as_secs()),
            (3, 2)
        );
    }

    #[test]
    fn lists_and_switches_are_read_from_the_environment() {
        let environment = [
            ("ALLOWED_ORIGINS", "https://a.example, https://b.example"),
            ("ALLOWED_HOSTS", ""),
            ("INSECURE_NO_AUTH", "true"),
            ("RETENTION_MAX_EVENTS", "0"),
        ];
        let config = load("", &environment, vec![]).unwrap();
        let listed = ["https://a.example", "https://b.example"].map(String::from);
        assert_eq!(config.allowed_origins, Origins::Listed(listed.to_vec()));
        assert!(config.insecure_no_auth && config.allowed_hosts.is_empty());
        assert_eq!(config.retention.max_events, None);
    }

    #[test]
    fn the_header_of_proxies_is_known_however_it_is_written() {
        let header = |text: &str| {
            let environment = [("TRUSTED_PROXY_HEADER", text)];
            load("", &environment, vec![]).unwrap().trusted_proxy_header
        };
        assert_eq!(
            Config::default().trusted_proxy_header,
            ProxyHeader::XForwardedFor
        );
        assert_eq!(header("x-forwarded-for"), ProxyHeader::XForwardedFor);
        assert_eq!(header("Forwarded"), ProxyHeader::Forwarded);
        assert_eq!(header("forwarded"), ProxyHeader::Forwarded);
    }

    #[test]
    fn sections_within_sections_are_read_from_everywhere() {
        let file = "[auth.jwt]\nissuer = \"i\"\nsecret_file = \"/file\"";
        let environment = [
            ("AUTH_JWT_AUDIENCE", "a,b"),
            ("AUTH_JWT_SECRET_FILE", "/environment"),
            ("AUTH_JWT_ROLES", "operator = publish:ops/** acknowledge"),
            ("AUTH_JWT_LEEWAY_SECONDS", "5"),
        ];
        let jwt = load(file, &environment, vec![]).unwrap().auth.jwt;
        assert_eq!(jwt.issuer.as_deref(), Some("i"));
        assert_eq!(jwt.secret_file.as_deref(), Some(Path::new("/environment")));
        assert_eq!(jwt.audience, ["a", "b"]);
        assert_eq!(jwt.roles["operator"].len(), 2);
        assert_eq!(jwt.leeway, Duration::from_secs(5));
        assert_eq!(
            (jwt.client_claim.as_deref(), jwt.groups_claim),
            (Some("sub"), None)
        );
    }

    #[test]
    fn what_kubernetes_adds_to_the_environment_is_passed_over() {
        let environment = [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT_HTTP", "8005"),
            ("PORT", "tcp://10.0.0.1:8005"),
            ("PORT_8005_TCP_ADDR", "10.0.0.1"),
        ];
        assert!(load("", &environment, vec![]).is_ok());
    }

    #[test]
    fn a_mistake_names_itself_what_was_expected_and_its_origin() {
        let check = |result: Result<Config, ConfigError>, parts: &[&str]| {
            let error = result.unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{error:?} does not say {part:?}");
            }
        };
        check(
            load("colour = 1", &[], vec![]),
            &["unknown setting colour in /", "allowed_hosts"],
        );
        check(
            load("[stream]\nheart = 1", &[], vec![]),
            &["stream.heart", "stream.heartbeat_seconds"],
        );
        check(
            load("stream = 1", &[], vec![]),
            &["unknown setting stream in /"],
        );
        check(
            load("bind = ", &[], vec![]),
            &["cannot read the configuration /", "line 1"],
        );
        check(
            load("", &[("COLOUR", "red")], vec![]),
            &[
                "NOTIFICATION_SERVER_COLOUR in the environment",
                "NOTIFICATION_SERVER_BIND",
            ],
        );
        check(
            load("[stream]\nheartbeat_seconds = 0", &[], vec![]),
            &[
                "stream.heartbeat_seconds = 0, set by /",
                "an integer from 1 to 3600",
            ],
        );
        check(
            load("[stream]\nmax_rate = -1.0", &[], vec![]),
            &["stream.max_rate = -1", "0.01 to 1000000"],
        );
        check(
            load("[clients]\nmax_unacknowledged = 0", &[], vec![]),
            &["clients.max_unacknowledged = 0", "1 to 100000"],
        );
        check(
            load("", &[("STREAM_HEARTBEAT_SECONDS", "soon")], vec![]),
            &[
                "= \"soon\", set by the environment variable NOTIFICATION_SERVER_STREAM",
                "1 to 3600",
            ],
        );
        check(
            load("", &[], vec![bind("localhost")]),
            &[
                "bind = \"localhost\", set by the flag --bind",
                "an address and port",
            ],
        );
        check(
            load("durability = \"disk\"", &[], vec![]),
            &["durability", "fsync", "write", "memory"],
        );
        check(
            load("insecure_no_auth = 1", &[], vec![]),
            &["insecure_no_auth = 1", "boolean"],
        );
        check(
            load(
                "insecure_no_auth = true\n[auth]\nmode = \"required\"",
                &[],
                vec![],
            ),
            &["insecure_no_auth = true, set by /", "auth.mode"],
        );
        check(
            load("allowed_hosts = [1]", &[], vec![]),
            &["allowed_hosts = [1]", "events.example.com"],
        );
        check(
            load("allowed_origins = [\"app.example.com\"]", &[], vec![]),
            &["allowed_origins", "https://app.example.com"],
        );
        check(
            load("trusted_proxy_header = \"X-Real-IP\"", &[], vec![]),
            &[
                "trusted_proxy_header = \"X-Real-IP\"",
                "X-Forwarded-For or Forwarded",
            ],
        );
        check(
            load("public_url = \"example.com\"", &[], vec![]),
            &["public_url", "https://"],
        );
        check(
            load("[logging]\nlevel = \"loud\"", &[], vec![]),
            &["logging.level", "debug"],
        );
        check(
            load("[stream]\nretry_min_ms = 6000", &[], vec![]),
            &["stream.retry_min_ms = 6000", "retry_max_ms"],
        );
        check(
            load("[tls]\ncertificate_file = \"a.pem\"", &[], vec![]),
            &["tls.key_file = \"\"", "the key of tls.certificate_file"],
        );
        check(
            load("[tls]\nkey_file = \"a.pem\"", &[], vec![]),
            &["tls.certificate_file = \"\"", "tls.key_file is for"],
        );
        check(
            load(
                "[tls]\nkey_file = \"a\"\ncertificate_file = \"b\"\nself_signed = true",
                &[],
                vec![],
            ),
            &["tls.self_signed = true, set by /", "expected false"],
        );
        check(
            load("allowed_hosts = [\"http://a/\"]", &[], vec![]),
            &["allowed_hosts", "events.example.com"],
        );
        let jwt = |settings: &str| load(&format!("[auth.jwt]\n{settings}"), &[], vec![]);
        let key = "secret_file = \"/s\"\nissuer = \"i\"\naudience = [\"a\"]";
        check(
            jwt("secret_file = \"/s\"\njwks_url = \"https://i/k\""),
            &[
                "auth.jwt.jwks_url = \"https://i/k\"",
                "only one of secret_file",
            ],
        );
        check(
            jwt("secret_file = \"/s\"\naudience = [\"a\"]"),
            &["auth.jwt.issuer = \"\"", "expected it"],
        );
        check(
            jwt("secret_file = \"/s\"\nissuer = \"i\""),
            &["auth.jwt.audience = []", "expected it"],
        );
        check(
            jwt("issuer = \"i\""),
            &["auth.jwt.issuer = \"i\"", "one of secret_file"],
        );
        check(
            jwt("audience = [\"\"]"),
            &["auth.jwt.audience", "a list of texts"],
        );
        check(
            jwt(&format!("{key}\njwks_ca_file = \"/c\"")),
            &["auth.jwt.jwks_ca_file", "auth.jwt.jwks_url as well"],
        );
        for url in [
            "http://issuer.example/k",
            "issuer.example/k",
            "https://u:p@i/k",
            "ftp://i",
        ] {
            check(
                jwt(&format!("jwks_url = \"{url}\"")),
                &["auth.jwt.jwks_url", "https://issuer.example/jwks.json"],
            );
        }
        check(
            jwt("jwks_max_age_seconds = 60"),
            &["auth.jwt.jwks_max_age_seconds = 60", "jwks_refresh_seconds"],
        );
        for role in [
            "operator",
            "= admin",
            "a b = admin",
            "admin = webhooks",
            "none =",
        ] {
            check(
                jwt(&format!("roles = [\"{role}\"]")),
                &["auth.jwt.roles", role, "operator = publish:ops/**"],
            );
        }
        check(
            jwt("roles = [\"r = admin\", \"r = webhooks\"]"),
            &["auth.jwt.roles", "each role once"],
        );
        check(
            jwt("roles = [\"r = fly\"]"),
            &["auth.jwt.roles", "\"r\": not a valid grant", "acknowledge"],
        );
        check(
            jwt("colour = 1"),
            &["unknown setting auth.jwt.colour", "auth.jwt.issuer"],
        );
        check(
            load("auth = 1", &[], vec![]),
            &["unknown setting auth in /"],
        );
        let missing = Config::load(Some(Path::new("/nowhere.toml")), [], []);
        check(missing, &["cannot read the configuration /nowhere.toml"]);
    }
}
