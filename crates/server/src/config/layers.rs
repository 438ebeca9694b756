use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::ConfigError;

/// The settings and their defaults, for people and for this program alike.
pub(super) const DEFAULT: &str = include_str!("default.toml");

const ENV_PREFIX: &str = "NOTIFICATION_SERVER_";

/// Names that Kubernetes puts into the environment of every pod, of its own
/// accord, when a service is called notification-server.
const SERVICE_LINKS: [&str; 3] = ["SERVICE_HOST", "SERVICE_PORT", "PORT"];

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Flag(name) => write!(f, "the flag --{name}"),
        }
    }
}

/// A setting given on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The setting: `stream.heartbeat_seconds`.
    pub key: &'static str,
    /// The flag's name, without dashes.
    pub name: &'static str,
    /// What was given.
    pub value: Value,
}

/// All settings by their full name, each with the origin that won.
#[derive(Debug)]
pub(super) struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
}

impl Layers {
    /// The defaults alone.
    pub(super) fn new() -> Self {
        let table: Table = DEFAULT.parse().expect("the default file is TOML");
        let mut values = BTreeMap::new();
        flatten(table, "", &mut |key, value| {
            values.insert(key, (value, Origin::Default));
        });
        Self { values }
    }

    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let unreadable = |detail: String| ConfigError::File {
            path: path.to_owned(),
            detail,
        };
        let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| unreadable(error.to_string()))?;
        let mut given = Vec::new();
        flatten(table, "", &mut |key, value| given.push((key, value)));
        for (key, value) in given {
            self.set(&key, value, Origin::File(path.to_owned()))?;
        }
        Ok(())
    }

    pub(super) fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), ConfigError> {
        let names: BTreeMap<String, String> = self
            .values
            .keys()
            .map(|key| (key.replace('.', "_").to_uppercase(), key.clone()))
            .collect();
        for (variable, text) in variables {
            let variable = variable.to_string_lossy().into_owned();
            let Some(name) = variable.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let Ok(text) = text.into_string() else {
                return Err(ConfigError::NotText(variable));
            };
            match names.get(name) {
                Some(key) => {
                    let value = self.like_the_default(key, text);
                    self.set(key, value, Origin::Environment(variable))?;
                }
                None if name == "CONFIG" || is_service_link(name) => {}
                None => {
                    let known = names.keys().map(|name| format!("{ENV_PREFIX}{name}"));
                    return Err(ConfigError::UnknownKey {
                        key: variable,
                        origin: "the environment".to_owned(),
                        known: known.collect(),
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn add_flags(
        &mut self,
        flags: impl IntoIterator<Item = Flag>,
    ) -> Result<(), ConfigError> {
        for Flag { key, name, value } in flags {
            self.set(key, value, Origin::Flag(name))?;
        }
        Ok(())
    }

    /// The settings as the tables they were.
    pub(super) fn table(&self) -> Table {
        let mut root = Table::new();
        for (key, (value, _)) in &self.values {
            let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
            let sections = sections.split('.').filter(|section| !section.is_empty());
            let table = sections.fold(&mut root, |table, section| {
                let table = table.entry(section).or_insert_with(|| Table::new().into());
                table.as_table_mut().expect("a section is no value")
            });
            table.insert(name.to_owned(), value.clone());
        }
        root
    }

    /// What was set as `key`, and where.
    pub(super) fn get(&self, key: &str) -> Option<(&Value, &Origin)> {
        self.values.get(key).map(|(value, origin)| (value, origin))
    }

    fn set(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        match self.values.get_mut(key) {
            Some(slot) => {
                *slot = (value, origin);
                Ok(())
            }
            None => Err(ConfigError::UnknownKey {
                key: key.to_owned(),
                origin: origin.to_string(),
                known: self.values.keys().cloned().collect(),
            }),
        }
    }

    /// Reads text as what the default of `key` is. What does not fit stays
    /// text, and is refused where its type is known.
    fn like_the_default(&self, key: &str, text: String) -> Value {
        let list = || {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Value::Array(items.map(Value::from).collect())
        };
        let value = match self.values.get(key) {
            Some((Value::Integer(_), _)) => text.parse().ok().map(Value::Integer),
            Some((Value::Float(_), _)) => text.parse().ok().map(Value::Float),
            Some((Value::Boolean(_), _)) => text.parse().ok().map(Value::Boolean),
            Some((Value::Array(_), _)) => Some(list()),
            _ => None,
        };
        value.unwrap_or(Value::String(text))
    }
}

fn is_service_link(name: &str) -> bool {
    SERVICE_LINKS
        .iter()
        .any(|link| match name.strip_prefix(link) {
            Some(rest) => rest.is_empty() || rest.starts_with('_'),
            None => false,
        })
}

fn flatten(table: Table, prefix: &str, each: &mut impl FnMut(String, Value)) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            Value::Table(table) => flatten(table, &format!("{key}."), each),
            value => each(key, value),
        }
    }
}
