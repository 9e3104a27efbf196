//! The lasting history as the operator has it: where it is, how much of it is kept, how it is copied and read out.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use chinwag_history::{Error, Fault, Retention};
use chinwag_proto::history::UnixMillis;
use chinwag_transport_mio::history::OpenedStore;

use crate::{
    data_folder, print,
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
        max_total: limit(settings.keep_total_megabytes).map(|megabytes| megabytes * MEGABYTE),
    };
    let file = file(settings.data.as_deref())?;
    make_folder(&file)?;
    Ok(Some(chinwag_history::open(&file, retention)?))
}

fn make_folder(file: &Path) -> Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
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
    let file = file(data)?;
    chinwag_history::backup(&file, to)?;
    warn_of_missing(&file);
    Ok(())
}

/// What is read of a history is not all that was kept in it.
fn warn_of_missing(file: &Path) {
    let missing = chinwag_history::missing(file);
    if missing > 0 {
        // A closed standard error is no reason to fail.
        let _ = writeln!(
            io::stderr(),
            "{}: the last {missing} or more of what was kept in it are missing; this is what can be read",
            file.display()
        );
    }
}

/// Puts a copy in the place of the history: of this one, or of what can be read of the history itself.
pub(crate) fn restore(data: Option<&Path>, from: Option<&Path>) -> Result<()> {
    let file = file(data)?;
    let (aside, what) = match from {
        Some(from) => {
            make_folder(&file)?;
            (chinwag_history::restore(&file, from), format!("is the history of {} now", from.display()))
        }
        None => (chinwag_history::restore_readable(&file), "has what can be read of the history".to_owned()),
    };
    let aside = aside
        .map_err(stop_first)?
        .map_or_else(String::new, |aside| format!("what was there before is {}\n", aside.display()));
    print(&format!("{} {what}\n{aside}", file.display()))
}

/// Tells which rooms there are.
pub(crate) fn rooms(data: Option<&Path>) -> Result<()> {
    let file = file(data)?;
    let rooms = chinwag_history::rooms(&file)?;
    warn_of_missing(&file);
    let line = |messages: &str, disk: &str, first: &str, last: &str, name: &str| {
        format!("{messages:>12}  {disk:>10}  {first:<16}  {last:<16}  {name}\n")
    };
    let mut text = line("messages", "MB on disk", "first (UTC)", "last (UTC)", "room");
    for room in &rooms {
        let (first, last) = room.times.map(|(first, last)| (minute(first), minute(last))).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
        let disk = format!("{:.1}", room.disk_bytes as f64 / MEGABYTE as f64);
        text += &line(&room.messages.to_string(), &disk, &first, &last, room.name.as_str());
    }
    print(&text)
}

/// Removes a room.
pub(crate) fn remove_room(data: Option<&Path>, name: &str) -> Result<()> {
    let room = chinwag_history::remove_room(&file(data)?, name).map_err(stop_first)?;
    print(&format!("{} is removed, with {} messages\n", room.name, room.messages))
}

/// For what cannot be done beside a server.
fn stop_first(error: Error) -> anyhow::Error {
    if matches!(error.fault, Fault::InUse) {
        anyhow!("{}: a server is using it; stop that one first", error.file.display())
    } else {
        error.into()
    }
}

/// `2026-01-31 23:59`, in UTC.
fn minute(at: UnixMillis) -> String {
    let time = chinwag_history::rfc_3339(at);
    time.get(..16).unwrap_or(&time).replace('T', " ")
}

/// Writes the history to standard output, a line of JSON for each message.
pub(crate) fn export(data: Option<&Path>) -> Result<()> {
    let file = file(data)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = chinwag_history::export_json(&file, &mut out);
    warn_of_missing(&file);
    match result {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

fn file(data: Option<&Path>) -> Result<PathBuf> {
    Ok(data_folder(data)?.join(FILE))
}
