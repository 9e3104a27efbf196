//! A backup takes the place of a history, and what was there stays, under another name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    backup,
    error::{Error, Fault},
    file,
    lock::Lock,
    schema, store,
};

/// Puts the backup `from` in the place of the history `file`; what was there is kept beside it, under the name that is given back. At each
/// moment there is one of the two in that place, whole. The backup is looked through before, and stays as it is.
///
/// # Errors
/// [`Fault::InUse`] while a server runs, [`Fault::Full`], and all that can be wrong with `from`. Then the history is as it was.
pub fn restore(file: &Path, from: &Path) -> Result<Option<PathBuf>, Error> {
    let file = file::absolute(file).map_err(|fault| fault.at(file))?;
    let from = file::absolute(from).map_err(|fault| fault.at(from))?;
    let (mut lock, _) = Lock::take(&file).map_err(|fault| fault.at(&file))?;
    if fs::canonicalize(&from).is_ok_and(|from| fs::canonicalize(&file).is_ok_and(|file| file == from)) {
        return Err(Fault::Refused("it is the history itself".into()).at(&from));
    }
    put(&file, &from, &mut lock)
}

/// Has the history `file` go on with what can be read of it, where something is missing ([`Fault::Incomplete`]): a copy of that takes its place.
/// What was there is kept beside it as it was, with its log, under the name that is given back.
///
/// # Errors
/// [`Fault::InUse`] while a server runs, [`Fault::Full`], and what makes that nothing of it can be read. Then the history is as it was.
pub fn restore_readable(file: &Path) -> Result<Option<PathBuf>, Error> {
    let file = file::absolute(file).map_err(|fault| fault.at(file))?;
    let take = || {
        let (lock, _) = Lock::take(&file)?;
        store::set_strange_log_aside(&file, &lock)?;
        Ok(lock)
    };
    let mut lock = take().map_err(|fault: Fault| fault.at(&file))?;
    put(&file, &file, &mut lock)
}

/// Puts a copy of `from` in the place of the history.
fn put(file: &Path, from: &Path, lock: &mut Lock) -> Result<Option<PathBuf>, Error> {
    let part = backup::part_of(file);
    let outcome =
        backup::make(from, &part).and_then(|()| replace(file, &part, lock).map_err(|fault| fault.at(file)));
    if outcome.is_err() {
        // What cannot be removed is as good as left by a crash.
        let _ = fs::remove_file(&part);
    }
    outcome
}

fn replace(file: &Path, part: &Path, lock: &mut Lock) -> Result<Option<PathBuf>, Fault> {
    let is_log_sound = !lock.has_strange_log(file)? && is_complete(file, lock);
    // So that after a crash from here on the whole file is looked through, and one whose log is gone already is known as such.
    lock.mark_unclean()?;
    let aside = set_aside(file, is_log_sound)?;
    for ending in ["-wal", "-shm"] {
        file::remove(&file::beside(file, ending))?;
    }
    file::sync_folder(file)?;
    fs::rename(part, file)?;
    file::sync_folder(file)?;
    lock.mark_replaced()?;
    Ok(aside)
}

/// Whether all is there that was kept, if it can be read.
fn is_complete(file: &Path, lock: &Lock) -> bool {
    let entries = || {
        let connection = file::open_to_read(file)?;
        schema::entries(&connection, schema::version(&connection)?)
    };
    let number = file::number(file).ok().flatten();
    entries().is_ok_and(|entries: u64| entries >= lock.entries_of(number))
}

/// Gives the history a second name, and its log. It keeps the first one until the backup has it.
fn set_aside(file: &Path, is_log_sound: bool) -> Result<Option<PathBuf>, Fault> {
    if !file.try_exists()? && !file::has_log(file) {
        return Ok(None);
    }
    let aside = file::free_name(file)?;
    if file.try_exists()? {
        // With what is in the log, if that can be read whole: then nothing is missing when we are stopped between these steps.
        if is_log_sound && let Ok(connection) = file::open_to_write(file) {
            let _ = connection.query_row("PRAGMA wal_checkpoint(truncate)", (), |_| Ok(()));
        }
        link(file, &aside)?;
    }
    if file::has_log(file) {
        link(&file::beside(file, "-wal"), &file::beside(&aside, "-wal"))?;
    }
    file::sync_folder(file)?;
    Ok(Some(aside))
}

/// A second name; where a disk has none of those, a copy.
fn link(file: &Path, name: &Path) -> Result<(), Fault> {
    if fs::hard_link(file, name).is_err() {
        file::create(name)?;
        fs::copy(file, name)?;
        fs::File::open(name)?.sync_all()?;
    }
    Ok(())
}
