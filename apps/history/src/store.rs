//! The writing end: batches, each wholly or not at all.

use std::{
    collections::btree_map::{BTreeMap, Entry},
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use chinwag_proto::{
    RoomId, Seq,
    history::{KeptMessage, KeptRoom, Topic, UnixMillis, Write},
};
use chinwag_transport_mio::history::{OpenedStore, Store, StoreError, StoreReader};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, config::DbConfig};

use crate::{
    clock::Clock,
    error::{Error, Fault},
    export, file,
    lock::{Left, Lock},
    place,
    reader::Reader,
    restore,
    retention::{self, Retention},
    rows, schema,
};

/// Bytes that the write-ahead log may have before [`Store::tidy`] puts them into the file at once. SQLite does so little by
/// little after 4 MiB, unless somebody reads all the while.
pub const WAL_BYTES: u64 = 8 * 1024 * 1024;
/// KiB of the file that the writer keeps in memory: forgetting goes to many places of the index of words.
const CACHE_KIB: i64 = 16 * 1024;

/// A history that one server writes.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) connection: Connection,
    lock: Lock,
    file: PathBuf,
    retention: Retention,
    clock: Clock,
    begun: Instant,
}

/// Opens the history in this file, or begins one. What is older or more than `retention` says goes with [`Store::tidy`], not now.
///
/// # Errors
/// [`Fault::InUse`] while another server has it; [`Fault::ReadOnly`], [`Fault::Newer`], [`Fault::Foreign`] and [`Fault::Damaged`]
/// when there is something to do for the operator, which the error's text says.
pub fn open(file: &Path, retention: Retention) -> Result<OpenedStore, Error> {
    let file = file::absolute(file).map_err(|fault| fault.at(file))?;
    open_absolute(file.clone(), retention).map_err(|fault| fault.at(&file))
}

fn open_absolute(file: PathBuf, retention: Retention) -> Result<OpenedStore, Fault> {
    let mut remarks = vec![];
    let (mut lock, left) = Lock::take(&file)?;
    remarks.extend(check_emptied(&file, &lock)?);
    if let Some(aside) = set_strange_log_aside(&file, &lock)? {
        remarks.push(format!(
            "{} was put in the place of another history, whose log was left; that is {} now",
            file.display(),
            aside.display()
        ));
    }
    let connection = begin(&file, &mut lock, left)?;
    let rooms = restore::rooms(&connection)?;
    let store = History::new(connection, lock, file, retention)?;
    Ok(OpenedStore { store: Box::new(store), rooms, remarks })
}

/// Refuses a file in which nothing is though something was kept there. A remark where that is not known, or where there is no file any more.
fn check_emptied(file: &Path, lock: &Lock) -> Result<Option<String>, Fault> {
    let has_kept = lock.entries() > 0;
    let shown = file.display();
    Ok(match fs::metadata(file).map(|file| file.len()) {
        Ok(0) if has_kept => return Err(Fault::Emptied),
        Ok(0) => Some(format!("{shown} was there with nothing in it; a new history is begun")),
        Err(error) if error.kind() == io::ErrorKind::NotFound && has_kept => {
            Some(format!("{shown} is not there any more, where messages were kept; a new history is begun"))
        }
        Ok(_) | Err(_) => None,
    })
}

/// Sets the log aside if it does not belong to the file.
pub(crate) fn set_strange_log_aside(file: &Path, lock: &Lock) -> Result<Option<PathBuf>, Fault> {
    if !lock.has_strange_log(file)? {
        return Ok(None);
    }
    let aside = file::beside(&file::free_name(file)?, "-wal");
    fs::rename(file::beside(file, "-wal"), &aside)?;
    // It is about the log, and made anew.
    file::remove(&file::beside(file, "-shm"))?;
    file::sync_folder(file)?;
    Ok(Some(aside))
}

/// Opens the file and brings it up to date. What is refused stays as it is, with its log.
fn begin(file: &Path, lock: &mut Lock, left: Left) -> Result<Connection, Fault> {
    if !file.try_exists()? {
        // Of a former one, which somebody took away.
        lock.mark_running(None, 0)?;
        file::create(file)?;
    }
    let mut connection = file::open_to_write(file)?;
    keep_log_at_end(&connection, true)?;
    let version = schema::version(&connection)?;
    let entries = schema::entries(&connection, version)?;
    check_complete(file, lock, &connection, entries)?;
    let is_up_to_date = version == schema::latest();
    lock.mark_running(if is_up_to_date { number(file, &connection)? } else { None }, entries)?;
    configure(&connection, version)?;
    if left == Left::Unclean && version > 0 {
        file::check(&connection)?;
    }
    schema::migrate(&mut connection, version)?;
    if version == 0 {
        file::give_number(&connection)?;
    }
    note_number(file, &connection, lock, entries)?;
    keep_log_at_end(&connection, false)?;
    Ok(connection)
}

/// Whether the log is left as it is when the connection ends. Else SQLite puts it into the file then, and removes it.
fn keep_log_at_end(connection: &Connection, is_kept: bool) -> Result<(), Fault> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, is_kept)?;
    Ok(())
}

/// Refuses a history in which there is less than was kept there.
fn check_complete(file: &Path, lock: &Lock, connection: &Connection, entries: u64) -> Result<(), Fault> {
    let missing = lock.entries_of(file::number(file)?).saturating_sub(entries);
    if missing == 0 {
        return Ok(());
    }
    let (readable, last): (u64, Option<i64>) =
        connection
            .query_row("SELECT count(*), max(at) FROM messages", (), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let until = last.map(|at| export::rfc_3339(UnixMillis(at.cast_unsigned())));
    Err(Fault::Incomplete { missing, readable, until })
}

/// Notes the number of the file in the lock.
fn note_number(file: &Path, connection: &Connection, lock: &mut Lock, entries: u64) -> Result<(), Fault> {
    if number(file, connection)?.is_none() {
        connection.query_row("PRAGMA wal_checkpoint(passive)", (), |_| Ok(()))?;
    }
    lock.mark_running(number(file, connection)?, entries)
}

/// The number of the file, unless another one waits in the log, since somebody reads.
fn number(file: &Path, connection: &Connection) -> Result<Option<u32>, Fault> {
    let number: i64 = connection.query_row("PRAGMA schema_version", (), |row| row.get(0))?;
    Ok(file::number(file)?.filter(|&in_file| i64::from(in_file) == number))
}

fn configure(connection: &Connection, version: u32) -> Result<(), Fault> {
    if version == 0 {
        // Can be chosen only before there is anything in the file.
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = wal", (), |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Failed(format!(
            "it cannot have a write-ahead log there, only {mode:?}; use a local disk"
        )));
    }
    // Each commit is on the disk when it returns.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES.cast_signed())?;
    // In KiB, when it is negative.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // What is forgotten is overwritten, not merely out of sight.
    connection.pragma_update(None, "secure_delete", true)?;
    // Damaged cells are told as such, not followed.
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(())
}

impl Store for History {
    fn write(&mut self, batch: &[Write]) -> Result<(), StoreError> {
        let entries = keep(&mut self.connection, batch).map_err(|fault| fault.at(&self.file))?;
        // It is kept, whatever becomes of the mark; if that cannot be written, the next step of tidying says so.
        let _ = self.lock.mark_entries(entries);
        Ok(())
    }

    fn tidy(&mut self, now: UnixMillis) -> Result<Option<(RoomId, Seq)>, StoreError> {
        self.tidy_up(now).map_err(|fault| fault.at(&self.file).into())
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        Ok(Box::new(Reader::open(&self.file)?))
    }
}

impl History {
    /// Opens a history that is there, for something else than serving.
    ///
    /// # Errors
    /// As [`open`].
    pub(crate) fn open(file: PathBuf) -> Result<Self, Fault> {
        let (mut lock, left) = Lock::take(&file)?;
        check_emptied(&file, &lock)?;
        set_strange_log_aside(&file, &lock)?;
        let connection = begin(&file, &mut lock, left)?;
        Self::new(connection, lock, file, Retention::default())
    }

    fn new(connection: Connection, lock: Lock, file: PathBuf, retention: Retention) -> Result<Self, Fault> {
        let clock = Clock::of(&connection)?;
        Ok(Self { connection, lock, file, retention, clock, begun: Instant::now() })
    }

    fn tidy_up(&mut self, now: UnixMillis) -> Result<Option<(RoomId, Seq)>, Fault> {
        let up = self.begun.elapsed();
        let is_right = self.clock.believes(now, up);
        let retention = match is_right {
            true => self.retention,
            false => Retention { max_age: None, ..self.retention },
        };
        let forgotten = retention::forget(&mut self.connection, &retention, now)?;
        let cleared = self.clear_up();
        // That is so whatever became of the rest, which is done again with the next step.
        if forgotten.is_some() {
            return Ok(forgotten);
        }
        cleared?;
        if !is_right
            && retention::is_due(&mut self.connection, &self.retention, now)?
            && let Some(warning) = self.clock.warning(now, up)
        {
            return Err(Fault::Failed(warning));
        }
        Ok(None)
    }

    /// What is to be done now and then.
    fn clear_up(&mut self) -> Result<(), Fault> {
        // A full disk refuses it, and what follows makes room.
        let marked = self.lock.sync_if_due();
        self.clock.note(&self.connection)?;
        retention::give_back(&self.connection)?;
        if self.wal_bytes() > WAL_BYTES {
            self.checkpoint()?;
        }
        Ok(marked?)
    }

    fn wal_bytes(&self) -> u64 {
        fs::metadata(file::beside(&self.file, "-wal")).map_or(0, |wal| wal.len())
    }

    /// Puts what is in the write-ahead log into the file and makes the log empty, as far as readers let it: none is waited for. Whether they
    /// did.
    fn checkpoint(&self) -> Result<bool, Fault> {
        self.connection.busy_timeout(std::time::Duration::ZERO)?;
        let is_busy = self.connection.query_row("PRAGMA wal_checkpoint(truncate)", (), |row| row.get(0));
        self.connection.busy_timeout(file::BUSY_TIMEOUT)?;
        Ok(!is_busy?)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        // What fails here is found when it is opened again: then the whole file is looked through. So is one whose log somebody still reads.
        if self.checkpoint().is_ok_and(|is_whole| is_whole) {
            let _ = self.lock.mark_closed();
        }
    }
}

/// The end of a room.
struct Tail {
    last: u64,
    bytes: u64,
}

/// Keeps a batch: how many entries were kept then, ever.
fn keep(connection: &mut Connection, batch: &[Write]) -> Result<u64, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut tails, mut texts) = (BTreeMap::new(), vec![]);
    for write in batch {
        match write {
            Write::Room(room) => keep_room(&transaction, room)?,
            Write::Message(message) => {
                let tail = match tails.entry(message.room) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => unknown.insert(tail(&transaction, message.room)?),
                };
                texts.push((keep_message(&transaction, tail, message)?, &message.text));
            }
            Write::Topic(room, topic) => keep_topic(&transaction, *room, topic)?,
            Write::Gone(room) => {
                tails.remove(room);
                forget_room(&transaction, *room)?;
            }
        }
    }
    // The index of words is written once for as long as row numbers grow, so rooms that take turns are taken apart.
    texts.sort_unstable_by_key(|&(row, _)| row);
    let mut words = transaction.prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?;
    for text in texts {
        words.execute(text)?;
    }
    drop(words);
    for (room, tail) in tails {
        transaction.prepare_cached("UPDATE rooms SET last = ?2, bytes = ?3 WHERE id = ?1")?.execute((
            room.to_wire(),
            tail.last,
            tail.bytes,
        ))?;
    }
    let entries = schema::count_entries(&transaction, batch.len())?;
    transaction.commit()?;
    Ok(entries)
}

fn keep_room(transaction: &Transaction<'_>, room: &KeptRoom) -> Result<(), Fault> {
    place::row(room.id, Seq::from_wire(1))?;
    for (other, _) in rows::rooms(transaction)? {
        if other.id == room.id || other.name.folded() == room.name.folded() {
            return Err(Fault::Refused(format!("room {} is there already, as {}", room.name, other.name)));
        }
    }
    transaction
        .prepare_cached("INSERT INTO rooms (id, name, epoch, last, bytes) VALUES (?1, ?2, ?3, 0, 0)")?
        .execute((room.id.to_wire(), room.name.as_str(), room.epoch.cast_signed()))?;
    // What may have been left of another with its number, by an older program, is not what this one is about.
    transaction.prepare_cached("DELETE FROM topics WHERE room = ?1")?.execute((room.id.to_wire(),))?;
    Ok(())
}

/// What a room is about; nothing any more if it is empty.
fn keep_topic(transaction: &Transaction<'_>, room: RoomId, topic: &Topic) -> Result<(), Fault> {
    tail(transaction, room)?;
    if topic.text.is_empty() {
        transaction.prepare_cached("DELETE FROM topics WHERE room = ?1")?.execute((room.to_wire(),))?;
        return Ok(());
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO topics (room, text, name, at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((room.to_wire(), &*topic.text, topic.by.as_str(), topic.at.0.cast_signed()))?;
    Ok(())
}

/// A room of which nothing is left.
fn forget_room(transaction: &Transaction<'_>, room: RoomId) -> Result<(), Fault> {
    let rows = place::rows(room);
    let is_empty: bool = transaction
        .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM messages WHERE n >= ?1 AND n < ?2)")?
        .query_row((rows.start, rows.end), |row| row.get(0))?;
    if !is_empty {
        return Err(Fault::Refused(format!("room {} has messages and cannot go", room.to_wire())));
    }
    transaction.prepare_cached("DELETE FROM topics WHERE room = ?1")?.execute((room.to_wire(),))?;
    transaction.prepare_cached("DELETE FROM rooms WHERE id = ?1")?.execute((room.to_wire(),))?;
    Ok(())
}

fn tail(transaction: &Transaction<'_>, room: RoomId) -> Result<Tail, Fault> {
    transaction
        .prepare_cached("SELECT last, bytes FROM rooms WHERE id = ?1")?
        .query_row((room.to_wire(),), |row| Ok(Tail { last: row.get(0)?, bytes: row.get(1)? }))
        .optional()?
        .ok_or_else(|| Fault::Refused(format!("there is no room {}", room.to_wire())))
}

/// Keeps a message, but for its words, and says in which row.
fn keep_message(transaction: &Transaction<'_>, tail: &mut Tail, message: &KeptMessage) -> Result<i64, Fault> {
    let (room, seq) = (message.room.to_wire(), message.seq.to_wire());
    if seq != tail.last + 1 {
        let last = tail.last;
        return Err(Fault::Refused(format!(
            "place {seq} of room {room} does not come after its last, {last}"
        )));
    }
    let row = place::row(message.room, message.seq)?;
    transaction
        .prepare_cached(
            "INSERT INTO messages (n, at, author, id, name, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            row,
            message.at.0.cast_signed(),
            message.author.0,
            message.id.to_wire().cast_signed(),
            message.name.as_str(),
            &*message.text,
        ))?;
    tail.last = seq;
    tail.bytes += message.text.len() as u64;
    Ok(row)
}

#[cfg(test)]
mod tests {
    use chinwag_proto::{
        MessageId,
        history::{AuthorKey, PageRequest},
        name::Name,
    };

    use super::*;

    const ROOM: RoomId = RoomId::from_wire(1);

    fn history(folder: &tempfile::TempDir) -> History {
        let file = folder.path().join("history.db");
        let (lock, _) = Lock::take(&file).unwrap();
        file::create(&file).unwrap();
        let mut connection = file::open_to_write(&file).unwrap();
        configure(&connection, 0).unwrap();
        schema::migrate(&mut connection, 0).unwrap();
        History::new(connection, lock, file, Retention::default()).unwrap()
    }

    fn message(seq: u64) -> Write {
        Write::Message(KeptMessage {
            room: ROOM,
            seq: Seq::from_wire(seq),
            at: UnixMillis(0),
            author: AuthorKey([1; 16]),
            id: MessageId::from_wire(seq),
            name: Name::new("Foo").unwrap(),
            text: "x".repeat(3000).into(),
        })
    }

    #[test]
    fn each_commit_is_synced_and_what_is_forgotten_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let history = history(&folder);
        let number =
            |name| history.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        // Full, incremental.
        assert_eq!((number("synchronous"), number("auto_vacuum"), number("secure_delete")), (2, 2, 1));
        assert_eq!(number("journal_size_limit"), WAL_BYTES.cast_signed());
    }

    #[test]
    fn a_room_goes_when_nothing_is_left_of_it_and_its_name_and_number_are_free() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = history(&folder);
        let room = |epoch| Write::Room(KeptRoom { id: ROOM, name: Name::new("den").unwrap(), epoch });
        history.write(&[room(1), message(1)]).unwrap();
        assert!(matches!(history.write(&[Write::Gone(ROOM)]), Err(StoreError::Failed(_))));
        history.retention = Retention { max_messages: Some(0), ..Retention::default() };
        assert_eq!(history.tidy(UnixMillis(0)).unwrap(), Some((ROOM, Seq::from_wire(2))));
        history.write(&[message(2), Write::Gone(ROOM), room(2), message(1)]).unwrap_err();
        history.write(&[Write::Gone(ROOM), room(2), message(1)]).unwrap();
        let found = restore::rooms(&history.connection).unwrap();
        assert_eq!((found.len(), found[0].room.epoch, found[0].last), (1, 2, Seq::from_wire(1)));
    }

    #[test]
    fn a_new_room_is_about_nothing_whatever_was_left_of_another_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = history(&folder);
        history.connection.execute("INSERT INTO topics VALUES (1, 'moles', 'Foo', 0)", ()).unwrap();
        history
            .write(&[Write::Room(KeptRoom { id: ROOM, name: Name::new("den").unwrap(), epoch: 1 })])
            .unwrap();
        assert_eq!(restore::rooms(&history.connection).unwrap()[0].topic, None);
    }

    #[test]
    fn a_batch_for_which_there_is_no_room_is_not_kept_and_a_later_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = history(&folder);
        let room = KeptRoom { id: ROOM, name: Name::new("lobby").unwrap(), epoch: 1 };
        history.write(&[Write::Room(room), message(1)]).unwrap();
        let pages: i64 = history.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        for spare in 0..4 {
            history.connection.pragma_update(None, "max_page_count", pages + spare).unwrap();
            let batch: Vec<_> = (2..10).map(message).collect();
            assert!(matches!(history.write(&batch), Err(StoreError::Full)), "{spare}");
        }
        history.connection.pragma_update(None, "max_page_count", pages + 100).unwrap();
        history.write(&[message(2)]).unwrap();
        let request = PageRequest { room: ROOM, before: Seq::from_wire(u64::MAX), limit: 100 };
        assert_eq!(history.reader().unwrap().page(&request).unwrap().len(), 2);
    }
}
