//! What a server finds again when it starts, and whether it can be.

use chinwag_proto::{
    MessageId, RoomId, Seq,
    history::{AuthorKey, KeptMessage, RestoredRoom},
    limits::{ACCEPTED_AT_START, HISTORY_MESSAGES, HISTORY_SHARE_BYTES},
};
use rusqlite::Connection;

use crate::{error::Fault, place, rows};

/// All rooms, by number.
///
/// # Errors
/// [`Fault::Damaged`], or that the file cannot be read.
pub(crate) fn rooms(connection: &Connection) -> Result<Vec<RestoredRoom>, Fault> {
    let mut rooms = vec![];
    for (room, last) in rows::rooms(connection)? {
        let (messages, accepted) =
            (messages(connection, room.id, last)?, accepted(connection, room.id, last)?);
        let topic = rows::topic(connection, room.id)?;
        rooms.push(RestoredRoom { room, topic, last, messages, accepted });
    }
    Ok(rooms)
}

/// The last messages of a room, oldest first.
fn messages(connection: &Connection, room: RoomId, last: Seq) -> Result<Vec<KeptMessage>, Fault> {
    let sql =
        format!("SELECT {} FROM messages WHERE n >= ?1 AND n < ?2 ORDER BY n DESC LIMIT ?3", rows::MESSAGE);
    let mut statement = connection.prepare_cached(&sql)?;
    let range = place::rows(room);
    let mut found = statement.query((range.start, range.end, HISTORY_MESSAGES as i64))?;
    let (mut messages, mut bytes, mut expected) = (vec![], 0, last);
    while let Some(row) = found.next()? {
        let message = rows::message(row)?;
        expected = next_back(room, message.seq, expected)?;
        bytes += message.cost();
        if bytes > HISTORY_SHARE_BYTES {
            break;
        }
        messages.push(message);
    }
    messages.reverse();
    Ok(messages)
}

/// Who said the last messages of a room, oldest first.
fn accepted(
    connection: &Connection,
    room: RoomId,
    last: Seq,
) -> Result<Vec<(AuthorKey, MessageId, Seq)>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT n, author, id FROM messages WHERE n >= ?1 AND n < ?2 ORDER BY n DESC LIMIT ?3",
    )?;
    let range = place::rows(room);
    let mut found = statement.query((range.start, range.end, ACCEPTED_AT_START as i64))?;
    let (mut accepted, mut expected) = (vec![], last);
    while let Some(row) = found.next()? {
        let seq = place::place(row.get(0)?).map_or(Seq::ZERO, |(_, seq)| seq);
        expected = next_back(room, seq, expected)?;
        let id = MessageId::from_wire(row.get::<_, i64>(2)?.cast_unsigned());
        accepted.push((AuthorKey(row.get(1)?), id, seq));
    }
    accepted.reverse();
    Ok(accepted)
}

/// The place before this one, which must be the one that was expected.
fn next_back(room: RoomId, seq: Seq, expected: Seq) -> Result<Seq, Fault> {
    if seq == expected && seq != Seq::ZERO {
        return Ok(Seq::from_wire(seq.to_wire() - 1));
    }
    let (room, seq, expected) = (room.to_wire(), seq.to_wire(), expected.to_wire());
    Err(Fault::Damaged(format!("room {room} has a message at place {seq} where {expected} should be")))
}
