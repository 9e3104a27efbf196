//! Classic peers: what each of them said, held against what the rooms' log has of it; what each is told, held against that log
//! from its welcome on; and what arrives, held against what was sent.

mod spoken;
mod told;

use std::collections::{BTreeMap, VecDeque};

use chinwag_proto::{Instant, SessionId, limits::CLASSIC_BYTES, server::CloseCause};

use self::{spoken::Spoken, told::Told};
use super::{
    Checker, Rule,
    log::{Logs, Owner},
};
use crate::{sometimes::Sometimes, tcp::ConnId};

/// What a classic peer is asked for.
pub(crate) const WHO: &str = "Type your name and press enter!";
/// What a welcome ends with.
pub(crate) const WELCOMED: &str = "! If you ever want to quit, type {quit} to exit.";
/// Says that somebody leaves.
pub(crate) const QUIT: &str = "{quit}";

pub(super) type Judgement = Result<(), (Rule, String)>;

/// What the server did with one connection, not judged yet.
#[derive(Debug)]
enum News {
    Piece(Vec<u8>),
    Admitted(SessionId),
    Closed(CloseCause),
}

/// What comes next over one connection.
#[derive(Debug)]
enum Stage {
    /// The question for a name.
    Asks,
    /// A word on the name that was given.
    Asked,
    Welcome(SessionId),
    /// What happens in the room.
    In(Told),
    Over,
}

/// One classic connection.
#[derive(Debug)]
struct Talk {
    generation: u32,
    spoken: Spoken,
    news: Vec<News>,
    stage: Stage,
    /// What was sent and has not arrived, each with whether its line must be ended, and how much of the first of it has.
    wire: VecDeque<(Vec<u8>, bool)>,
    arrived: usize,
    /// The end of a line comes next, since the peer ends its own.
    line_must_end: bool,
}

/// All classic connections.
#[derive(Debug, Default)]
pub(crate) struct Classics {
    talks: BTreeMap<ConnId, Talk>,
    /// Those with news.
    touched: Vec<ConnId>,
    /// What was seen that is worth to be looked for.
    pub(crate) seen: Vec<Sometimes>,
}

impl Classics {
    fn news(&mut self, conn: ConnId, news: News) {
        if let Some(talk) = self.talks.get_mut(&conn) {
            talk.news.push(news);
            self.touched.push(conn);
        }
    }

    /// The peer sends something.
    pub(crate) fn says(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(talk) = self.talks.get_mut(&conn) {
            talk.spoken.say(bytes);
        }
    }

    /// The server has read so many bytes more.
    pub(crate) fn was_read(&mut self, conn: ConnId, bytes: usize, now: Instant) {
        let Some(talk) = self.talks.get_mut(&conn) else { return };
        self.seen.extend(talk.spoken.was_read(bytes, now));
    }

    /// The server has a piece for the peer, for which there is room or not.
    pub(crate) fn queued(&mut self, conn: ConnId, piece: &[u8], has_room: bool) {
        if let Some(talk) = self.talks.get_mut(&conn).filter(|_| has_room) {
            talk.wire.push_back((piece.to_vec(), talk.spoken.is_known_to_end_lines()));
        }
        self.news(conn, News::Piece(piece.to_vec()));
    }

    /// The server closes the connection.
    pub(crate) fn closed(&mut self, conn: ConnId, cause: CloseCause) {
        self.news(conn, News::Closed(cause));
    }

    /// The server has lost the connection.
    pub(crate) fn lost(&mut self, conn: ConnId) -> bool {
        let Some(talk) = self.talks.get_mut(&conn) else { return false };
        matches!(std::mem::replace(&mut talk.stage, Stage::Over), Stage::In(_))
    }

    /// The peer will read nothing more.
    pub(crate) fn ended(&mut self, conn: ConnId) {
        if let Some(talk) = self.talks.get_mut(&conn) {
            talk.wire.clear();
        }
    }

    /// What a session said has its place in the log.
    pub(super) fn has_said(&mut self, conn: ConnId, name: &str, text: &str, now: Instant) -> Judgement {
        let Some(talk) = self.talks.get_mut(&conn) else {
            return Err((Rule::NoForgery, format!("nobody is connected who could have said: {text}")));
        };
        // The name came before it, though the welcome may not have been looked at yet.
        if let Some(name) = talk.name_in_news() {
            talk.spoken.take_name(&name)?;
        }
        if talk.spoken.name() != Some(name) {
            return Err((Rule::NoForgery, format!("is said to be {name}, who said: {text}")));
        }
        talk.spoken.take_text(text, now)
    }

    fn judge(&mut self, logs: &Logs, may_break: bool) -> Judgement {
        let Self { talks, touched, seen } = self;
        for conn in touched.drain(..) {
            let Some(talk) = talks.get_mut(&conn) else { continue };
            let verdict = talk.judge(logs, may_break, seen);
            verdict.map_err(|(rule, what)| (rule, format!("classic connection {}: {what}", conn.0)))?;
        }
        Ok(())
    }
}

impl Talk {
    fn new(generation: u32) -> Self {
        let (spoken, stage) = (Spoken::default(), Stage::Asks);
        Self {
            generation,
            spoken,
            news: Vec::new(),
            stage,
            wire: VecDeque::new(),
            arrived: 0,
            line_must_end: false,
        }
    }

    /// The name in a welcome that was not judged yet; only once.
    fn name_in_news(&self) -> Option<String> {
        if self.spoken.name().is_some() {
            return None;
        }
        self.news.iter().find_map(|news| match news {
            News::Piece(piece) => name_in(piece).map(str::to_owned),
            News::Admitted(_) | News::Closed(_) => None,
        })
    }

    fn judge(&mut self, logs: &Logs, may_break: bool, seen: &mut Vec<Sometimes>) -> Judgement {
        let mut news = std::mem::take(&mut self.news);
        let is_closed = matches!(news.last(), Some(News::Closed(_)));
        let goodbye = is_closed.then(|| (news.pop(), news.pop()));
        for news in news {
            match news {
                News::Piece(piece) => self.piece(&piece, logs, seen)?,
                News::Admitted(session) => {
                    seen.push(Sometimes::ClassicJoined);
                    self.stage = Stage::Welcome(session);
                }
                News::Closed(cause) => return Err((Rule::OneOrder, format!("goes on after {cause}"))),
            }
        }
        match goodbye {
            Some((Some(News::Closed(cause)), Some(News::Piece(piece)))) => {
                self.goodbye(&cause, &piece, may_break, seen)
            }
            Some(_) => Err((Rule::OneOrder, "was closed without a word".to_owned())),
            None => Ok(()),
        }
    }

    fn piece(&mut self, piece: &[u8], logs: &Logs, seen: &mut Vec<Sometimes>) -> Judgement {
        let Ok(text) = std::str::from_utf8(piece) else {
            return Err((Rule::Pieces, format!("is sent a piece that cuts a character: {piece:?}")));
        };
        if piece.len() > CLASSIC_BYTES || piece.is_empty() {
            return Err((Rule::Pieces, format!("is sent {} bytes at once", piece.len())));
        }
        match &mut self.stage {
            Stage::Asks if text == WHO => self.stage = Stage::Asked,
            Stage::Asked if text.starts_with("server: ") => {
                seen.push(Sometimes::ClassicAskedAgain);
                if text.contains("in use") {
                    seen.push(Sometimes::ClassicNameTaken);
                }
                self.stage = Stage::Asks;
            }
            Stage::Welcome(session) => {
                let Some(name) = name_in(piece) else {
                    return Err((Rule::OneOrder, format!("is not welcomed, but told: {text}")));
                };
                if self.spoken.name().is_none() {
                    self.spoken.take_name(name)?;
                }
                let told = Told::begin(logs, *session, name)?;
                self.stage = Stage::In(told);
            }
            Stage::In(told) => return told.piece(logs, text, seen),
            Stage::Asks | Stage::Asked | Stage::Over => {
                return Err((Rule::OneOrder, format!("is told, before or after all else: {text}")));
            }
        }
        Ok(())
    }

    fn goodbye(
        &mut self,
        cause: &CloseCause,
        piece: &[u8],
        may_break: bool,
        seen: &mut Vec<Sometimes>,
    ) -> Judgement {
        let is_quit = *cause == CloseCause::Quit;
        let expected = if is_quit { QUIT.to_owned() } else { format!("server: {cause}") };
        if piece != expected.as_bytes() {
            let told = String::from_utf8_lossy(piece);
            return Err((Rule::OneOrder, format!("is told at last, as the cause is `{cause}`: {told}")));
        }
        if !is_quit && !may_break {
            return Err((Rule::Connection, format!("is closed where nothing fails: {cause}")));
        }
        if is_quit {
            seen.push(Sometimes::ClassicQuit);
            seen.extend(self.spoken.quits()?);
        }
        if *cause == CloseCause::TooSlow {
            seen.push(Sometimes::ClassicTooSlow);
        }
        self.stage = Stage::Over;
        Ok(())
    }

    /// Bytes that arrive are those of the pieces that were sent, in order; between two of them a line may end.
    fn receive(&mut self, mut bytes: &[u8]) -> Judgement {
        while let Some((&next, rest)) = bytes.split_first() {
            if next == b'\n' && self.arrived == 0 {
                self.line_must_end = false;
                bytes = rest;
                continue;
            }
            if self.line_must_end {
                return Err((Rule::Pieces, "ends its lines, and is sent one that does not end".to_owned()));
            }
            let Some((piece, must_end)) = self.wire.front() else {
                return Err((Rule::OneOrder, format!("receives what nobody sent: {bytes:?}")));
            };
            let left = &piece[self.arrived..];
            let count = left.len().min(bytes.len());
            if left[..count] != bytes[..count] {
                let [expected, bytes] = [left, bytes].map(String::from_utf8_lossy);
                let what = format!("receives {bytes:?} in place of {expected:?}");
                return Err((Rule::OneOrder, what));
            }
            self.arrived += count;
            bytes = &bytes[count..];
            if self.arrived == piece.len() {
                self.line_must_end = *must_end;
                self.wire.pop_front();
                self.arrived = 0;
            }
        }
        Ok(())
    }

    fn lack(&self, logs: &Logs) -> Option<String> {
        let Stage::In(told) = &self.stage else { return Some("it is not in".to_owned()) };
        if self.generation != logs.generation {
            return Some("the server has another life".to_owned());
        }
        if !self.wire.is_empty() {
            return Some(format!("{} pieces have not arrived", self.wire.len()));
        }
        if self.line_must_end {
            return Some("a line has not ended".to_owned());
        }
        self.spoken.lack().or_else(|| told.lack(logs))
    }
}

/// The name in a welcome.
fn name_in(piece: &[u8]) -> Option<&str> {
    std::str::from_utf8(piece).ok()?.strip_prefix("Welcome ")?.strip_suffix(WELCOMED)
}

impl Checker {
    /// The server has a classic connection.
    pub(crate) fn classic_accepted(&mut self, conn: ConnId) {
        let generation = self.logs.generation;
        self.classics.talks.entry(conn).or_insert_with(|| Talk::new(generation)).generation = generation;
    }

    /// A classic peer begins a connection.
    pub(crate) fn classic_connects(&mut self, conn: ConnId) {
        self.classics.talks.insert(conn, Talk::new(self.logs.generation));
    }

    /// The server let a classic peer in.
    pub(crate) fn classic_admitted(&mut self, conn: ConnId, session: SessionId) {
        if !self.logs.assign(session, Owner::Classic(conn)) {
            let what = format!("classic connection {} was given {session:?}, which is another's", conn.0);
            self.fail(Rule::Resume, what);
        }
        self.classics.news(conn, News::Admitted(session));
    }

    /// Judges what was noted, once the log was looked at.
    pub(super) fn judge_classics(&mut self) {
        if !self.classics.touched.is_empty()
            && let Err((rule, what)) = self.classics.judge(&self.logs, self.may_break)
        {
            self.fail(rule, what);
        }
    }

    /// A classic peer reads.
    pub(crate) fn classic_reads(&mut self, conn: ConnId, bytes: &[u8]) {
        let verdict = self.classics.talks.get_mut(&conn).map_or(Ok(()), |talk| talk.receive(bytes));
        if let Err((rule, what)) = verdict {
            self.fail(rule, format!("classic connection {} {what}", conn.0));
        }
    }

    /// What a classic peer still lacks, when the world should be at rest.
    pub(crate) fn classic_lack(&self, conn: ConnId) -> Option<String> {
        self.classics.talks.get(&conn).map_or(Some("it was never there".to_owned()), |t| t.lack(&self.logs))
    }
}
