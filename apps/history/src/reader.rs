//! The reading end: pages and search, on a connection of its own, beside the writer.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chinwag_proto::{
    RoomId, Seq,
    history::{KeptMessage, PageRequest, SearchRequest},
    limits::MESSAGE_BYTES,
};
use chinwag_transport_mio::history::{StoreError, StoreReader};
use rusqlite::{Connection, OptionalExtension as _, Params};

use crate::{
    error::{Error, Fault},
    file, place, query, rows,
};

/// How long a search may take; it may go on for as long as [`SEARCH_PLACES`] take once more.
pub const SEARCH_TIME: Duration = Duration::from_secs(1);
/// Places of a room that are searched at once: SQLite cannot be interrupted while it looks for words.
pub const SEARCH_PLACES: i64 = 1 << 18;

/// A reader.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
    file: PathBuf,
}

impl Reader {
    /// Opens a history once more.
    ///
    /// # Errors
    /// What SQLite says.
    pub(crate) fn open(file: &Path) -> Result<Self, Error> {
        let connection = file::open_to_read(file).map_err(|fault| fault.at(file))?;
        Ok(Self { connection, file: file.to_owned() })
    }

    /// The last messages of these rows, oldest first.
    fn page_of(&self, request: &PageRequest) -> Result<Vec<KeptMessage>, Fault> {
        let rows = place::rows_before(request.room, request.before);
        let sql = format!(
            "SELECT {} FROM messages WHERE n >= ?1 AND n < ?2 ORDER BY n DESC LIMIT ?3",
            rows::MESSAGE
        );
        let mut messages = vec![];
        self.read(&sql, (rows.start, rows.end, sql_limit(request.limit)), &mut messages)?;
        messages.reverse();
        Ok(messages)
    }

    /// The last messages that have these words, oldest first.
    fn found(&self, request: &SearchRequest, time: Duration) -> Result<Vec<KeptMessage>, Fault> {
        // What has more than a message can have is in none.
        let words = query::fts_query(&request.words).filter(|_| request.words.len() <= MESSAGE_BYTES);
        let kept = self.kept_rows(request.room, request.before)?;
        let (Some(words), Some(Range { start, mut end })) = (words, kept) else { return Ok(vec![]) };
        let sql = format!(
            "SELECT {} FROM words CROSS JOIN messages ON n = words.rowid
             WHERE words MATCH ?1 AND words.rowid >= ?2 AND words.rowid < ?3 ORDER BY words.rowid DESC LIMIT ?4",
            rows::MESSAGE
        );
        let (begun, mut messages) = (Instant::now(), vec![]);
        while end > start && messages.len() < request.limit {
            if begun.elapsed() >= time {
                return Err(Fault::Failed("the search took too long; a rarer word is found sooner".into()));
            }
            let from = start.max(end - SEARCH_PLACES);
            self.read(&sql, (&words, from, end, sql_limit(request.limit - messages.len())), &mut messages)?;
            end = from;
        }
        messages.reverse();
        Ok(messages)
    }

    /// From the first row of a room that is kept to the last before this place.
    fn kept_rows(&self, room: RoomId, before: Seq) -> Result<Option<Range<i64>>, Fault> {
        let rows = place::rows_before(room, before);
        let end = |order| -> rusqlite::Result<Option<i64>> {
            self.connection
                .prepare_cached(&format!(
                    "SELECT n FROM messages WHERE n >= ?1 AND n < ?2 ORDER BY n {order} LIMIT 1"
                ))?
                .query_row((rows.start, rows.end), |row| row.get(0))
                .optional()
        };
        Ok(end("ASC")?.zip(end("DESC")?).map(|(first, last)| first..last + 1))
    }

    fn read(&self, sql: &str, parameters: impl Params, into: &mut Vec<KeptMessage>) -> Result<(), Fault> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query(parameters)?;
        while let Some(row) = found.next()? {
            into.push(rows::message(row)?);
        }
        Ok(())
    }
}

/// A limit as SQLite takes it.
fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl StoreReader for Reader {
    fn page(&mut self, request: &PageRequest) -> Result<Vec<KeptMessage>, StoreError> {
        self.page_of(request).map_err(|fault| fault.at(&self.file).into())
    }

    fn search(&mut self, request: &SearchRequest) -> Result<Vec<KeptMessage>, StoreError> {
        self.found(request, SEARCH_TIME).map_err(|fault| fault.at(&self.file).into())
    }
}

#[cfg(test)]
mod tests {
    use chinwag_proto::{
        MessageId,
        history::{AuthorKey, KeptRoom, UnixMillis, Write},
        name::Name,
    };

    use super::*;
    use crate::{Retention, open};

    #[test]
    fn a_search_that_takes_too_long_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.db");
        let mut opened = open(&file, Retention::default()).unwrap();
        let (room, name) = (RoomId::from_wire(1), Name::new("Foo").unwrap());
        let message = KeptMessage {
            room,
            seq: Seq::from_wire(1),
            at: UnixMillis(0),
            author: AuthorKey([1; 16]),
            id: MessageId::from_wire(1),
            name: name.clone(),
            text: "hello".into(),
        };
        let kept = Write::Room(KeptRoom { id: room, name, epoch: 1 });
        opened.store.write(&[kept, Write::Message(message.clone())]).unwrap();
        let request =
            SearchRequest { room, words: "hello".into(), before: Seq::from_wire(u64::MAX), limit: 1 };
        let reader = Reader::open(&file).unwrap();
        let Err(Fault::Failed(why)) = reader.found(&request, Duration::ZERO) else {
            panic!("there was no time")
        };
        assert!(why.contains("took too long"), "{why}");
        assert_eq!(reader.found(&request, SEARCH_TIME).unwrap(), [message]);
    }
}
