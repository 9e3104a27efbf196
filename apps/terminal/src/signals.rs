//! The signals by which a person ends a program: Ctrl-C, `kill`, a closed terminal.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    low_level::pipe,
};

/// Calls `told` in a thread of its own at each signal that asks for the end, until it returns false. A program that was
/// started to outlive its terminal, as `nohup` does it, does.
///
/// # Errors
/// When the system refuses.
pub fn on_signal(mut told: impl FnMut() -> bool + Send + 'static) -> io::Result<()> {
    let (mut reader, writer) = UnixStream::pair()?;
    pipe::register(SIGTERM, writer.try_clone()?)?;
    if !is_hangup_ignored() {
        pipe::register(SIGHUP, writer.try_clone()?)?;
    }
    pipe::register(SIGINT, writer)?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || while reader.read_exact(&mut [0]).is_ok() && told() {})?;
    Ok(())
}

/// Whether this program was started with SIGHUP ignored; elsewhere than on Linux nobody tells without unsafe code.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}
