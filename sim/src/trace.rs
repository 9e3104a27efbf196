//! What happened, as one number, and as lines for whoever wants to read them.

use std::{fmt, io};

/// Who did something or was done something to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    Server,
    Client(u32),
    World,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => write!(f, "server"),
            Self::Client(number) => write!(f, "client{number}"),
            Self::World => write!(f, "world"),
        }
    }
}

macro_rules! marks {
    ($($name:ident = $text:literal,)*) => {
        /// The kinds of trace lines; each has two numbers, which its text names.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Mark { $($name,)* }

        impl Mark {
            /// The mark and the names of its two numbers (`-`: not used).
            fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

marks! {
    Connect = "connect connection -",
    Accepted = "accepted connection peer",
    Connected = "connected connection -",
    Stream = "stream bytes hash",
    Fin = "fin connection -",
    Broken = "broken connection -",
    Cut = "cut until_us -",
    Reset = "reset - -",
    Parted = "parted for_us sides",
    Rebind = "rebind - -",
    Crash = "crash silent -",
    Restart = "restart generation -",
    Fall = "fall silent -",
    Asleep = "asleep until_us -",
    Jump = "jump by_us -",
    Harm = "harm what -",
    Astray = "astray bytes -",
    Refused = "refused hash -",
    Datagram = "datagram bytes hash",
    Dropped = "dropped bytes why",
    Wake = "wake - -",
    Close = "close connection -",
    Pause = "pause connection -",
    Unpause = "unpause connection -",
    Overflow = "overflow connection -",
    Say = "say number bytes",
    Welcome = "welcome session resumed",
    Said = "said seq hash",
    Joined = "joined session -",
    Left = "left session -",
    Missed = "missed messages -",
    Meanwhile = "meanwhile joined left",
    History = "history lines more",
    NotSaid = "notsaid hash -",
    Reconnecting = "reconnecting pause_us -",
    Path = "path way -",
    Voice = "voice talker number",
    Heard = "heard bytes -",
    Ended = "ended reason -",
    Phase = "phase number -",
    Turn = "turn what -",
    Entered = "entered told last",
    NotEntered = "notentered hash -",
    Changed = "changed session hash",
    Topic = "topic hash at_ms",
    Rooms = "rooms count -",
    NotDone = "notdone hash -",
    Whim = "whim what -",
}

/// The running hash of all lines (FNV-1a over their fields, eight bytes at a time), and perhaps a file of them.
pub(crate) struct Trace<'a> {
    hash: u64,
    file: Option<&'a mut dyn io::Write>,
    error: Option<io::Error>,
}

impl<'a> Trace<'a> {
    pub(crate) fn new(file: Option<&'a mut dyn io::Write>) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, file, error: None }
    }

    pub(crate) fn record(&mut self, at_us: u64, node: Node, mark: Mark, a: u64, b: u64) {
        let who = match node {
            Node::Server => 0,
            Node::World => 1,
            Node::Client(number) => 2 + u64::from(number),
        };
        for field in [at_us, (who << 8) | mark as u64, a, b] {
            self.hash = step(self.hash, field);
        }
        if let Some(file) = &mut self.file
            && let Err(error) = writeln!(file, "{at_us} {node} {} {a} {b}", mark.text())
        {
            self.error = Some(error);
            self.file = None;
        }
    }

    /// The hash; an error when lines could not be written.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        self.error.map_or(Ok(self.hash), Err)
    }
}

/// The hash of some bytes, for a trace line. Every byte and the length count. Four sums side by side, since each step of one
/// waits for its last.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let word = |word: &[u8; 8]| u64::from_le_bytes(*word);
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut sums = [bytes.len() as u64, 1, 2, 3];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (sum, next) in sums.iter_mut().zip(words) {
            *sum = step(*sum, word(next));
        }
    }
    let (words, rest) = rest.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let [first, sums @ ..] = sums;
    words.iter().map(word).chain([word(&last)]).chain(sums).fold(first, step)
}

fn step(hash: u64, field: u64) -> u64 {
    // The rotation lets high bits reach low ones, which the multiplication alone does not.
    ((hash ^ field).wrapping_mul(0x0000_0100_0000_01b3)).rotate_left(23)
}
