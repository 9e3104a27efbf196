//! The rooms of a history as its operator sees them, and how one is removed.

use std::path::Path;

use chinwag_proto::{RoomId, Seq, history::UnixMillis, name::Name};
use rusqlite::{Connection, OptionalExtension as _};

use crate::{
    error::{Error, Fault},
    file, place,
    retention::disk_bytes,
    rows, store,
};

/// What is kept of a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomSummary {
    /// Its name.
    pub name: Name,
    /// How many messages.
    pub messages: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Bytes that they take on the disk, about.
    pub disk_bytes: u64,
    /// When the first and the last of them were said.
    pub times: Option<(UnixMillis, UnixMillis)>,
}

/// All rooms, by number, while a server runs or not.
///
/// # Errors
/// All that can be wrong with the history.
pub fn rooms(file: &Path) -> Result<Vec<RoomSummary>, Error> {
    let all = || {
        let file = file::absolute(file)?;
        let mut connection = file::open_to_read(&file)?;
        // As it is at one moment.
        let transaction = connection.transaction()?;
        let rooms = rows::rooms(&transaction)?;
        rooms
            .into_iter()
            .map(|(room, last)| summary(&transaction, room.id, room.name, last))
            .collect::<Result<_, _>>()
    };
    all().map_err(|fault: Fault| fault.at(file))
}

fn summary(connection: &Connection, id: RoomId, name: Name, last: Seq) -> Result<RoomSummary, Fault> {
    let rows = place::rows(id);
    let end = |order| -> Result<Option<(i64, UnixMillis)>, Fault> {
        let sql = format!("SELECT n, at FROM messages WHERE n >= ?1 AND n < ?2 ORDER BY n {order} LIMIT 1");
        let found = connection.prepare_cached(&sql)?.query_row((rows.start, rows.end), |row| {
            Ok((row.get(0)?, UnixMillis(row.get::<_, i64>(1)?.cast_unsigned())))
        });
        Ok(found.optional()?)
    };
    let (first, latest) = (end("ASC")?, end("DESC")?);
    let messages = first.map_or(0, |(row, _)| place::messages_from(row, last.to_wire()));
    let text_bytes = connection
        .prepare_cached("SELECT bytes FROM rooms WHERE id = ?1")?
        .query_row((id.to_wire(),), |row| row.get(0))?;
    let times = first.zip(latest).map(|((_, first), (_, latest))| (first, latest));
    Ok(RoomSummary { name, messages, text_bytes, disk_bytes: disk_bytes(messages, text_bytes), times })
}

/// Removes a room with all its messages from a history that no server has: what it was. The index of words is made anew, so that nothing of
/// them is left in it; that takes as long as it takes to write down all others.
///
/// # Errors
/// [`Fault::InUse`] while a server runs, [`Fault::NoRoom`], and all that can be wrong with the history. Then it is as it was.
pub fn remove_room(file: &Path, name: &str) -> Result<RoomSummary, Error> {
    let remove = || {
        let file = file::absolute(file)?;
        if !file.try_exists()? {
            return Err(Fault::Missing);
        }
        let mut history = store::History::open(file)?;
        let connection = &mut history.connection;
        let unknown = || Fault::NoRoom(name.to_owned());
        let named = Name::kept(name).map_err(|_| unknown())?.folded();
        let room = rows::rooms(connection)?.into_iter().find(|(room, _)| room.name.folded() == named);
        let (room, last) = room.ok_or_else(unknown)?;
        let summary = summary(connection, room.id, room.name, last)?;
        let rows = place::rows(room.id);
        let transaction = connection.transaction()?;
        transaction.execute("DELETE FROM messages WHERE n >= ?1 AND n < ?2", (rows.start, rows.end))?;
        transaction.execute("DELETE FROM topics WHERE room = ?1", (room.id.to_wire(),))?;
        transaction.execute("DELETE FROM rooms WHERE id = ?1", (room.id.to_wire(),))?;
        transaction.execute_batch(
            "INSERT INTO words (words) VALUES ('delete-all');
             INSERT INTO words (rowid, text) SELECT n, text FROM messages;",
        )?;
        transaction.commit()?;
        // Each step of the statement gives back one page.
        let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
        let mut pages = vacuum.query(())?;
        while pages.next()?.is_some() {}
        Ok(summary)
    };
    remove().map_err(|fault| fault.at(file))
}
