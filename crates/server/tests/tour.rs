//! The tour in the README: every command works as it is printed.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::server;
use notification_testkit::ServerProcess;

const README: &str = include_str!("../../../README.md");

/// The commands of the tour, each with its continuation lines.
fn commands() -> Vec<String> {
    let tour = README.split("## Five minutes with curl").nth(1).unwrap();
    let tour = tour.split("\n## ").next().unwrap();
    let blocks = tour.split("```bash\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap());
    let commands = blocks.flat_map(|block| {
        let block = format!("\n{block}");
        let commands: Vec<_> = block
            .split("\ncurl ")
            .skip(1)
            .map(|c| format!("curl {c}"))
            .collect();
        commands
    });
    commands.collect()
}

/// A command that goes on, and what it has printed.
struct Watch {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Watch {
    fn start(command: &str) -> Self {
        let mut child = bash(&format!("exec {command}")).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut watch = Self { child, output };
        watch.until("\"status\":\"connected\"");
        watch
    }

    /// Reads on until a line that has this in it.
    fn until(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let read = self.output.read_line(&mut line).unwrap();
            assert!(read > 0, "the stream ended before {part}");
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bash(command: &str) -> Command {
    let mut bash = Command::new("bash");
    // The tool has its own bound on time: a command that hangs fails.
    let command = command.replacen("curl ", "curl --silent --show-error --max-time 60 ", 1);
    bash.args(["-c", &command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    bash
}

fn run(command: &str) -> String {
    let output = bash(command).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(
        !answer.contains("about:blank"),
        "{command} was refused: {answer}"
    );
    answer
}

#[test]
fn every_command_of_the_tour_works_as_printed() {
    let server: ServerProcess = server(&[]);
    let mut streams = Vec::new();
    let mut answers = Vec::new();
    for command in commands() {
        let here = command.replace("127.0.0.1:8005", &server.address().to_string());
        match here.starts_with("curl -N") {
            true => streams.push((command, Watch::start(&here))),
            false => answers.push((command, run(&here))),
        }
    }
    let answer = |part: &str| {
        let found = answers.iter().find(|(command, _)| command.contains(part));
        found
            .unwrap_or_else(|| panic!("no command with {part}"))
            .1
            .as_str()
    };
    assert!(answer("backups").contains("cursor"));
    assert!(answer("simulate_progress").contains("completed"));
    assert!(answer("since=all").contains("Backup done"));
    assert!(answer("alarm-1\", \"message").contains("\"event_id\":\"alarm-1\""));
    assert!(answer("/acks").contains("\"receipts\":1"));
    assert!(answer("/receipts").contains("\"acknowledged_at\":\"2"));
    assert!(answer("tasks/import-7").contains("cursor"));

    let mut seen = |part: &str, events: &[&str]| {
        let found = streams
            .iter_mut()
            .find(|(command, _)| command.contains(part));
        let (_, watch) = found.unwrap_or_else(|| panic!("no stream with {part}"));
        events.iter().for_each(|event| watch.until(event));
    };
    seen("/mcp", &["Backup done", "incident.created", "Import"]);
    seen("topic=ops/**", &["Backup done", "incident.created"]);
    seen("durable=true", &["Who is on it?"]);
    seen("snapshot=true", &["Import", "snapshot_complete"]);
}
