//! Messages and rooms as rows.

use std::{collections::BTreeSet, sync::Arc};

use chinwag_proto::{
    MessageId, RoomId, Seq,
    history::{AuthorKey, KeptMessage, KeptRoom, Topic, UnixMillis},
    name::Name,
    text::check_topic,
};
use rusqlite::{Connection, Row};

use crate::{error::Fault, place};

/// What [`message`] reads, in this order.
pub(crate) const MESSAGE: &str = "n, at, author, messages.id, name, messages.text";

/// The message of a row.
///
/// # Errors
/// [`Fault::Damaged`] when it cannot have been written.
pub(crate) fn message(row: &Row<'_>) -> Result<KeptMessage, Fault> {
    let (room, seq) =
        place::place(row.get(0)?).ok_or_else(|| Fault::Damaged("a message has no place".into()))?;
    Ok(KeptMessage {
        room,
        seq,
        at: UnixMillis(row.get::<_, i64>(1)?.cast_unsigned()),
        author: AuthorKey(row.get(2)?),
        id: MessageId::from_wire(row.get::<_, i64>(3)?.cast_unsigned()),
        name: name(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?,
        text: row.get(5)?,
    })
}

/// All rooms by number, and the last place in each.
///
/// # Errors
/// [`Fault::Damaged`] when one cannot have been written.
pub(crate) fn rooms(connection: &Connection) -> Result<Vec<(KeptRoom, Seq)>, Fault> {
    let mut statement = connection.prepare_cached("SELECT id, name, epoch, last FROM rooms ORDER BY id")?;
    let (mut found, mut rooms, mut names) = (statement.query(())?, vec![], BTreeSet::new());
    while let Some(row) = found.next()? {
        let (id, last) = (RoomId::from_wire(row.get(0)?), Seq::from_wire(row.get(3)?));
        let name = name(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
        if place::rows(id).is_empty() || last.to_wire() > place::LAST_SEQ {
            return Err(Fault::Damaged(format!("{name} cannot be a room")));
        }
        if !names.insert(name.folded()) {
            return Err(Fault::Damaged(format!("two rooms are called {name}")));
        }
        rooms.push((KeptRoom { id, name, epoch: row.get::<_, i64>(2)?.cast_unsigned() }, last));
    }
    Ok(rooms)
}

/// What a room is about.
///
/// # Errors
/// [`Fault::Damaged`] when it cannot have been written.
pub(crate) fn topic(connection: &Connection, room: RoomId) -> Result<Option<Topic>, Fault> {
    let mut statement = connection.prepare_cached("SELECT text, name, at FROM topics WHERE room = ?1")?;
    let mut found = statement.query((room.to_wire(),))?;
    let Some(row) = found.next()? else { return Ok(None) };
    let text: Arc<str> = row.get(0)?;
    if text.is_empty() || check_topic(&text).is_err() {
        return Err(Fault::Damaged(format!("room {} has a topic that cannot be one", room.to_wire())));
    }
    let by = name(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
    Ok(Some(Topic { text, by, at: UnixMillis(row.get::<_, i64>(2)?.cast_unsigned()) }))
}

/// A name that was kept.
fn name(raw: &str) -> Result<Name, Fault> {
    match Name::kept(raw) {
        Ok(name) if name.as_str() == raw => Ok(name),
        _ => Err(Fault::Damaged(format!("{raw:?} cannot be a name"))),
    }
}
