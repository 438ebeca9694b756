use clap::{Args, Subcommand};
use hyper::Method;

use super::table::Table;
use super::{Server, list, segment};

#[derive(Debug, Subcommand)]
pub(crate) enum TasksCommand {
    /// List the tasks, the most recently updated first
    #[command(after_help = "\
Examples:
  notification-server tasks list --state running --state stalled
  notification-server tasks list --topic 'jobs/**'")]
    List(ListArgs),
    /// Show one
    Show(OneArgs),
    /// Have one end that the server runs itself
    Cancel(OneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// On these topics, by pattern; as often as needed
    #[arg(long, value_name = "PATTERN")]
    topic: Vec<String>,
    /// In this state: running, stalled, completed, failed or cancelled; as often as needed
    #[arg(long)]
    state: Vec<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: u16,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// Which: its task_id
    task: String,
    #[command(flatten)]
    server: Server,
}

/// Does it: what is to be printed.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(command: &TasksCommand) -> anyhow::Result<String> {
    match command {
        TasksCommand::List(args) => {
            let client = args.server.api()?;
            let listed = client.ask(Method::GET, &args.path(), None).await?;
            Ok(args.server.say(&listed, |listed| {
                let heads = ["task", "name", "state", "%", "message", "topic", "updated"];
                let mut table = Table::new(&heads);
                for it in list(listed, "tasks") {
                    table.row(&[
                        &it["task_id"],
                        &it["task_name"],
                        &it["state"],
                        &it["progress"],
                        &it["message"],
                        &it["topic"],
                        &it["updated_at"],
                    ]);
                }
                table.or("There are no tasks.")
            }))
        }
        TasksCommand::Show(args) => {
            let client = args.server.api()?;
            let shown = client.ask(Method::GET, &args.path(), None).await?;
            Ok(args.server.say(&shown, |shown| format!("{shown:#}\n")))
        }
        TasksCommand::Cancel(args) => {
            let path = format!("{}/cancel", args.path());
            let told = args.server.api()?.ask(Method::POST, &path, None).await?;
            Ok(args
                .server
                .say(&told, |_| "It was told to end.\n".to_owned()))
        }
    }
}

impl ListArgs {
    fn path(&self) -> String {
        let mut path = format!("/v1/tasks?limit={}", self.limit);
        for (name, values) in [("topic", &self.topic), ("state", &self.state)] {
            for value in values {
                path += &format!("&{name}={}", segment(value));
            }
        }
        path
    }
}

impl OneArgs {
    fn path(&self) -> String {
        format!("/v1/tasks/{}", segment(&self.task))
    }
}
