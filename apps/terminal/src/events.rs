//! One channel of events for a conversation: whoever reads sockets, the keyboard and signals tells it, in threads that end with
//! the program.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Instant,
};

use crate::{
    keyboard::{Keyboard, Typed, WAITING_LINES},
    signals::on_signal,
    terminal::Terminal,
};

/// Listens to the keyboard and to signals. What is typed waits in the channel that comes back, and `typed` is told for each;
/// `interrupted` at each signal that asks for the end. `is_said`: see [`Keyboard::listen`].
///
/// # Errors
/// When the system refuses.
pub fn attend_person<E: Send + 'static>(
    terminal: &Terminal,
    is_said: impl Fn(&str) -> bool + Send + 'static,
    tell: &SyncSender<E>,
    typed: impl Fn() -> E + Send + 'static,
    interrupted: impl Fn() -> E + Send + 'static,
) -> io::Result<Receiver<Typed>> {
    let told = tell.clone();
    on_signal(move || told.send(interrupted()).is_ok())?;
    let (hand_over, lines) = sync_channel(WAITING_LINES);
    let told = tell.clone();
    Keyboard::new(terminal)
        .listen(is_said, move |line| hand_over.send(line).is_ok() && told.send(typed()).is_ok());
    Ok(lines)
}

/// The next event, waited for; none when it is `due` that something else is done. Those who tell must live as long.
pub fn next_event<E>(events: &Receiver<E>, due: Option<Instant>) -> Option<E> {
    match due.map(|due| due.saturating_duration_since(Instant::now())) {
        Some(left) if !left.is_zero() => events.recv_timeout(left).ok(),
        Some(_) => events.try_recv().ok(),
        None => events.recv().ok(),
    }
}
