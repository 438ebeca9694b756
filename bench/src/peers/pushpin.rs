use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use memchr::memmem;
use notification_loadgen::{Message, PATIENCE, Target};
use tempfile::TempDir;

use crate::peers::origin::Origin;
use crate::peers::{Running, end, first_line, free_target};
use crate::process::Processes;

const PROGRAM: &str = "pushpin";

/// The first thing on a stream, as our server would say it.
const OPENING: &str = "data: {\"type\":\"status\",\"status\":\"connected\"}\n\n";

/// How long to wait for a first stream before trying another: one that was asked
/// for while the parts of Pushpin were finding each other may never come.
const A_MOMENT: Duration = Duration::from_millis(500);

/// How long they are left alone when one stream has opened. Not all ways between
/// them are there by then, and what takes one that is not ends its stream.
const SETTLE: Duration = Duration::from_secs(2);

/// As in the file it is shipped with, and more than any row needs: condure has
/// room for so many messages in all as it may have connections, and 1.9.1 ends
/// when a burst to nearly as many streams needs more.
const MAX_CONNECTIONS: usize = 50_000;

/// Itself, and condure, zurl, pushpin-proxy and pushpin-handler.
const PROCESSES: usize = 5;

/// Pushpin on free ports, with a directory of its own, and the program whose
/// answer it turns into streams.
pub(super) struct Pushpin {
    child: Child,
    target: Target,
    control: Target,
    _origin: Origin,
    _dir: TempDir,
}

/// What it calls itself.
///
/// # Errors
///
/// If it is not on `PATH`.
pub(super) fn version() -> anyhow::Result<String> {
    let missing = "pushpin is not on PATH (Debian: pushpin)";
    first_line(Command::new(PROGRAM).arg("--version")).context(missing)
}

impl Pushpin {
    pub(super) fn start() -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("notification-bench-pushpin-")?;
        let origin = Origin::start(grip_answer())?;
        let (target, control) = (free_target()?, free_target()?);
        let config = dir.path().join("pushpin.conf");
        let text = config_text(dir.path(), &target, &control);
        fs::write(&config, text)?;
        let routes = format!("* {}\n", origin.address());
        fs::write(dir.path().join("routes"), routes)?;
        let log = dir.path().join("pushpin.log");
        let child = Command::new(PROGRAM)
            .arg("--config")
            .arg(&config)
            // All parts' warnings in one file.
            .arg("--merge-output")
            .arg("--logfile")
            .arg(&log)
            .args(["--loglevel", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start pushpin")?;
        let mut pushpin = Self {
            child,
            target,
            control,
            _origin: origin,
            _dir: dir,
        };
        pushpin.wait_until_ready(&log)?;
        Ok(pushpin)
    }

    fn wait_until_ready(&mut self, log: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.control.connect().is_err()
            || self.processes()?.count() < PROCESSES
            || !opens(&self.target)
        {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(log).unwrap_or_default();
                bail!("pushpin did not start: {}", log.trim());
            }
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(SETTLE);
        Ok(())
    }
}

/// Whether a stream opens soon.
fn opens(target: &Target) -> bool {
    let mut read = Vec::new();
    let mut open = || -> std::io::Result<()> {
        let mut stream = target.connect()?;
        stream.set_read_timeout(Some(A_MOMENT))?;
        write!(stream, "GET /stream HTTP/1.1\r\nHost: {target}\r\n\r\n")?;
        let mut buffer = [0; 1024];
        while memmem::find(&read, OPENING.as_bytes()).is_none() {
            match stream.read(&mut buffer)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                length => read.extend_from_slice(&buffer[..length]),
            }
        }
        Ok(())
    };
    open().is_ok()
}

/// The answer that has Pushpin hold a request as a stream of the channel (GRIP).
fn grip_answer() -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
         Grip-Hold: stream\r\nGrip-Channel: bench\r\nContent-Length: {}\r\n\r\n{OPENING}",
        OPENING.len()
    )
}

/// Its defaults, but for what this load needs: no limit to how many deliveries are made each second (the shipped file says 2,500) or wait
/// (25,000, beyond which they are dropped); and no log of requests. zurl, which
/// asks the origin, is started with it, where Debian has one for all. Its parts
/// talk to each other by sockets in the directory.
fn config_text(dir: &Path, target: &Target, control: &Target) -> String {
    format!(
        "[global]
include={{libdir}}/internal.conf
rundir={dir}
ipc_prefix=bench-

[runner]
services=condure,zurl,pushpin-proxy,pushpin-handler
http_port={target}
logdir={dir}
log_level=1
client_maxconn={MAX_CONNECTIONS}

[proxy]
routesfile=routes
updates_check=off
zurl_out_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-in
zurl_out_stream_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-in-stream
zurl_in_specs=ipc://{{rundir}}/{{ipc_prefix}}zurl-out

[handler]
push_in_spec=ipc://{{rundir}}/{{ipc_prefix}}push-in
push_in_sub_specs=ipc://{{rundir}}/{{ipc_prefix}}push-in-sub
push_in_http_addr={control_ip}
push_in_http_port={control_port}
command_spec=ipc://{{rundir}}/{{ipc_prefix}}command
message_rate=-1
message_hwm=-1
",
        dir = dir.display(),
        control_ip = control.address().ip(),
        control_port = control.address().port(),
    )
}

impl Running for Pushpin {
    fn target(&self) -> &Target {
        &self.target
    }

    fn processes(&self) -> anyhow::Result<Processes> {
        Processes::family(self.child.id())
    }

    fn stream_path(&self) -> &str {
        "/stream"
    }

    /// Its control port, which closes each connection when it has answered.
    fn publish_target(&self) -> &Target {
        &self.control
    }

    /// As what is to be written to the streams, word for word.
    fn message(&self, size: usize) -> Message {
        Message::to(&self.control, "/publish/", size).in_string(
            r#"{"items":[{"channel":"bench","formats":{"http-stream":{"content":"data: "#,
            r#"\n\n"}}}]}"#,
        )
    }
}

impl Drop for Pushpin {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_only() {
        let target = |port| Target::loopback(([127, 0, 0, 1], port).into()).unwrap();
        let text = config_text(Path::new("/tmp/x"), &target(8001), &target(8002));
        for line in [
            "http_port=127.0.0.1:8001",
            "push_in_http_addr=127.0.0.1",
            "push_in_http_port=8002",
            "rundir=/tmp/x",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        assert!(!text.contains("tcp://"));
    }

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let answer = grip_answer();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        assert_eq!(body, OPENING);
    }
}
