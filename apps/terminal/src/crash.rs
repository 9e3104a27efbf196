//! A terminal that is given back when the program is killed by its own fault: an abort of a C library, a bad access, a stack that
//! overflows. Nothing else of the program can be trusted then, so that the handler does only what may be done in one: it takes what
//! was laid ready for it by one exchange of a pointer, writes it, puts the modes back and lets the signal do what it would have done.
//!
//! `signal-hook` would ask whoever had the signal before first: Rust tells of a stack that overflows, which would be told on the
//! screen that is about to go.

use std::{
    mem::{self, MaybeUninit},
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicPtr, Ordering},
    },
};

use rustix::termios::{OptionalActions, Termios, tcsetattr};
use signal_hook::{
    consts::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP},
    low_level::emulate_default_handler,
};

use crate::terminal::takes_something;

/// The abort comes first: it is the end of whoever is asked about the others.
const FAULTS: [i32; 7] = [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP];

struct Ready {
    modes: Termios,
    words: String,
}

/// What is to be done with the one terminal of the process, while anything is. Whoever exchanges it for another owns what he gets.
static READY: AtomicPtr<Ready> = AtomicPtr::new(ptr::null_mut());

/// What was to be done at each of [`FAULTS`] before.
static FORMER: OnceLock<Vec<libc::sigaction>> = OnceLock::new();

/// From now on the terminal gets these modes and words at such an end.
pub(crate) fn arm(modes: Termios, words: String) {
    exchange(Box::into_raw(Box::new(Ready { modes, words })));
}

/// From now on it gets nothing.
pub(crate) fn disarm() {
    exchange(ptr::null_mut());
}

fn exchange(ready: *mut Ready) {
    let old = READY.swap(ready, Ordering::AcqRel);
    if !old.is_null() {
        // SAFETY: every pointer in there but null is of a box, and the exchange gave this one to nobody else.
        drop(unsafe { Box::from_raw(old) });
    }
}

/// Attends to such ends from now on. Without it, signals do what they always do.
pub(crate) fn attend() {
    FORMER.get_or_init(|| FAULTS.map(|signal| exchange_action(signal, None)).into());
    // SAFETY: zeroes are a valid `sigaction`, with an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as usize;
    // A stack that has overflowed cannot be used: threads of Rust have another for that.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    for signal in FAULTS {
        exchange_action(signal, Some(&action));
    }
}

/// Sets what is done at a signal; tells what was.
fn exchange_action(signal: i32, action: Option<&libc::sigaction>) -> libc::sigaction {
    let mut former = MaybeUninit::zeroed();
    // SAFETY: both point to what the call takes, or to nothing where it takes that, and zeroes are a valid `sigaction` if it fails.
    // The handler does only what is allowed in one.
    unsafe {
        libc::sigaction(signal, action.map_or(ptr::null(), ptr::from_ref), former.as_mut_ptr());
        former.assume_init()
    }
}

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let ready = READY.swap(ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: a pointer in there is of a box, and the exchange gave it to nobody else. It is never freed: there is no allocator here.
    if let Some(Ready { modes, words }) = unsafe { ready.as_ref() } {
        // At once, since another thread that fails, too, may end the program meanwhile.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, modes);
        if takes_something() {
            let _ = rustix::io::write(rustix::stdio::stdout(), words.as_bytes());
        }
    }
    let formers = FORMER.get().map_or(&[][..], Vec::as_slice);
    for (&fault, former) in FAULTS.iter().zip(formers) {
        // What comes now is a matter of theirs, such as the abort after what is told below.
        exchange_action(fault, Some(former));
        if fault == signal {
            call(former, signal, info, context);
        }
    }
    // Does not come back.
    let _ = emulate_default_handler(signal);
}

/// Lets whoever had the signal before have it, too, such as Rust, which tells of a stack that has overflowed.
fn call(former: &libc::sigaction, signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let is_handler = ![libc::SIG_DFL, libc::SIG_IGN].contains(&former.sa_sigaction);
    if is_handler && former.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: it is a handler of this kind, as the flag says, and gets what the system gave to its successor.
        unsafe {
            let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
                mem::transmute(former.sa_sigaction);
            handler(signal, info, context);
        }
    }
}
