use clap::{Args, Subcommand};
use hyper::Method;

use super::table::Table;
use super::{Server, list, plain, segment, text};

#[derive(Debug, Subcommand)]
pub(crate) enum ClientsCommand {
    /// List the clients whose place the server keeps
    List(ListArgs),
    /// Show one, and how much of the log is still to come for it
    Show(OneArgs),
    /// Forget one, with its place
    Forget(OneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// Which: its client_id
    client: String,
    #[command(flatten)]
    server: Server,
}

/// Does it: what is to be printed.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(command: &ClientsCommand) -> anyhow::Result<String> {
    match command {
        ClientsCommand::List(args) => {
            let client = args.server.api()?;
            let listed = client.ask(Method::GET, "/v1/clients", None).await?;
            Ok(args.server.say(&listed, |listed| {
                let heads = ["client", "ack", "cursor", "streams", "groups", "seen"];
                let mut table = Table::new(&heads);
                for it in list(listed, "clients") {
                    let streams = list(it, "connections").count().into();
                    table.row(&[
                        &it["client_id"],
                        &it["ack"],
                        &it["cursor"],
                        &streams,
                        &it["groups"],
                        &it["seen_at"],
                    ]);
                }
                table.or("There are no durable clients.")
            }))
        }
        ClientsCommand::Show(args) => {
            let client = args.server.api()?;
            let shown = client.ask(Method::GET, &args.path(), None).await?;
            Ok(args.server.say(&shown, |shown| {
                let more = if shown["has_more"] == true {
                    "or more "
                } else {
                    ""
                };
                format!(
                    "{} is at {}; {} {more}events are to come.\n",
                    plain(text(shown, "client_id")),
                    plain(text(shown, "cursor")),
                    shown["unacknowledged"],
                )
            }))
        }
        ClientsCommand::Forget(args) => {
            let client = args.server.api()?;
            let forgotten = client.ask(Method::DELETE, &args.path(), None).await?;
            Ok(args
                .server
                .say(&forgotten, |_| "It is forgotten.\n".to_owned()))
        }
    }
}

impl OneArgs {
    fn path(&self) -> String {
        format!("/v1/clients/{}", segment(&self.client))
    }
}
