use notification_event::Delivery;
use notification_hub::{Caller, PageRequest, Start};
use rmcp::model::ErrorData;
use serde_json::{Value, json};

use super::errors::ErrorCodes;
use super::wanted::{Wanted, refused};

/// How many events one answer has at most.
const MAX_EVENTS: u64 = 1_000;
const DEFAULT_EVENTS: u64 = 100;

/// When it makes sense to ask again, if there was nothing more, in milliseconds.
const NEXT_POLL_MS: u64 = 5_000;

/// `events/poll`: what has happened since a cursor.
pub(super) async fn poll(
    caller: &Caller,
    params: &Value,
    codes: ErrorCodes,
) -> Result<Value, ErrorData> {
    let wanted = Wanted::read(caller, params, Delivery::Poll, codes)?;
    let hub = caller.hub();
    let beginning = hub.find(wanted.start(), wanted.not_before()).await;
    let beginning = beginning.map_err(|error| refused(error.into(), codes))?;
    let limit = wanted.max_events.unwrap_or(DEFAULT_EVENTS).min(MAX_EVENTS);
    let request = PageRequest {
        filter: wanted.filter(),
        client: None,
        start: Start::After(beginning.cursor),
        limit: limit as usize,
    };
    let page = caller.page(request).await;
    let page = page.map_err(|error| refused(error, codes))?;
    let occurrences = page.frames.iter();
    let occurrences = occurrences.filter_map(|frame| wanted.declared.occurrence(frame));
    let chosen = occurrences.filter(|it| wanted.selector.selects(&it.data));
    let events: Vec<Value> = chosen
        .map(|it| serde_json::from_str(it.json()).expect("it was written as JSON"))
        .collect();
    Ok(json!({
        "events": events,
        "cursor": page.cursor,
        "truncated": beginning.truncated || page.truncated || wanted.is_foreign,
        "hasMore": page.has_more,
        "nextPollMs": if page.has_more { 0 } else { NEXT_POLL_MS },
    }))
}
