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
    let part = backup::part_of(&file);
    let outcome = backup::make(&from, &part)
        .and_then(|()| replace(&file, &part, &mut lock).map_err(|fault| fault.at(&file)));
    if outcome.is_err() {
        // What cannot be removed is as good as left by a crash.
        let _ = fs::remove_file(&part);
    }
    outcome
}

fn replace(file: &Path, part: &Path, lock: &mut Lock) -> Result<Option<PathBuf>, Fault> {
    let has_strange_log = lock.has_strange_log(file)?;
    // So that after a crash from here on the whole file is looked through.
    lock.mark_running(None)?;
    let aside = set_aside(file, has_strange_log)?;
    for ending in ["-wal", "-shm"] {
        file::remove(&file::beside(file, ending))?;
    }
    file::sync_folder(file)?;
    fs::rename(part, file)?;
    file::sync_folder(file)?;
    lock.mark_closed()?;
    Ok(aside)
}

/// Gives the history a second name, and its log. It keeps the first one until the backup has it.
fn set_aside(file: &Path, has_strange_log: bool) -> Result<Option<PathBuf>, Fault> {
    let log = file::beside(file, "-wal");
    let has_log = || fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    if !file.try_exists()? && !has_log() {
        return Ok(None);
    }
    let aside = file::free_name(file)?;
    if file.try_exists()? {
        // With what is in the log, if it can be read: then nothing is missing when we are stopped between these steps.
        if !has_strange_log && let Ok(connection) = file::open_to_write(file) {
            let _ = connection.query_row("PRAGMA wal_checkpoint(truncate)", (), |_| Ok(()));
        }
        link(file, &aside)?;
    }
    if has_log() {
        link(&log, &file::beside(&aside, "-wal"))?;
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
