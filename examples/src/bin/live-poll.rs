//! Everybody votes, and everybody sees the result move.

use std::collections::BTreeMap;
use std::sync::Mutex;

use notification_examples::{Result, serve};
use notification_server::{Call, McpServer, Tool, ToolFailure, ToolResult};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct Ballot {
    /// Who votes: once, and may change it
    voter: String,
    /// For what
    choice: Choice,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Choice {
    Tea,
    Coffee,
    Water,
}

#[derive(Default)]
struct Vote {
    ballots: Mutex<BTreeMap<String, Choice>>,
}

impl Tool for Vote {
    type Arguments = Ballot;

    fn name(&self) -> &str {
        "vote"
    }

    fn description(&self) -> &str {
        "Votes for what there will be to drink"
    }

    async fn call(&self, ballot: Ballot, call: Call) -> Result<ToolResult, ToolFailure> {
        let result = {
            let mut ballots = self.ballots.lock().expect("nobody panics with it");
            ballots.insert(ballot.voter, ballot.choice);
            let count = |choice| ballots.values().filter(|it| **it == choice).count();
            json!({
                "tea": count(Choice::Tea), "coffee": count(Choice::Coffee), "water": count(Choice::Water),
            })
        };
        call.send_data(json!({
            "type": "event", "name": "poll.changed", "topic": "poll", "collapse_key": "poll",
            "data": result,
        }))
        .await?;
        Ok(ToolResult::json(result))
    }
}

#[tokio::main]
async fn main() -> Result {
    serve(McpServer::builder().name("live-poll").tool(Vote::default())).await
}
