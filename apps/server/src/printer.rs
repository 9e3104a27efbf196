//! Lines for the operator, written by a thread of their own.
//!
//! A terminal that is stopped, or a pipe that nobody reads, never stops the server: lines wait in a bounded queue, and
//! past it they are counted instead. A flood of lines of one kind is cut short and summed up, so that strangers cannot
//! fill a disk with lines about themselves.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use chinwag_proto::{Duration, Instant};
use chinwag_transport_mio::clock;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written; more are counted and left out.
const QUEUED_LINES: usize = 4096;
/// Lines of one kind that are written within [`WINDOW`]; the rest is summed up at its end.
const LINES_PER_WINDOW: u64 = 100;
/// The same for names and topics that change: anybody may go on changing them for hours.
const CHANGES_PER_WINDOW: u64 = 20;
/// See [`LINES_PER_WINDOW`].
const WINDOW: Duration = Duration::from_secs(10);
/// How long [`Printer::close`] waits for a reader who does not read.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// The target of log lines that sum up others: a flood must not drown what is said about it.
pub(crate) const SUMMARY: &str = "summary";

/// What a line is about; each kind has a flood of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// What is said at the start and at the end, and summaries: never left out.
    Start,
    /// Connections.
    Connection,
    /// Joins and leaves.
    Membership,
    /// Other names and topics.
    Change,
    /// What people say, where the operator has a keyboard: never left out.
    Said,
    /// Log lines: errors.
    Error,
    /// Log lines: warnings.
    Warning,
    /// Log lines: information.
    Info,
    /// Log lines that were asked for in detail: never left out.
    Detail,
}

impl Kind {
    /// Lines that are written within [`WINDOW`]; all, where there is no limit.
    fn limit(self) -> Option<u64> {
        match self {
            Self::Start | Self::Said | Self::Detail => None,
            Self::Change => Some(CHANGES_PER_WINDOW),
            Self::Connection | Self::Membership | Self::Error | Self::Warning | Self::Info => {
                Some(LINES_PER_WINDOW)
            }
        }
    }

    /// What is said of lines that were left out.
    fn summary(self, count: u64) -> String {
        let seconds = WINDOW.as_secs();
        match self {
            Self::Connection => format!("{count} more have connected within {seconds} s."),
            Self::Membership => format!("{count} more joins and leaves within {seconds} s."),
            Self::Change => format!("{count} more names and topics were changed within {seconds} s."),
            Self::Error => format!("ERROR {count} more errors within {seconds} s"),
            Self::Warning => format!("WARN {count} more warnings within {seconds} s"),
            Self::Info => format!("INFO {count} more lines within {seconds} s"),
            Self::Start | Self::Said | Self::Detail => format!("{count} more lines"),
        }
    }
}

/// One kind's window: how many lines were written in it and how many were left out.
#[derive(Debug, Default)]
struct Window {
    ends: Instant,
    written: u64,
    left_out: u64,
}

/// Decides which lines are written.
#[derive(Debug, Default)]
struct Throttle(BTreeMap<Kind, Window>);

impl Throttle {
    /// True when this line is to be written. Call [`Throttle::summaries`] first.
    fn admits(&mut self, now: Instant, kind: Kind) -> bool {
        let Some(limit) = kind.limit() else { return true };
        let window = self.0.entry(kind).or_default();
        if now >= window.ends {
            *window = Window { ends: now + WINDOW, ..Window::default() };
        }
        let is_admitted = window.written < limit;
        window.written += u64::from(is_admitted);
        window.left_out += u64::from(!is_admitted);
        is_admitted
    }

    /// What was left out in windows that are over; at the very end, in all.
    fn summaries(&mut self, now: Instant, is_end: bool) -> impl Iterator<Item = String> {
        let is_over = move |window: &Window| is_end || now >= window.ends;
        self.0.iter_mut().filter(move |(_, window)| is_over(window) && window.left_out > 0).map(
            |(kind, window)| {
                let count = std::mem::take(&mut window.left_out);
                kind.summary(count)
            },
        )
    }

    /// When there is something to sum up.
    fn due(&self) -> Option<Instant> {
        self.0.values().filter(|window| window.left_out > 0).map(|window| window.ends).min()
    }
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<(Kind, Vec<u8>)>,
    /// Lines that found no place.
    lost: u64,
    is_closing: bool,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Whoever panicked while holding it left a queue that is still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A way to print lines that never blocks.
#[derive(Clone, Debug)]
pub(crate) struct Printer(Arc<Shared>);

impl Printer {
    /// A printer to `out`, which is flushed after each batch of lines.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writers = Arc::clone(&shared);
        thread::Builder::new().name("printer".to_owned()).spawn(move || write(&writers, out))?;
        Ok(Self(shared))
    }

    /// Prints a line (without its line feed).
    pub(crate) fn line(&self, kind: Kind, text: &str) {
        self.bytes(kind, format!("{text}\n").into_bytes());
    }

    fn bytes(&self, kind: Kind, bytes: Vec<u8>) {
        let mut queue = self.0.lock();
        if queue.lines.len() < QUEUED_LINES {
            queue.lines.push_back((kind, bytes));
        } else {
            queue.lost += 1;
        }
        drop(queue);
        self.0.changed.notify_all();
    }

    /// Writes what waits and then no more; gives up on a reader who does not read.
    pub(crate) fn close(&self) {
        let mut queue = self.0.lock();
        queue.is_closing = true;
        self.0.changed.notify_all();
        let give_up = clock::now() + CLOSE_PATIENCE;
        while !queue.is_closed {
            let left = give_up.since(clock::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The writing thread.
fn write(shared: &Shared, mut out: impl Write) {
    let mut throttle = Throttle::default();
    let mut queue = shared.lock();
    loop {
        let now = clock::now();
        let is_due = throttle.due().is_some_and(|due| due <= now);
        if !queue.lines.is_empty() || queue.lost > 0 || is_due {
            let (lines, lost) = (std::mem::take(&mut queue.lines), std::mem::take(&mut queue.lost));
            drop(queue);
            let mut text = Vec::new();
            for summary in throttle.summaries(now, false) {
                text.extend_from_slice(format!("{summary}\n").as_bytes());
            }
            for (kind, bytes) in lines {
                if throttle.admits(now, kind) {
                    text.extend_from_slice(&bytes);
                }
            }
            if lost > 0 {
                text.extend_from_slice(
                    format!("{lost} more lines that could not be written in time\n").as_bytes(),
                );
            }
            // When nobody reads any more, the server serves on in silence.
            let _ = out.write_all(&text).and_then(|()| out.flush());
            queue = shared.lock();
        } else if queue.is_closing {
            let text: String = throttle.summaries(now, true).map(|summary| summary + "\n").collect();
            drop(queue);
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            queue = shared.lock();
            queue.is_closed = true;
            shared.changed.notify_all();
            return;
        } else {
            queue = match throttle.due() {
                Some(due) => {
                    let waited = shared.changed.wait_timeout(queue, due.since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// One line of the log on its way to a printer.
#[derive(Debug)]
pub(crate) struct LogLine<'a> {
    printer: &'a Printer,
    kind: Kind,
    bytes: Vec<u8>,
}

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine<'_> {
    fn drop(&mut self) {
        self.printer.bytes(self.kind, std::mem::take(&mut self.bytes));
    }
}

impl<'a> MakeWriter<'a> for Printer {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine { printer: self, kind: Kind::Info, bytes: Vec::new() }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> LogLine<'a> {
        let kind = match *meta.level() {
            _ if meta.target() == SUMMARY => Kind::Start,
            Level::ERROR => Kind::Error,
            Level::WARN => Kind::Warning,
            Level::INFO => Kind::Info,
            _ => Kind::Detail,
        };
        LogLine { printer: self, kind, bytes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_summed_up_and_other_kinds_are_not_touched() {
        let mut throttle = Throttle::default();
        let at = |seconds: u64| Instant::ZERO + Duration::from_secs(100 + seconds);
        let admitted = (0..10_000).filter(|_| throttle.admits(at(0), Kind::Connection)).count();
        assert_eq!(admitted as u64, LINES_PER_WINDOW);
        assert!(throttle.admits(at(1), Kind::Membership) && throttle.admits(at(1), Kind::Error));
        assert_eq!(throttle.due(), Some(at(0) + WINDOW));
        assert_eq!(throttle.summaries(at(9), false).count(), 0);
        let summaries: Vec<_> = throttle.summaries(at(10), false).collect();
        assert_eq!(summaries, ["9900 more have connected within 10 s."]);
        assert_eq!((throttle.due(), throttle.summaries(at(11), true).count()), (None, 0));
        assert!(throttle.admits(at(11), Kind::Connection));
        assert!((0..1000).all(|_| throttle.admits(at(12), Kind::Detail)));
    }

    #[test]
    fn names_and_topics_that_change_all_the_time_are_summed_up_and_hide_no_joins() {
        let mut throttle = Throttle::default();
        let at = |ms: u64| Instant::ZERO + Duration::from_millis(ms);
        // Ten a second, as fast as one member may.
        let admitted = (0..100).filter(|n| throttle.admits(at(n * 99), Kind::Change)).count();
        assert_eq!(admitted as u64, CHANGES_PER_WINDOW);
        assert!((0..LINES_PER_WINDOW).all(|_| throttle.admits(at(9_900), Kind::Membership)));
        let summaries: Vec<_> = throttle.summaries(at(10_000), false).collect();
        assert_eq!(summaries, ["80 more names and topics were changed within 10 s."]);
    }

    /// Says when it is asked to write, and only then waits to be allowed to.
    struct Stuck {
        asked: mpsc::Sender<()>,
        allowed: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked.send(()).map_err(io::Error::other)?;
            self.allowed.recv().map_err(io::Error::other)?;
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_does_not_read_costs_lines_and_nothing_else() {
        let ((asked, is_asked), (allow, allowed), (written, lines)) =
            (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let printer = Printer::new(Stuck { asked, allowed, written }).unwrap();
        printer.line(Kind::Start, "first");
        is_asked.recv().unwrap();
        for _ in 0..QUEUED_LINES + 7 {
            printer.line(Kind::Detail, "x");
        }
        allow.send(()).unwrap();
        allow.send(()).unwrap();
        printer.close();
        assert_eq!(lines.recv().unwrap(), b"first\n");
        let rest = String::from_utf8(lines.recv().unwrap()).unwrap();
        assert_eq!(rest.lines().count(), QUEUED_LINES + 1);
        assert!(rest.ends_with("\n7 more lines that could not be written in time\n"));
    }

    #[test]
    fn a_stuck_reader_does_not_keep_the_server_from_ending() {
        let ((asked, is_asked), (_allow, allowed), (written, _lines)) =
            (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let printer = Printer::new(Stuck { asked, allowed, written }).unwrap();
        printer.line(Kind::Start, "first");
        is_asked.recv().unwrap();
        // Comes back at all: that is the test.
        printer.close();
    }
}
