use std::io::{IsTerminal, Write};

use anyhow::bail;
use clap::Args;
use notification_client::{Item, StreamOptions};
use serde_json::Value;

use super::{Server, plain, text};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  notification-server tail
  notification-server tail 'ops/**' --since 10m --min-priority 4
  notification-server tail --name incident.created --json | jq .data

It comes back by itself when the connection breaks, and goes on where it was. It ends with status 1
if the server refuses.")]
pub(crate) struct TailArgs {
    /// Patterns of topics: ops/db, ops/*, ops/**
    topics: Vec<String>,
    /// Only events of this type: notification, progress or event; as often as needed
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events of your own of this name; as often as needed
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Only events with one of these tags; as often as needed
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only events of this priority or a higher one
    #[arg(long, value_name = "N")]
    min_priority: Option<u8>,
    /// As this client: what is for it comes, too
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// From when on: 10m, a time, a cursor, or all [default: now]
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    server: Server,
}

impl TailArgs {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let mut stream = self.server.api()?.stream(self.options());
        let mut left = self.count;
        let mut was_open = false;
        while left != Some(0) {
            match stream.next().await? {
                Item::Event(event) => {
                    if !self.print(&Value::Object(event))? {
                        return Ok(());
                    }
                    left = left.map(|left| left - 1);
                }
                Item::Status(status) => {
                    was_open = true;
                    self.say(&Value::Object(status))?;
                }
                Item::Unreadable(_) => note("an event came that cannot be read"),
                Item::Lost { reason, .. } if was_open => note(&format!("{reason}; coming back")),
                // Where there was never a server there may never be one.
                Item::Lost { reason, .. } => bail!("{reason}"),
            }
        }
        Ok(())
    }

    fn options(&self) -> StreamOptions {
        StreamOptions {
            topics: self.topics.clone(),
            types: self.types.clone(),
            names: self.name.clone(),
            tags: self.tag.clone(),
            min_priority: self.min_priority,
            client_id: self.client_id.clone(),
            since: self.since.clone(),
            ..StreamOptions::default()
        }
    }

    fn say(&self, status: &Value) -> anyhow::Result<()> {
        match text(status, "status") {
            "gap" => note("events may be missing here: they are not kept any more"),
            "unauthorized" => bail!("the stream was ended: {}", plain(text(status, "reason"))),
            "conflated" => note(&format!(
                "{} events were passed over for newer ones",
                status["events"]
            )),
            _ => {}
        }
        Ok(())
    }

    /// Whether there is still somebody who reads.
    fn print(&self, event: &Value) -> anyhow::Result<bool> {
        let line = match self.server.wants_json() {
            true => format!("{event}\n"),
            false => line(event, std::io::stdout().is_terminal()),
        };
        let mut stdout = std::io::stdout();
        let written = stdout.write_all(line.as_bytes());
        match written.and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            written => Ok(written.map(|()| true)?),
        }
    }
}

/// Says something that is no event.
fn note(what: &str) {
    eprintln!("-- {what}");
}

/// An event in one line.
fn line(event: &Value, in_colour: bool) -> String {
    let kind = match text(event, "type") {
        "notification" => text(event, "notification_type"),
        "progress" => text(event, "state"),
        _ => text(event, "name"),
    };
    let said = match text(event, "type") {
        "notification" => {
            let title = event["title"].as_str().map(|title| format!("{title}: "));
            format!("{}{}", title.unwrap_or_default(), text(event, "message"))
        }
        "progress" => {
            let progress = event["progress"].as_f64().map(|it| format!("{it:.0}% "));
            let progress = progress.unwrap_or_default();
            format!(
                "{} {progress}{}",
                text(event, "task_name"),
                text(event, "message")
            )
        }
        _ => event.get("data").map(Value::to_string).unwrap_or_default(),
    };
    let colour = match kind {
        "success" | "completed" => "32",
        "warning" | "stalled" => "33",
        "error" | "failed" => "31",
        _ => "36",
    };
    let kind = match in_colour {
        true => format!("\u{1b}[{colour}m{:<9}\u{1b}[0m", plain(kind)),
        false => format!("{:<9}", plain(kind)),
    };
    let time = plain(text(event, "timestamp"));
    let time = time.get(11..19).unwrap_or(&time);
    format!(
        "{time} {kind} {:<16} {}\n",
        plain(text(event, "topic")),
        plain(&said)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let event = json!({
            "type": "notification", "notification_type": "error", "topic": "ops/db",
            "message": "two\nlines \u{1b}[2J", "title": "Disk", "timestamp": "2026-01-02T03:04:05.678Z",
        });
        let shown = line(&event, false);
        assert_eq!(
            shown,
            "03:04:05 error     ops/db           Disk: two\u{fffd}lines \u{fffd}[2J\n"
        );
        assert!(line(&event, true).contains("\u{1b}[31m"));
        let progress = json!({
            "type": "progress", "state": "running", "task_name": "Import", "progress": 41.7,
            "message": "m", "topic": "default", "timestamp": "2026-01-02T03:04:05.678Z",
        });
        assert!(line(&progress, false).ends_with("Import 42% m\n"));
    }
}
