//! The threads of a lasting history: one writes, one reads pages, one searches, so that the server's loop waits for none of them, and
//! no page for somebody's search.
//!
//! What came while the last batch was written is the next one (group commit): the slower the disk, the more a batch takes. What waits
//! is bounded by the core, which reads nothing more from members who are far ahead of the disk.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    thread::{self, JoinHandle},
};

use chinwag_proto::{
    Duration, RoomId, Seq,
    history::{KeepError, KeptMessage, Write},
    server::ReadRequest,
};
use mio::Waker;

use crate::{
    clock,
    history::{Store, StoreError, StoreReader},
};

/// Most that is kept by one transaction, and so told at once: enough for the disk, few enough for whoever waits.
const BATCH: usize = 1024;
/// When the server stops, the disk has so long to take what waits.
const FINISH_TIME: Duration = Duration::from_secs(10);
/// How often what is too old is looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// An answer of the store.
#[derive(Debug)]
pub(super) enum Answer {
    Kept {
        run: u32,
        count: usize,
    },
    NotKept {
        run: u32,
        why: KeepError,
        error: StoreError,
    },
    Expired {
        room: RoomId,
        before: Seq,
    },
    Read {
        ticket: u32,
        found: Result<Vec<KeptMessage>, StoreError>,
    },
    /// What is too old could not be forgotten.
    Untidy(StoreError),
}

/// The loop's end.
#[derive(Debug)]
pub(super) struct Keeper {
    jobs: Option<Sender<(u32, Vec<Write>)>>,
    pages: Option<Asking>,
    searches: Option<Asking>,
    answers: Receiver<Answer>,
    threads: Vec<JoinHandle<()>>,
    /// What is given out with the next [`Keeper::flush`].
    run: u32,
    gathered: Vec<Write>,
    /// What was handed over and not answered yet.
    waiting: usize,
}

impl Keeper {
    /// Starts the threads. `waker` is told of each answer.
    pub(super) fn start(store: Box<dyn Store>, waker: &Arc<Waker>) -> io::Result<Self> {
        let (jobs, waiting_jobs) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let (page_reader, search_reader) = (store.reader()?, store.reader()?);
        let answers_to = Answers { answers: answer, waker: Arc::clone(waker) };
        let writer = Writer { store, answers: answers_to.clone(), failed_run: None };
        let reading = |name: &str, reader| {
            let asking = Asking::default();
            let (questions, answers) = (Arc::clone(&asking.0), answers_to.clone());
            let thread = thread::Builder::new().name(name.to_owned());
            let thread = thread.spawn(move || read_all(reader, &questions, &answers))?;
            io::Result::Ok((asking, thread))
        };
        let (pages, pages_thread) = reading("history-pages", page_reader)?;
        let (searches, searches_thread) = reading("history-search", search_reader)?;
        let writing = thread::Builder::new().name("history".to_owned());
        let threads = vec![writing.spawn(move || writer.run(&waiting_jobs))?, pages_thread, searches_thread];
        let (jobs, pages, searches) = (Some(jobs), Some(pages), Some(searches));
        Ok(Self { jobs, pages, searches, answers, threads, run: 0, gathered: Vec::new(), waiting: 0 })
    }

    /// To be kept, with the next [`Keeper::flush`].
    pub(super) fn keep(&mut self, run: u32, write: Write) {
        if run != self.run {
            // Of a run that failed meanwhile.
            self.gathered.clear();
            self.waiting = 0;
            self.run = run;
        }
        self.gathered.push(write);
    }

    /// To be read.
    pub(super) fn read(&mut self, ticket: u32, what: ReadRequest) {
        let asking = match &what {
            ReadRequest::Page(_) => &self.pages,
            ReadRequest::Search(_) => &self.searches,
        };
        if let Some(Asking(questions)) = asking {
            questions.ask(ticket, what);
        }
    }

    /// Nobody waits for this any more; true when its thread had not begun with it and will not.
    pub(super) fn leaves_unread(&mut self, ticket: u32) -> bool {
        self.pages.iter().chain(&self.searches).any(|Asking(questions)| questions.take_back(ticket))
    }

    /// Hands over what was gathered.
    pub(super) fn flush(&mut self) {
        if !self.gathered.is_empty() {
            let job = (self.run, std::mem::take(&mut self.gathered));
            self.waiting += job.1.len();
            // If the thread has failed, `answer` says so.
            let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
        }
    }

    /// The next answer.
    ///
    /// # Errors
    /// A thread has failed.
    pub(super) fn answer(&mut self) -> io::Result<Option<Answer>> {
        match self.answers.try_recv() {
            Ok(answer) => {
                self.note(&answer);
                Ok(Some(answer))
            }
            Err(TryRecvError::Empty) if self.threads.iter().any(JoinHandle::is_finished) => {
                Err(io::Error::other("the history's thread has failed"))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(io::Error::other("the history's threads have failed")),
        }
    }

    /// What waits is less by this.
    fn note(&mut self, answer: &Answer) {
        match answer {
            &Answer::Kept { run, count } if run == self.run => {
                self.waiting = self.waiting.saturating_sub(count);
            }
            &Answer::NotKept { run, .. } if run == self.run => self.waiting = 0,
            Answer::Kept { .. }
            | Answer::NotKept { .. }
            | Answer::Expired { .. }
            | Answer::Read { .. }
            | Answer::Untidy(_) => {}
        }
    }

    /// Waits until all is kept that was handed over, for a while.
    ///
    /// # Errors
    /// A thread has failed, or the disk takes longer than that: then the thread is left to it.
    pub(super) fn finish(self) -> io::Result<()> {
        self.finish_within(FINISH_TIME)
    }

    fn finish_within(mut self, patience: Duration) -> io::Result<()> {
        self.flush();
        (self.jobs, self.pages, self.searches) = (None, None, None);
        let due = clock::now() + patience;
        loop {
            match self.answers.recv_timeout(due.since(clock::now())) {
                Ok(answer) => self.note(&answer),
                // All threads have ended, or will at once.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(self.unfinished(patience)),
            }
        }
        let ends = self.threads.drain(..).map(JoinHandle::join);
        let failed = ends.filter(Result::is_err).count();
        if failed > 0 { Err(io::Error::other("the history's thread has failed")) } else { Ok(()) }
    }

    fn unfinished(&self, patience: Duration) -> io::Error {
        let lost = match self.waiting {
            0 => "all messages are kept, but the file is not closed properly".to_owned(),
            1 => "the last message may not be kept".to_owned(),
            waiting => format!("the last {waiting} messages may not be kept"),
        };
        let seconds = patience.as_secs();
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "the history's disk did not answer for {seconds} s, it is waited for no longer: {lost}; nobody was told a message \
                 that is not kept, and chinwag's clients say such ones again"
            ),
        )
    }
}

/// Answers go through a queue that is as long as what was asked for; the loop takes all of it in each turn.
#[derive(Clone, Debug)]
struct Answers {
    answers: Sender<Answer>,
    waker: Arc<Waker>,
}

impl Answers {
    fn give(&self, answer: Answer) {
        // A loop that has ended needs no answers, and a waker fails only when there is nobody to wake.
        let _ = self.answers.send(answer);
        let _ = self.waker.wake();
    }
}

struct Writer {
    store: Box<dyn Store>,
    answers: Answers,
    /// What is left of this run is not to be kept.
    failed_run: Option<u32>,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<(u32, Vec<Write>)>) {
        let mut tidy_at = clock::now();
        loop {
            let now = clock::now();
            if now >= tidy_at && !self.tidy() {
                tidy_at = now + TIDY_INTERVAL;
            }
            match jobs.recv_timeout(tidy_at.since(now)) {
                Ok((run, mut batch)) => {
                    let mut next = None;
                    while batch.len() < BATCH {
                        match jobs.try_recv() {
                            Ok((other, more)) if other == run => batch.extend(more),
                            Ok(of_another_run) => {
                                next = Some(of_another_run);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.write(run, &batch);
                    if let Some((run, batch)) = next {
                        self.write(run, &batch);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, run: u32, batch: &[Write]) {
        if self.failed_run == Some(run) {
            return;
        }
        match self.store.write(batch) {
            Ok(()) => self.answers.give(Answer::Kept { run, count: batch.len() }),
            Err(error) => {
                self.failed_run = Some(run);
                let why = match error {
                    StoreError::Full => KeepError::Full,
                    StoreError::Failed(_) => KeepError::Failed,
                };
                self.answers.give(Answer::NotKept { run, why, error });
            }
        }
    }

    /// Forgets some of what is too old. False when nothing is left of it.
    fn tidy(&mut self) -> bool {
        match self.store.tidy(clock::calendar()) {
            Ok(Some((room, before))) => {
                self.answers.give(Answer::Expired { room, before });
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.answers.give(Answer::Untidy(error));
                false
            }
        }
    }
}

/// What a thread is to read, oldest first; the core bounds how much that is.
#[derive(Debug, Default)]
struct Questions {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    questions: VecDeque<(u32, ReadRequest)>,
    /// Nobody waits for any of them.
    is_over: bool,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing is done under it that could fail halfway.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, ticket: u32, what: ReadRequest) {
        self.lock().questions.push_back((ticket, what));
        self.changed.notify_one();
    }

    /// False when it is not there any more.
    fn take_back(&self, ticket: u32) -> bool {
        let questions = &mut self.lock().questions;
        let before = questions.len();
        questions.retain(|(other, _)| *other != ticket);
        questions.len() < before
    }

    /// Waits for the next one; none when nobody asks any more.
    fn next(&self) -> Option<(u32, ReadRequest)> {
        let is_idle = |waiting: &mut Waiting| waiting.questions.is_empty() && !waiting.is_over;
        let mut waiting =
            self.changed.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        if waiting.is_over { None } else { waiting.questions.pop_front() }
    }
}

/// The loop's end of a thread's questions: the thread ends with it.
#[derive(Debug, Default)]
struct Asking(Arc<Questions>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_one();
    }
}

fn read_all(mut reader: Box<dyn StoreReader>, questions: &Questions, answers: &Answers) {
    while let Some((ticket, what)) = questions.next() {
        let found = match &what {
            ReadRequest::Page(page) => reader.page(page),
            ReadRequest::Search(search) => reader.search(search),
        };
        answers.give(Answer::Read { ticket, found });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use chinwag_proto::{
        MessageId,
        history::{AuthorKey, PageRequest, SearchRequest, UnixMillis},
        name::Name,
    };
    use mio::{Poll, Token};

    use super::*;

    /// A disk that writes what it is let to.
    #[derive(Debug)]
    struct Slow {
        begun: Sender<usize>,
        goes_on: Receiver<()>,
    }

    impl Store for Slow {
        fn write(&mut self, batch: &[Write]) -> Result<(), StoreError> {
            self.begun.send(batch.len()).unwrap();
            self.goes_on.recv().map_err(|_| StoreError::Full)
        }

        fn tidy(&mut self, _: UnixMillis) -> Result<Option<(RoomId, Seq)>, StoreError> {
            Ok(None)
        }

        fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
            Ok(Box::new(Nothing))
        }
    }

    #[derive(Debug)]
    struct Nothing;

    impl StoreReader for Nothing {
        fn page(&mut self, _: &PageRequest) -> Result<Vec<KeptMessage>, StoreError> {
            Ok(vec![])
        }

        fn search(&mut self, _: &SearchRequest) -> Result<Vec<KeptMessage>, StoreError> {
            Ok(vec![])
        }
    }

    fn message(seq: u64) -> Write {
        Write::Message(KeptMessage {
            room: RoomId::from_wire(1),
            seq: Seq::from_wire(seq),
            at: UnixMillis(0),
            author: AuthorKey([1; 16]),
            id: MessageId::from_wire(seq),
            name: Name::new("Foo").unwrap(),
            text: "hello".into(),
        })
    }

    /// A store that finds nothing, when it is let to.
    #[derive(Debug)]
    struct Searching {
        begun: Sender<Box<str>>,
        goes_on: Receiver<()>,
    }

    impl StoreReader for Searching {
        fn page(&mut self, _: &PageRequest) -> Result<Vec<KeptMessage>, StoreError> {
            Ok(vec![])
        }

        fn search(&mut self, what: &SearchRequest) -> Result<Vec<KeptMessage>, StoreError> {
            self.begun.send(what.words.clone()).unwrap();
            self.goes_on.recv().map(|()| vec![]).map_err(|_| StoreError::Full)
        }
    }

    #[test]
    fn a_search_that_nobody_waits_for_is_left_unless_it_has_begun() {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let ((begun, has_begun), (go_on, goes_on)) = (mpsc::channel(), mpsc::channel());
        let (answers, answered) = mpsc::channel();
        let asking = Asking::default();
        let (questions, answers) = (Arc::clone(&asking.0), Answers { answers, waker });
        let reader = Box::new(Searching { begun, goes_on });
        let thread = thread::spawn(move || read_all(reader, &questions, &answers));
        for (ticket, words) in [(1, "one"), (2, "two"), (3, "three")] {
            let (room, words, before) = (RoomId::from_wire(1), words.into(), Seq::from_wire(9));
            asking.0.ask(ticket, ReadRequest::Search(SearchRequest { room, words, before, limit: 1 }));
        }
        assert_eq!(&*has_begun.recv().unwrap(), "one");
        assert_eq!([1, 2, 2, 7].map(|ticket| asking.0.take_back(ticket)), [false, true, false, false]);
        go_on.send(()).unwrap();
        assert_eq!(&*has_begun.recv().unwrap(), "three");
        go_on.send(()).unwrap();
        let tickets: Vec<_> = answered.iter().take(2).collect();
        assert!(
            matches!(tickets[..], [Answer::Read { ticket: 1, .. }, Answer::Read { ticket: 3, .. }]),
            "{tickets:?}"
        );
        // The thread ends with the loop.
        drop(asking);
        thread.join().unwrap();
    }

    fn keeper() -> (Keeper, Receiver<usize>, Sender<()>, Poll) {
        let ((begun, has_begun), (go_on, goes_on)) = (mpsc::channel(), mpsc::channel());
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        (Keeper::start(Box::new(Slow { begun, goes_on }), &waker).unwrap(), has_begun, go_on, poll)
    }

    #[test]
    fn a_disk_that_hangs_is_not_waited_for_for_ever_when_the_server_stops() {
        let (mut keeper, has_begun, go_on, _poll) = keeper();
        keeper.keep(0, message(1));
        keeper.flush();
        assert_eq!(has_begun.recv(), Ok(1));
        go_on.send(()).unwrap();
        keeper.keep(0, message(2));
        keeper.keep(0, message(3));
        keeper.flush();
        assert_eq!(has_begun.recv(), Ok(2));
        let error = keeper.finish_within(Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("the last 2 messages may not be kept"), "{error}");
    }

    #[test]
    fn what_waits_is_kept_before_a_server_ends() {
        let (mut keeper, has_begun, go_on, _poll) = keeper();
        keeper.keep(0, message(1));
        // It is handed over, too.
        go_on.send(()).unwrap();
        keeper.finish().unwrap();
        assert_eq!(has_begun.recv(), Ok(1));
    }
}
