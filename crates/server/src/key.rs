//! The command `key`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use hyper::Method;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use notification_access::NewKey;
use notification_client::Client;
use notification_event::{Invalid, Timestamp};
use notification_log::OpenError;
use notification_server::{Config, Flag, KeyStore, StartError};
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create a key, and show it this once
    #[command(after_help = "\
Examples:
  notification-server key create --name admin --allow admin
  notification-server key create --name ci --allow 'publish:ops/**' --expires 90d
  notification-server key create --name alice --allow 'subscribe:**' --client-id alice --groups staff
  notification-server key create --name agent --allow 'publish:agents/a' --events-per-hour 100")]
    Create(CreateArgs),
    /// List the keys, without what makes them keys
    List(ListArgs),
    /// Revoke a key: it is good for nothing at once, and its streams end
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What people call it
    #[arg(long)]
    name: String,
    /// What whoever has it may do: publish:PATTERN, subscribe:PATTERN, tasks:PATTERN, acknowledge,
    /// webhooks, connections:read, client:ID, client:* or admin; as often as needed
    #[arg(long, value_name = "GRANT", required = true)]
    allow: Vec<String>,
    /// Which client whoever has it is
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The groups that this client is in, and no others
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    groups: Option<Vec<String>>,
    /// How many events may be published with it in an hour
    #[arg(long, value_name = "N")]
    events_per_hour: Option<u32>,
    /// When it ends: 90d, 12h, or a time such as 2030-01-31T12:00:00Z [default: never]
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Print JSON: {"id", "key", …}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    on: On,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print JSON: {"keys": […]}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    on: On,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The key's id, as `key list` shows it
    id: String,
    #[command(flatten)]
    on: On,
}

/// Whose keys.
#[derive(Debug, Args)]
struct On {
    /// A server that runs, such as http://127.0.0.1:8005 [default: the data directory of one that does not]
    #[arg(long, value_name = "URL", env = "NOTIFICATION_URL")]
    server: Option<String>,
    /// A file with the key of an administrator of that server
    #[arg(long, value_name = "FILE", requires = "server")]
    key_file: Option<PathBuf>,
    /// Where the log of a server that does not run lives
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    data_dir: Option<String>,
    /// Its file with settings
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "server",
        env = "NOTIFICATION_SERVER_CONFIG"
    )]
    config: Option<PathBuf>,
}

/// Where the keys are.
enum Keys {
    Here(KeyStore),
    There(Client),
}

/// Does it: what is to be printed.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(command: &KeyCommand) -> anyhow::Result<String> {
    match command {
        KeyCommand::Create(args) => create(args).await,
        KeyCommand::List(args) => list(args).await,
        KeyCommand::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: &CreateArgs) -> anyhow::Result<String> {
    let mut wanted = json!({"name": args.name, "allow": args.allow});
    if let Some(client) = &args.client_id {
        wanted["client_id"] = json!(client);
    }
    if let Some(groups) = &args.groups {
        wanted["groups"] = json!(groups);
    }
    if let Some(events) = args.events_per_hour {
        wanted["events_per_hour"] = json!(events);
    }
    if let Some(expires) = &args.expires {
        wanted["expires_at"] = json!(expiry(expires)?);
    }
    // Before anything is opened: what is wrong with it is wrong everywhere.
    let new = NewKey::parse(wanted.clone()).map_err(as_flags)?;
    let created = match Keys::open(&args.on).await? {
        Keys::There(api) => api.ask(Method::POST, "/v1/keys", Some(&wanted)).await?,
        Keys::Here(store) => {
            let created = store.caller().create_key(new).await;
            store.close().await?;
            let (key, text) = created?;
            let mut shown = key.to_json();
            shown.insert("key".to_owned(), text.into());
            shown.into()
        }
    };
    if args.json {
        return Ok(format!("{created}\n"));
    }
    let text = |name: &str| created[name].as_str().unwrap_or_default().to_owned();
    Ok(format!(
        "Created key {} ({}). It is shown this once:\n\n  {}\n\nUse it:  curl -H \"Authorization: Bearer $KEY\" …\n",
        text("name"),
        text("id"),
        text("key"),
    ))
}

async fn list(args: &ListArgs) -> anyhow::Result<String> {
    let listed = match Keys::open(&args.on).await? {
        Keys::There(api) => api.ask(Method::GET, "/v1/keys", None).await?,
        Keys::Here(store) => {
            let keys = store.caller().keys();
            store.close().await?;
            let keys: Vec<_> = keys?.iter().map(|key| key.to_json()).collect();
            json!({ "keys": keys })
        }
    };
    if args.json {
        return Ok(format!("{listed}\n"));
    }
    let keys = listed["keys"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if keys.is_empty() {
        return Ok(
            "There are no keys. Create one with `notification-server key create`.\n".to_owned(),
        );
    }
    let mut text = String::new();
    for key in keys {
        text += &line(key);
    }
    Ok(text)
}

/// A key, in one line.
fn line(key: &Value) -> String {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    let allow = key["allow"].as_array().into_iter().flatten();
    let allow: Vec<_> = allow.filter_map(Value::as_str).collect();
    let mut line = format!("{}  {:<16}  {}", text("id"), text("name"), allow.join(" "));
    for (name, said) in [
        ("client_id", "client"),
        ("expires_at", "expires"),
        ("last_used_at", "last used"),
        ("revoked_at", "REVOKED"),
    ] {
        if let Some(value) = key[name].as_str() {
            line += &format!("; {said} {value}");
        }
    }
    line + "\n"
}

async fn revoke(args: &RevokeArgs) -> anyhow::Result<String> {
    match Keys::open(&args.on).await? {
        Keys::There(api) => {
            // An id is letters, digits and - .
            let is_id = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            if !args.id.bytes().all(is_id) {
                bail!("{:?} is not the id of a key", args.id);
            }
            let path = format!("/v1/keys/{}", args.id);
            api.ask(Method::DELETE, &path, None).await?;
        }
        Keys::Here(store) => {
            let revoked = store.caller().revoke_key(&args.id).await;
            store.close().await?;
            if !revoked? {
                bail!("there is no key {}, or it is revoked already", args.id);
            }
        }
    }
    Ok(format!("Revoked key {}.\n", args.id))
}

impl Keys {
    async fn open(on: &On) -> anyhow::Result<Self> {
        if let Some(server) = &on.server {
            let key = presented(on.key_file.as_deref())?;
            return Ok(Self::There(crate::commands::client(
                server,
                key.as_deref(),
            )?));
        }
        let data_dir = on.data_dir.as_deref().map(|dir| Flag {
            key: "data_dir",
            name: "data-dir",
            value: dir.into(),
        });
        let config = Config::load(on.config.as_deref(), std::env::vars_os(), data_dir)?;
        match KeyStore::open(&config).await {
            Err(StartError::Log(locked @ OpenError::Locked { .. })) => bail!(
                "{locked}. Say where it runs: --server http://{} --key-file FILE, with the key of \
                 an administrator in FILE or in NOTIFICATION_KEY",
                config.bind
            ),
            opened => Ok(Self::Here(opened?)),
        }
    }
}

/// The key to present to a server that runs: what this file has, or the environment.
pub(crate) fn presented(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(path) = file else {
        let key = std::env::var("NOTIFICATION_KEY").ok();
        return Ok(key.filter(|key| !key.is_empty()));
    };
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(text.trim().to_owned()))
}

/// What is wrong, by the names of the flags.
fn as_flags(invalid: Invalid) -> anyhow::Error {
    let wrong = invalid.errors.iter().map(|error| {
        let name = error.field.split(['[', '.']).next().unwrap_or_default();
        format!("--{}: expected {}", name.replace('_', "-"), error.expected)
    });
    anyhow::anyhow!(wrong.collect::<Vec<_>>().join("; "))
}

/// A time, or so long from now.
fn expiry(text: &str) -> anyhow::Result<Timestamp> {
    let expected = "--expires: expected so long from now, such as 90d or 12h, or a time such as \
                    2030-01-31T12:00:00Z, after now";
    let now = Timestamp::from(std::time::SystemTime::now());
    let from_now = || {
        let span: Span = text.parse().ok()?;
        let duration: SignedDuration =
            span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        Some(now.after(duration.try_into().ok()?))
    };
    let at = text.parse().ok().or_else(from_now);
    at.filter(|at| *at > now).context(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_or_so_long_from_now() {
        let now = Timestamp::from(std::time::SystemTime::now());
        let hour = std::time::Duration::from_secs(3600);
        assert!(expiry("90d").unwrap() > now.after(hour * 24 * 89));
        assert!(expiry("12h").unwrap() < now.after(hour * 13));
        assert_eq!(
            expiry("2133-01-31T12:00:00Z").unwrap().to_string(),
            "2133-01-31T12:00:00.000Z"
        );
        for wrong in ["", "soon", "-1h", "0s", "2001-01-01T00:00:00Z", "90"] {
            assert!(expiry(wrong).is_err(), "{wrong:?}");
        }
    }
}
