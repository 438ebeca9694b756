use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{Server, plain, segment, text};

#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Have events be posted to an address, and show the secret that signs them this once
    #[command(after_help = "\
Examples:
  notification-server webhooks create https://hooks.example.com/ops --topic 'ops/**'
  notification-server webhooks create https://hooks.example.com/i --event-type incident.created \\
    --arguments '{\"severity\": 3}'")]
    Create(CreateArgs),
    /// List the webhooks, and how they do
    List(ListArgs),
    /// Post a test message, and say what became of it
    Test(OneArgs),
    /// Send nothing more until it is resumed
    Pause(OneArgs),
    /// Go on from where it was, also if it was suspended
    Resume(OneArgs),
    /// Show the newest attempts
    Attempts(OneArgs),
    /// Show what was given up
    DeadLetters(OneArgs),
    /// Send what was given up again
    Redeliver(OneArgs),
    /// Sign with a new secret, and show it this once
    RotateSecret(OneArgs),
    /// Delete a webhook
    Delete(OneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Where to: an https address
    url: String,
    /// Events on these topics, by pattern; as often as needed
    #[arg(long, value_name = "PATTERN", conflicts_with = "event_type")]
    topic: Vec<String>,
    /// Events of this type, as occurrences of it
    #[arg(long, value_name = "NAME")]
    event_type: Option<String>,
    /// What chooses among them: a JSON object
    #[arg(long, value_name = "JSON", requires = "event_type", value_parser = object)]
    arguments: Option<Value>,
    /// From when on: 10m, a time, a cursor, or all [default: now]
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// What people know it by
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// Which: its id, as `webhooks list` shows it
    id: String,
    #[command(flatten)]
    server: Server,
}

fn object(text: &str) -> Result<Value, String> {
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let parsed = parsed.filter(Value::is_object);
    parsed.ok_or_else(|| "expected a JSON object".to_owned())
}

/// Does it: what is to be printed.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(command: &WebhooksCommand) -> anyhow::Result<String> {
    use WebhooksCommand as Command;
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => {
            let path = "/v1/webhooks";
            let listed = args.server.api()?.ask(Method::GET, path, None).await?;
            Ok(args.server.say(&listed, |listed| {
                let all = listed["webhooks"].as_array().into_iter().flatten();
                let all: String = all.map(line).collect();
                match all.is_empty() {
                    true => "There are no webhooks.\n".to_owned(),
                    false => all,
                }
            }))
        }
        Command::Test(args) => {
            let tested = args.ask(Method::POST, "/test", None).await?;
            Ok(args.server.say(&tested, attempt))
        }
        Command::Pause(args) => args.change(true).await,
        Command::Resume(args) => args.change(false).await,
        Command::Attempts(args) => {
            let made = args.ask(Method::GET, "/attempts", None).await?;
            Ok(args.server.say(&made, |made| {
                let all = made["attempts"].as_array().into_iter().flatten();
                all.map(attempt).collect()
            }))
        }
        Command::DeadLetters(args) => {
            let letters = args.ask(Method::GET, "/dead-letters", None).await?;
            Ok(args.server.say(&letters, |letters| {
                let all = letters["dead_letters"].as_array().into_iter().flatten();
                let all: String = all
                    .map(|it| {
                        let (id, at) = (text(it, "event_id"), text(it, "given_up_at"));
                        let (attempts, last) = (&it["attempts"], text(it, "last_outcome"));
                        format!("{id}  {at}  after {attempts} attempts: {last}\n")
                    })
                    .collect();
                match all.is_empty() {
                    true => "Nothing was given up.\n".to_owned(),
                    false => all,
                }
            }))
        }
        Command::Redeliver(args) => {
            let path = "/dead-letters/redeliver";
            let sent = args.ask(Method::POST, path, Some(&json!({}))).await?;
            Ok(args.server.say(&sent, |sent| {
                let gone = sent["gone"].as_array().map_or(0, Vec::len);
                let count = &sent["redelivering"];
                format!("{count} are sent again, {gone} are not kept any more.\n")
            }))
        }
        Command::RotateSecret(args) => {
            let path = "/rotate-secret";
            let rotated = args.ask(Method::POST, path, Some(&json!({}))).await?;
            Ok(args.server.say(&rotated, |rotated| {
                let (secret, until) = (text(rotated, "secret"), text(rotated, "previous_until"));
                format!("The new secret, shown this once:\n\n  {secret}\n\nThe one before is used beside it until {until}.\n")
            }))
        }
        Command::Delete(args) => {
            args.ask(Method::DELETE, "", None).await?;
            Ok(args.server.say(&json!({"deleted": args.id}), |_| {
                format!("Deleted {}.\n", plain(&args.id))
            }))
        }
    }
}

async fn create(args: &CreateArgs) -> anyhow::Result<String> {
    let mut wanted = Map::new();
    let mut put = |name: &str, value: Value| wanted.insert(name.to_owned(), value);
    put("url", args.url.as_str().into());
    if !args.topic.is_empty() {
        put("topics", json!(args.topic));
    }
    for (name, given) in [
        ("event_type", &args.event_type),
        ("since", &args.since),
        ("description", &args.description),
    ] {
        if let Some(given) = given {
            put(name, given.as_str().into());
        }
    }
    if let Some(arguments) = &args.arguments {
        put("arguments", arguments.clone());
    }
    let (api, wanted) = (args.server.api()?, wanted.into());
    let created = api.ask(Method::POST, "/v1/webhooks", Some(&wanted)).await?;
    Ok(args.server.say(&created, |created| {
        let (id, secret) = (text(created, "id"), text(created, "secret"));
        format!("Created {id}. What signs its deliveries, shown this once:\n\n  {secret}\n")
    }))
}

impl OneArgs {
    async fn ask(&self, method: Method, rest: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let path = format!("/v1/webhooks/{}{rest}", segment(&self.id));
        Ok(self.server.api()?.ask(method, &path, body).await?)
    }

    async fn change(&self, is_paused: bool) -> anyhow::Result<String> {
        let body = json!({ "paused": is_paused });
        let changed = self.ask(Method::PATCH, "", Some(&body)).await?;
        Ok(self.server.say(&changed, line))
    }
}

fn attempt(it: &Value) -> String {
    format!(
        "{}  {}  attempt {}: {} in {} ms\n",
        text(it, "at"),
        plain(text(it, "event_id")),
        it["attempt"],
        text(it, "outcome"),
        it["duration_ms"],
    )
}

/// A webhook, in one line.
fn line(webhook: &Value) -> String {
    let mut line = format!(
        "{}  {:<9}  {}",
        text(webhook, "id"),
        text(webhook, "state"),
        plain(text(webhook, "url")),
    );
    if webhook["dead_letters"] != 0 {
        line += &format!("; {} dead letters", webhook["dead_letters"]);
    }
    if let Some(since) = webhook["failed_since"].as_str() {
        line += &format!("; fails since {since} ({})", text(webhook, "last_error"));
    }
    line + "\n"
}
