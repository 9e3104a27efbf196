//! Who keeps a device open: a thread that opens it, holds its stream, notices when it is gone or no longer the default,
//! and opens it again, for as long as somebody listens.
//!
//! All that may wait for a sound system happens here. The sound thread gets the other end of the ring ([`News`]) and never
//! waits; callbacks and the sound thread say what they notice ([`Told`]) without waiting either.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::{
    DeviceError, Direction,
    trouble::{unanswered, unusable},
};
use crate::{Duration, Instant};

/// A sound system that does not answer for so long is told to be unusable; a listed one takes milliseconds.
const FIRST_OPEN: Duration = Duration::from_secs(6);
/// How often it is asked whether the device is still there, and still the default.
const WATCH: Duration = Duration::from_secs(1);
/// The first pause before a device that is gone is tried again; each failure doubles it …
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// An attempt that took long is followed by a pause so many times as long: one that hangs until a time limit may leave
/// something behind in the sound system's library.
const PAUSE_BY_ATTEMPT: u32 = 8;
/// A device that worked for so long is tried at once again when it goes, any other with a growing pause.
const CALM: Duration = Duration::from_secs(10);
/// News and remarks that wait. A keeper with more news waits; a remark too many is like the one that waits already.
const WAITING: usize = 4;

/// What the keeper says to the sound thread.
pub(super) enum News<F> {
    /// Sound flows here from now on.
    Open(Open<F>),
    /// Nothing flows, for this reason; it is tried again.
    Gone(String),
}

/// The sound thread's part of a stream.
pub(super) struct Open<F> {
    pub(super) flow: F,
    /// The device's name, and the sound system's own for it.
    pub(super) name: String,
    pub(super) id: String,
    pub(super) bell: Bell,
}

/// What a stream's callback or the sound thread says to the keeper.
pub(super) enum Told {
    /// The stream of this number does not work any more, for this reason.
    Failed(u64, String),
    /// Nobody listens any more.
    Over,
}

/// By which the keeper of one stream is told about it.
#[derive(Clone)]
pub(super) struct Bell {
    told: SyncSender<Told>,
    stream: u64,
}

impl Bell {
    /// Says that the stream does not work any more.
    pub(super) fn failed(&self, why: String) {
        // If more wait than can be, one of them says the same.
        let _ = self.told.try_send(Told::Failed(self.stream, why));
    }
}

/// How things stand with a device that is open.
pub(super) enum Standing {
    /// It is there and the one that was asked for.
    Same,
    /// Another one is the default now.
    Moved,
    /// It is not there any more.
    Missing,
}

/// The sound system, as far as a keeper needs it.
pub(super) trait Cards {
    /// What holds a stream open.
    type Stream;
    /// What the sound thread gets of it.
    type Flow;

    /// Opens what was asked for. May wait. Sound flows as long as the stream is held.
    fn open(&mut self, bell: Bell) -> Result<(Self::Stream, Open<Self::Flow>), DeviceError>;

    /// Asks about the stream that was opened last. May wait.
    fn standing(&mut self) -> Standing;
}

enum State<S> {
    /// Sound flows as long as the stream is held.
    Open {
        _stream: S,
        since: Instant,
        watched: Instant,
    },
    Gone {
        next_try: Instant,
    },
}

struct Keeper<C: Cards> {
    cards: C,
    state: State<C::Stream>,
    pause: Duration,
    /// Tells remarks about the stream that is open from late ones about another.
    stream: u64,
    told: SyncSender<Told>,
    news: SyncSender<News<C::Flow>>,
}

/// Nobody listens any more.
struct Over;

impl<C: Cards> Keeper<C> {
    fn new(cards: C, told: SyncSender<Told>, news: SyncSender<News<C::Flow>>) -> Self {
        let state = State::Gone { next_try: Instant::ZERO };
        Self { cards, state, pause: FIRST_PAUSE, stream: 0, told, news }
    }

    /// Opens it for the first time.
    fn begin(&mut self, clock: &mut dyn FnMut() -> Instant) -> Result<Instant, DeviceError> {
        let (stream, news) = self.open()?;
        let now = clock();
        self.state = State::Open { _stream: stream, since: now, watched: now };
        // Whoever does not hear this is not there when the next thing is told, either.
        let _ = self.say(news);
        Ok(now + WATCH)
    }

    /// Does what is due, having been told something or not, and says when it has something to do next.
    fn step(&mut self, clock: &mut dyn FnMut() -> Instant, told: Option<Told>) -> Result<Instant, Over> {
        let now = clock();
        let failed = match told {
            Some(Told::Failed(stream, why)) if stream == self.stream => Some(why),
            Some(Told::Over) => return Err(Over),
            Some(Told::Failed(..)) | None => None,
        };
        match &mut self.state {
            State::Gone { next_try } if now >= *next_try => {
                // Why it failed is no news.
                let _ = self.attempt(clock)?;
            }
            State::Gone { .. } => {}
            State::Open { since, watched, .. } => {
                if now.since(*since) >= CALM {
                    self.pause = FIRST_PAUSE;
                }
                if let Some(why) = failed {
                    self.lose(now, why)?;
                } else if now.since(*watched) >= WATCH {
                    *watched = now;
                    match self.cards.standing() {
                        Standing::Same => {}
                        Standing::Missing => {
                            self.lose(clock(), "it was unplugged or switched off".to_owned())?
                        }
                        Standing::Moved => {
                            // The old stream is closed first: PulseAudio has all of a client's streams at one sink.
                            self.state = State::Gone { next_try: now };
                            if let Err(error) = self.attempt(clock)? {
                                self.say(News::Gone(format!("another one is the default now, but {error}")))?;
                            }
                        }
                    }
                }
            }
        }
        Ok(match &self.state {
            State::Open { watched, .. } => *watched + WATCH,
            State::Gone { next_try } => *next_try,
        })
    }

    /// Opens what is gone, or says when to try next.
    fn attempt(&mut self, clock: &mut dyn FnMut() -> Instant) -> Result<Result<(), DeviceError>, Over> {
        let began = clock();
        let opened = self.open();
        let now = clock();
        Ok(match opened {
            Ok((stream, news)) => {
                self.state = State::Open { _stream: stream, since: now, watched: now };
                self.say(news)?;
                Ok(())
            }
            Err(error) => {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                let next_try = now + self.pause.max(now.since(began) * PAUSE_BY_ATTEMPT);
                self.state = State::Gone { next_try };
                Err(error)
            }
        })
    }

    fn open(&mut self) -> Result<(C::Stream, News<C::Flow>), DeviceError> {
        let bell = Bell { told: self.told.clone(), stream: self.stream + 1 };
        let (stream, open) = self.cards.open(bell)?;
        self.stream += 1;
        Ok((stream, News::Open(open)))
    }

    fn lose(&mut self, now: Instant, why: String) -> Result<(), Over> {
        // This closes the stream.
        self.state = State::Gone { next_try: now + self.pause };
        self.say(News::Gone(why))
    }

    fn say(&self, news: News<C::Flow>) -> Result<(), Over> {
        self.news.send(news).map_err(|_| Over)
    }
}

/// What the sound thread has of a keeper, who goes when it is dropped.
pub(super) struct Kept<F> {
    news: Receiver<News<F>>,
    told: SyncSender<Told>,
    is_over: Arc<AtomicBool>,
}

impl<F> Kept<F> {
    /// Without a keeper: who says the news is the caller, to whom the remarks go as well.
    #[cfg(test)]
    pub(super) fn by_hand() -> (Self, SyncSender<News<F>>, Receiver<Told>) {
        let ((news, heard), (told, remarks)) = (sync_channel(WAITING), sync_channel(WAITING));
        (Self { news: heard, told, is_over: Arc::default() }, news, remarks)
    }

    /// A bell like that of the stream of this number.
    #[cfg(test)]
    pub(super) fn bell(&self, stream: u64) -> Bell {
        Bell { told: self.told.clone(), stream }
    }

    pub(super) fn news(&mut self) -> Option<News<F>> {
        self.news.try_recv().ok()
    }
}

impl<F> Drop for Kept<F> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // A keeper that has other remarks to read is not asleep.
        let _ = self.told.try_send(Told::Over);
    }
}

/// Opens a device and keeps it open, on a thread of its own, until what is returned is dropped. `cards` is made on that
/// thread, where all of it stays.
///
/// # Errors
/// When it cannot be opened now.
pub(super) fn keep<C: Cards>(
    direction: Direction,
    cards: impl FnOnce() -> C + Send + 'static,
) -> Result<Kept<C::Flow>, DeviceError>
where
    C::Flow: Send + 'static,
{
    let (news, heard) = sync_channel(WAITING);
    let (told, remarks) = sync_channel(WAITING);
    let (result, opened) = sync_channel(1);
    let is_over = Arc::new(AtomicBool::new(false));
    let kept = Kept { news: heard, told: told.clone(), is_over: Arc::clone(&is_over) };
    let run = move || {
        let started = std::time::Instant::now();
        let mut clock = || Instant::ZERO + started.elapsed();
        let mut keeper = Keeper::new(cards(), told, news);
        let first = keeper.begin(&mut clock);
        let mut next = first.as_ref().ok().copied();
        if result.send(first.map(drop)).is_err() {
            return;
        }
        while let Some(due) = next.filter(|_| !is_over.load(Ordering::Relaxed)) {
            // The keeper itself holds an end of this, so that it never breaks off.
            let told = remarks.recv_timeout(due.since(clock())).ok();
            next = keeper.step(&mut clock, told).ok();
        }
    };
    thread::Builder::new()
        .name(direction.to_string())
        .spawn(run)
        .map_err(|error| unusable(direction, format_args!("no thread could be started: {error}")))?;
    opened.recv_timeout(FIRST_OPEN).map_err(|_| unanswered(direction))??;
    Ok(kept)
}

#[cfg(test)]
mod tests;
