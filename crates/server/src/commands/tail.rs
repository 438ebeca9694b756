use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use notification_server::{Api, ApiError, ApiStream};
use serde_json::Value;

use super::{Server, plain, segment, text};

/// How long it is waited before a server that does not answer is asked again, if it
/// has said nothing else.
const RETRY: Duration = Duration::from_secs(2);

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

/// How a stream has ended.
enum End {
    /// All that was wanted has come.
    Done,
    /// It is to be opened again, after this.
    Broken(String),
}

impl TailArgs {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let api = self.server.api()?;
        let (mut after, mut left) = (None::<String>, self.count);
        let mut retry = RETRY;
        let mut was_open = false;
        loop {
            let end = match self.open(&api, after.as_deref()).await {
                Ok(mut stream) => {
                    was_open = true;
                    let end = self.read(&mut stream, &mut left).await?;
                    after = stream.last_id().map(str::to_owned).or(after);
                    retry = stream.retry().unwrap_or(retry);
                    end
                }
                // One that says no would say it again.
                Err(error @ ApiError::Unreachable { .. }) if was_open => {
                    End::Broken(error.to_string())
                }
                Err(error) => return Err(error.into()),
            };
            match end {
                End::Done => return Ok(()),
                End::Broken(reason) => note(&format!("{reason}; coming back")),
            }
            tokio::time::sleep(retry).await;
        }
    }

    async fn open(&self, api: &Api, after: Option<&str>) -> Result<ApiStream, ApiError> {
        let mut query = Vec::new();
        let lists = [
            ("topic", &self.topics),
            ("type", &self.types),
            ("name", &self.name),
            ("tag", &self.tag),
        ];
        for (name, values) in lists {
            query.extend(
                values
                    .iter()
                    .map(|value| format!("{name}={}", segment(value))),
            );
        }
        if let Some(priority) = self.min_priority {
            query.push(format!("min_priority={priority}"));
        }
        if let Some(client) = &self.client_id {
            query.push(format!("client_id={}", segment(client)));
        }
        if let Some(since) = self.since.as_ref().filter(|_| after.is_none()) {
            query.push(format!("since={}", segment(since)));
        }
        let path = format!("/v1/stream?{}", query.join("&"));
        api.stream(path.trim_end_matches('?'), after).await
    }

    async fn read(&self, stream: &mut ApiStream, left: &mut Option<u64>) -> anyhow::Result<End> {
        loop {
            if *left == Some(0) {
                return Ok(End::Done);
            }
            let said = match stream.next().await {
                Ok(Some(said)) => said,
                Ok(None) => return Ok(End::Broken("the server closed the stream".to_owned())),
                Err(reason) => return Ok(End::Broken(reason)),
            };
            if said["type"] == "status" {
                match text(&said, "status") {
                    "gap" => note("events may be missing here: they are not kept any more"),
                    "unauthorized" => {
                        bail!("the stream was ended: {}", plain(text(&said, "reason")))
                    }
                    "conflated" => note(&format!(
                        "{} events were passed over for newer ones",
                        said["events"]
                    )),
                    _ => {}
                }
                continue;
            }
            let line = match self.server.wants_json() {
                true => format!("{said}\n"),
                false => line(&said, std::io::stdout().is_terminal()),
            };
            let mut stdout = std::io::stdout();
            match stdout
                .write_all(line.as_bytes())
                .and_then(|()| stdout.flush())
            {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                    return Ok(End::Done);
                }
                written => written?,
            }
            if let Some(left) = left {
                *left -= 1;
            }
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
