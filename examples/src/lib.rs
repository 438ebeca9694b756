//! What the examples share: where they listen.

use std::error::Error;
use std::net::SocketAddr;

use notification_server::McpServerBuilder;

/// What an example may end with.
pub type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// `BIND`, or `127.0.0.1:8005`.
pub fn address() -> Result<SocketAddr> {
    let bind = std::env::var("BIND");
    Ok(bind.as_deref().unwrap_or("127.0.0.1:8005").parse()?)
}

/// Starts a server, says where, and serves until Ctrl-C.
pub async fn serve(builder: McpServerBuilder) -> Result {
    let server = builder.bind_address(address()?).build()?.start().await?;
    println!("Listening on {}", server.url());
    tokio::signal::ctrl_c().await?;
    Ok(server.stop().await?)
}
