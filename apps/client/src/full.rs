//! The full screen: the model, which the conversation changes, keys are pressed on and which is drawn, by two threads beside the
//! conversation's: that of the keyboard, which draws what a key does at once, and one that draws everything else.
//!
//! The model has a lock that nobody holds while he writes to the terminal: a terminal that takes nothing for a while holds up neither
//! text nor voice.

mod events;
mod voice;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use chinwag_proto::client::PlaceId;
use chinwag_screen::{Act, Buffer, Key, Model, Position, Rect, draw, paint};
use chinwag_terminal::{Full, Keyboard, Painter, Terminal, Typed, WAITING_LINES};
use chinwag_transport_mio::{Waker, clock};
use jiff::{Timestamp, tz::TimeZone};

use crate::{conversation::Input, switch::Switch, visit::LOOK};

/// Between two pictures, but for what a key does.
const FRAME: Duration = Duration::from_millis(16);
/// Notices that are kept for the end.
const LAST_WORDS: usize = 16;

/// See the module. Clones are the same.
#[derive(Clone)]
pub(crate) struct FullScreen(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// There is something to draw.
    changed: Condvar,
    zone: TimeZone,
}

/// Where keys lead to.
struct Out {
    lines: SyncSender<Input>,
    switches: SyncSender<Switch>,
    waker: Arc<Waker>,
}

impl Out {
    /// False when nobody wants more.
    fn send(&self, input: Input) -> bool {
        self.lines.send(input).is_ok() && self.waker.wake().is_ok()
    }

    /// The same.
    fn switch(&self, switch: Switch) -> bool {
        self.switches.send(switch).is_ok() && self.waker.wake().is_ok()
    }
}

struct State {
    model: Model,
    events: events::Seen,
    heard: voice::Heard,
    /// What the terminal shows, and where its cursor is.
    shown: Option<Buffer>,
    cursor: Option<Position>,
    /// Room for the next picture.
    next: Buffer,
    is_changed: bool,
    /// When the last picture was made.
    painted: Instant,
    /// When the conversation was last woken for what is typed, which it remembers now and then.
    woken: Option<Instant>,
    /// What was told since the user was in, for the end.
    last_words: VecDeque<String>,
}

impl FullScreen {
    /// Fills the terminal and draws from now on.
    pub(crate) fn open(terminal: &Terminal, mut model: Model) -> Result<Self> {
        // Where it is told how the connection comes about, and where the user types ahead.
        model.enter(events::room(PlaceId::FIRST), "");
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                model,
                events: events::Seen::default(),
                heard: voice::Heard::default(),
                shown: None,
                cursor: None,
                next: Buffer::default(),
                is_changed: false,
                painted: Instant::now(),
                woken: None,
                last_words: VecDeque::new(),
            }),
            changed: Condvar::new(),
            zone: TimeZone::system(),
        });
        let painter = terminal.fill(Arc::clone(&shared) as Arc<dyn Full>);
        let drawn = Arc::clone(&shared);
        thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || drawn.keep_drawn(&painter))
            .context("no thread for the screen could be started")?;
        // The first picture.
        shared.change(|_| ());
        Ok(Self(shared))
    }

    /// Keys from now on; what is typed with them comes out, what is switched goes to `switches`, and `waker` is told of both.
    pub(crate) fn listen(
        &self,
        terminal: &Terminal,
        keyboard: Keyboard,
        switches: SyncSender<Switch>,
        waker: Arc<Waker>,
    ) -> Receiver<Input> {
        let (lines, receiver) = sync_channel(WAITING_LINES);
        let (shared, painter) = (Arc::clone(&self.0), terminal.painter());
        let out = Out { lines, switches, waker };
        keyboard.listen_to_keys(move |keys| match keys {
            Some(keys) => shared.press(keys, &painter, &out),
            None => out.send(Input::Typed(None, Typed::End)),
        });
        receiver
    }

    /// Something has changed, and is drawn soon.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        self.0.change(|state| change(&mut state.model))
    }

    /// Something from the program itself. What others wrote in it must be escaped.
    pub(crate) fn notice(&self, text: &str) {
        self.0.notice(text);
    }

    /// What was told since the user was in: the reason why he is not any more.
    pub(crate) fn last_words(&self) -> Vec<String> {
        self.0.lock().last_words.iter().cloned().collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        state.is_changed = true;
        self.changed.notify_one();
        result
    }

    fn notice(&self, text: &str) {
        let at = self.wall_clock(unix_ms());
        self.change(|state| {
            state.model.notice(at, text);
            if state.last_words.len() == LAST_WORDS {
                state.last_words.pop_front();
            }
            state.last_words.push_back(text.to_owned());
        });
    }

    /// What clocks on the wall show then, in milliseconds.
    fn wall_clock(&self, unix_ms: i64) -> i64 {
        let offset = Timestamp::from_millisecond(unix_ms).map(|at| self.zone.to_offset(at).seconds());
        unix_ms.saturating_add(i64::from(offset.unwrap_or_default()) * 1000)
    }

    /// Does what keys do, and draws it. False when nobody wants more.
    fn press(&self, keys: VecDeque<Key>, painter: &Painter, out: &Out) -> bool {
        let mut is_afresh = false;
        let mut acts = Vec::new();
        let is_to_remember = self.change(|state| {
            state.model.set_now(now_ms());
            for key in keys {
                // Where the user looks at that moment.
                let at = state.model.current_room();
                acts.extend(state.model.press(key).map(|act| (at.map(events::place), act)));
            }
            // It looks again by itself as long as something changes.
            let now = Instant::now();
            let is_due = state.woken.is_none_or(|woken| now - woken >= LOOK);
            state.woken = if is_due { Some(now) } else { state.woken };
            is_due
        });
        let mut is_heard = !is_to_remember || out.waker.wake().is_ok();
        for (at, act) in acts {
            let input = match act {
                Act::Redraw => {
                    is_afresh = true;
                    continue;
                }
                Act::Talk(talk) => {
                    is_heard &= out.switch(Switch::Key(talk));
                    continue;
                }
                Act::Enter(text) => Input::Typed(at, Typed::Line(text)),
                Act::TooLong => Input::Typed(at, Typed::TOO_LONG),
                Act::End => Input::Typed(at, Typed::End),
                Act::Say(lines) => Input::Said(at, lines),
                Act::Earlier => Input::Earlier(at),
            };
            is_heard &= out.send(input);
        }
        painter.paint(is_afresh);
        is_heard
    }

    /// Draws what has changed, at most so often, and when it is due.
    fn keep_drawn(&self, painter: &Painter) {
        let mut state = self.lock();
        loop {
            let due = state.model.due().map(|due| Duration::from_millis(due.saturating_sub(now_ms())));
            let wait = match state.is_changed {
                true => Some(FRAME.saturating_sub(state.painted.elapsed())),
                false => due,
            };
            state = match wait {
                Some(Duration::ZERO) => {
                    drop(state);
                    let is_shown = painter.paint(false);
                    let mut state = self.lock();
                    if !is_shown {
                        // All is drawn when the terminal is taken again.
                        state.is_changed = false;
                        state.model.set_now(now_ms());
                    }
                    state
                }
                Some(wait) => {
                    self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Full for Shared {
    fn paint(&self, columns: u16, rows: u16, afresh: bool) -> String {
        let mut state = self.lock();
        let State { model, shown, cursor, next, is_changed, painted, .. } = &mut *state;
        model.set_now(now_ms());
        model.set_size(columns, rows);
        next.resize(Rect::new(0, 0, columns, rows));
        let new_cursor = draw(model, next);
        let before = shown.as_ref().filter(|_| !afresh);
        let rings = model.take_bell();
        let is_same = before == Some(&*next) && *cursor == new_cursor && !rings;
        let mut written = model.take_notification().unwrap_or_default();
        if !is_same {
            written.push_str(&paint(before, next, new_cursor, rings));
        }
        std::mem::swap(next, shown.get_or_insert_default());
        (*cursor, *is_changed, *painted) = (new_cursor, false, Instant::now());
        written
    }

    fn print(&self, text: &str) {
        self.notice(text.trim_end());
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl fmt::Debug for FullScreen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The clock of countdowns.
fn now_ms() -> u64 {
    clock::now().as_micros() / 1000
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
