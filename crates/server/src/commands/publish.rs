use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{Server, segment, text};

/// How often it is looked whether somebody has acknowledged an event.
const LOOK: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  notification-server publish 'Backup done' --topic ops/backups --type success
  notification-server publish --name incident.created --topic ops/db --data '{\"severity\": 2}'
  uptime | notification-server publish - --topic ops/load
  notification-server publish 'Deploy?' --to-client alice --wait-ack 5m

It ends with status 1 if nothing was published, and with 2 if it was and --wait-ack was in vain.")]
pub(crate) struct PublishArgs {
    /// What to tell people; - is what comes on standard input
    #[arg(required_unless_present = "name", conflicts_with = "name")]
    message: Option<String>,
    /// Publish an event of your own with this name instead, with --data
    #[arg(long)]
    name: Option<String>,
    /// Where [default: default]
    #[arg(long)]
    topic: Option<String>,
    /// What is meant: info, success, warning or error
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "name")]
    notification_type: Option<String>,
    /// A title
    #[arg(long)]
    title: Option<String>,
    /// How urgent: 1 to 5
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// A word to filter by; as often as needed
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only for this client; as often as needed
    #[arg(long, value_name = "ID")]
    to_client: Vec<String>,
    /// Only for the clients of this group; as often as needed
    #[arg(long, value_name = "GROUP")]
    to_group: Vec<String>,
    /// A JSON object that comes with it; @FILE is one in a file, @- on standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Its id: published again under the same, it is the same event
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// A newer event with the same key takes its place
    #[arg(long, value_name = "KEY")]
    collapse_key: Option<String>,
    /// Ask those who get it to acknowledge it
    #[arg(long)]
    require_ack: bool,
    /// Wait so long, such as 30s, until all for whom it is have acknowledged it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait_ack: Option<Duration>,
    #[command(flatten)]
    server: Server,
}

/// What came of it: what is printed, and whether what was waited for has happened.
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) is_acknowledged: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<jiff::SignedDuration>().ok();
    let duration = duration.and_then(|it| Duration::try_from(it).ok());
    duration.ok_or_else(|| "expected a time such as 30s or 5m".to_owned())
}

impl PublishArgs {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(&self) -> anyhow::Result<Outcome> {
        let event = self.event()?;
        let api = self.server.api()?;
        let mut published = api.ask(Method::POST, "/v1/events", Some(&event)).await?;
        let id = text(&published, "event_id").to_owned();
        let mut is_acknowledged = true;
        if let Some(wait) = self.wait_ack {
            let path = format!("/v1/events/{}/receipts", segment(&id));
            let until = Instant::now() + wait;
            loop {
                let mut receipts = api.ask(Method::GET, &path, None).await?["receipts"].take();
                let all = receipts.as_array().map(Vec::as_slice).unwrap_or_default();
                is_acknowledged =
                    !all.is_empty() && all.iter().all(|it| it["acknowledged_at"].is_string());
                published["receipts"] = receipts.take();
                if is_acknowledged || Instant::now() >= until {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        let text = self.server.say(&published, |published| {
            let streams = match &published["subscribers"] {
                one if *one == 1 => "1 stream".to_owned(),
                many => format!("{many} streams"),
            };
            let mut said = format!("Published {id} to {streams}.\n");
            for receipt in published["receipts"].as_array().into_iter().flatten() {
                let client = super::plain(text(receipt, "client_id"));
                said += &match receipt["acknowledged_at"].as_str() {
                    Some(time) => format!("{client} acknowledged it at {time}.\n"),
                    None => format!("{client} has not acknowledged it.\n"),
                };
            }
            if self.wait_ack.is_some() && published["receipts"] == json!([]) {
                said += "Nobody has got it.\n";
            }
            said
        });
        Ok(Outcome {
            text,
            is_acknowledged,
        })
    }

    fn event(&self) -> anyhow::Result<Value> {
        let mut event = Map::new();
        let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
        match (&self.name, &self.message) {
            (Some(name), _) => {
                put("type", "event".into());
                put("name", name.as_str().into());
            }
            (None, message) => {
                put("type", "notification".into());
                let message = match message.as_deref() {
                    Some("-") => standard_input()?.trim_end().to_owned(),
                    message => message.unwrap_or_default().to_owned(),
                };
                put("message", message.into());
            }
        }
        for (name, given) in [
            ("topic", &self.topic),
            ("notification_type", &self.notification_type),
            ("title", &self.title),
            ("event_id", &self.event_id),
            ("collapse_key", &self.collapse_key),
        ] {
            if let Some(given) = given {
                put(name, given.as_str().into());
            }
        }
        if let Some(priority) = self.priority {
            put("priority", priority.into());
        }
        if !self.tag.is_empty() {
            put("tags", json!(self.tag));
        }
        let mut audience = Map::new();
        for (name, given) in [("clients", &self.to_client), ("groups", &self.to_group)] {
            if !given.is_empty() {
                audience.insert(name.to_owned(), json!(given));
            }
        }
        if !audience.is_empty() {
            put("audience", audience.into());
        }
        if self.require_ack || self.wait_ack.is_some() {
            put("require_ack", true.into());
        }
        if let Some(data) = &self.data {
            put("data", self.data(data)?);
        }
        Ok(event.into())
    }

    fn data(&self, given: &str) -> anyhow::Result<Value> {
        let read = match given.strip_prefix('@') {
            None => given.to_owned(),
            Some("-") if self.message.as_deref() == Some("-") => {
                bail!("--data: standard input is the message already")
            }
            Some("-") => standard_input()?,
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("--data: cannot read {path}"))?,
        };
        let data: Value = serde_json::from_str(&read).context("--data: expected a JSON object")?;
        match data.is_object() {
            true => Ok(data),
            false => bail!("--data: expected a JSON object"),
        }
    }
}

fn standard_input() -> anyhow::Result<String> {
    let mut read = String::new();
    let text = std::io::stdin().read_to_string(&mut read);
    text.context("cannot read standard input as text")?;
    Ok(read)
}
