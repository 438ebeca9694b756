use std::error::Error;
use std::str::FromStr;

use notification_event::{JsonObject, ParseError, Position, Timestamp};
use rusqlite::Row;

/// SQLite's integers are signed; what is beyond them is beyond every position.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<Position> {
    Ok(Position(row.get::<_, i64>(column)?.cast_unsigned()))
}

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_millis(row.get(column)?))
}

pub(super) fn optional_timestamp(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<Timestamp>> {
    let millis: Option<i64> = row.get(column)?;
    Ok(millis.map(Timestamp::from_millis))
}

pub(super) fn parsed<T: FromStr<Err = ParseError>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| damaged(row, column, error))
}

pub(super) fn optional_parsed<T: FromStr<Err = ParseError>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error| damaged(row, column, error))
}

/// What `parse` makes of an object in JSON.
pub(super) fn parsed_json<T, E: Error + Send + Sync + 'static>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(JsonObject) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let json = row.get_ref(column)?.as_str()?;
    let object = serde_json::from_str(json).map_err(|error| damaged(row, column, error))?;
    parse(object).map_err(|error| damaged(row, column, error))
}

/// The error for a value that makes no sense: it names the column.
pub(super) fn damaged(
    row: &Row<'_>,
    column: usize,
    error: impl Into<Box<dyn Error + Send + Sync>>,
) -> rusqlite::Error {
    let name = row.as_ref().column_name(column).unwrap_or("?");
    let error = format!("{name}: {}", error.into());
    let found = row
        .get_ref(column)
        .map_or(rusqlite::types::Type::Null, |v| v.data_type());
    rusqlite::Error::FromSqlConversionFailure(column, found, error.into())
}
