//! How single values are read, each with a sentence on what was expected.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use notification_event::{Declaration, EventName};
use notification_http::{IpNet, Origins, ProxyHeader};
use notification_hub::{EventTypesConfig, Rate};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use tracing::Level;

/// Where the log lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataDir {
    /// Where this platform keeps application state.
    Platform,
    /// Here.
    Path(PathBuf),
    /// Nowhere: it ends with the process.
    Memory,
}

/// What a published event survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// A power cut.
    Fsync,
    /// The end of the process.
    Write,
    /// Nothing.
    Memory,
}

/// How the server's log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// By which numbers errors of MCP's extension for events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum EventErrorCodes {
    /// Those of its specification.
    #[serde(rename = "sep-3415")]
    Sep3415,
    /// Those of the proposal before it.
    #[serde(rename = "sketch")]
    Sketch,
}

/// Who has to say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Nobody, where only this machine can reach the server and nothing says otherwise.
    Auto,
    /// Everybody.
    Required,
}

pub(super) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let expected = || D::Error::custom("expected addresses or networks such as 10.0.0.0/8");
    let given = Vec::<String>::deserialize(from).map_err(|_| expected())?;
    let network = |text: &String| {
        let one = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| one()).map_err(|_| expected())
    };
    given.iter().map(network).collect()
}

/// The name of a header, whose case does not matter (RFC 9110, section 5.1).
pub(super) fn proxy_header<'de, D: Deserializer<'de>>(from: D) -> Result<ProxyHeader, D::Error> {
    let expected = "X-Forwarded-For or Forwarded";
    parsed(from, expected, |text| {
        match text.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Some(ProxyHeader::XForwardedFor),
            "forwarded" => Some(ProxyHeader::Forwarded),
            _ => None,
        }
    })
}

pub(super) fn urls<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let expected = || D::Error::custom("expected URLs such as https://login.example.com");
    let given = Vec::<String>::deserialize(from).map_err(|_| expected())?;
    let is_url = |text: &String| {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let rest = rest.filter(|rest| rest.bytes().all(|b| b.is_ascii_graphic()));
        rest.is_some_and(|rest| is_authority(rest.split('/').next().unwrap_or_default()))
    };
    match given.iter().all(is_url) {
        true => Ok(given),
        false => Err(expected()),
    }
}

/// What the addresses of receivers begin with: a URL with a path.
pub(super) fn receivers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let expected = || D::Error::custom("expected URLs with a path such as https://a.example/");
    let given = Vec::<String>::deserialize(from).map_err(|_| expected())?;
    let is_one = |text: &String| {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let host = rest.and_then(|rest| Some(rest.split_once('/')?.0));
        host.is_some_and(is_authority)
    };
    match given.iter().all(is_one) {
        true => Ok(given),
        false => Err(expected()),
    }
}

/// Durations such as "30s" and "2m", of a second to a day each; 20 at most.
pub(super) fn delays<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Duration>, D::Error> {
    let expected = || D::Error::custom("expected up to 20 durations of 1s to 24h, such as 30s");
    let given = Vec::<String>::deserialize(from).map_err(|_| expected())?;
    let range = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
    let delays = given.iter().map(|text| {
        let duration = text.parse::<jiff::SignedDuration>().ok();
        let duration = duration.and_then(|it| Duration::try_from(it).ok());
        duration.filter(|it| range.contains(it))
    });
    let delays = delays.collect::<Option<Vec<_>>>();
    delays.filter(|it| it.len() <= 20).ok_or_else(expected)
}

/// So much a second, or at once; 0 means no bound.
pub(super) fn quota<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let quota = integer::<0, { u32::MAX as u64 }, D>(from)?;
    Ok((quota > 0).then_some(quota))
}

pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    parsed(from, "an address and port such as 127.0.0.1:8005", |text| {
        text.parse().ok()
    })
}

pub(super) fn url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let expected = "http:// or https://, a host and no path, such as https://events.example.com";
    parsed(from, expected, |text| match text {
        "" => Some(None),
        _ => is_origin(text).then(|| Some(text.to_owned())),
    })
}

/// Text of which the empty one means none.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    parsed(from, "a text", |text| match text {
        "" => Some(None),
        _ => Some(Some(text.to_owned())),
    })
}

/// A list of texts, none of them empty.
pub(super) fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(from).unwrap_or_else(|_| vec![String::new()]);
    match texts.iter().any(String::is_empty) {
        true => Err(D::Error::custom("expected a list of texts")),
        false => Ok(texts),
    }
}

/// The path of a file; empty means none.
pub(super) fn path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(text(from)?.map(PathBuf::from))
}

pub(super) fn data_dir<'de, D: Deserializer<'de>>(from: D) -> Result<DataDir, D::Error> {
    parsed(from, "a path or :memory:", |text| {
        Some(match text {
            "" => DataDir::Platform,
            ":memory:" => DataDir::Memory,
            path => DataDir::Path(path.into()),
        })
    })
}

pub(super) fn hosts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let expected = || D::Error::custom("expected hosts such as events.example.com, or with a port");
    let given = Vec::<String>::deserialize(from).map_err(|_| expected())?;
    match given.iter().all(|host| is_authority(host)) {
        true => Ok(given),
        false => Err(expected()),
    }
}

pub(super) fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Origins, D::Error> {
    let given = Vec::<String>::deserialize(from)?;
    if given.iter().any(|origin| origin == "*") {
        return Ok(Origins::Any);
    }
    if given == ["loopback"] {
        return Ok(Origins::Loopback);
    }
    match given.iter().all(|origin| is_origin(origin)) {
        true => Ok(Origins::Listed(given)),
        false => Err(D::Error::custom(
            "expected origins such as https://app.example.com, or \"loopback\" alone, or \"*\"",
        )),
    }
}

pub(super) fn level<'de, D: Deserializer<'de>>(from: D) -> Result<Level, D::Error> {
    parsed(
        from,
        "error, warn, info, debug or trace",
        |text| match text {
            "error" => Some(Level::ERROR),
            "warn" => Some(Level::WARN),
            "info" => Some(Level::INFO),
            "debug" => Some(Level::DEBUG),
            "trace" => Some(Level::TRACE),
            _ => None,
        },
    )
}

pub(super) fn integer<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    from: D,
) -> Result<u64, D::Error> {
    let value = toml::Value::deserialize(from)?.as_integer();
    let value = value.and_then(|value| u64::try_from(value).ok());
    value
        .filter(|value| (MIN..=MAX).contains(value))
        .ok_or_else(|| D::Error::custom(format!("expected an integer from {MIN} to {MAX}")))
}

pub(super) fn seconds<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    from: D,
) -> Result<Duration, D::Error> {
    integer::<MIN, MAX, D>(from).map(Duration::from_secs)
}

pub(super) fn millis<'de, const MIN: u64, const MAX: u64, D: Deserializer<'de>>(
    from: D,
) -> Result<Duration, D::Error> {
    integer::<MIN, MAX, D>(from).map(Duration::from_millis)
}

/// A bound of which 0 means none.
pub(super) fn bound<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let bound = integer::<0, { i64::MAX as u64 }, D>(from)?;
    Ok((bound > 0).then_some(bound))
}

/// Events in a second, as an integer or with a fraction; 0 means no bound.
pub(super) fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Rate>, D::Error> {
    let value = toml::Value::deserialize(from)?;
    let number = value.as_float().or(value.as_integer().map(|n| n as f64));
    let expected = || D::Error::custom("expected 0, or a number from 0.01 to 1000000");
    match number {
        Some(0.0) => Ok(None),
        Some(rate) => Rate::per_second(rate).map(Some).ok_or_else(expected),
        None => Err(expected()),
    }
}

fn parsed<'de, D: Deserializer<'de>, T>(
    from: D,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = toml::Value::deserialize(from)?;
    let parsed = text.as_str().and_then(parse);
    parsed.ok_or_else(|| D::Error::custom(format!("expected {expected}")))
}

fn is_origin(text: &str) -> bool {
    let authority = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    authority.is_some_and(is_authority)
}

/// A host, with or without a port.
fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

/// Event types, each with its name and what is declared of it.
pub(super) fn declarations<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<Declaration>, D::Error> {
    let expected = || D::Error::custom("expected tables, each with a name: [[events.types]]");
    let tables = Vec::<serde_json::Map<_, _>>::deserialize(from).map_err(|_| expected())?;
    let mut declarations: Vec<Declaration> = Vec::new();
    for mut table in tables {
        let name = table.shift_remove("name");
        let name = name.as_ref().and_then(serde_json::Value::as_str);
        let name = name.ok_or_else(expected)?;
        let misfit = |error: &dyn std::fmt::Display| D::Error::custom(format!("{name:?}: {error}"));
        let named: EventName = name.parse().map_err(|error| misfit(&error))?;
        if declarations.iter().any(|it| it.name == named) {
            return Err(misfit(&"expected each event type once"));
        }
        let declared = Declaration::parse(named, table.into());
        let declared = declared.map_err(|error| misfit(&error))?;
        let checked = EventTypesConfig::default().declare(declared.clone());
        checked.map_err(|error| misfit(&error))?;
        declarations.push(declared);
    }
    Ok(declarations)
}
