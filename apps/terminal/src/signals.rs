//! The signals by which a person ends a program: Ctrl-C, `kill`, a closed terminal.

use std::{
    io::{self, Read as _},
    thread,
};

use chinwag_transport_mio::signals;

/// Calls `told` in a thread of its own at each signal that asks for the end, until it returns false. A program that was
/// started to outlive its terminal, as `nohup` does it, does.
///
/// # Errors
/// When the system refuses.
pub(crate) fn on_signal(mut told: impl FnMut() -> bool + Send + 'static) -> io::Result<()> {
    let mut reader = signals::stream()?;
    reader.set_nonblocking(false)?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || while reader.read_exact(&mut [0]).is_ok() && told() {})?;
    Ok(())
}
