//! All messages as lines of JSON, for other programs.

use std::{
    io::{self, Write},
    ops::Range,
    path::Path,
};

use chinwag_proto::{
    Seq,
    history::{KeptMessage, UnixMillis},
    name::Name,
};
use rusqlite::Connection;
use serde::Serialize;
use time::{Date, OffsetDateTime, Time};

use crate::{error::Fault, file, place, rows};

/// Messages that are read at once. The file is left alone while they are written, however long the reader takes.
const AT_ONCE: usize = 1000;

#[derive(Serialize)]
struct Line<'a> {
    room: &'a str,
    seq: u64,
    time: String,
    name: &'a str,
    text: &'a str,
}

/// Writes all messages, a JSON object on each line with `room`, `seq`, `time` (RFC 3339, in UTC, with milliseconds), `name` and `text`: room
/// by room, oldest first. A server may go on writing: what it takes meanwhile may be among them or not. How many there were.
///
/// # Errors
/// What `to` says, as it says it; else what is wrong with the history, as [`Error`](crate::Error) within.
pub fn export_json(source: &Path, to: &mut dyn Write) -> io::Result<u64> {
    let wrong = |fault: Fault| io::Error::from(fault.at(source));
    let connection = file::absolute(source).and_then(|source| file::open_to_read(&source)).map_err(wrong)?;
    let mut count = 0;
    for (room, last) in rows::rooms(&connection).map_err(wrong)? {
        // Else it might never come to an end.
        let mut rows = place::rows_before(room.id, Seq::from_wire(last.to_wire() + 1));
        loop {
            let messages = messages(&connection, &rows).map_err(wrong)?;
            let Some(latest) = messages.last() else { break };
            rows.start = place::row(room.id, latest.seq).map_err(wrong)? + 1;
            for message in &messages {
                write_line(to, &room.name, message)?;
                count += 1;
            }
        }
    }
    to.flush()?;
    Ok(count)
}

fn messages(connection: &Connection, among: &Range<i64>) -> Result<Vec<KeptMessage>, Fault> {
    let sql = format!("SELECT {} FROM messages WHERE n >= ?1 AND n < ?2 ORDER BY n LIMIT ?3", rows::MESSAGE);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query((among.start, among.end, AT_ONCE as i64))?;
    let mut messages = vec![];
    while let Some(row) = found.next()? {
        messages.push(rows::message(row)?);
    }
    Ok(messages)
}

fn write_line(to: &mut dyn Write, room: &Name, message: &KeptMessage) -> io::Result<()> {
    let line = Line {
        room: room.as_str(),
        seq: message.seq.to_wire(),
        time: rfc_3339(message.at),
        name: message.name.as_str(),
        text: &message.text,
    };
    serde_json::to_writer(&mut *to, &line)?;
    to.write_all(b"\n")
}

/// As RFC 3339 has it, in UTC, with milliseconds; what is later than it knows is the last that it knows.
fn rfc_3339(at: UnixMillis) -> String {
    let latest = OffsetDateTime::new_utc(Date::MAX, Time::MAX);
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .map_or(latest, |time| time.min(latest));
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, milli) = time.to_hms_milli();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc_with_milliseconds() {
        for (at, told) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_007, "2000-02-29T00:00:00.007Z"),
            (1_700_000_000_999, "2023-11-14T22:13:20.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc_3339(UnixMillis(at)), told);
        }
    }
}
