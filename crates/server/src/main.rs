//! The `notification-server` binary: command line, configuration, logging, signals.

mod banner;
mod bench;
mod cli;
mod commands;
mod key;
mod logging;
mod mcp_config;
mod signals;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use notification_log::OpenError;
use notification_server::{Config, Input, LogFormat, Output, Server, StartError, Stdio};

use crate::bench::{Bench, BenchArgs};
use crate::cli::{Cli, Command, ServeArgs, StdioArgs};
use crate::commands::{PublishArgs, RunArgs, WatchArgs};
use crate::mcp_config::{McpConfig, McpConfigArgs};
use crate::signals::{Signals, Wish};

/// Gives memory back to the system after a burst, which glibc's allocator does
/// not, and costs less for many small allocations on several threads.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The conventional exit status of a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// The status of `publish` if nobody has acknowledged in time.
const UNACKNOWLEDGED: u8 = 2;

/// How long a client has to read the rest of standard output at the end.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let done = match Cli::parse().into_command() {
        Command::Serve(args) => serve(&args),
        Command::Stdio(args) => stdio(&args),
        Command::McpConfig(args) => mcp_config(&args),
        Command::Config => print(Config::DEFAULT_FILE),
        Command::Key(command) => key::run(&command).and_then(|text| print(&text)),
        Command::Bench(args) => bench(&args),
        Command::Publish(args) => return publish(&args),
        Command::Run(args) => return run(&args),
        Command::Tail(args) => args.run(),
        Command::Explain(args) => args.run().and_then(|text| print(&text)),
        Command::Ack(args) => args.run().and_then(|text| print(&text)),
        Command::Watch(args) => return watch(&args),
        Command::Tasks(command) => commands::tasks(&command).and_then(|text| print(&text)),
        Command::Top(args) => args.run(),
        Command::Clients(command) => commands::clients(&command).and_then(|text| print(&text)),
        Command::Groups(command) => commands::groups(&command).and_then(|text| print(&text)),
        Command::EventTypes(command) => {
            commands::event_types(&command).and_then(|text| print(&text))
        }
        Command::Login(args) => args.run().and_then(|text| print(&text)),
        Command::Logout => commands::logout().and_then(|text| print(&text)),
        Command::Completions { shell } => print_bytes(&cli::completions(shell)),
        Command::Man { directory } => cli::write_manual(&directory)
            .with_context(|| format!("cannot write manual pages into {}", directory.display())),
        Command::Webhooks(command) => commands::webhooks(&command).and_then(|text| print(&text)),
    };
    status(done)
}

fn status(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // On one line, with its causes.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What was published and not acknowledged in time has a status of its own.
fn publish(args: &PublishArgs) -> ExitCode {
    match args.run() {
        Ok(outcome) => match (print(&outcome.text), outcome.is_acknowledged) {
            (Ok(()), false) => ExitCode::from(UNACKNOWLEDGED),
            (printed, _) => status(printed),
        },
        Err(error) => status(Err(error)),
    }
}

/// A task that has failed is a status, and no error.
fn watch(args: &WatchArgs) -> ExitCode {
    match args.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => status(Err(error)),
    }
}

/// Its status is that of the program that was run.
fn run(args: &RunArgs) -> ExitCode {
    match args.run() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => status(Err(error)),
    }
}

#[tokio::main]
async fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let load = || Config::load(args.config.as_deref(), std::env::vars_os(), args.flags());
    let config = load()?;
    logging::start(&config.logging);
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let server = Server::start(config).await?;
    announce(&server)?;
    let reloader = server.reloader();
    let asked_to_end = async move {
        while signals.next().await == Wish::Reload {
            let reloaded = load().map_err(anyhow::Error::from);
            if let Err(error) = reloaded.and_then(|config| Ok(reloader.apply(&config)?)) {
                tracing::error!("settings not reloaded, nothing has changed: {error:#}");
            }
        }
        tokio::spawn(async move {
            while signals.next().await == Wish::Reload {}
            tracing::warn!("stopped at once, because it was asked twice");
            std::process::exit(INTERRUPTED);
        });
    };
    server
        .run(asked_to_end)
        .await
        .context("cannot start a thread")
}

/// Nothing but the protocol goes to standard output.
#[tokio::main]
async fn stdio(args: &StdioArgs) -> anyhow::Result<()> {
    let config = Config::load(args.config.as_deref(), std::env::vars_os(), args.flags())?;
    logging::start(&config.logging);
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let stdio = match &args.url {
        Some(url) => {
            let key = key::presented(args.key_file.as_deref())?;
            Stdio::connect(&config, url, key.as_deref()).context("--url")?
        }
        None => match Stdio::open(&config).await {
            Err(StartError::Log(locked @ OpenError::Locked { .. })) => bail!(
                "{locked}. If that is a server, connect to it: notification-server stdio --url \
                 http://{}/mcp. If it is another `stdio`, start a server for both",
                config.bind
            ),
            opened => opened?,
        },
    };
    let (output, writing) = Output::start(std::io::stdout());
    let asked_to_end = async move {
        // Whatever the signal: there is nobody who could want settings to be
        // read again.
        signals.next().await;
        tokio::spawn(async move {
            signals.next().await;
            tracing::warn!("stopped at once, because it was asked twice");
            std::process::exit(INTERRUPTED);
        });
    };
    stdio
        .run(Input::start(std::io::stdin()), output, asked_to_end)
        .await;
    writing.finish(WRITE_TIMEOUT).await;
    Ok(())
}

fn mcp_config(args: &McpConfigArgs) -> anyhow::Result<()> {
    let config = McpConfig::new(args)?;
    eprint!("{}", config.hint);
    print(&config.text)
}

fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    let bench = Bench::try_from(args)?;
    eprintln!("{bench}");
    let outcome = bench.run()?;
    print(&outcome.to_string())?;
    Ok(outcome.check()?)
}

fn announce(server: &Server) -> anyhow::Result<()> {
    let address = server.address();
    if server.is_open() && !address.ip().is_loopback() {
        tracing::warn!(%address, "no authentication: everyone who can reach this address can read and publish everything");
    }
    tracing::info!(%address, url = server.url(), certificate = server.tls().map(|tls| tls.fingerprint()), data_dir = ?server.data_dir(), max_streams = ?server.max_streams(), "listening");
    match server.config().logging.format {
        LogFormat::Text => print(&banner::banner(server)),
        LogFormat::Json => Ok(()),
    }
}

/// Writes to standard output, whose reader may have gone away.
fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
