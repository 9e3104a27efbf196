//! That one server has a history at a time, and whether the last one closed it properly.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use crate::{error::Fault, file};

/// A lock that is held, on a file beside the history: SQLite's own locks on the history itself would be lost if that were opened
/// and closed by others in this process. The file has something in it while a server runs, and after it crashed.
#[derive(Debug)]
pub(crate) struct Lock(File);

/// How the last server left a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// Closed.
    Clean,
    /// It crashed, or nobody can say.
    Unclean,
}

/// What is in the lock's file while a server runs; then the number of the history ([`file::number`]), which is 0 where that is not known.
const RUNNING: &str = "in use, or not closed properly; the history is number ";
/// Digits of that number: all are written, so that what was there before is written over.
const DIGITS: usize = 10;

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
        let file = file::private(&mut options).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Fault::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let left = if known && file.metadata()?.len() == 0 { Left::Clean } else { Left::Unclean };
        Ok((Self(file), left))
    }

    /// Notes that a server runs, and with which history.
    pub(crate) fn mark_running(&mut self, number: Option<u32>) -> Result<(), Fault> {
        self.0.rewind()?;
        self.0.write_all(format!("{RUNNING}{:0DIGITS$}\n", number.unwrap_or(0)).as_bytes())?;
        Ok(self.0.sync_all()?)
    }

    /// Whether the log beside the history is that of another one: a server crashed, and somebody put a copy in the place of its history while
    /// the log was left. SQLite would put that into the copy and spoil it: it knows no more of a log than its name. To be asked before
    /// anything is noted here.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn has_strange_log(&mut self, history: &Path) -> Result<bool, Fault> {
        let log = fs::metadata(file::beside(history, "-wal"));
        let Some(number) = self.number()? else { return Ok(false) };
        Ok(log.is_ok_and(|log| log.len() > 0) && file::number(history)? != Some(number))
    }

    /// The number of the history that the last server had, if it crashed.
    fn number(&mut self) -> Result<Option<u32>, Fault> {
        let mut text = vec![];
        self.0.rewind()?;
        (&mut self.0).take((RUNNING.len() + DIGITS) as u64).read_to_end(&mut text)?;
        let number = str::from_utf8(&text).ok().and_then(|text| text.strip_prefix(RUNNING)?.parse().ok());
        Ok(number.filter(|&number| number != 0))
    }

    /// Notes that the history is closed.
    pub(crate) fn mark_closed(&self) -> Result<(), Fault> {
        self.0.set_len(0)?;
        Ok(self.0.sync_all()?)
    }
}

/// The file of the lock: `history.db.lock` for `history.db`.
fn lock_path(history: &Path) -> PathBuf {
    file::beside(history, ".lock")
}
