use notification_event::{ClientId, EventId, Filter, GroupName, Position, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::value::{damaged, int, optional_timestamp, parsed, parsed_json, position, timestamp};
use crate::{Change, ClientRecord, Membership, Receipt, Record, Records};

/// Makes a change of a commit whose events follow `head`. They are there
/// already, so that their receipts have something to belong to.
pub(super) fn make(
    connection: &Connection,
    change: &Change,
    head: Position,
) -> rusqlite::Result<()> {
    match change {
        Change::JoinGroup { group, client } => join(connection, group, client, head),
        Change::LeaveGroup { group, client } => leave(connection, group, client, head),
        Change::SaveClient(record) => save(connection, record),
        Change::ForgetClient(client) => connection
            .prepare_cached("DELETE FROM clients WHERE client_id = ?1")?
            .execute([client.as_str()])
            .map(drop),
        Change::SaveRecord(Record { kind, id, json }) => connection
            .prepare_cached("INSERT OR REPLACE INTO records (kind, id, json) VALUES (?1, ?2, ?3)")?
            .execute([kind, id, json])
            .map(drop),
        Change::RemoveRecord { kind, id } => connection
            .prepare_cached("DELETE FROM records WHERE kind = ?1 AND id = ?2")?
            .execute([kind, id])
            .map(drop),
        Change::Expect { event, clients } => expect(connection, event, clients),
        Change::Delivered { event, client, at } => deliver(connection, event, client, *at),
        Change::Acknowledged { event, client, at } => acknowledge(connection, event, client, *at),
    }
}

fn join(
    connection: &Connection,
    group: &GroupName,
    client: &ClientId,
    head: Position,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO memberships (group_name, client_id, after) SELECT ?1, ?2, ?3
             WHERE NOT EXISTS (SELECT 1 FROM memberships
             WHERE group_name = ?1 AND client_id = ?2 AND through IS NULL)",
        )?
        .execute(params![group.as_str(), client.as_str(), int(head.0)])?;
    Ok(())
}

fn leave(
    connection: &Connection,
    group: &GroupName,
    client: &ClientId,
    head: Position,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE memberships SET through = ?3
             WHERE group_name = ?1 AND client_id = ?2 AND through IS NULL",
        )?
        .execute(params![group.as_str(), client.as_str(), int(head.0)])?;
    // It may have left before there was an event.
    connection
        .prepare_cached(
            "DELETE FROM memberships
             WHERE group_name = ?1 AND client_id = ?2 AND through <= after",
        )?
        .execute([group.as_str(), client.as_str()])?;
    Ok(())
}

fn save(connection: &Connection, record: &ClientRecord) -> rusqlite::Result<()> {
    let acknowledged = record.acknowledged.iter().map(|position| position.0);
    connection
        .prepare_cached("INSERT OR REPLACE INTO clients VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![
            record.client.as_str(),
            Value::Object(record.filter.to_json()).to_string(),
            record.ack.as_str(),
            record.cursor.to_string(),
            acknowledged.collect::<Value>().to_string(),
            record.created_at.as_millis(),
            record.seen_at.as_millis(),
        ])?;
    Ok(())
}

fn expect(connection: &Connection, event: &EventId, clients: &[ClientId]) -> rusqlite::Result<()> {
    let Some(position) = place(connection, event)? else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached(
        "INSERT INTO receipts (position, client_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    for client in clients {
        statement.execute(params![int(position.0), client.as_str()])?;
    }
    Ok(())
}

fn deliver(
    connection: &Connection,
    event: &EventId,
    client: &ClientId,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let Some(position) = place(connection, event)? else {
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT INTO receipts (position, client_id, delivered_at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET delivered_at = excluded.delivered_at
             WHERE delivered_at IS NULL",
        )?
        .execute(params![int(position.0), client.as_str(), at.as_millis()])?;
    Ok(())
}

fn acknowledge(
    connection: &Connection,
    event: &EventId,
    client: &ClientId,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let Some(position) = place(connection, event)? else {
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT INTO receipts (position, client_id, acknowledged_at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET acknowledged_at = excluded.acknowledged_at
             WHERE acknowledged_at IS NULL",
        )?
        .execute(params![int(position.0), client.as_str(), at.as_millis()])?;
    Ok(())
}

/// Where an event is; none if it is not in the log.
fn place(connection: &Connection, event: &EventId) -> rusqlite::Result<Option<Position>> {
    connection
        .prepare_cached("SELECT position FROM events WHERE event_id = ?1")?
        .query_row([event.as_str()], |row| position(row, 0))
        .optional()
}

const PRUNE: [&str; 3] = [
    "DELETE FROM newest WHERE position <= ?1",
    "DELETE FROM receipts WHERE position <= ?1",
    "DELETE FROM memberships WHERE through <= ?1",
];

/// Removes what belongs to events up to and including `through`.
pub(super) fn prune(connection: &Connection, through: Position) -> rusqlite::Result<()> {
    for removal in PRUNE {
        connection
            .prepare_cached(removal)?
            .execute([int(through.0)])?;
    }
    Ok(())
}

/// Makes memberships that begin or end beyond `head` do so there.
pub(super) fn cut_off(connection: &Connection, head: Position) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM memberships WHERE after >= ?1 AND through IS NOT NULL",
        [int(head.0)],
    )?;
    connection.execute(
        "UPDATE memberships SET after = min(after, ?1), through = min(through, ?1)
         WHERE after > ?1 OR through > ?1",
        [int(head.0)],
    )?;
    Ok(())
}

pub(super) fn records(connection: &Connection) -> rusqlite::Result<Records> {
    let mut memberships = connection.prepare_cached(
        "SELECT group_name, client_id, after, through FROM memberships
         ORDER BY group_name, client_id, after",
    )?;
    let mut clients = connection.prepare_cached(
        "SELECT client_id, filter, ack, cursor, acknowledged, created_at, seen_at FROM clients
         ORDER BY client_id",
    )?;
    let mut others =
        connection.prepare_cached("SELECT kind, id, json FROM records ORDER BY kind, id")?;
    let other = |row: &Row<'_>| {
        Ok(Record {
            kind: row.get(0)?,
            id: row.get(1)?,
            json: row.get(2)?,
        })
    };
    Ok(Records {
        memberships: memberships
            .query_map([], membership)?
            .collect::<Result<_, _>>()?,
        clients: clients.query_map([], client)?.collect::<Result<_, _>>()?,
        others: others.query_map([], other)?.collect::<Result<_, _>>()?,
    })
}

fn membership(row: &Row<'_>) -> rusqlite::Result<Membership> {
    let through: Option<i64> = row.get(3)?;
    Ok(Membership {
        group: parsed(row, 0)?,
        client: parsed(row, 1)?,
        after: position(row, 2)?,
        through: through.map(|through| Position(through.cast_unsigned())),
    })
}

fn client(row: &Row<'_>) -> rusqlite::Result<ClientRecord> {
    Ok(ClientRecord {
        client: parsed(row, 0)?,
        filter: parsed_json(row, 1, Filter::parse)?,
        ack: parsed(row, 2)?,
        cursor: parsed(row, 3)?,
        acknowledged: acknowledged(row)?,
        created_at: timestamp(row, 5)?,
        seen_at: timestamp(row, 6)?,
    })
}

fn acknowledged(row: &Row<'_>) -> rusqlite::Result<Vec<Position>> {
    let json = row.get_ref(4)?.as_str()?;
    let positions: Vec<u64> = serde_json::from_str(json).map_err(|e| damaged(row, 4, e))?;
    Ok(positions.into_iter().map(Position).collect())
}

pub(super) fn receipts(connection: &Connection, event: &EventId) -> rusqlite::Result<Vec<Receipt>> {
    let mut statement = connection.prepare_cached(
        "SELECT client_id, delivered_at, acknowledged_at FROM receipts
         WHERE position = (SELECT position FROM events WHERE event_id = ?1) ORDER BY client_id",
    )?;
    let receipts = statement.query_map([event.as_str()], |row| {
        Ok(Receipt {
            client: parsed(row, 0)?,
            delivered_at: optional_timestamp(row, 1)?,
            acknowledged_at: optional_timestamp(row, 2)?,
        })
    })?;
    receipts.collect()
}

const UNACKNOWLEDGED: &str = "SELECT event_id FROM receipts JOIN events USING (position)
     WHERE client_id = ?1 AND acknowledged_at IS NULL AND receipts.position <= ?2
     ORDER BY receipts.position";

pub(super) fn unacknowledged(
    connection: &Connection,
    client: &ClientId,
    through: Position,
) -> rusqlite::Result<Vec<EventId>> {
    let mut statement = connection.prepare_cached(UNACKNOWLEDGED)?;
    let ids = statement.query_map(params![client.as_str(), int(through.0)], |row| {
        parsed(row, 0)
    })?;
    ids.collect()
}

#[cfg(test)]
mod tests {
    use super::super::schema::plan;
    use super::*;

    #[test]
    fn what_is_pruned_or_unacknowledged_is_a_range_of_an_index() {
        let check = |query: &str, expected: &[&str]| assert_eq!(plan(query), expected, "{query}");
        check(
            UNACKNOWLEDGED,
            &[
                "SEARCH receipts USING INDEX receipts_that_wait (client_id=? AND position<?)",
                "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)",
            ],
        );
        for (query, expected) in PRUNE.into_iter().zip([
            "SEARCH newest USING INTEGER PRIMARY KEY (rowid<?)",
            "SEARCH receipts USING PRIMARY KEY (position<?)",
            "SEARCH memberships USING COVERING INDEX memberships_that_ended (through<?)",
        ]) {
            check(query, &[expected]);
        }
    }
}
