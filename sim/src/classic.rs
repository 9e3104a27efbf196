//! A classic peer: somebody with the original program, or with `nc`. It has no machine: what it receives is shown, what its
//! user types is sent, and the user does what people do, sensible or not.

mod user;
mod words;

use chinwag_proto::{Rng, outbox::Class};

pub(crate) use self::user::{Deed, Mood};
use self::words::Words;
use crate::{
    check::{
        Checker, Rule,
        classic::QUIT,
        classic::{WELCOMED, WHO},
    },
    net::{Net, Read},
    random::{MILLION, between, chance},
    tcp::{ConnId, EndState, Side},
};

/// How far a peer is with its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Away,
    Connecting,
    /// It is asked for a name.
    Asked,
    /// It gave one.
    Named,
    In,
    /// It said that it leaves.
    Leaving,
}

pub(crate) struct ClassicNode {
    link: u32,
    rng: Rng,
    words: Words,
    conn: Option<ConnId>,
    stage: Stage,
    /// Since when it is at that.
    since_us: u64,
    /// It ends lines, as `nc` does.
    ends_lines: bool,
    deaf_until_us: u64,
    /// A text of it had the word in it by which one quits.
    seems_to_quit: bool,
    /// The other half of what it sends.
    rest: Vec<u8>,
    /// What it was shown before it was let in.
    shown: Vec<u8>,
    name: String,
    /// When it saw to it that it is heard, over this connection, and when it heard anything last.
    tried_us: Option<u64>,
    heard_us: u64,
    buffer: Vec<u8>,
}

impl ClassicNode {
    /// The peer at a link, who knows how many clients there are.
    pub(crate) fn new(link: u32, clients: u32, text_ppm: u32, mut rng: Rng) -> Self {
        Self {
            link,
            ends_lines: chance(&mut rng, MILLION / 3),
            rng,
            words: Words::new(link, clients, text_ppm),
            conn: None,
            stage: Stage::Away,
            since_us: 0,
            deaf_until_us: 0,
            seems_to_quit: false,
            rest: Vec::new(),
            shown: Vec::new(),
            name: String::new(),
            tried_us: None,
            heard_us: 0,
            buffer: Vec::new(),
        }
    }

    /// When the program is started first.
    pub(crate) fn joins_after(&mut self, spread_us: u64) -> u64 {
        between(&mut self.rng, 0, spread_us)
    }

    // What the network brings.

    pub(crate) fn connected(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        if self.conn == Some(conn) && net.establish(conn, Side::Client) {
            self.readable(net, check, conn);
        }
    }

    pub(crate) fn readable(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while self.conn == Some(conn)
            && net.state(conn, Side::Client) == EndState::Open
            && net.conn(conn).is_some_and(|tcp| !tcp.end(Side::Client).paused)
        {
            match net.read(conn, Side::Client, &mut buffer) {
                Read::Bytes => {
                    check.classic_reads(conn, &buffer);
                    self.show(net, &buffer);
                }
                Read::End => self.drop(net, check),
                Read::Nothing => break,
            }
        }
        self.buffer = buffer;
    }

    /// The connection is over.
    pub(crate) fn broken(&mut self, net: &mut Net<'_>, check: &mut Checker, conn: ConnId) {
        if self.conn != Some(conn) {
            return net.drop_end(conn, Side::Client);
        }
        // Who reads nothing does not see that the server closes it, and the server waits for nobody long.
        let is_closed = self.stage == Stage::Leaving
            || self.seems_to_quit
            || net.conn(conn).is_some_and(|tcp| tcp.pipe_mut(Side::Server).fin_arrived);
        if !check.may_break() && !is_closed {
            let what = format!("classic peer {} lost a connection that was never cut", self.link);
            check.fail(Rule::Connection, what);
        }
        self.drop(net, check);
    }

    /// What is received is shown; before it is let in, it matters what.
    fn show(&mut self, net: &Net<'_>, bytes: &[u8]) {
        self.heard_us = net.now_us;
        if matches!(self.stage, Stage::In | Stage::Leaving) {
            return;
        }
        self.shown.extend_from_slice(bytes);
        let shown = String::from_utf8_lossy(&self.shown);
        if let Some((before, _)) = shown.split_once(WELCOMED) {
            self.name = before.rsplit_once("Welcome ").map_or(String::new(), |(_, name)| name.to_owned());
            self.enter(net, Stage::In);
        } else if shown.contains(WHO) {
            self.words.refused(&shown);
            self.enter(net, Stage::Asked);
        }
    }

    fn enter(&mut self, net: &Net<'_>, stage: Stage) {
        self.shown.clear();
        (self.stage, self.since_us) = (stage, net.now_us);
    }

    // What is sent.

    /// A line as it is sent.
    fn line(&self, text: &str) -> Vec<u8> {
        let end: &[u8] = if self.ends_lines { b"\n" } else { b"" };
        [text.as_bytes(), end].concat()
    }

    fn send_line(&mut self, net: &mut Net<'_>, check: &mut Checker, text: &str) {
        let line = self.line(text);
        self.send(net, check, &line);
    }

    fn send(&mut self, net: &mut Net<'_>, check: &mut Checker, bytes: &[u8]) {
        let Some(conn) = self.conn else { return };
        // Where the network cuts before it, the server reads that alone, as the original one does: the old wire has no frames.
        self.seems_to_quit |= bytes.windows(QUIT.len()).any(|part| part == QUIT.as_bytes());
        if net.send(conn, Side::Client, Class::Control, bytes).is_ok() {
            check.classics.says(conn, bytes);
            net.counts.texts += 1;
        } else {
            // Nothing gets through any more: as good as gone.
            self.drop(net, check);
        }
    }

    /// The original program closes as soon as it has said so; `nc` waits for the server.
    fn close_after_quit(&mut self, net: &mut Net<'_>, check: &mut Checker) {
        if self.stage == Stage::Leaving
            && !self.ends_lines
            && let Some(conn) = self.conn.take()
        {
            net.close(conn, Side::Client);
            check.classics.ended(conn);
            self.forget(net);
        }
    }

    /// The program ends at once.
    fn drop(&mut self, net: &mut Net<'_>, check: &mut Checker) {
        if let Some(conn) = self.conn.take() {
            net.drop_end(conn, Side::Client);
            check.classics.ended(conn);
        }
        self.forget(net);
    }

    fn forget(&mut self, net: &Net<'_>) {
        self.enter(net, Stage::Away);
        self.rest.clear();
        (self.tried_us, self.deaf_until_us, self.seems_to_quit) = (None, 0, false);
    }

    /// Reads again, and first what has come meanwhile.
    fn hear(&mut self, net: &mut Net<'_>, check: &mut Checker) {
        if let Some(conn) = self.conn
            && let Some(tcp) = net.conn(conn)
            && std::mem::replace(&mut tcp.end_mut(Side::Client).paused, false)
        {
            self.readable(net, check, conn);
        }
    }

    // What is looked at.

    /// What keeps this peer from being at rest.
    pub(crate) fn unrest(&self, check: &Checker) -> Option<String> {
        match (self.conn, self.tried_us) {
            (Some(conn), Some(_)) if self.stage == Stage::In => check.classic_lack(conn),
            _ => Some(format!("it is {:?}", self.stage)),
        }
    }

    /// True when its program does not run.
    pub(crate) fn is_away(&self) -> bool {
        self.stage == Stage::Away
    }
}
