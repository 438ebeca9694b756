use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use clap::Args;
use hyper::Method;
use notification_client::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::Server;

/// How often progress is reported at most.
const REPORT: Duration = Duration::from_millis(500);

/// The longest line in which progress is looked for, in bytes.
const MAX_LINE: usize = 4_096;

/// What shells make of a process that a signal ended.
const SIGNALLED: i32 = 128;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  notification-server run --name Build -- make all
  notification-server run --name Import --topic jobs -- ./import.sh --all

What it prints goes through untouched; the last of 42 % or 3/7 that is in a line is its progress. It
ends with the program's own status, or 128 and the number of the signal that ended it. If the server
cannot be reached the program runs all the same, and a line on standard error says so.")]
pub(crate) struct RunArgs {
    /// What people call the job
    #[arg(long)]
    name: String,
    /// Where its progress is published [default: default]
    #[arg(long)]
    topic: Option<String>,
    /// The job's id [default: a new one]
    #[arg(long, value_name = "ID")]
    task_id: Option<String>,
    /// The program, with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    server: Server,
}

/// What is reported of one job. That it cannot be is said once.
struct Job<'a> {
    args: &'a RunArgs,
    api: Client,
    path: String,
    is_silent: bool,
}

impl RunArgs {
    /// Runs it: the status to end with.
    #[tokio::main(flavor = "current_thread")]
    pub(crate) async fn run(&self) -> anyhow::Result<i32> {
        let mut job = Job {
            api: self.server.api()?,
            path: format!("/v1/tasks/{}", super::segment(&self.id())),
            args: self,
            is_silent: false,
        };
        let [program, arguments @ ..] = &self.command[..] else {
            unreachable!("it is required");
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        let started = Instant::now();
        let (progress, seen) = watch::channel(None);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let passing = async {
            tokio::join!(
                pass(stdout, std::io::stdout(), &progress),
                pass(stderr, std::io::stderr(), &progress),
            );
        };
        let status = tokio::select! {
            (status, ()) = async { tokio::join!(wait(&mut child), passing) } => status?,
            () = job.follow(seen) => unreachable!("the program's output is read until then"),
        };
        let code = status.code().unwrap_or_else(|| signalled(status));
        let took = started.elapsed().as_secs_f64();
        let (state, what) = match (code, status.code()) {
            (0, _) => ("completed", "Completed".to_owned()),
            (code, Some(_)) => ("failed", format!("Failed with status {code}")),
            (code, None) => ("failed", format!("Ended by signal {}", code - SIGNALLED)),
        };
        let message = format!("{what} after {took:.1} s");
        job.report(json!({"state": state, "message": message}))
            .await;
        Ok(code)
    }

    fn id(&self) -> String {
        self.task_id.clone().unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let millis = now.unwrap_or_default().as_millis();
            format!("run-{millis}-{}", std::process::id())
        })
    }
}

impl Job<'_> {
    async fn report(&mut self, mut report: Value) {
        report["task_name"] = self.args.name.as_str().into();
        if let Some(topic) = &self.args.topic {
            report["topic"] = topic.as_str().into();
        }
        let reported = self.api.ask(Method::PUT, &self.path, Some(&report)).await;
        if let Err(error) = reported
            && !std::mem::replace(&mut self.is_silent, true)
        {
            eprintln!("notification-server run: not reported: {error}");
        }
    }

    /// Reports that it has begun, and progress as it is seen: now and then, and never back.
    async fn follow(&mut self, mut seen: watch::Receiver<Option<f64>>) {
        self.report(json!({"state": "running", "message": "Started"}))
            .await;
        let mut told = 0.0;
        loop {
            if seen.changed().await.is_err() {
                return std::future::pending().await;
            }
            let progress = *seen.borrow_and_update();
            if let Some(progress) = progress.filter(|it| *it > told) {
                told = progress;
                self.report(json!({"state": "running", "progress": progress}))
                    .await;
            }
            tokio::time::sleep(REPORT).await;
        }
    }
}

/// Waits for its end, and passes on what it is told to do.
async fn wait(child: &mut Child) -> std::io::Result<std::process::ExitStatus> {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process};
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        loop {
            let told = tokio::select! {
                status = child.wait() => return status,
                // A terminal tells the whole group.
                _ = interrupt.recv() => None,
                _ = terminate.recv() => Some(Signal::TERM),
                _ = hang_up.recv() => Some(Signal::HUP),
            };
            if let (Some(pid), Some(told)) = (pid, told) {
                let _ = kill_process(pid, told);
            }
        }
    }
    #[cfg(not(unix))]
    child.wait().await
}

/// The conventional status of what a signal has ended.
fn signalled(status: std::process::ExitStatus) -> i32 {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        SIGNALLED + status.signal().unwrap_or_default()
    }
    #[cfg(not(unix))]
    {
        let _ = status;
        SIGNALLED
    }
}

/// Passes output on as it comes, and looks for progress in it.
async fn pass(
    from: Option<impl AsyncRead + Unpin>,
    mut to: impl Write,
    progress: &watch::Sender<Option<f64>>,
) {
    let Some(mut from) = from else {
        return;
    };
    let (mut buffer, mut line) = (vec![0; 8_192], Vec::new());
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // Whoever read it may have gone; the program goes on.
        let _ = to.write_all(&buffer[..read]).and_then(|()| to.flush());
        for byte in &buffer[..read] {
            // A number goes on as long as there are digits.
            let is_over = !byte.is_ascii_digit() && line.last().is_some_and(u8::is_ascii_digit);
            if is_over && *byte != b'%' {
                say(&line, progress);
            }
            match byte {
                b'\n' | b'\r' => line.clear(),
                byte if line.len() < MAX_LINE => line.push(*byte),
                _ => {}
            }
            if *byte == b'%' {
                say(&line, progress);
            }
        }
    }
}

fn say(line: &[u8], progress: &watch::Sender<Option<f64>>) {
    if let Some(seen) = percent(line) {
        progress.send_replace(Some(seen));
    }
}

/// The progress that a line ends with: `42 %`, `42.5%` or `3/7`, in percent.
fn percent(line: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(line).ok()?;
    if let Some(before) = text.strip_suffix('%') {
        let number = last_number(before.trim_end())?;
        return (0.0..=100.0).contains(&number).then_some(number);
    }
    let (before, after) = text.rsplit_once('/')?;
    let all = after.parse::<u32>().ok()?;
    let digits = before.trim_end_matches(|c: char| c.is_ascii_digit());
    // 2026/11/23 is a date, 1.2/3 a version.
    if digits.ends_with(['/', '.', '-']) {
        return None;
    }
    let done: f64 = before[digits.len()..].parse().ok()?;
    let all = f64::from(all);
    (all > 0.0 && done <= all).then(|| (done / all * 1_000.0).round() / 10.0)
}

fn last_number(text: &str) -> Option<f64> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let start = text.rfind(|c| !is_part(c)).map_or(0, |at| at + 1);
    // After a letter of more than a byte there is no boundary.
    text.get(start..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_found_at_the_end_of_what_was_said() {
        for (line, expected) in [
            ("42%", Some(42.0)),
            ("[=====>    ] 42.5 %", Some(42.5)),
            ("Compiling 3/7", Some(42.9)),
            ("step 7/7", Some(100.0)),
            ("[ 12/400", Some(3.0)),
            ("101%", None),
            ("8/7", None),
            ("3/0", None),
            ("2026/11/23", None),
            ("%", None),
            ("/", None),
            ("a/7", None),
            ("é%", None),
            ("done", None),
        ] {
            assert_eq!(percent(line.as_bytes()), expected, "{line}");
        }
    }
}
