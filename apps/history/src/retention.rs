//! What is kept for how long, and how much of it; the forgetting of the rest, a little at a time.
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
/// Bytes that a message takes on the disk beside its text.
const DISK_BYTES_EACH: u64 = 100;
/// Bytes that a byte of text takes there, in the message and in the index of words.
const DISK_BYTES_OF_TEXT: u64 = 3;
/// Messages of one room are forgotten together, for want of place, when they are not younger than the oldest of any other by more than this: else,
/// where rooms take turns, each step would be one message.
const TOGETHER: Duration = Duration::from_secs(60 * 60);
/// Free pages (of 4 KiB) that a file may have before some are given back to the disk: new messages take them first.
pub const FREE_PAGES_KEPT: u64 = 256;
/// Pages that are given back at once: more than forgetting frees at once.
pub const VACUUM_PAGES: u64 = 64;

/// What is kept, of each room and of all. Without a limit all is, but for what others say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retention {
    /// Messages that are older are forgotten.
    pub max_age: Option<Duration>,
    /// So many messages are kept.
    pub max_messages: Option<u64>,
    /// So many bytes of text are kept.
    pub max_bytes: Option<u64>,
    /// So many bytes are kept of all rooms together, by what they take on the disk, about: the oldest messages of all go first.
    pub max_total: Option<u64>,
}

/// What so many messages with so many bytes of text take on the disk, their words in the index included: about, since that depends on what
/// the words are.
pub(crate) fn disk_bytes(messages: u64, text_bytes: u64) -> u64 {
    messages.saturating_mul(DISK_BYTES_EACH).saturating_add(text_bytes.saturating_mul(DISK_BYTES_OF_TEXT))
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
    let found = match find(&transaction, retention, now)? {
        None => find_in_all(&transaction, retention, now)?,
        found => found,
    };
    let Some((room, due)) = found else { return Ok(None) };
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

/// Whether something would be forgotten.
///
/// # Errors
/// What SQLite says.
pub(crate) fn is_due(
    connection: &mut Connection,
    retention: &Retention,
    now: UnixMillis,
) -> Result<bool, Fault> {
    Ok(find(&connection.transaction()?, retention, now)?.is_some())
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

/// The first message of a room.
struct Head {
    at: Age,
    room: RoomId,
}

/// What is less was said earlier. A message from the future was said nobody knows when: it counts as older than all others, since a room that had
/// one would else outlast them.
type Age = (bool, u64);

fn age(at: u64, now: UnixMillis) -> Age {
    (at <= now.0, at)
}

/// The oldest messages of all rooms, if these have too much: those of one room that no other room has older ones than.
fn find_in_all(
    transaction: &Transaction<'_>,
    retention: &Retention,
    now: UnixMillis,
) -> Result<Option<(RoomId, Step)>, Fault> {
    let (mut heads, total) = heads(transaction, now)?;
    let too_much = total.saturating_sub(retention.max_total.unwrap_or(u64::MAX));
    heads.sort_unstable_by_key(|head| head.at);
    let Some(oldest) = heads.first().filter(|_| too_much > 0) else { return Ok(None) };
    let (is_past, next) = heads.get(1).map_or((true, u64::MAX), |next| next.at);
    let limit = (is_past, next.saturating_add(u64::try_from(TOGETHER.as_millis()).unwrap_or(u64::MAX)));

    let mut statement = transaction.prepare_cached(
        "SELECT n, at, octet_length(text) FROM messages WHERE n >= ?1 AND n < ?2 ORDER BY n LIMIT ?3",
    )?;
    let range = place::rows(oldest.room);
    let mut found = statement.query((range.start, range.end, TIDY_MESSAGES.cast_signed()))?;
    let mut step = None::<Step>;
    while let Some(row) = found.next()? {
        let (n, at, length): (i64, i64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let is_enough = |step: &Step| step.is_full() || disk_bytes(step.messages, step.bytes) >= too_much;
        if step.as_ref().is_some_and(|step| is_enough(step) || age(at.cast_unsigned(), now) > limit) {
            break;
        }
        step = Some(step.map_or(Step::new(n, length), |step| step.and(n, length)));
    }
    Ok(step.map(|step| (oldest.room, step)))
}

/// The first messages of all rooms, and what all messages take on the disk.
fn heads(transaction: &Transaction<'_>, now: UnixMillis) -> Result<(Vec<Head>, u64), Fault> {
    let mut statement = transaction.prepare_cached("SELECT id, last, bytes FROM rooms ORDER BY id")?;
    let (mut rooms, mut heads, mut total) = (statement.query(())?, vec![], 0_u64);
    let mut first = transaction
        .prepare_cached("SELECT n, at FROM messages WHERE n >= ?1 AND n < ?2 ORDER BY n LIMIT 1")?;
    while let Some(row) = rooms.next()? {
        let (id, last, bytes): (u32, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let room = RoomId::from_wire(id);
        let range = place::rows(room);
        let mut found = first.query((range.start, range.end))?;
        let Some(row) = found.next()? else { continue };
        let (n, at): (i64, i64) = (row.get(0)?, row.get(1)?);
        total = total.saturating_add(disk_bytes(place::messages_from(n, last), bytes));
        heads.push(Head { at: age(at.cast_unsigned(), now), room });
    }
    Ok((heads, total))
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
