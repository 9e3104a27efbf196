//! The signals by which a person ends a program: Ctrl-C, `kill`, a closed terminal.

use std::{
    io,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, Ordering},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Handlers belong to the process, and so does this.
static ARE_ATTENDED: AtomicBool = AtomicBool::new(false);

/// A stream that becomes readable with SIGTERM, SIGINT or SIGHUP (the terminal was closed). A program that was started
/// to outlive its terminal, as `nohup` does it, does. Reading it does not block.
///
/// # Errors
/// When the system refuses.
pub fn stream() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGTERM, writer.try_clone()?)?;
    if !is_hangup_ignored() {
        signal_hook::low_level::pipe::register(SIGHUP, writer.try_clone()?)?;
    }
    signal_hook::low_level::pipe::register(SIGINT, writer)?;
    ARE_ATTENDED.store(true, Ordering::Release);
    Ok(reader)
}

/// True once somebody has such a [`stream`], and ends the program in order.
pub fn are_attended() -> bool {
    ARE_ATTENDED.load(Ordering::Acquire)
}

/// Whether this program was started with SIGHUP ignored; elsewhere than on Linux nobody tells without unsafe code.
pub fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}
