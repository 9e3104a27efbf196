use std::{cell::Cell, rc::Rc};

use super::*;

/// A sound system whose one device comes and goes as the test says.
#[derive(Clone, Default)]
struct FakeCards(Rc<Fake>);

#[derive(Default)]
struct Fake {
    now_us: Cell<u64>,
    is_there: Cell<bool>,
    is_moved: Cell<bool>,
    is_busy: Cell<bool>,
    /// How long an attempt to open it takes.
    attempt_ms: Cell<u64>,
    attempts: Cell<u32>,
    held: Cell<u32>,
}

struct FakeStream(Rc<Fake>);

impl Drop for FakeStream {
    fn drop(&mut self) {
        self.0.held.set(self.0.held.get() - 1);
    }
}

impl Cards for FakeCards {
    type Stream = FakeStream;
    type Flow = ();

    fn open(&mut self, bell: Bell) -> Result<(FakeStream, Open<()>), DeviceError> {
        let fake = &self.0;
        fake.attempts.set(fake.attempts.get() + 1);
        fake.now_us.set(fake.now_us.get() + fake.attempt_ms.get() * 1000);
        // As a sound system of which each client has one stream.
        assert_eq!(fake.held.get(), 0);
        if !fake.is_there.get() || fake.is_busy.get() {
            return Err(DeviceError("not there".to_owned()));
        }
        fake.is_moved.set(false);
        fake.held.set(fake.held.get() + 1);
        Ok((FakeStream(Rc::clone(fake)), Open { flow: (), name: "it".to_owned(), id: "it".to_owned(), bell }))
    }

    fn standing(&mut self) -> Standing {
        match (self.0.is_there.get(), self.0.is_moved.get()) {
            (false, _) => Standing::Missing,
            (true, true) => Standing::Moved,
            (true, false) => Standing::Same,
        }
    }
}

struct Rig {
    fake: Rc<Fake>,
    keeper: Keeper<FakeCards>,
    news: Receiver<News<()>>,
    remarks: Receiver<Told>,
    due: Instant,
}

impl Rig {
    fn new() -> Self {
        let fake = Rc::new(Fake::default());
        fake.is_there.set(true);
        let ((news, heard), (told, remarks)) = (sync_channel(WAITING), sync_channel(WAITING));
        let mut keeper = Keeper::new(FakeCards(Rc::clone(&fake)), told, news);
        let due = keeper.begin(&mut clock(&fake)).unwrap();
        Self { fake, keeper, news: heard, remarks, due }
    }

    /// Lets time go by, and gives the number of attempts to open it.
    fn run(&mut self, ms: u64) -> u32 {
        let before = self.fake.attempts.get();
        let end_us = self.fake.now_us.get() + ms * 1000;
        while self.due.as_micros() <= end_us {
            self.fake.now_us.set(self.due.as_micros().max(self.fake.now_us.get()));
            self.due = self.keeper.step(&mut clock(&self.fake), None).ok().unwrap();
        }
        self.fake.now_us.set(end_us.max(self.fake.now_us.get()));
        self.fake.attempts.get() - before
    }

    /// What was said to the sound thread, "+" for each that opens and "-" for each that is gone.
    fn said(&self) -> String {
        let sign = |news| match news {
            News::Open(_) => '+',
            News::Gone(_) => '-',
        };
        self.news.try_iter().map(sign).collect()
    }

    /// The bell of the stream that is open.
    fn bell(&self) -> Bell {
        Bell { told: self.keeper.told.clone(), stream: self.keeper.stream }
    }

    fn deliver(&mut self) {
        let told = self.remarks.try_recv().ok();
        self.due = self.keeper.step(&mut clock(&self.fake), told).ok().unwrap();
    }
}

fn clock(fake: &Rc<Fake>) -> impl FnMut() -> Instant + use<> {
    let fake = Rc::clone(fake);
    move || Instant::from_micros(fake.now_us.get())
}

#[test]
fn a_device_that_is_gone_is_tried_less_and_less_often_until_it_is_back() {
    let mut rig = Rig::new();
    assert_eq!(rig.run(60_000), 0, "while it works it is left alone");
    assert_eq!(rig.said(), "+");
    rig.fake.is_there.set(false);
    rig.run(1_000);
    assert_eq!((rig.said().as_str(), rig.fake.held.get()), ("-", 0), "it is closed");
    assert_eq!(rig.run(1_000), 2, "after 250 and 500 ms");
    let attempts = rig.run(60_000);
    assert!((14..=16).contains(&attempts), "{attempts} attempts in a minute");
    rig.fake.is_there.set(true);
    rig.run(LONGEST_PAUSE.as_millis() as u64);
    assert_eq!((rig.said().as_str(), rig.fake.held.get()), ("+", 1));
    // It has not proved itself yet: the next pause is as long as the last one.
    rig.bell().failed("loose contact".to_owned());
    rig.deliver();
    assert_eq!((rig.run(3_900), rig.run(200)), (0, 1));
    assert_eq!(rig.said(), "-+");
    rig.run(20_000);
    rig.bell().failed("again".to_owned());
    rig.deliver();
    assert_eq!(rig.run(250), 1, "it had worked for a while");
}

#[test]
fn attempts_that_take_long_are_seldom() {
    let mut rig = Rig::new();
    rig.fake.is_there.set(false);
    rig.fake.attempt_ms.set(2_000);
    let attempts = rig.run(3_600_000);
    assert!((150..250).contains(&attempts), "{attempts} attempts in an hour");
}

#[test]
fn the_default_device_is_followed_at_once() {
    let mut rig = Rig::new();
    rig.run(5_000);
    rig.fake.is_moved.set(true);
    assert_eq!(rig.run(1_000), 1);
    assert_eq!((rig.said().as_str(), rig.fake.held.get()), ("++", 1));
    assert_eq!(rig.run(5_000), 0);
    // One that cannot be opened is as good as none, until it can be.
    rig.fake.is_moved.set(true);
    rig.fake.is_busy.set(true);
    assert!(rig.run(2_000) > 1);
    assert_eq!((rig.said().as_str(), rig.fake.held.get()), ("-", 0));
    rig.fake.is_busy.set(false);
    rig.run(4_000);
    assert_eq!((rig.said().as_str(), rig.fake.held.get()), ("+", 1));
}

#[test]
fn what_is_said_of_an_old_stream_does_not_count_and_nobody_listening_ends_it() {
    let mut rig = Rig::new();
    let old = rig.bell();
    old.failed("it broke".to_owned());
    rig.deliver();
    rig.run(1_000);
    assert_eq!(rig.said(), "+-+");
    old.failed("it broke".to_owned());
    rig.deliver();
    assert_eq!((rig.said().as_str(), rig.fake.held.get()), ("", 1));
    let over = rig.keeper.step(&mut clock(&rig.fake), Some(Told::Over));
    assert!(over.is_err());
    drop(rig.news);
    rig.keeper.lose(Instant::ZERO, "gone".to_owned()).err().unwrap();
}

/// A device that tells when it is closed.
struct Telling(SyncSender<&'static str>);

struct TellingStream(SyncSender<&'static str>);

impl Drop for TellingStream {
    fn drop(&mut self) {
        let _ = self.0.send("closed");
    }
}

impl Cards for Telling {
    type Stream = TellingStream;
    type Flow = ();

    fn open(&mut self, bell: Bell) -> Result<(TellingStream, Open<()>), DeviceError> {
        let _ = self.0.send("opened");
        Ok((
            TellingStream(self.0.clone()),
            Open { flow: (), name: "it".to_owned(), id: "it".to_owned(), bell },
        ))
    }

    fn standing(&mut self) -> Standing {
        Standing::Same
    }
}

#[test]
fn a_device_is_open_for_as_long_as_somebody_has_it() {
    let (told, heard) = sync_channel(WAITING);
    let mut kept = keep(Direction::Input, move || Telling(told)).unwrap();
    assert_eq!(heard.recv(), Ok("opened"));
    let Some(News::Open(open)) = kept.news() else { panic!("it is not open") };
    open.bell.failed("it broke".to_owned());
    assert_eq!((heard.recv(), heard.recv()), (Ok("closed"), Ok("opened")));
    drop(kept);
    assert_eq!(heard.recv(), Ok("closed"));
}

#[test]
fn a_device_that_cannot_be_opened_at_first_is_an_error() {
    struct None;
    impl Cards for None {
        type Stream = ();
        type Flow = ();

        fn open(&mut self, _bell: Bell) -> Result<((), Open<()>), DeviceError> {
            Err(super::super::trouble::none(Direction::Output))
        }

        fn standing(&mut self) -> Standing {
            Standing::Missing
        }
    }
    let error = keep(Direction::Output, || None).err().unwrap();
    assert!(error.to_string().starts_with("there is no speaker"), "{error}");
}
