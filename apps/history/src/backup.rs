//! A copy of a history in one file, made while a server may go on writing.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Fault},
    file, restore,
};

/// Writes what the history `source` holds at this moment to the new file `to`, which can take the place of a history as it is. Only its
/// owner may read it. Forgotten messages and free pages are not in it. When this returns, the copy is on the disk and was looked through.
///
/// # Errors
/// [`Fault::Exists`] when there is a file `to`, [`Fault::Full`], and all that can be wrong with `source`. Then there is no file `to`; after a
/// crash an empty one may be left, beside an unfinished one whose name ends in `.part`.
pub fn backup(source: &Path, to: &Path) -> Result<(), Error> {
    let to = file::absolute(to).map_err(|fault| fault.at(to))?;
    let source = file::absolute(source).map_err(|fault| fault.at(source))?;
    // Before a name is taken.
    drop(file::open_to_read(&source).map_err(|fault| fault.at(&source))?);
    // Keeps the name for us: renaming would put the copy in the place of another's file.
    file::create(&to).map_err(|fault| fault.at(&to))?;
    let part = part_of(&to);
    let rename = || {
        fs::rename(&part, &to)?;
        Ok(file::sync_folder(&to)?)
    };
    make(&source, &part).and_then(|()| rename().map_err(|fault: Fault| fault.at(&to))).inspect_err(|_| {
        // What cannot be removed is as good as left by a crash.
        let _ = fs::remove_file(&part);
        let _ = fs::remove_file(&to);
    })
}

/// Makes a copy under this name, in the place of what has it. When this returns, it is on the disk, but for its name.
///
/// # Errors
/// What is wrong with `source`, or with `part`, which may be left.
pub(crate) fn make(source: &Path, part: &Path) -> Result<(), Error> {
    let connection = file::open_to_read(source).map_err(|fault| fault.at(source))?;
    file::create_anew(part).and_then(|()| copy(&connection, part)).map_err(|fault| {
        // Damage is in what was read; what was written was new.
        if matches!(fault, Fault::Damaged(_)) { fault.at(source) } else { fault.at(part) }
    })
}

fn copy(connection: &rusqlite::Connection, part: &Path) -> Result<(), Fault> {
    let name = part.to_str().ok_or_else(|| Fault::Failed("its name is not Unicode".into()))?;
    connection.execute("VACUUM INTO ?1", (name,))?;
    file::give_number(&file::open_to_write(part)?)?;
    File::open(part)?.sync_all()?;
    let copy = file::open_to_read(part)?;
    file::check(&copy)?;
    // As a server will.
    restore::rooms(&copy).map(drop)
}

/// The name of what is not finished.
pub(crate) fn part_of(to: &Path) -> PathBuf {
    file::beside(to, ".part")
}
