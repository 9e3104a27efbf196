//! Signals: those by which a person ends a program (Ctrl-C, `kill`, a closed terminal), and those that are about the terminal.

use std::{
    io::{self, Read as _},
    sync::Arc,
    thread,
};

use chinwag_transport_mio::signals;
use rustix::process::{Pid, getpgid, getpgrp, getppid, getsid};
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use crate::terminal::Shared;

/// Programs between this one and its shell that are looked at.
const ANCESTORS: usize = 64;

/// Calls `told` in a thread of its own at each signal that asks for the end, until it returns false.
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

/// Gives the terminal back before the program is stopped, or ended by a signal that it does not attend to; draws again when it goes
/// on and when its size changes. In a thread of its own, which ends with the process.
///
/// # Errors
/// When the system refuses.
pub(crate) fn attend_terminal(terminal: Arc<Shared>) -> io::Result<()> {
    let about = [SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH].into_iter().chain(signals::ending());
    let mut signals = Signals::new(about)?;
    thread::Builder::new().name("terminal".to_owned()).spawn(move || {
        let mut is_asked = false;
        for signal in signals.forever() {
            attend(&terminal, signal, &mut is_asked);
        }
    })?;
    Ok(())
}

/// `is_asked`: the program was asked to end and has not, be it that it writes to a terminal that takes nothing.
fn attend(terminal: &Shared, signal: i32, is_asked: &mut bool) {
    match signal {
        SIGWINCH => terminal.redraw(),
        SIGCONT => terminal.resume(),
        SIGTSTP if has_shell() => {
            terminal.suspend();
            // The program stands still in here.
            let _ = emulate_default_handler(SIGTSTP);
            terminal.resume();
        }
        // The system stops nobody whom no shell could let go on.
        SIGTSTP => {}
        SIGQUIT => end(terminal, SIGQUIT),
        // Whoever closes a window may send it twice.
        SIGHUP if signals::are_attended() => {}
        _ if signals::are_attended() && !std::mem::replace(is_asked, true) => {}
        _ => end(terminal, signal),
    }
}

fn end(terminal: &Shared, signal: i32) {
    terminal.close();
    // Neither comes back, but the first does not know all of them.
    let _ = emulate_default_handler(signal);
    let _ = emulate_default_handler(SIGTERM);
}

/// True if somebody who is no part of this job, but of the same session, started it: a shell that attends to stopped jobs.
fn has_shell() -> bool {
    let Ok(session) = getsid(None) else { return false };
    let mut ancestor = getppid();
    for _ in 0..ANCESTORS {
        let Some(pid) = ancestor.filter(|&pid| getsid(Some(pid)) == Ok(session)) else { return false };
        if getpgid(Some(pid)) != Ok(getpgrp()) {
            return true;
        }
        ancestor = parent_of(pid);
    }
    false
}

/// Who started that program, where the system tells.
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind its name, which may hold anything, and its state.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
    Pid::from_raw(parent.parse().ok()?)
}
