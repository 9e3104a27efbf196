//! Voice beside the text: a sound thread on time, a thread that reads and one that writes. Nothing is encoded, and nobody tells
//! talkers apart: whoever speaks at the same time is heard in turns, as the old server sends it.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use chinwag_audio::{
    SAMPLE_RATE_HZ, SILENCE,
    io::{MicRead, Microphone, Speaker},
    limits::MAX_BLOCKS_PER_TURN,
    process::{Processing, Processor},
    resample::Resampler,
};
use chinwag_terminal::Screen;
use chinwag_transport_mio::clock;
use socket2::SockRef;

use super::pcm::{CHUNK_FRAMES, Packer, Unpacker, Waiting};
use crate::voice::{NONE, is_wav, open_devices};

/// Chunks that wait for the network; at the limit the oldest is dropped and counted.
const WAITING_CHUNKS: usize = 16;
/// What is read at once.
const READ_BYTES: usize = 4096;
/// Without a microphone or speaker that asks for one, a turn is due after this.
const IDLE: Duration = Duration::from_millis(100);

/// The sound of a call: rate and channels are the server's.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) mic: String,
    pub(crate) speaker: String,
    pub(crate) rate_hz: u32,
    pub(crate) channels: u16,
}

/// What the conversation is told.
#[derive(Debug)]
pub(crate) enum VoiceEvent {
    /// A WAV microphone has come to its end, and all of it was sent.
    Spent,
    /// The connection for voice has ended; why.
    Lost(String),
    Trouble(String),
}

/// Hands over an event; false when nobody wants it, or not now.
type Tell = Arc<dyn Fn(VoiceEvent) -> bool + Send + Sync>;

/// The sound thread, seen from the conversation. It ends with this.
#[derive(Debug)]
pub(crate) struct Voice {
    format: Format,
    orders: SyncSender<Link>,
    thread: JoinHandle<()>,
    stream: Option<TcpStream>,
}

/// What the sound thread shares with those of the network.
#[derive(Clone)]
struct Link {
    outgoing: Arc<Outgoing>,
    incoming: Arc<Mutex<Waiting>>,
    tell: Tell,
}

impl Voice {
    /// Opens what `--mic` and `--speaker` name. A missing default device is told and done without.
    pub(crate) fn open(format: Format, screen: &mut Screen) -> Result<Self> {
        let (orders, inbox) = sync_channel(1);
        let (opened, is_open) = sync_channel(1);
        let chosen = format.clone();
        // Sound is due every few milliseconds, whatever the network does.
        let thread = thread::Builder::new()
            .name("sound".to_owned())
            .spawn(move || run(&chosen, &opened, &inbox))
            .context("no thread for sound could be started")?;
        let notices = is_open.recv().context("sound could not be started")??;
        notices.iter().for_each(|notice| screen.notice(notice));
        Ok(Self { format, orders, thread, stream: None })
    }

    /// The conversation has begun.
    pub(crate) fn start(
        &mut self,
        stream: TcpStream,
        tell: impl Fn(VoiceEvent) -> bool + Send + Sync + 'static,
    ) -> io::Result<()> {
        // Voice that waits in the system is voice that comes late.
        let chunk_bytes = CHUNK_FRAMES * usize::from(self.format.channels) * 2;
        SockRef::from(&stream).set_send_buffer_size(WAITING_CHUNKS * chunk_bytes)?;
        let link = Link {
            outgoing: Arc::default(),
            incoming: Arc::new(Mutex::new(Waiting::new(self.format.rate_hz))),
            tell: Arc::new(tell),
        };
        let (reader, writer) = (stream.try_clone()?, stream.try_clone()?);
        let format = self.format.clone();
        let (heard, said) = (link.clone(), link.clone());
        thread::Builder::new().name("hear".to_owned()).spawn(move || hear(&format, reader, &heard))?;
        thread::Builder::new().name("say".to_owned()).spawn(move || say(writer, &said))?;
        self.stream = Some(stream);
        // One that has failed has said so.
        let _ = self.orders.send(link);
        Ok(())
    }

    /// Nothing more is said; what was sent arrives.
    pub(crate) fn end(&self) {
        if let Some(stream) = &self.stream {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// Stops sound, so that a WAV file is whole.
    pub(crate) fn finish(self) {
        self.end();
        drop(self.orders);
        let _ = self.thread.join();
    }
}

/// Chunks on their way to the network.
#[derive(Debug, Default)]
struct Outgoing {
    queue: Mutex<Chunks>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Chunks {
    waiting: VecDeque<Vec<u8>>,
    is_finished: bool,
    dropped: u64,
}

impl Outgoing {
    fn lock(&self) -> MutexGuard<'_, Chunks> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, chunk: Vec<u8>) {
        let mut queue = self.lock();
        if queue.waiting.len() == WAITING_CHUNKS {
            queue.waiting.pop_front();
            queue.dropped += 1;
        }
        queue.waiting.push_back(chunk);
        self.changed.notify_one();
    }

    /// No more will come.
    fn finish(&self) {
        self.lock().is_finished = true;
        self.changed.notify_one();
    }

    /// Waits for the next chunk; none after the last one.
    fn next(&self) -> Option<Vec<u8>> {
        let mut queue = self.lock();
        loop {
            if let Some(chunk) = queue.waiting.pop_front() {
                return Some(chunk);
            }
            if queue.is_finished {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The writing thread.
fn say(mut stream: TcpStream, link: &Link) {
    while let Some(chunk) = link.outgoing.next() {
        if let Err(error) = stream.write_all(&chunk) {
            (link.tell)(VoiceEvent::Lost(error.to_string()));
            return;
        }
    }
    (link.tell)(VoiceEvent::Spent);
}

/// The reading thread. What comes is read in any case: an old server waits for whoever does not.
fn hear(format: &Format, mut stream: TcpStream, link: &Link) {
    let Ok(mut resampler) = Resampler::new(format.rate_hz, SAMPLE_RATE_HZ, chunk(format.rate_hz)) else {
        return;
    };
    let is_heard = format.speaker != NONE;
    let mut unpacker = Unpacker::new(format.channels);
    let (mut buffer, mut samples, mut converted) = ([0; READ_BYTES], vec![], vec![]);
    let why = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break "the server has closed it".to_owned(),
            Ok(length) if is_heard => {
                unpacker.push(&buffer[..length], &mut samples);
                resampler.push(&samples, &mut converted);
                link.incoming.lock().unwrap_or_else(PoisonError::into_inner).push(&converted);
                samples.clear();
                converted.clear();
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break error.to_string(),
        }
    };
    (link.tell)(VoiceEvent::Lost(why));
}

/// 10 ms at this rate: what a converter waits for.
fn chunk(rate_hz: u32) -> usize {
    (rate_hz / 100) as usize
}

/// The sound thread.
fn run(format: &Format, opened: &SyncSender<Result<Vec<String>>>, inbox: &Receiver<Link>) {
    let mut notices = Vec::new();
    let made = open_devices(&format.mic, &format.speaker, false, &mut notices).and_then(|(mic, speaker)| {
        let resampler = Resampler::new(SAMPLE_RATE_HZ, format.rate_hz, chunk(SAMPLE_RATE_HZ))?;
        Ok((mic, speaker, resampler))
    });
    let (mic, speaker, resampler) = match made {
        Ok(made) => made,
        Err(error) => {
            // Whoever waits for this is there.
            let _ = opened.send(Err(error));
            return;
        }
    };
    if opened.send(Ok(notices)).is_err() {
        return;
    }
    let Ok(link) = inbox.recv() else { return };
    // As it is done for the newer servers; the old one sends everybody back to himself besides.
    let processing = if is_wav(&format.mic) { Processing::none() } else { Processing::default() };
    let mut sound = Sound {
        mic,
        speaker,
        link,
        processor: Processor::new(processing),
        resampler,
        packer: Packer::new(format.channels),
        trouble: None,
        is_spent: false,
    };
    sound.mic.start(clock::now());
    sound.speaker.start(clock::now());
    loop {
        let due = sound.turn();
        if let Err(RecvTimeoutError::Disconnected) = inbox.recv_timeout(due) {
            sound.report();
            return;
        }
    }
}

struct Sound {
    mic: Box<dyn Microphone>,
    speaker: Box<dyn Speaker>,
    link: Link,
    processor: Processor,
    resampler: Resampler,
    packer: Packer,
    /// What could not be told yet.
    trouble: Option<String>,
    is_spent: bool,
}

impl Sound {
    /// Does what is due and tells how long it is until the next turn.
    fn turn(&mut self) -> Duration {
        let now = clock::now();
        let (mut block, mut converted) = (SILENCE, Vec::new());
        let outgoing = Arc::clone(&self.link.outgoing);
        let mut send = |chunk| outgoing.push(chunk);
        for _ in 0..MAX_BLOCKS_PER_TURN {
            match self.mic.read(now, &mut block) {
                MicRead::Block => {
                    self.processor.process(&mut block, false);
                    self.resampler.push(&block, &mut converted);
                }
                MicRead::NotYet => break,
                MicRead::Spent if self.is_spent => break,
                MicRead::Spent => {
                    self.is_spent = true;
                    self.resampler.finish(&mut converted);
                    break;
                }
            }
        }
        self.packer.push(&converted, &mut send);
        if self.is_spent {
            self.packer.finish(&mut send);
            outgoing.finish();
        }
        for _ in 0..self.speaker.ready(now).min(MAX_BLOCKS_PER_TURN) {
            self.link.incoming.lock().unwrap_or_else(PoisonError::into_inner).pull(&mut block);
            self.processor.hear(&block);
            self.speaker.write(&block);
        }
        self.tell_trouble();
        let due = [self.mic.due(now), self.speaker.due(now)].into_iter().flatten().min();
        due.map_or(IDLE, |due| due.since(clock::now()))
    }

    fn tell_trouble(&mut self) {
        let trouble = self.trouble.take().or_else(|| self.mic.take_trouble());
        self.trouble = trouble.or_else(|| self.speaker.take_trouble());
        if let Some(trouble) = &self.trouble
            && (self.link.tell)(VoiceEvent::Trouble(trouble.clone()))
        {
            self.trouble = None;
        }
    }

    fn report(&self) {
        let (dropped_ms, gaps) = self.link.incoming.lock().unwrap_or_else(PoisonError::into_inner).faults();
        let unsent = self.link.outgoing.lock().dropped;
        tracing::info!(
            "voice: came too late {gaps} times; {dropped_ms} ms of it dropped; {unsent} chunks that the server did not take dropped"
        );
    }
}
