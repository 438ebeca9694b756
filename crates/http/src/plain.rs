use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::headers;
use crate::problem::Problem;

/// How long a client may take to read that it was refused.
const LINGER: Duration = Duration::from_secs(1);

/// How much of what it says meanwhile is read, in bytes. If anything were left
/// when the socket is closed, the kernel would throw the answer away.
const MAX_READ: u64 = 64 << 10;

/// Tells who speaks plain HTTP where TLS is spoken.
pub(crate) async fn refuse(socket: TcpStream) -> std::io::Result<()> {
    let detail = "TLS is spoken here: use https:// instead of http://";
    say(socket, Problem::new(StatusCode::BAD_REQUEST, detail)).await
}

/// Answers whatever was asked, without having read it, and closes the connection.
pub(crate) async fn say(mut socket: TcpStream, problem: Problem) -> std::io::Result<()> {
    socket.write_all(&answer(&problem)).await?;
    socket.shutdown().await?;
    let mut rest = socket.take(MAX_READ);
    let mut nowhere = tokio::io::sink();
    let reading = tokio::io::copy(&mut rest, &mut nowhere);
    if let Ok(read) = tokio::time::timeout(LINGER, reading).await {
        read?;
    }
    Ok(())
}

fn answer(problem: &Problem) -> Vec<u8> {
    let body = serde_json::to_vec(problem).expect("strings and numbers");
    let mut head = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nconnection: close\r\n",
        problem.status(),
        body.len()
    );
    for (name, value) in headers::ALWAYS {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    [head.into_bytes(), body].concat()
}
