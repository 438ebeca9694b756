use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use notification_loadgen::{Message, PATIENCE, Target};
use tempfile::TempDir;

use crate::peers::{Running, end, free_target, member};
use crate::process::Processes;
use crate::setup::Setup;

/// Where packages put the program, as `PATH` often lacks `/usr/sbin`.
const PROGRAMS: [&str; 3] = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];

/// Where packages put the module.
const MODULES: [&str; 3] = [
    "/usr/lib/nginx/modules/ngx_nchan_module.so",
    "/usr/lib64/nginx/modules/ngx_nchan_module.so",
    "/usr/share/nginx/modules/ngx_nchan_module.so",
];

/// One worker for each core, as `auto` would have it.
fn workers() -> anyhow::Result<usize> {
    Ok(thread::available_parallelism()?.get())
}

/// nginx with nchan, on a free port, with a directory of its own.
pub(super) struct Nchan {
    child: Child,
    target: Target,
    _dir: TempDir,
}

/// What it calls itself.
///
/// # Errors
///
/// If nginx or the module is not installed.
pub(super) fn version() -> anyhow::Result<String> {
    let (program, _) = installed()?;
    let output = Command::new(program).arg("-v").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let nginx = text.trim().trim_start_matches("nginx version: ").to_owned();
    let mut dpkg = Command::new("dpkg-query");
    dpkg.args(["-W", "-f", "${Version}", "libnginx-mod-nchan"]);
    Ok(match dpkg.stderr(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            let package = String::from_utf8_lossy(&output.stdout);
            format!("{nginx}, libnginx-mod-nchan {package}")
        }
        _ => nginx,
    })
}

fn installed() -> anyhow::Result<(&'static Path, &'static Path)> {
    let find = |places: [&'static str; 3]| places.into_iter().map(Path::new).find(|p| p.exists());
    let program = find(PROGRAMS).context("nginx is not installed (Debian: nginx-light)")?;
    let module = find(MODULES);
    Ok((
        program,
        module.context("nginx has no nchan (Debian: libnginx-mod-nchan)")?,
    ))
}

impl Nchan {
    pub(super) fn start(setup: &Setup) -> anyhow::Result<Self> {
        let (program, module) = installed()?;
        let dir = TempDir::with_prefix("notification-bench-nchan-")?;
        let target = free_target()?;
        let config = dir.path().join("nginx.conf");
        let log = dir.path().join("error.log");
        let text = config_text(module, dir.path(), &target, workers()?, setup.connections);
        fs::write(&config, text)?;
        let child = Command::new(program)
            .arg("-e")
            .arg(&log)
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start nginx")?;
        let mut nchan = Self {
            child,
            target,
            _dir: dir,
        };
        nchan.wait_until_ready(&log)?;
        Ok(nchan)
    }

    fn wait_until_ready(&mut self, log: &PathBuf) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.target.connect().is_err() || self.processes()?.count() <= workers()? {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(log).unwrap_or_default();
                bail!("nginx did not start: {}", log.trim());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Its defaults, but for what this load needs: enough connections, requests
/// and messages, no pings between events, and no log of each request.
fn config_text(
    module: &Path,
    dir: &Path,
    target: &Target,
    workers: usize,
    connections: usize,
) -> String {
    let (module, dir) = (module.display(), dir.display());
    // Any worker may get all streams.
    let connections = connections + 100;
    format!(
        "load_module {module};
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log error;
worker_processes {workers};
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    nchan_shared_memory_size 256M;
    server {{
        listen {target} backlog=4096;
        location = /publish {{
            nchan_publisher;
            nchan_channel_id bench;
            nchan_message_buffer_length 1000;
        }}
        location = /stream {{
            nchan_subscriber eventsource;
            nchan_channel_id bench;
            nchan_eventsource_ping_interval 0;
        }}
    }}
}}
",
        files = connections + 50,
    )
}

impl Running for Nchan {
    fn target(&self) -> &Target {
        &self.target
    }

    /// The master and its workers.
    fn processes(&self) -> anyhow::Result<Processes> {
        Processes::family(self.child.id())
    }

    fn stream_path(&self) -> &str {
        "/stream"
    }

    fn message(&self, size: usize) -> Message {
        Message::to(&self.target, "/publish", size)
    }

    fn id(&self, answer: &[u8]) -> Option<String> {
        member(answer, "last_message_id")
    }
}

impl Drop for Nchan {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
