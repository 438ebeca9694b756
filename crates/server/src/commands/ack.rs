use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::{Server, segment};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  notification-server ack alice 01a2089a-bb41-7765-8ffd-be4e93af0b83
  notification-server ack alice --cursor 7r2kq0xd-41

All of them are acknowledged, or none.")]
pub(crate) struct AckArgs {
    /// As which client
    client: String,
    /// Which events: their event_id
    #[arg(required_unless_present = "cursor", conflicts_with = "cursor")]
    events: Vec<String>,
    /// Everything up to this cursor instead
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    server: Server,
}

impl AckArgs {
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(&self) -> anyhow::Result<String> {
        let body = match &self.cursor {
            Some(cursor) => json!({"cursor": cursor}),
            None => json!({"event_ids": self.events}),
        };
        let path = format!("/v1/clients/{}/acks", segment(&self.client));
        let client = self.server.api()?;
        let done = client.ask(Method::POST, &path, Some(&body)).await?;
        Ok(self
            .server
            .say(&done, |done: &Value| match &done["receipts"] {
                none if *none == 0 => "Acknowledged; nobody was waiting for it.\n".to_owned(),
                receipts => format!("Acknowledged; {receipts} receipts are complete.\n"),
            }))
    }
}
