//! The command `mcp-config`: what MCP clients have to be told of a server.

use anyhow::Context;
use clap::{Args, ValueEnum};
use etcetera::BaseStrategy;
use notification_server::endpoint_url;
use serde_json::{Value, json};

#[derive(Debug, Args)]
#[command(after_help = "\
What is printed is the whole file or command; where it belongs is said on standard error.

Examples:
  notification-server mcp-config cursor > .cursor/mcp.json
  notification-server mcp-config vscode --url https://events.example.com/mcp --with-key")]
pub(crate) struct McpConfigArgs {
    /// Which client
    #[arg(value_enum)]
    client: Client,
    /// The MCP endpoint of the server
    #[arg(
        long,
        value_name = "URL",
        env = "NOTIFICATION_URL",
        default_value = "http://127.0.0.1:8005/mcp"
    )]
    url: String,
    /// Have the client present a key, which it takes from where it keeps secrets: it is not printed
    #[arg(long)]
    with_key: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Client {
    /// Claude Code: .mcp.json
    ClaudeCode,
    /// Claude Desktop: claude_desktop_config.json
    ClaudeDesktop,
    /// Visual Studio Code: .vscode/mcp.json
    Vscode,
    /// Cursor: .cursor/mcp.json
    Cursor,
    /// MCP Inspector: a command
    Inspector,
}

/// What a client is told.
#[derive(Debug)]
pub(crate) struct McpConfig {
    /// The file, or the command.
    pub(crate) text: String,
    /// Where it belongs, and where the key does.
    pub(crate) hint: String,
}

/// What clients call the server.
const NAME: &str = "notifications";

/// The variable that holds the key, where clients read variables.
const KEY: &str = "NOTIFICATION_KEY";

impl McpConfig {
    pub(crate) fn new(args: &McpConfigArgs) -> anyhow::Result<Self> {
        let url = endpoint_url(&args.url).context("--url")?;
        let config = match args.client {
            Client::ClaudeCode => claude_code(&url, args.with_key),
            Client::ClaudeDesktop => claude_desktop(&url, args.with_key)?,
            Client::Vscode => vscode(&url, args.with_key),
            Client::Cursor => cursor(&url, args.with_key),
            Client::Inspector => inspector(&url, args.with_key),
        };
        Ok(config)
    }

    fn file(json: &Value, hint: String) -> Self {
        Self {
            text: format!("{json:#}\n"),
            hint,
        }
    }
}

fn claude_code(url: &str, with_key: bool) -> McpConfig {
    let mut server = json!({"type": "http", "url": url});
    let mut command = format!(
        "claude mcp add --scope project --transport http {NAME} {}",
        quoted(url)
    );
    if with_key {
        let bearer = format!("Bearer ${{{KEY}}}");
        command += &format!(" --header 'Authorization: {bearer}'");
        server["headers"] = json!({"Authorization": bearer});
    }
    McpConfig::file(
        &json!({"mcpServers": {NAME: server}}),
        format!(
            "This is .mcp.json in your project; this command writes it, too:\n  {command}\n{}",
            key_in_environment(with_key, "Claude Code")
        ),
    )
}

fn claude_desktop(url: &str, with_key: bool) -> anyhow::Result<McpConfig> {
    // It is started without a shell, and knows no PATH but the system's.
    let binary = std::env::current_exe().context("cannot tell where this program is")?;
    let mut arguments = vec!["stdio".to_owned(), "--url".to_owned(), url.to_owned()];
    let mut hint =
        "This is claude_desktop_config.json: Settings, Developer, Edit Config. Then quit \
                    Claude Desktop and start it again.\n"
            .to_owned();
    if with_key {
        // It has no place for secrets but the file itself.
        let places = etcetera::choose_base_strategy();
        let places = places.context("this platform has no place for configuration")?;
        let file = places.config_dir().join("notification-server").join("key");
        hint += &format!(
            "Put the key into {}, which only you may read.\n",
            file.display()
        );
        arguments.extend(["--key-file".to_owned(), file.display().to_string()]);
    }
    let server = json!({"command": binary.display().to_string(), "args": arguments});
    Ok(McpConfig::file(
        &json!({"mcpServers": {NAME: server}}),
        hint,
    ))
}

fn vscode(url: &str, with_key: bool) -> McpConfig {
    let mut server = json!({"type": "http", "url": url});
    let mut inputs = None;
    let mut hint = "This is .vscode/mcp.json in your workspace.\n".to_owned();
    if with_key {
        let id = "notification-key";
        server["headers"] = json!({"Authorization": format!("Bearer ${{input:{id}}}")});
        let description = "Key of the notification server";
        inputs = Some(json!([
            {"type": "promptString", "id": id, "description": description, "password": true}
        ]));
        hint += "It asks for the key when it first connects, and keeps it.\n";
    }
    let mut config = json!({"servers": {NAME: server}});
    if let Some(inputs) = inputs {
        config["inputs"] = inputs;
    }
    McpConfig::file(&config, hint)
}

fn cursor(url: &str, with_key: bool) -> McpConfig {
    let mut server = json!({"url": url});
    if with_key {
        server["headers"] = json!({"Authorization": format!("Bearer ${{env:{KEY}}}")});
    }
    McpConfig::file(
        &json!({"mcpServers": {NAME: server}}),
        format!(
            "This is .cursor/mcp.json in your project, or ~/.cursor/mcp.json for all.\n{}",
            key_in_environment(with_key, "Cursor")
        ),
    )
}

fn inspector(url: &str, with_key: bool) -> McpConfig {
    let mut command = format!(
        "npx -y @modelcontextprotocol/inspector --transport http --server-url {}",
        quoted(url)
    );
    if with_key {
        command += &format!(" --header \"Authorization: Bearer ${KEY}\"");
    }
    McpConfig {
        text: format!("{command}\n"),
        hint: format!(
            "Run this command.\n{}",
            key_in_environment(with_key, "the shell that runs it")
        ),
    }
}

fn key_in_environment(with_key: bool, of: &str) -> String {
    match with_key {
        true => format!("Put the key into the variable {KEY} in the environment of {of}.\n"),
        false => String::new(),
    }
}

/// As one word of a shell's command.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":/._-".contains(c);
    match text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
