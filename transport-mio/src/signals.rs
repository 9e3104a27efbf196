//! The signals by which a program is ended: Ctrl-C, `kill`, a closed terminal.

use std::{
    io,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, Ordering},
};

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};

/// Handlers belong to the process, and so does this.
static ARE_ATTENDED: AtomicBool = AtomicBool::new(false);

/// Those that end whoever does not attend to them, and are no sign of a fault of his own. Not SIGQUIT, which is for a program that
/// does not end in order, nor those of real time, which nobody sends unasked.
const ENDING: &[i32] = &[
    SIGTERM,
    SIGINT,
    SIGHUP,
    SIGUSR1,
    SIGUSR2,
    SIGALRM,
    SIGVTALRM,
    SIGPROF,
    SIGXCPU,
    SIGXFSZ,
    #[cfg(target_os = "linux")]
    libc::SIGIO,
    #[cfg(target_os = "linux")]
    libc::SIGPWR,
    #[cfg(target_os = "linux")]
    libc::SIGSTKFLT,
];

/// A stream that becomes readable with each of [`ending`]. Reading it does not block.
///
/// # Errors
/// When the system refuses.
pub fn stream() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in ending() {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    ARE_ATTENDED.store(true, Ordering::Release);
    Ok(reader)
}

/// The signals that end this program. What it was started to outlive is not among them, such as SIGHUP with `nohup`; a script that
/// starts it in the background has it started with SIGINT ignored and does not mean that.
pub fn ending() -> Vec<i32> {
    let ignored = ignored();
    let is_ignored = |signal: i32| signal != SIGINT && ignored & (1 << (signal - 1)) != 0;
    ENDING.iter().copied().filter(|&signal| !is_ignored(signal)).collect()
}

/// True once somebody has such a [`stream`], and ends the program in order.
pub fn are_attended() -> bool {
    ARE_ATTENDED.load(Ordering::Acquire)
}

/// A bit for each signal that is ignored; elsewhere than on Linux nobody tells without unsafe code.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
