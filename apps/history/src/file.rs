//! How the file is opened: by its owner, by readers, and by those who look at it from outside.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{self, Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::{error::Fault, schema};

/// How long one user of the file waits for another: a backup takes a moment at its beginning and end.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of the smallest database. SQLite takes what is shorter for an empty file, and would write over it.
const SMALLEST: u64 = 512;

/// That only the owner may read and write what is made with these.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

/// Absolute, since SQLite takes a path that begins with `file:` for something else.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Fault> {
    Ok(path::absolute(path)?)
}

/// Makes an empty file, for its owner alone. SQLite gives the files that it puts beside it the same mode.
///
/// # Errors
/// [`Fault::Exists`], or that it cannot be made.
pub(crate) fn create(file: &Path) -> Result<(), Fault> {
    private(OpenOptions::new().write(true).create_new(true)).open(file)?;
    Ok(sync_folder(file)?)
}

/// As [`create`], also where there is one, which is removed.
pub(crate) fn create_anew(file: &Path) -> Result<(), Fault> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => create(file),
    }
}

/// Makes lasting which files are in the folder of this one.
pub(crate) fn sync_folder(file: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened, and need not be.
    if cfg!(unix)
        && let Some(folder) = file.parent()
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Opens a file to write in it.
///
/// # Errors
/// [`Fault::ReadOnly`], [`Fault::Foreign`] and what else SQLite says.
pub(crate) fn open_to_write(file: &Path) -> Result<Connection, Fault> {
    if (1..SMALLEST).contains(&fs::metadata(file)?.len()) {
        return Err(Fault::Foreign);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    // SQLite is content with less than it was asked for.
    if connection.is_readonly("main")? {
        return Err(Fault::ReadOnly("only reading is allowed".into()));
    }
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Opens a history to read from it, whether a server has it or not.
///
/// # Errors
/// [`Fault::Missing`], [`Fault::Foreign`], [`Fault::Newer`] and what else SQLite says.
pub(crate) fn open_to_read(file: &Path) -> Result<Connection, Fault> {
    if !file.try_exists()? {
        return Err(Fault::Missing);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Damaged cells are told as such, not followed.
    connection.pragma_update(None, "cell_size_check", true)?;
    if schema::version(&connection)? == 0 {
        return Err(Fault::Foreign);
    }
    Ok(connection)
}

/// Looks through the whole file for damage.
///
/// # Errors
/// [`Fault::Damaged`], with the first that was found.
pub(crate) fn check(connection: &Connection) -> Result<(), Fault> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(Fault::Damaged(found.trim().replace('\n', "; "))) }
}
