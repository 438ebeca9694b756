use std::sync::Arc;

use notification_event::{
    Audience, Collapse, EncodedEvent, Head, Priority, Tag, TaskId, TaskPhase,
};
use rusqlite::{Connection, Row, params};
use serde_json::Value;

use super::bounds::Newest;
use super::value::{
    damaged, int, optional_parsed, optional_timestamp, parsed, parsed_json, position, timestamp,
};
use crate::Entry;

/// A query for what [`entry`] reads, of the rows that `$from` names.
macro_rules! select_entries {
    ($from:literal) => {
        concat!(
            "SELECT events.position, event_id, timestamp, type, name, events.topic, \
             events.audience, json, priority, tags, expires_at, collapse_key, task_id, task_phase, \
             require_ack, fingerprint, newest.position, published_by ",
            $from
        )
    };
}
pub(super) use select_entries;

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let json: String = row.get(7)?;
    let collapse = collapse(row)?;
    let is_newest = row.get::<_, Option<i64>>(16)?.is_some();
    Ok(Entry {
        position: position(row, 0)?,
        is_superseded: collapse.is_some() && !is_newest,
        event: EncodedEvent {
            head: Head {
                id: parsed(row, 1)?,
                timestamp: timestamp(row, 2)?,
                event_type: parsed(row, 3)?,
                name: optional_parsed(row, 4)?,
                topic: parsed(row, 5)?,
                audience: audience(row)?,
                priority: priority(row)?,
                tags: tags(row)?,
                expires_at: optional_timestamp(row, 10)?,
                collapse,
                require_ack: row.get(14)?,
                published_by: row.get::<_, Option<String>>(17)?.map(Into::into),
            },
            json: json.into(),
            fingerprint: row.get::<_, Option<i64>>(15)?.map(i64::cast_unsigned),
        },
    })
}

fn audience(row: &Row<'_>) -> rusqlite::Result<Option<Audience>> {
    match row.get_ref(6)?.as_str_or_null()? {
        Some(_) => parsed_json(row, 6, Audience::parse).map(Some),
        None => Ok(None),
    }
}

fn priority(row: &Row<'_>) -> rusqlite::Result<Priority> {
    use Priority::{Default, High, Low, Min, Urgent};
    let number: i64 = row.get(8)?;
    let named = [Min, Low, Default, High, Urgent]
        .into_iter()
        .find(|priority| i64::from(priority.number()) == number);
    named.ok_or_else(|| damaged(row, 8, format!("{number} is not from 1 to 5")))
}

fn tags(row: &Row<'_>) -> rusqlite::Result<Arc<[Tag]>> {
    let Some(json) = row.get_ref(9)?.as_str_or_null()? else {
        return Ok(Arc::default());
    };
    let words: Vec<String> = serde_json::from_str(json).map_err(|e| damaged(row, 9, e))?;
    let tags = words.iter().map(|word| word.parse());
    tags.collect::<Result<_, _>>()
        .map_err(|e| damaged(row, 9, e))
}

fn collapse(row: &Row<'_>) -> rusqlite::Result<Option<Collapse>> {
    if let Some(key) = optional_parsed(row, 11)? {
        return Ok(Some(Collapse::Key(key)));
    }
    let Some(task) = optional_parsed::<TaskId>(row, 12)? else {
        return Ok(None);
    };
    let word = row.get_ref(13)?.as_str()?;
    let phase = TaskPhase::from_word(word)
        .ok_or_else(|| damaged(row, 13, format!("{word:?} is no phase of a task")))?;
    Ok(Some(Collapse::Task { task, phase }))
}

/// Inserts an event as the log's newest, of which `newest` is known.
pub(super) fn insert(
    connection: &Connection,
    newest: &Newest,
    event: &EncodedEvent,
) -> rusqlite::Result<()> {
    let head = &event.head;
    let audience = head.audience.as_ref();
    let audience = audience.map(|a| Value::Object(a.to_json()).to_string());
    let json = std::str::from_utf8(&event.json)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let (key, task) = match &head.collapse {
        None => (None, None),
        Some(Collapse::Key(key)) => (Some(key.as_str()), None),
        Some(Collapse::Task { task, phase }) => (None, Some((task.as_str(), phase.as_str()))),
    };
    connection
        .prepare_cached(
            "INSERT INTO events VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        )?
        .execute(params![
            int(newest.position.0),
            newest.appended_at.as_millis(),
            int(newest.bytes_through),
            head.id.as_str(),
            head.timestamp.as_millis(),
            head.event_type.as_str(),
            head.name.as_ref().map(|name| name.as_str()),
            head.topic.as_str(),
            audience,
            json,
            head.priority.number(),
            tags_json(&head.tags),
            head.expires_at.map(|time| time.as_millis()),
            key,
            task.map(|(id, _)| id),
            task.map(|(_, phase)| phase),
            head.require_ack,
            event.fingerprint.map(u64::cast_signed),
            head.published_by.as_deref(),
        ])?;
    if let Some(collapse) = &head.collapse {
        connection
            .prepare_cached(
                "INSERT INTO newest (position, topic, state, audience) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (topic, state, audience) DO UPDATE SET position = excluded.position",
            )?
            .execute(params![
                int(newest.position.0),
                head.topic.as_str(),
                collapse.to_string(),
                audience.unwrap_or_default(),
            ])?;
    }
    Ok(())
}

fn tags_json(tags: &[Tag]) -> Option<String> {
    let words = || {
        tags.iter()
            .map(|tag| Value::from(tag.as_str()))
            .collect::<Value>()
    };
    (!tags.is_empty()).then(|| words().to_string())
}
