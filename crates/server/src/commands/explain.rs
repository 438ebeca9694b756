use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::{Server, plain, segment, text};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  notification-server explain 01a2089a-bb41-7765-8ffd-be4e93af0b83")]
pub(crate) struct ExplainArgs {
    /// Which event: its event_id
    event: String,
    #[command(flatten)]
    server: Server,
}

impl ExplainArgs {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(&self) -> anyhow::Result<String> {
        let path = format!("/v1/events/{}/deliveries", segment(&self.event));
        let explained = self.server.api()?.ask(Method::GET, &path, None).await?;
        Ok(self.server.say(&explained, table))
    }
}

fn table(explained: &Value) -> String {
    let mut said = format!(
        "{} on {}, at {}\n",
        plain(text(explained, "event_id")),
        plain(text(explained, "topic")),
        plain(text(explained, "timestamp")),
    );
    let recipients = explained["recipients"].as_array().into_iter().flatten();
    for it in recipients {
        let who = it["client_id"].as_str().unwrap_or(text(it, "id"));
        let reason = it["reason"].as_str().map(|reason| format!(" ({reason})"));
        let at = it["acknowledged_at"]
            .as_str()
            .or(it["delivered_at"].as_str());
        let line = format!(
            "{:<8} {:<24} {}{}  {}",
            plain(text(it, "kind")),
            plain(who),
            plain(text(it, "outcome")),
            plain(&reason.unwrap_or_default()),
            plain(at.unwrap_or_default()),
        );
        said += line.trim_end();
        said.push('\n');
    }
    if explained["recipients"] == serde_json::json!([]) {
        said += "Nobody was there for it.\n";
    }
    match explained["omitted"].as_u64() {
        None | Some(0) => said,
        Some(omitted) => said + &format!("and {omitted} others\n"),
    }
}
