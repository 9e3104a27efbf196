//! That one server has a history at a time, and whether the last one closed it properly.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::Write as _,
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

    /// Notes that a server runs.
    pub(crate) fn mark_running(&mut self) -> Result<(), Fault> {
        self.0.set_len(0)?;
        self.0.write_all(b"in use, or not closed properly\n")?;
        Ok(self.0.sync_all()?)
    }

    /// Notes that the history is closed.
    pub(crate) fn mark_closed(&self) -> Result<(), Fault> {
        self.0.set_len(0)?;
        Ok(self.0.sync_all()?)
    }
}

/// The file of the lock: `history.db.lock` for `history.db`.
fn lock_path(history: &Path) -> PathBuf {
    let mut name = history.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
