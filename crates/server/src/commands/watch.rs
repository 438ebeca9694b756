use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use hyper::Method;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use notification_client::{Item, StreamOptions};
use serde_json::Value;

use super::{Server, plain, segment, text};

/// How often a bar of which the total is not known moves.
const TICK: Duration = Duration::from_millis(120);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  notification-server watch import-7
  notification-server watch --topic 'jobs/**'
  notification-server watch import-7 --json | jq .progress

With a task it ends when that does: with status 0 if it was completed, with 1 if it has failed or
was cancelled. Without one it shows all that go on, until it is stopped.")]
pub(crate) struct WatchArgs {
    /// Which: its task_id [default: all]
    task: Option<String>,
    /// Those on these topics, by pattern; as often as needed
    #[arg(long, value_name = "PATTERN", conflicts_with = "task")]
    topic: Vec<String>,
    #[command(flatten)]
    server: Server,
}

impl WatchArgs {
    /// Whether what was watched was completed.
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(&self) -> anyhow::Result<bool> {
        let client = self.server.api()?;
        let mut topics = self.topic.clone();
        if let Some(task) = &self.task {
            let path = format!("/v1/tasks/{}", segment(task));
            let task = client.ask(Method::GET, &path, None).await?;
            topics.push(text(&task, "topic").to_owned());
            if is_over(&task) {
                Bars::new(self.wants_bars()).show(&task)?;
                return Ok(text(&task, "state") == "completed");
            }
        }
        let mut stream = client.stream(StreamOptions {
            topics,
            types: vec!["progress".to_owned()],
            snapshot: true,
            ..StreamOptions::default()
        });
        let mut bars = Bars::new(self.wants_bars());
        let mut was_open = false;
        loop {
            let event = match stream.next().await? {
                Item::Event(event) => Value::Object(event),
                Item::Lost { reason, .. } if was_open => {
                    bars.note(&format!("{reason}; coming back"));
                    continue;
                }
                Item::Lost { reason, .. } => bail!("{reason}"),
                Item::Status(_) | Item::Unreadable(_) => {
                    was_open = true;
                    continue;
                }
            };
            let is_other = self
                .task
                .as_ref()
                .is_some_and(|id| event["task_id"] != **id);
            if is_other {
                continue;
            }
            bars.show(&event)?;
            if self.task.is_some() && is_over(&event) {
                return Ok(text(&event, "state") == "completed");
            }
        }
    }

    fn wants_bars(&self) -> bool {
        !self.server.wants_json() && std::io::stderr().is_terminal()
    }
}

fn is_over(task: &Value) -> bool {
    matches!(text(task, "state"), "completed" | "failed" | "cancelled")
}

/// A bar for each task; or a line of JSON for each report.
enum Bars {
    Drawn {
        all: MultiProgress,
        by_task: HashMap<String, ProgressBar>,
    },
    Lines,
}

impl Bars {
    fn new(are_drawn: bool) -> Self {
        match are_drawn {
            true => Self::Drawn {
                all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
                by_task: HashMap::new(),
            },
            false => Self::Lines,
        }
    }

    fn show(&mut self, task: &Value) -> anyhow::Result<()> {
        let Self::Drawn { all, by_task } = self else {
            let mut stdout = std::io::stdout();
            writeln!(stdout, "{task}")?;
            return Ok(stdout.flush()?);
        };
        let bar = by_task.entry(text(task, "task_id").to_owned());
        let bar = bar.or_insert_with(|| all.add(ProgressBar::new(0)));
        bar.set_style(style(task));
        bar.set_prefix(plain(text(task, "task_name")));
        let message = plain(text(task, "message"));
        match (task["step"].as_u64(), task["total_steps"].as_u64()) {
            (Some(step), Some(total)) => {
                bar.set_length(total);
                bar.set_position(step);
            }
            _ => {
                let percent = task["progress"].as_f64().unwrap_or_default();
                bar.set_length(100);
                bar.set_position(percent as u64);
            }
        }
        match is_over(task) {
            true => bar.finish_with_message(format!("{}: {message}", text(task, "state"))),
            false => {
                bar.set_message(message);
                bar.enable_steady_tick(TICK);
            }
        }
        Ok(())
    }

    fn note(&self, what: &str) {
        match self {
            Self::Drawn { all, .. } => drop(all.println(format!("-- {what}"))),
            Self::Lines => eprintln!("-- {what}"),
        }
    }
}

fn style(task: &Value) -> ProgressStyle {
    let colour = match text(task, "state") {
        "failed" | "stalled" => "red",
        "cancelled" => "yellow",
        "completed" => "green",
        _ => "cyan",
    };
    let template = match (
        task["progress"].is_number(),
        task["total_steps"].is_number(),
    ) {
        (_, true) => format!(
            "{{prefix:20!}} {{bar:30.{colour}}} {{percent:>3}}% {{pos}}/{{len}} {{eta:>4}} {{wide_msg}}"
        ),
        (true, false) => {
            format!("{{prefix:20!}} {{bar:30.{colour}}} {{percent:>3}}% {{eta:>4}} {{wide_msg}}")
        }
        (false, false) => {
            format!("{{prefix:20!}} {{spinner:.{colour}}} {{elapsed:>4}} {{wide_msg}}")
        }
    };
    ProgressStyle::with_template(&template).expect("the templates are these three")
}
