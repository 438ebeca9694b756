//! The server with what MCP's conformance suite calls by name: for `tests/conformance`.

use clap::Parser;
use notification_server::{Config, Flag, Server};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    bind: String,
    #[arg(long)]
    data_dir: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let flag = |key, name, value: String| Flag {
        key,
        name,
        value: value.into(),
    };
    let flags = [
        flag("bind", "bind", args.bind),
        flag("data_dir", "data-dir", args.data_dir),
    ];
    let server = Server::start(Config::load(None, [], flags)?).await?;
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(server.run(interrupted).await?)
}
