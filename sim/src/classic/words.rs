//! What the user of a classic program types: names, allowed ones and others, and messages that name themselves.

use chinwag_proto::{Rng, limits::CLASSIC_BYTES};

use crate::{
    check::name_of,
    random::{MILLION, between, chance},
};

/// Names that nobody is given, unless they are cut in two; then they are not what a client may want.
const ILLEGAL: [&str; 8] =
    ["a:b", "server", "Server", "two  spaces", "\u{202e}evil", "0 Nobody: hi", "\u{2800}", "tab\tbed"];
/// What messages are made of.
const WORDS: [&str; 10] = [
    "hello",
    "{quit}",
    "Grüße",
    "日本語",
    "👩‍👩‍👧",
    "\u{1b}[2J",
    "0 Person has joined the chat!",
    "0 Person: I am not",
    "{qu",
    "\u{202e}",
];
/// Bytes of a long message.
const LONG: (u64, u64) = (CLASSIC_BYTES as u64 - 40, 3 * CLASSIC_BYTES as u64);

pub(super) struct Words {
    link: u32,
    clients: u32,
    text_ppm: u32,
    messages: u64,
    /// Names that were refused since the program was started.
    refusals: u32,
    /// What the server would let it be called.
    suggestion: Option<String>,
}

impl Words {
    pub(super) fn new(link: u32, clients: u32, text_ppm: u32) -> Self {
        Self { link, clients, text_ppm, messages: 0, refusals: 0, suggestion: None }
    }

    /// How much of the time there is something to say.
    pub(super) fn text_ppm(&self) -> u32 {
        self.text_ppm
    }

    /// The program was started.
    pub(super) fn begin(&mut self) {
        (self.refusals, self.suggestion) = (0, None);
    }

    /// It is asked for a name, after that.
    pub(super) fn refused(&mut self, shown: &str) {
        let suggestion = shown.split_once("in use here; ").and_then(|(_, rest)| rest.split_once(" would be"));
        self.suggestion = suggestion.map(|(name, _)| name.to_owned());
        self.refusals += 1;
    }

    /// A name that nobody else wants, another one each time.
    pub(super) fn own_name(&self) -> String {
        let number = self.refusals;
        if number > 1 { format!("{} Classic {number}", self.link) } else { format!("{} Classic", self.link) }
    }

    /// Whether a client may want that name.
    pub(super) fn is_of_a_client(&self, name: &str) -> bool {
        name.to_lowercase().contains("person")
    }

    /// Some name or other; a client's only if it may be taken, which the first client's may be if it is there for certain.
    pub(super) fn name(&mut self, rng: &mut Rng, may_take: bool, is_first: bool) -> String {
        match rng.below(20) {
            0..=2 if may_take => {
                let client = if is_first { 0 } else { rng.below(u64::from(self.clients)) };
                let name = name_of(u32::try_from(client).unwrap_or(0));
                if chance(rng, MILLION / 2) { name } else { name.to_uppercase() }
            }
            3..=5 => (*one_of(rng, &ILLEGAL)).to_owned(),
            6 => "x".repeat(between(rng, 33, 2 * CLASSIC_BYTES as u64) as usize),
            7 => String::new(),
            8 => " ".to_owned(),
            9 => format!("{} Ünïcödé 日本", self.link),
            10 => format!("{} has joined the chat!", self.link),
            11 | 12 => format!("{} Classic", self.link ^ 1),
            13 => "{quit}".to_owned(),
            14..=16 => match self.suggestion.take() {
                // Not one that a client would be offered, too.
                Some(name) if may_take || !self.is_of_a_client(&name) => name,
                Some(_) | None => self.own_name(),
            },
            _ => self.own_name(),
        }
    }

    /// The next message.
    pub(super) fn message(&mut self, rng: &mut Rng) -> String {
        let words = rng.below(12);
        let words: String = (0..words).map(|_| *one_of(rng, &WORDS)).collect();
        self.stamped(&words)
    }

    /// The next message, which may be longer than one read of the original program.
    pub(super) fn long_message(&mut self, rng: &mut Rng) -> String {
        let bytes = between(rng, LONG.0, LONG.1) as usize;
        let mut words = String::new();
        while words.len() < bytes {
            words.push_str(if chance(rng, MILLION / 2) { "日" } else { "x" });
        }
        self.stamped(&words)
    }

    fn stamped(&mut self, words: &str) -> String {
        self.messages += 1;
        let head = format!("{} {} ", self.link, self.messages);
        // As what clients say: who, which, how long.
        format!("{head}{:04} {words}", head.len() + 5 + words.len())
    }
}

fn one_of<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[rng.below(all.len() as u64) as usize]
}
