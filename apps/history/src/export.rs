//! All messages and topics as lines of JSON, for other programs.

use std::{
    io::{self, Write},
    ops::Range,
    path::Path,
};

use chinwag_proto::{
    Seq,
    history::{KeptMessage, Topic, UnixMillis},
    name::Name,
    text::is_hidden,
};
use rusqlite::Connection;
use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};
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

#[derive(Serialize)]
struct TopicLine<'a> {
    room: &'a str,
    time: String,
    name: &'a str,
    topic: &'a str,
}

/// Writes all messages, a JSON object on each line with `room`, `seq`, `time` (RFC 3339, in UTC, with milliseconds), `name` and `text`: room
/// by room, oldest first, and before the messages of a room that is about something an object with `room`, `time`, `name` and `topic`. It can be printed in a terminal: what [`is_hidden`] is escaped. A server may go on writing: what it takes meanwhile may be among them or not. How many messages there were.
///
/// # Errors
/// What `to` says, as it says it; else what is wrong with the history, as [`Error`](crate::Error) within.
pub fn export_json(source: &Path, to: &mut dyn Write) -> io::Result<u64> {
    let wrong = |fault: Fault| io::Error::from(fault.at(source));
    let connection = file::absolute(source).and_then(|source| file::open_to_read(&source)).map_err(wrong)?;
    let mut count = 0;
    for (room, last) in rows::rooms(&connection).map_err(wrong)? {
        if let Some(topic) = rows::topic(&connection, room.id).map_err(wrong)? {
            write_topic(to, &room.name, &topic)?;
        }
        // Else it might never come to an end.
        let mut rows = place::rows_before(room.id, Seq::from_wire(last.to_wire() + 1));
        loop {
            let messages = messages(&connection, &rows).map_err(wrong)?;
            let Some(latest) = messages.last() else { break };
            rows.start = place::row(room.id, latest.seq).map_err(wrong)? + 1;
            for message in &messages {
                write_message(to, &room.name, message)?;
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

fn write_message(to: &mut dyn Write, room: &Name, message: &KeptMessage) -> io::Result<()> {
    let line = Line {
        room: room.as_str(),
        seq: message.seq.to_wire(),
        time: rfc_3339(message.at),
        name: message.name.as_str(),
        text: &message.text,
    };
    write_line(to, &line)
}

fn write_topic(to: &mut dyn Write, room: &Name, topic: &Topic) -> io::Result<()> {
    let (time, name) = (rfc_3339(topic.at), topic.by.as_str());
    write_line(to, &TopicLine { room: room.as_str(), time, name, topic: &topic.text })
}

fn write_line(to: &mut dyn Write, line: &impl Serialize) -> io::Result<()> {
    line.serialize(&mut Serializer::with_formatter(&mut *to, Printable))?;
    to.write_all(b"\n")
}

/// Compact JSON that does nothing to the terminal in which it is read.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        for part in fragment.split_inclusive(is_hidden) {
            let hidden = part.chars().next_back().filter(|&c| is_hidden(c));
            let shown = part.len() - hidden.map_or(0, char::len_utf8);
            to.write_all(part.as_bytes().get(..shown).unwrap_or_default())?;
            for unit in hidden.iter().flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(to, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

/// As RFC 3339 has it, in UTC, with milliseconds; what is later than it knows is the last that it knows.
pub fn rfc_3339(at: UnixMillis) -> String {
    let latest = OffsetDateTime::new_utc(Date::MAX, Time::MAX);
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .map_or(latest, |time| time.min(latest));
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, milli) = time.to_hms_milli();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use chinwag_proto::{MessageId, RoomId, history::AuthorKey, text::escape};

    use super::*;

    #[test]
    fn all_that_drives_a_terminal_is_escaped_and_reads_back_as_it_was() {
        let message = |text: &str| KeptMessage {
            room: RoomId::from_wire(1),
            seq: Seq::from_wire(1),
            at: UnixMillis(0),
            author: AuthorKey([1; 16]),
            id: MessageId::from_wire(1),
            name: Name::new("Foo").unwrap(),
            text: text.into(),
        };
        let line = |text: &str| {
            let mut line = vec![];
            write_message(&mut line, &Name::new("lobby").unwrap(), &message(text)).unwrap();
            String::from_utf8(line).unwrap()
        };
        let all: Vec<char> = ('\0'..=char::MAX).collect();
        for some in all.chunks(1024) {
            let text: String = some.iter().flat_map(|&c| ['a', c, c]).collect();
            let line = line(&text);
            let printed = line.strip_suffix('\n').unwrap();
            assert_eq!(escape(printed), printed);
            let read: serde_json::Value = serde_json::from_str(printed).unwrap();
            assert_eq!(read["text"], *text);
        }
        // Said here once more, so that what counts as hidden cannot shrink unseen.
        let driving =
            ['\0'..='\u{1f}', '\u{7f}'..='\u{9f}', '\u{200e}'..='\u{200f}', '\u{2028}'..='\u{202e}'];
        let driving = driving.into_iter().chain(['\u{2060}'..='\u{206f}', '\u{e0020}'..='\u{e007f}']);
        let others = ['\u{ad}', '\u{61c}', '\u{feff}', '\u{fff9}', '\u{e0001}'];
        for c in driving.flatten().chain(others).filter(|&c| c != '\u{2065}') {
            assert!(!line(&format!("a{c}b")).trim_end().contains(c), "{:x}", u32::from(c));
        }
        assert!(line("é 😀 👩\u{200d}🚀").contains("é 😀 👩\u{200d}🚀"));
        assert!(line("\u{e0041}\u{9b}").contains("\"\\udb40\\udc41\\u009b\""));
    }

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
