//! What can be wrong with a history, in words that say which file it is and what to do.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use chinwag_transport_mio::history::StoreError;
use rusqlite::ffi;

/// What is wrong, and with which file.
#[derive(Debug)]
pub struct Error {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong.
#[derive(Debug)]
pub enum Fault {
    /// Another server has it.
    InUse,
    /// There is no such file.
    Missing,
    /// It cannot be written to.
    ReadOnly(String),
    /// A newer chinwag wrote it.
    Newer {
        /// The number of its schema.
        found: u32,
        /// The latest that this program knows.
        known: u32,
    },
    /// It holds something else.
    Foreign,
    /// What it holds cannot be.
    Damaged(String),
    /// Something is missing that was kept in it.
    Incomplete {
        /// So many entries, or more: messages, rooms and their topics.
        missing: u64,
        /// So many messages can be read.
        readable: u64,
        /// The latest of these was said then, in words.
        until: Option<String>,
    },
    /// Nothing is in the file, where something was kept.
    Emptied,
    /// There is no room of this name.
    NoRoom(String),
    /// A file that was to be made is there already.
    Exists,
    /// There is no room on the disk.
    Full,
    /// The caller asked for what would break the numbering.
    Refused(String),
    /// Anything else.
    Failed(String),
}

impl Fault {
    pub(crate) fn at(self, file: &Path) -> Error {
        Error { file: file.to_owned(), fault: self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => {
                write!(f, "another server is using it; stop that one, or give this one its own file")
            }
            Self::Missing => write!(f, "there is no such file or folder"),
            Self::ReadOnly(why) => {
                write!(f, "it cannot be written to ({why}); see who owns it and how its disk is mounted")
            }
            Self::Newer { found, known } => write!(
                f,
                "a newer chinwag wrote it (its schema is number {found}, this program knows them up to {known}); use that program"
            ),
            Self::Foreign => write!(
                f,
                "it is not a history of chinwag, or its beginning is damaged; go back to a backup with chinwag-server restore FILE, \
                 or move it away to begin a new history"
            ),
            Self::Damaged(what) => write!(
                f,
                "it is damaged ({what}); go back to a backup with chinwag-server restore FILE, or move it away, with the files \
                 beside it whose names end in -wal and -shm, to begin a new history"
            ),
            Self::Incomplete { missing, readable, until } => {
                let until =
                    until.as_ref().map_or_else(String::new, |until| format!(", the last of them of {until}"));
                write!(
                    f,
                    "of what was kept in it (messages, rooms, topics) the last {missing} or more are missing: the file beside it whose name ends in \
                     -wal is damaged or cut off, or an older copy was put in its place. {readable} messages can be read{until}. Nothing was \
                     changed. Go back to a backup with chinwag-server restore FILE, or go on with what can be read with chinwag-server restore \
                     --readable; either keeps what is there now beside it"
                )
            }
            Self::Emptied => write!(
                f,
                "there is nothing in it, where messages were kept; go back to a backup with chinwag-server restore FILE, or remove it to \
                 begin a new history"
            ),
            Self::NoRoom(name) => {
                write!(f, "there is no room {name:?} in it; chinwag-server rooms tells which there are")
            }
            Self::Exists => write!(f, "it exists already and is not written over"),
            Self::Full => write!(f, "the disk is full"),
            Self::Refused(what) => write!(f, "refused: {what}"),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.fault)
    }
}

impl std::error::Error for Error {}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        // Told without the SQL.
        if let rusqlite::Error::SqlInputError { msg, .. } = error {
            return Self::Damaged(msg);
        }
        if is_unreadable(&error) {
            return Self::Damaged(error.to_string());
        }
        let code = error.sqlite_error().map_or(ffi::SQLITE_OK, |error| error.extended_code);
        match (code & 0xff, code) {
            // The index of the write-ahead log grows in a way of its own, which fails in a way of its own.
            (ffi::SQLITE_FULL, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Self::Full,
            (ffi::SQLITE_NOTADB, _) => Self::Foreign,
            // The second is for wrong SQL: ours is right, so the tables are not those that it is for.
            (ffi::SQLITE_CORRUPT | ffi::SQLITE_ERROR, _) => Self::Damaged(error.to_string()),
            (ffi::SQLITE_READONLY | ffi::SQLITE_PERM, _) => Self::ReadOnly(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// A value was read that is not what was written: the columns' own checks keep out what is not of their type.
fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(
        error,
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
    )
}

impl From<io::Error> for Fault {
    #[expect(clippy::wildcard_enum_match_arm, reason = "there are many, and all others are told as they are")]
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::AlreadyExists => Self::Exists,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error.fault {
            Fault::Full => Self::Full,
            Fault::InUse
            | Fault::Missing
            | Fault::ReadOnly(_)
            | Fault::Newer { .. }
            | Fault::Foreign
            | Fault::Damaged(_)
            | Fault::Incomplete { .. }
            | Fault::Emptied
            | Fault::Exists
            | Fault::NoRoom(_)
            | Fault::Refused(_)
            | Fault::Failed(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.fault {
            Fault::Full => io::ErrorKind::StorageFull,
            Fault::Missing => io::ErrorKind::NotFound,
            Fault::InUse
            | Fault::ReadOnly(_)
            | Fault::Newer { .. }
            | Fault::Foreign
            | Fault::Damaged(_)
            | Fault::Incomplete { .. }
            | Fault::Emptied
            | Fault::Exists
            | Fault::NoRoom(_)
            | Fault::Refused(_)
            | Fault::Failed(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
