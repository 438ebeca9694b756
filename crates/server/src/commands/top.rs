use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use console::Term;
use hyper::Method;
use notification_client::Client;
use serde_json::{Value, json};

use super::table::Table;
use super::{Server, list};

/// How often it is drawn.
const EVERY: Duration = Duration::from_secs(2);

/// Another screen, so that what was on the terminal is there afterwards; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  notification-server top
  notification-server top --once --json | jq .connections

It is drawn anew every two seconds, until Ctrl-C. Where the output is no terminal it is JSON, once.")]
pub(crate) struct TopArgs {
    /// Show it once
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    server: Server,
}

impl TopArgs {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let client = self.server.api()?;
        let seen = look(&client).await?;
        let mut stdout = std::io::stdout();
        if self.once || self.server.wants_json() {
            let said = self.server.say(&seen, |seen| page(seen, usize::MAX));
            return Ok(stdout.write_all(said.as_bytes())?);
        }
        write!(stdout, "{ENTER}")?;
        let drawn = draw(&client, seen).await;
        write!(stdout, "{LEAVE}")?;
        stdout.flush()?;
        drawn
    }
}

async fn draw(client: &Client, mut seen: Value) -> anyhow::Result<()> {
    let terminal = Term::stdout();
    let mut ended = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let (height, width) = terminal.size();
        let page = page(&seen, usize::from(height).saturating_sub(1));
        let lines = page.lines().map(|line| {
            let line: String = line.chars().take(width.into()).collect();
            // The rest of the line is cleared, and not the screen, which would flicker.
            line + "\x1b[K\r\n"
        });
        let mut stdout = std::io::stdout();
        write!(stdout, "\x1b[H{}\x1b[J", lines.collect::<String>())?;
        stdout.flush()?;
        tokio::select! {
            _ = &mut ended => return Ok(()),
            () = tokio::time::sleep(EVERY) => seen = look(client).await?,
        }
    }
}

/// What there is to see. Who may not see all of it sees the rest.
async fn look(client: &Client) -> anyhow::Result<Value> {
    let ask = |path: &'static str| client.ask(Method::GET, path, None);
    let activity = ask("/v1/activity").await?;
    let connections = ask("/v1/connections").await?;
    let running = "/v1/tasks?state=running&state=stalled&limit=50";
    let tasks = ask(running).await.unwrap_or_default();
    let newest = list(&activity, "samples").last().cloned();
    Ok(json!({
        "sample_seconds": activity["sample_seconds"],
        "newest": newest,
        "connections": connections["connections"],
        "tasks": tasks["tasks"],
    }))
}

/// It, in so many lines at most.
fn page(seen: &Value, most: usize) -> String {
    let mut page = String::new();
    let (newest, seconds) = (&seen["newest"], seen["sample_seconds"].as_f64());
    let rate = |name: &str| newest[name].as_f64().unwrap_or_default() / seconds.unwrap_or(10.0);
    let time = |name: &str| match newest[name].as_f64() {
        Some(ms) => format!("{ms:.1} ms"),
        None => "-".to_owned(),
    };
    let open = list(seen, "connections").count();
    writeln!(
        page,
        "streams {open}   published {:.1}/s   delivered {:.1}/s   p50 {}   p99 {}   log {} events, {:.1} MiB\n",
        rate("published"),
        rate("delivered"),
        time("publish_p50_ms"),
        time("publish_p99_ms"),
        newest["log_events"].as_u64().unwrap_or_default(),
        newest["log_bytes"].as_f64().unwrap_or_default() / f64::from(1 << 20),
    )
    .expect("memory takes it");
    let mut tasks = Table::new(&["task", "state", "%", "message"]);
    for it in list(seen, "tasks").take(10) {
        let percent = it["progress"].as_f64().map(|it| it.round() as u64);
        tasks.row(&[
            &it["task_name"],
            &it["state"],
            &json!(percent),
            &it["message"],
        ]);
    }
    page += &tasks.or("No task goes on.");
    page.push('\n');
    // Who is furthest behind comes first.
    let mut connections: Vec<_> = list(seen, "connections").collect();
    connections.sort_by_key(|it| std::cmp::Reverse(it["lag"].as_u64()));
    let heads = [
        "principal",
        "client",
        "by",
        "topics",
        "sent",
        "conflated",
        "lag",
        "bytes",
        "from",
    ];
    let mut table = Table::new(&heads);
    for it in connections {
        table.row(&[
            &it["principal"],
            &it["client_id"],
            &it["transport"],
            &it["filter"]["topics"],
            &it["sent"],
            &it["conflated"],
            &it["lag"],
            &it["bytes_pending"],
            &it["remote_address"],
        ]);
    }
    page += &table.or("Nobody is connected.");
    page.lines()
        .take(most)
        .map(|line| format!("{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_furthest_behind_comes_first_and_the_rest_is_cut_off() {
        let connection = |who: &str, lag: u64| json!({"principal": who, "transport": "sse", "filter": {}, "sent": 1, "conflated": 0, "lag": lag});
        let seen = json!({
            "sample_seconds": 10, "newest": {"published": 25, "delivered": 50, "publish_p50_ms": 1.25,
                "publish_p99_ms": null, "log_events": 7, "log_bytes": 1048576},
            "connections": [connection("near", 0), connection("far", 900)], "tasks": [],
        });
        let shown = page(&seen, usize::MAX);
        assert!(
            shown.starts_with(
                "streams 2   published 2.5/s   delivered 5.0/s   p50 1.2 ms   p99 -   log 7 events, 1.0 MiB\n"
            ),
            "{shown}"
        );
        assert!(shown.find("far") < shown.find("near"), "{shown}");
        assert_eq!(page(&seen, 3).lines().count(), 3);
    }
}
