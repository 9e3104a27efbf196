//! The lasting history as the operator has it: where it is, how much of it is kept, how it is copied and read out.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use chinwag_history::Retention;
use chinwag_transport_mio::history::OpenedStore;

use crate::{
    data_folder,
    settings::{HistoryPlace, Settings},
};

/// In the data folder.
const FILE: &str = "history.db";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MEGABYTE: u64 = 1_000_000;

/// Opens the history, if there is to be one.
pub(crate) fn open(settings: &Settings) -> Result<Option<OpenedStore>> {
    if settings.history == HistoryPlace::Memory {
        return Ok(None);
    }
    let limit = |limit: u64| (limit > 0).then_some(limit);
    let retention = Retention {
        max_age: limit(settings.keep_days).map(|days| DAY * u32::try_from(days).unwrap_or(u32::MAX)),
        max_messages: limit(settings.keep_messages),
        max_bytes: limit(settings.keep_megabytes).map(|megabytes| megabytes * MEGABYTE),
    };
    let file = file(settings.data.as_deref())?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    Ok(Some(chinwag_history::open(&file, retention)?))
}

/// What was found, for the operator.
pub(crate) fn summary(opened: &OpenedStore) -> String {
    let messages: u64 = opened.rooms.iter().map(|room| room.last.to_wire()).sum();
    match opened.rooms.len() {
        0 => "the history is empty".to_owned(),
        1 => format!("the history goes on in 1 room, where {messages} messages were said so far"),
        rooms => format!("the history goes on in {rooms} rooms, where {messages} messages were said so far"),
    }
}

/// Copies the history to a new file.
pub(crate) fn backup(data: Option<&Path>, to: &Path) -> Result<()> {
    Ok(chinwag_history::backup(&file(data)?, to)?)
}

/// Writes the history to standard output, a line of JSON for each message.
pub(crate) fn export(data: Option<&Path>) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match chinwag_history::export_json(&file(data)?, &mut out) {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

fn file(data: Option<&Path>) -> Result<PathBuf> {
    Ok(data_folder(data)?.join(FILE))
}
