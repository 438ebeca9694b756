use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Value;

use super::table::Table;
use super::{Server, list, segment};

#[derive(Debug, Subcommand)]
pub(crate) enum EventTypesCommand {
    /// List the event types
    List(ListArgs),
    /// Show one, with its schema
    Show(OneArgs),
    /// Declare one, or declare it anew
    #[command(after_help = "\
Example:
  echo '{\"description\": \"Something broke\", \"topic\": \"incidents\"}' > incident.json
  notification-server event-types declare incident.created incident.json")]
    Declare(DeclareArgs),
    /// Take a declaration back; events stay
    Remove(OneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// Which: its name, such as incident.created
    name: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct DeclareArgs {
    /// Its name, such as incident.created
    name: String,
    /// A file with its description, topic, payload_schema, arguments, delivery, as JSON
    file: PathBuf,
    /// Also if that breaks what subscribers rely on
    #[arg(long)]
    breaking: bool,
    #[command(flatten)]
    server: Server,
}

/// Does it: what is to be printed.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(command: &EventTypesCommand) -> anyhow::Result<String> {
    let pretty = |it: &Value| format!("{it:#}\n");
    match command {
        EventTypesCommand::List(args) => {
            let client = args.server.api()?;
            let listed = client.ask(Method::GET, "/v1/event-types", None).await?;
            Ok(args.server.say(&listed, |listed| {
                let mut table = Table::new(&["name", "declared", "topic", "description"]);
                for it in list(listed, "event_types") {
                    table.row(&[&it["name"], &it["origin"], &it["topic"], &it["description"]]);
                }
                table.or("There are none.")
            }))
        }
        EventTypesCommand::Show(args) => {
            let client = args.server.api()?;
            let shown = client.ask(Method::GET, &path(&args.name), None).await?;
            Ok(args.server.say(&shown, pretty))
        }
        EventTypesCommand::Declare(args) => {
            let shown = args.file.display();
            let read = std::fs::read_to_string(&args.file);
            let read = read.with_context(|| format!("cannot read {shown}"))?;
            let body = serde_json::from_str(&read);
            let body: Value = body.with_context(|| format!("{shown}: expected a JSON object"))?;
            let breaking = if args.breaking { "?breaking=true" } else { "" };
            let path = format!("{}{breaking}", path(&args.name));
            let client = args.server.api()?;
            let declared = client.ask(Method::PUT, &path, Some(&body)).await?;
            Ok(args.server.say(&declared, pretty))
        }
        EventTypesCommand::Remove(args) => {
            let client = args.server.api()?;
            let removed = client.ask(Method::DELETE, &path(&args.name), None).await?;
            Ok(args
                .server
                .say(&removed, |_| "It is not declared any more.\n".to_owned()))
        }
    }
}

fn path(name: &str) -> String {
    format!("/v1/event-types/{}", segment(name))
}
