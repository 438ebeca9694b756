use clap::{Args, Subcommand};
use hyper::Method;

use super::table::Table;
use super::{Server, list, plain, segment};

#[derive(Debug, Subcommand)]
pub(crate) enum GroupsCommand {
    /// List the groups
    List(ListArgs),
    /// List the clients of a group
    Show(ShowArgs),
    /// Put a client into a group
    Add(MemberArgs),
    /// Take a client out of a group
    Remove(MemberArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Which group
    group: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// Which group
    group: String,
    /// Which client
    client: String,
    #[command(flatten)]
    server: Server,
}

/// Does it: what is to be printed.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(command: &GroupsCommand) -> anyhow::Result<String> {
    match command {
        GroupsCommand::List(args) => {
            let client = args.server.api()?;
            let listed = client.ask(Method::GET, "/v1/groups", None).await?;
            Ok(args.server.say(&listed, |listed| {
                let mut table = Table::new(&["group", "clients"]);
                for it in list(listed, "groups") {
                    table.row(&[&it["group"], &it["clients"]]);
                }
                table.or("There are no groups.")
            }))
        }
        GroupsCommand::Show(args) => {
            let path = format!("/v1/groups/{}", segment(&args.group));
            let shown = args.server.api()?.ask(Method::GET, &path, None).await?;
            Ok(args.server.say(&shown, |shown| {
                let clients = list(shown, "clients").filter_map(|it| it.as_str());
                clients.map(|client| plain(client) + "\n").collect()
            }))
        }
        GroupsCommand::Add(args) => args.change(Method::PUT, "in it").await,
        GroupsCommand::Remove(args) => args.change(Method::DELETE, "no longer in it").await,
    }
}

impl MemberArgs {
    async fn change(&self, method: Method, is_now: &str) -> anyhow::Result<String> {
        let (group, client) = (segment(&self.group), segment(&self.client));
        let path = format!("/v1/groups/{group}/clients/{client}");
        let changed = self.server.api()?.ask(method, &path, None).await?;
        let client = plain(&self.client);
        Ok(self
            .server
            .say(&changed, |_| format!("{client} is {is_now}.\n")))
    }
}
