//! How the file is opened: by its owner, by readers, and by those who look at it from outside.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    path::{self, Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::{error::Fault, schema};

/// How long one user of the file waits for another: a backup takes a moment at its beginning and end.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of the smallest database. SQLite takes what is shorter for an empty file, and would write over it.
const SMALLEST: u64 = 512;

/// Bytes of the header of a database, and where in it the number of [`number`] is.
const HEADER: usize = 100;
const NUMBER_AT: usize = 40;
/// Files that were set aside and are left beside a history.
const OLD_FILES: u32 = 1000;

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
    remove(file)?;
    create(file)
}

/// Removes a file, if there is one.
pub(crate) fn remove(file: &Path) -> Result<(), Fault> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
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

/// The file beside this one whose name ends so, after that of this one.
pub(crate) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whether there is anything in the log of a history.
pub(crate) fn has_log(file: &Path) -> bool {
    fs::metadata(beside(file, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// The first name of the kind `history.db.old-1` that neither a file nor a log has.
///
/// # Errors
/// When all are taken.
pub(crate) fn free_name(file: &Path) -> Result<PathBuf, Fault> {
    for number in 1..=OLD_FILES {
        let name = beside(file, &format!(".old-{number}"));
        if !name.try_exists()? && !beside(&name, "-wal").try_exists()? {
            return Ok(name);
        }
    }
    Err(Fault::Failed(format!("there are {OLD_FILES} old ones beside it; remove those that you do not need")))
}

/// Gives a file a number of its own, which tells it from others: that by which SQLite counts changes of the tables. It is in the file itself from
/// the next checkpoint on.
///
/// # Errors
/// What SQLite says.
pub(crate) fn give_number(connection: &Connection) -> Result<(), Fault> {
    let number: i64 = connection.query_row("SELECT abs(random() % 2147483647) + 1", (), |row| row.get(0))?;
    Ok(connection.pragma_update(None, "schema_version", number)?)
}

/// The number of a file, as it is without what is in its log; `None` where nothing is in it yet.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn number(file: &Path) -> Result<Option<u32>, Fault> {
    let mut header = vec![];
    match File::open(file) {
        Ok(file) => file.take(HEADER as u64).read_to_end(&mut header)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    let number = header.get(NUMBER_AT..NUMBER_AT + 4).and_then(|number| number.try_into().ok());
    Ok(number.map(u32::from_be_bytes).filter(|&number| number != 0))
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
