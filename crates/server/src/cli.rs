use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use notification_server::Flag;

use crate::bench::BenchArgs;
use crate::commands::{
    AckArgs, ClientsCommand, EventTypesCommand, ExplainArgs, GroupsCommand, LoginArgs, PublishArgs,
    RunArgs, TailArgs, TasksCommand, TopArgs, WatchArgs, WebhooksCommand,
};
use crate::key::KeyCommand;
use crate::mcp_config::McpConfigArgs;

/// A real-time notification server: publish once, and everyone who should know knows.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Settings come from flags, from environment variables (NOTIFICATION_SERVER_BIND …), from the file
given with --config, and from the defaults that `notification-server config` prints.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server (what happens without a command, too)
    Serve(ServeArgs),
    /// Publish a notification, or an event of your own
    Publish(PublishArgs),
    /// Run a program, and report how far it is and how it ends
    Run(RunArgs),
    /// Show events as they come
    Tail(TailArgs),
    /// Say who got an event, who did not, and why
    Explain(ExplainArgs),
    /// Acknowledge events as a client
    Ack(AckArgs),
    /// Show tasks as bars that move
    Watch(WatchArgs),
    /// List tasks, show one, have one end
    #[command(subcommand)]
    Tasks(TasksCommand),
    /// Show what goes on: rates, tasks, who is connected
    Top(TopArgs),
    /// List, show and forget the clients whose place the server keeps
    #[command(subcommand)]
    Clients(ClientsCommand),
    /// List groups, and put clients into them
    #[command(subcommand)]
    Groups(GroupsCommand),
    /// List, show and declare event types
    #[command(subcommand)]
    EventTypes(EventTypesCommand),
    /// Have events be posted to services, and see how that goes
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
    /// Speak MCP on standard input and output, for clients that start a process
    Stdio(StdioArgs),
    /// Print what an MCP client has to be told to use a server
    McpConfig(McpConfigArgs),
    /// Create, list and revoke keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Keep a server and a key for the commands that ask one
    Login(LoginArgs),
    /// Forget them
    Logout,
    /// Print what makes a shell complete this command line
    #[command(after_help = "\
Examples:
  notification-server completions bash > ~/.local/share/bash-completion/completions/notification-server
  notification-server completions zsh > ~/.zfunc/_notification-server
  notification-server completions fish > ~/.config/fish/completions/notification-server.fish")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write manual pages into a directory
    #[command(after_help = "\
Example:
  notification-server man ~/.local/share/man/man1 && man notification-server-publish")]
    Man {
        /// Which directory; it has to be there
        directory: PathBuf,
    },
    /// Print the settings with their defaults, as a commented TOML file
    Config,
    /// Put a load on a running server, check every delivery, and say how long they took
    Bench(BenchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen [default: 127.0.0.1:8005]
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<String>,
    /// Where the log lives; `:memory:` keeps nothing [default: the platform's place for state]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE", env = "NOTIFICATION_SERVER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// What a published event survives: fsync, write or memory [default: fsync]
    #[arg(long, value_name = "HOW")]
    durability: Option<String>,
    /// How to write the log: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Serve everyone who can reach the server, also through a proxy, without authentication
    #[arg(long)]
    insecure_no_auth: bool,
    /// Speak https, with a certificate that is made now and that nobody vouches for
    #[arg(long)]
    tls_self_signed: bool,
    /// Deliver webhooks to this machine too, also by plain http: to try things out
    #[arg(long)]
    dev_allow_loopback_webhooks: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without --url it answers with a server of its own, which listens nowhere, on a data directory that no
other server has. A key for the server at --url is read from NOTIFICATION_KEY or --key-file.")]
pub(crate) struct StdioArgs {
    /// The MCP endpoint of a server that runs, such as http://127.0.0.1:8005/mcp
    #[arg(long, value_name = "URL", env = "NOTIFICATION_URL")]
    pub(crate) url: Option<String>,
    /// A file with a key for that server
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(crate) key_file: Option<PathBuf>,
    /// Where the log lives; `:memory:` keeps nothing [default: the platform's place for state]
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    data_dir: Option<String>,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE", env = "NOTIFICATION_SERVER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// What a published event survives: fsync, write or memory [default: fsync]
    #[arg(long, value_name = "HOW", conflicts_with = "url")]
    durability: Option<String>,
    /// How to write the log, which goes to standard error: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Cli {
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

impl ServeArgs {
    /// The settings that were given.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let given = texts([
            ("bind", "bind", &self.bind),
            ("data_dir", "data-dir", &self.data_dir),
            ("durability", "durability", &self.durability),
            ("logging.format", "log-format", &self.log_format),
        ]);
        let switches = [
            (
                "insecure_no_auth",
                "insecure-no-auth",
                self.insecure_no_auth,
            ),
            ("tls.self_signed", "tls-self-signed", self.tls_self_signed),
            (
                "webhooks.dev_allow_loopback",
                "dev-allow-loopback-webhooks",
                self.dev_allow_loopback_webhooks,
            ),
        ];
        let switched = switches.into_iter().filter(|(.., on)| *on);
        let switched = switched.map(|(key, name, on)| Flag {
            key,
            name,
            value: on.into(),
        });
        given.chain(switched).collect()
    }
}

impl StdioArgs {
    /// The settings that were given.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let given = texts([
            ("data_dir", "data-dir", &self.data_dir),
            ("durability", "durability", &self.durability),
            ("logging.format", "log-format", &self.log_format),
        ]);
        given.collect()
    }
}

/// Of settings and flags with their texts, those that were given.
fn texts<const N: usize>(
    all: [(&'static str, &'static str, &Option<String>); N],
) -> impl Iterator<Item = Flag> {
    all.into_iter().filter_map(|(key, name, value)| {
        let value = value.as_deref()?.into();
        Some(Flag { key, name, value })
    })
}

/// What makes a shell complete this command line.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let mut cli = Cli::command();
    clap_complete::generate(shell, &mut cli, "notification-server", &mut script);
    script
}

/// Writes the manual pages, in section 1.
pub(crate) fn write_manual(directory: &Path) -> io::Result<()> {
    clap_mangen::generate_to(Cli::command().name("notification-server"), directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_may_be_left_out() {
        for line in [
            vec!["notification-server", "--bind", "127.0.0.1:1"],
            vec!["notification-server", "serve", "--bind", "127.0.0.1:1"],
        ] {
            match Cli::parse_from(line).into_command() {
                Command::Serve(args) => assert_eq!(args.flags()[0].key, "bind"),
                other => panic!("{other:?}"),
            }
        }
    }
}
