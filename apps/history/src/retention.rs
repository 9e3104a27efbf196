//! What is kept for how long, and the forgetting of the rest, a little at a time.
//!
//! Messages are forgotten oldest first, so that what is left of a room has no hole. By age this follows the time that the server
//! noted. Where its clock was behind, a message goes with those before it, never before them; where it was ahead, with those after
//! it, unless there are too many such messages in turn: these wait for their time, or for another limit.

use std::time::Duration;

use chinwag_proto::{RoomId, Seq, history::UnixMillis};
use rusqlite::{Connection, Transaction};

use crate::{error::Fault, place};

/// Messages that are forgotten at once: a write that comes meanwhile waits for that, about a millisecond for each.
pub const TIDY_MESSAGES: u64 = 32;
/// Bytes of text that are forgotten at once, and what the last of those messages has more: long ones have many words.
pub const TIDY_BYTES: u64 = 2 * 1024;
/// Messages that are looked at for one that is due, while they seem to have been said later than now.
const LOOKED_AT: u64 = 4096;
/// Free pages (of 4 KiB) that a file may have before some are given back to the disk: new messages take them first.
pub const FREE_PAGES_KEPT: u64 = 256;
/// Pages that are given back at once: more than forgetting frees at once.
pub const VACUUM_PAGES: u64 = 64;

/// What is kept of each room. Without a limit all is, but for what others say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retention {
    /// Messages that are older are forgotten.
    pub max_age: Option<Duration>,
    /// So many messages are kept.
    pub max_messages: Option<u64>,
    /// So many bytes of text are kept.
    pub max_bytes: Option<u64>,
}

/// Messages that follow one another: the first and the last of their rows, how many, and the bytes of their texts.
#[derive(Clone, Copy)]
struct Step {
    from: i64,
    to: i64,
    messages: u64,
    bytes: u64,
}

impl Step {
    fn new(row: i64, bytes: u64) -> Self {
        Self { from: row, to: row, messages: 1, bytes }
    }

    fn and(self, row: i64, bytes: u64) -> Self {
        Self { to: row, messages: self.messages + 1, bytes: self.bytes + bytes, ..self }
    }

    /// No more is forgotten at once.
    fn is_full(self) -> bool {
        self.messages >= TIDY_MESSAGES || self.bytes >= TIDY_BYTES
    }
}

/// Forgets some messages of one room, if there are any to be forgotten: those before the place that is given back.
///
/// # Errors
/// What SQLite says.
pub(crate) fn forget(
    connection: &mut Connection,
    retention: &Retention,
    now: UnixMillis,
) -> Result<Option<(RoomId, Seq)>, Fault> {
    let transaction = connection.transaction()?;
    let Some((room, due)) = find(&transaction, retention, now)? else { return Ok(None) };
    transaction
        .prepare_cached("INSERT INTO words (words, rowid, text) SELECT 'delete', n, text FROM messages WHERE n BETWEEN ?1 AND ?2")?
        .execute((due.from, due.to))?;
    transaction
        .prepare_cached("DELETE FROM messages WHERE n BETWEEN ?1 AND ?2")?
        .execute((due.from, due.to))?;
    transaction
        .prepare_cached("UPDATE rooms SET bytes = bytes - ?2 WHERE id = ?1")?
        .execute((room.to_wire(), due.bytes))?;
    transaction.commit()?;
    Ok(place::place(due.to + 1))
}

/// The first room of which something is due, and that.
fn find(
    transaction: &Transaction<'_>,
    retention: &Retention,
    now: UnixMillis,
) -> Result<Option<(RoomId, Step)>, Fault> {
    let mut statement = transaction.prepare_cached("SELECT id, last, bytes FROM rooms ORDER BY id")?;
    let mut rooms = statement.query(())?;
    while let Some(row) = rooms.next()? {
        let (id, last, bytes): (u32, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let room = RoomId::from_wire(id);
        if let Some(due) = due_in_room(transaction, retention, now, room, last, bytes)? {
            return Ok(Some((room, due)));
        }
    }
    Ok(None)
}

fn due_in_room(
    transaction: &Transaction<'_>,
    retention: &Retention,
    now: UnixMillis,
    room: RoomId,
    last: u64,
    bytes: u64,
) -> Result<Option<Step>, Fault> {
    let (max_messages, max_bytes) =
        (retention.max_messages.unwrap_or(u64::MAX), retention.max_bytes.unwrap_or(u64::MAX));
    let max_age =
        retention.max_age.map_or(u64::MAX, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let oldest = now.0.saturating_sub(max_age);

    let mut statement = transaction.prepare_cached(
        "SELECT n, at, octet_length(text) FROM messages WHERE n >= ?1 AND n < ?2 ORDER BY n LIMIT ?3",
    )?;
    let range = place::rows(room);
    let mut found = statement.query((range.start, range.end, LOOKED_AT.cast_signed()))?;
    // The step that may be taken at once, as far as it was looked at, and what of it is due.
    let (mut step, mut due) = (None::<Step>, None);
    while let Some(row) = found.next()? {
        let (n, at, length): (i64, i64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (at, seq) = (at.cast_unsigned(), place::place(n).map_or(0, |(_, seq)| seq.to_wire()));
        let before = step.map_or(0, |step| step.bytes);
        let (left, bytes_left) = (last.saturating_sub(seq) + 1, bytes.saturating_sub(before));
        if !step.is_some_and(|step| step.is_full()) {
            step = Some(step.map_or(Step::new(n, length), |step| step.and(n, length)));
        }
        if at < oldest || left > max_messages || bytes_left > max_bytes {
            due = step;
            if due.is_some_and(|due| due.is_full()) {
                break;
            }
        } else if at <= now.0 {
            break;
        }
        // Else the clock was ahead when it was said. It goes with what was said after it.
    }
    Ok(due)
}

/// Gives free pages back to the disk, if there are many.
///
/// # Errors
/// What SQLite says.
pub(crate) fn give_back(connection: &Connection) -> Result<(), Fault> {
    let free: u64 = connection.query_row("PRAGMA freelist_count", (), |row| row.get(0))?;
    if free > FREE_PAGES_KEPT {
        // Each step of the statement gives back one page.
        let sql = format!("PRAGMA incremental_vacuum({})", VACUUM_PAGES.min(free - FREE_PAGES_KEPT));
        let mut statement = connection.prepare(&sql)?;
        let mut pages = statement.query(())?;
        while pages.next()?.is_some() {}
    }
    Ok(())
}
