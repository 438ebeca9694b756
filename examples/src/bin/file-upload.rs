//! A file comes in in pieces, and its progress is a bar on every dashboard.

use notification_examples::{Result, serve};
use notification_server::{Call, McpServer, Tool, ToolFailure, ToolResult};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Piece {
    /// What the file is called
    file: String,
    /// How large all of it is, in bytes
    #[schemars(range(min = 1))]
    total: u64,
    /// How many bytes were there before this piece
    offset: u64,
    /// The piece, as text
    content: String,
}

struct Upload;

impl Tool for Upload {
    type Arguments = Piece;

    fn name(&self) -> &str {
        "upload"
    }

    fn description(&self) -> &str {
        "Takes the next piece of a file"
    }

    async fn call(&self, piece: Piece, call: Call) -> Result<ToolResult, ToolFailure> {
        let received = piece.offset + piece.content.len() as u64;
        if received > piece.total {
            return Err(ToolFailure::new(
                "nothing was taken: it is larger than it said",
            ));
        }
        let percent = received as f64 / piece.total as f64 * 100.0;
        let message = format!("{received} of {} bytes", piece.total);
        call.report(&piece.file, percent, &message).await?;
        Ok(ToolResult::text(message))
    }
}

#[tokio::main]
async fn main() -> Result {
    serve(McpServer::builder().name("file-upload").tool(Upload)).await
}
