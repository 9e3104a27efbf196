//! That one server has a history at a time, how the last one left it, and how much it had kept.
//!
//! How much is the mark that a history is held against when it is opened. It is not in the history, since what is lost with the end of a log takes
//! with it that it was ever there: SQLite takes a damaged log for one that ends there. It is written after each batch and synced now and then, so
//! that it is never ahead of the history, and behind it by what came since only after a power cut.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{error::Fault, file, schema};

/// A lock that is held, on a file beside the history: SQLite's own locks on the history itself would be lost if that were opened
/// and closed by others in this process.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    note: Note,
    /// When the mark was synced, and whether it was written since.
    synced: Instant,
    is_unsynced: bool,
}

/// How the last server left a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// Closed.
    Clean,
    /// It crashed, or nobody can say.
    Unclean,
}

/// What the file of the lock says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Note {
    left: Left,
    /// Of the history ([`file::number`]), where that is known.
    number: Option<u32>,
    /// How many entries were kept in it, ever ([`schema::entries`](crate::schema::entries)).
    entries: u64,
}

/// How the note begins, in as many letters, so that what was there before is written over. It fits into one sector.
const RUNNING: &str = "in use, or not closed properly; the history is number ";
const CLOSED: &str = "closed properly;                the history is number ";
/// Digits of its numbers, all of which are written.
const NUMBER_DIGITS: usize = 10;
const ENTRIES_DIGITS: usize = 20;
/// Bytes that are read of it.
const NOTE_BYTES: u64 = 512;
/// How old a mark on the disk may become while a server keeps what is said.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How many entries are missing of what was kept in a history, or more, as far as that is known. A server may go on writing.
pub fn missing(history: &Path) -> u64 {
    let missing = || {
        // Before the history is looked at, which only grows.
        let note = Note::of(&mut File::open(lock_path(history))?)?;
        let connection = file::open_to_read(history)?;
        let entries = schema::entries(&connection, schema::version(&connection)?)?;
        Ok::<_, Fault>(note.entries_of(file::number(history)?).saturating_sub(entries))
    };
    missing().unwrap_or(0)
}

impl Note {
    fn of(file: &mut File) -> io::Result<Self> {
        let mut text = vec![];
        file.take(NOTE_BYTES).read_to_end(&mut text)?;
        Ok(Self::read(&String::from_utf8_lossy(&text)))
    }

    fn entries_of(&self, number: Option<u32>) -> u64 {
        if self.number.is_some() && self.number == number { self.entries } else { 0 }
    }

    /// What this text says, as far as it can be read: what cannot be is as if nothing were known.
    fn read(text: &str) -> Self {
        let begun = |text: &str| {
            let closed = text.strip_prefix(CLOSED).map(|rest| (Left::Clean, rest.to_owned()));
            closed.or_else(|| text.strip_prefix(RUNNING).map(|rest| (Left::Unclean, rest.to_owned())))
        };
        let Some((left, rest)) = begun(text) else {
            // Nothing is in it where an older program closed the history.
            let left = if text.is_empty() { Left::Clean } else { Left::Unclean };
            return Self { left, number: None, entries: 0 };
        };
        let mut words = rest.split_whitespace();
        let number = words.next().and_then(|number| number.parse().ok()).filter(|&number| number != 0);
        // Twice, so that one that is torn is known as such.
        let entries = match (words.next(), words.next()) {
            (Some(entries), Some(again)) if entries == again => entries.parse().unwrap_or(0),
            _ => 0,
        };
        Self { left, number, entries }
    }

    fn text(&self) -> String {
        let begin = match self.left {
            Left::Clean => CLOSED,
            Left::Unclean => RUNNING,
        };
        let (number, entries) = (self.number.unwrap_or(0), self.entries);
        format!("{begin}{number:0NUMBER_DIGITS$}\n{entries:0ENTRIES_DIGITS$} {entries:0ENTRIES_DIGITS$}\n")
    }
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`Fault::InUse`], or that the file cannot be made or written to.
    pub(crate) fn take(history: &Path) -> Result<(Self, Left), Fault> {
        let path = lock_path(history);
        let known = path.try_exists()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = file::private(&mut options).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Fault::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut note = Note::of(&mut file)?;
        if !known {
            note.left = Left::Unclean;
        }
        Ok((Self { file, note, synced: Instant::now(), is_unsynced: false }, note.left))
    }

    /// How many entries were kept in the history that has this number, ever; 0 where that is not known.
    pub(crate) fn entries_of(&self, number: Option<u32>) -> u64 {
        self.note.entries_of(number)
    }

    /// How many entries were kept in the last history that was here, whichever it is.
    pub(crate) fn entries(&self) -> u64 {
        if self.note.number.is_some() { self.note.entries } else { 0 }
    }

    /// Notes that a server runs, with which history, and how many entries were kept in that one.
    pub(crate) fn mark_running(&mut self, number: Option<u32>, entries: u64) -> Result<(), Fault> {
        self.note = Note { left: Left::Unclean, number, entries };
        self.write()?;
        Ok(self.sync()?)
    }

    /// Notes that the history is not to be trusted until it was looked through, whatever else is known of it.
    pub(crate) fn mark_unclean(&mut self) -> Result<(), Fault> {
        self.mark_running(self.note.number, self.note.entries)
    }

    /// Notes that so many entries are kept now. Now and then this waits for the disk.
    pub(crate) fn mark_entries(&mut self, entries: u64) -> io::Result<()> {
        self.note.entries = entries;
        self.is_unsynced = true;
        self.write()?;
        self.sync_if_due()
    }

    /// Makes the mark lasting, if that was not done lately.
    pub(crate) fn sync_if_due(&mut self) -> io::Result<()> {
        if !self.is_unsynced || self.synced.elapsed() < SYNC_INTERVAL {
            return Ok(());
        }
        // Once more: a full disk may have refused it.
        self.write()?;
        self.sync()
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(self.note.text().as_bytes())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        (self.synced, self.is_unsynced) = (Instant::now(), false);
        Ok(())
    }

    /// Whether the log beside the history is that of another one: a server crashed, or ended while somebody read, and a copy was put in the
    /// place of its history while the log was left. SQLite would put that into the copy and spoil it: it knows no more of a log than its name. To be asked before
    /// anything is noted here.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn has_strange_log(&self, history: &Path) -> Result<bool, Fault> {
        let Some(number) = self.note.number else { return Ok(false) };
        Ok(file::has_log(history) && file::number(history)? != Some(number))
    }

    /// Notes that the history is closed.
    pub(crate) fn mark_closed(&mut self) -> Result<(), Fault> {
        self.note.left = Left::Clean;
        self.write()?;
        Ok(self.sync()?)
    }

    /// Notes that the history is closed, and that nothing is known of it: it is another one.
    pub(crate) fn mark_replaced(&mut self) -> Result<(), Fault> {
        (self.note.number, self.note.entries) = (None, 0);
        self.mark_closed()
    }
}

/// The file of the lock: `history.db.lock` for `history.db`.
fn lock_path(history: &Path) -> PathBuf {
    file::beside(history, ".lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_one_that_is_torn_says_nothing_that_is_not_so() {
        let note = |left, number, entries| Note { left, number, entries };
        let all = [
            note(Left::Unclean, Some(7), 99_999),
            note(Left::Unclean, Some(7), 100_000),
            note(Left::Clean, Some(u32::MAX), u64::MAX),
            note(Left::Clean, None, 0),
        ];
        for before in all {
            assert_eq!(Note::read(&before.text()), before);
            for now in all {
                for at in 0..=now.text().len() {
                    let torn = Note::read(&(now.text()[..at].to_owned() + &before.text()[at..]));
                    assert!([now.entries, before.entries, 0].contains(&torn.entries), "{torn:?}");
                }
            }
        }
        // As older programs left it, and whatever else can be there.
        assert_eq!(Note::read(""), note(Left::Clean, None, 0));
        let older = "in use, or not closed properly; the history is number 0000000012\n";
        assert_eq!(Note::read(older), note(Left::Unclean, Some(12), 0));
        for text in ["in use", "closed", "\u{fffd}\0 7 7 7"] {
            assert_eq!(Note::read(text), note(Left::Unclean, None, 0), "{text}");
        }
    }
}
