//! What the user of a classic program does, and when.

use super::{ClassicNode, Stage};
use crate::{
    check::{Checker, classic::QUIT},
    net::Net,
    random::{MILLION, between, chance},
    tcp::Side,
    trace::{Mark, Node},
};

/// Between two turns while people talk, and when all is to come to rest.
const PAUSE_US: (u64, u64) = (20_000, 2_500_000);
const SETTLE_US: (u64, u64) = (50_000, 400_000);
/// Before the program is started again.
const BACK_US: (u64, u64) = (100_000, 5_000_000);
/// Whoever gets no answer for so long starts the program again.
const PATIENCE_US: u64 = 25_000_000;
/// Between the two halves of what is sent in two portions.
const HALF_US: (u64, u64) = (0, 200_000);
/// For how long a peer reads nothing.
const DEAF_US: (u64, u64) = (500_000, 20_000_000);
/// Those that never read again, unless they must.
const DEAF_FOREVER_PPM: u32 = 300_000;
/// Messages of a flood, and of a handful.
const FLOOD: (u64, u64) = (50, 250);
const HANDFUL: (u64, u64) = (2, 6);

/// What is to be done in this part of the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// Anything.
    Talk,
    /// Be there, with a name of one's own, and see that one is heard.
    Settle,
    /// Leave.
    Leave,
}

/// What a peer does on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    Join,
    Say,
    SayMuch,
    Flood,
    SayLong,
    BeDeaf,
    Quit,
    QuitInTwo,
    /// The program is gone, and the system says so.
    Drop,
    /// The machine is gone.
    Vanish,
    Anything,
}

impl ClassicNode {
    /// Does something; when to do the next thing. `is_taken` says that the first client is there, and stays.
    pub(crate) fn turn(&mut self, net: &mut Net<'_>, check: &mut Checker, mood: Mood, is_taken: bool) -> u64 {
        if self.deaf_until_us <= net.now_us || mood != Mood::Talk {
            self.hear(net, check);
        }
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.send(net, check, &rest);
            self.close_after_quit(net, check);
        } else if self.has_waited_long(net) {
            self.drop(net, check);
        } else {
            match mood {
                Mood::Talk => {
                    let ppm = self.words.text_ppm();
                    match self.stage {
                        Stage::In if chance(&mut self.rng, ppm) => self.act(net, check, Deed::Say),
                        Stage::In if chance(&mut self.rng, MILLION / 2) => {
                            self.act(net, check, Deed::Anything)
                        }
                        Stage::Asked => self.give_name(net, check, is_taken),
                        Stage::Away => self.act(net, check, Deed::Join),
                        Stage::In | Stage::Connecting | Stage::Named | Stage::Leaving => {}
                    }
                }
                Mood::Settle => self.settle(net, check),
                Mood::Leave => match self.stage {
                    Stage::In => self.act(net, check, Deed::Quit),
                    Stage::Connecting | Stage::Asked | Stage::Named => self.drop(net, check),
                    Stage::Away | Stage::Leaving => {}
                },
            }
        }
        net.flush();
        let (low, high) = match (mood, self.stage) {
            _ if !self.rest.is_empty() => HALF_US,
            (Mood::Talk, Stage::Away) => BACK_US,
            (Mood::Talk, _) => PAUSE_US,
            (Mood::Settle | Mood::Leave, _) => SETTLE_US,
        };
        between(&mut self.rng, low, high)
    }

    /// Does that, if it can.
    pub(crate) fn act(&mut self, net: &mut Net<'_>, check: &mut Checker, deed: Deed) {
        let is_in = self.stage == Stage::In && self.rest.is_empty();
        let deed = if deed == Deed::Anything { self.anything() } else { deed };
        net.record(Node::Client(self.link), Mark::Turn, deed as u64, 0);
        match deed {
            Deed::Join if self.stage == Stage::Away => {
                let conn = net.connect_classic(self.link);
                check.classic_connects(conn);
                (self.conn, self.tried_us) = (Some(conn), None);
                self.words.begin();
                self.enter(net, Stage::Connecting);
            }
            Deed::Say if is_in => self.say(net, check, 1),
            Deed::SayMuch if is_in => {
                let messages = between(&mut self.rng, HANDFUL.0, HANDFUL.1);
                self.say(net, check, messages);
            }
            Deed::Flood if is_in => {
                let messages = between(&mut self.rng, FLOOD.0, FLOOD.1);
                self.say(net, check, messages);
            }
            Deed::SayLong if is_in => {
                let text = self.words.long_message(&mut self.rng);
                self.send_line(net, check, &text);
            }
            Deed::BeDeaf => {
                let until_us = net.now_us + between(&mut self.rng, DEAF_US.0, DEAF_US.1);
                let is_forever = check.may_break() && chance(&mut self.rng, DEAF_FOREVER_PPM);
                self.deaf_until_us = if is_forever { u64::MAX } else { until_us };
                if let Some(tcp) = self.conn.and_then(|conn| net.conn(conn)) {
                    tcp.end_mut(Side::Client).paused = true;
                }
            }
            Deed::Quit if is_in => {
                self.send_line(net, check, QUIT);
                self.enter(net, Stage::Leaving);
                self.close_after_quit(net, check);
            }
            Deed::QuitInTwo if is_in => {
                let at = between(&mut self.rng, 1, QUIT.len() as u64 - 1) as usize;
                let (half, rest) = QUIT.split_at(at);
                self.send(net, check, half.as_bytes());
                self.rest = self.line(rest);
                self.enter(net, Stage::Leaving);
            }
            Deed::Drop => self.drop(net, check),
            // It keeps its place until the server's system has found out, which somebody may miss.
            Deed::Vanish if check.may_break() => {
                if let Some(conn) = self.conn.take() {
                    net.vanish(conn, Side::Client);
                    check.classics.ended(conn);
                    self.forget(net);
                }
            }
            Deed::Join
            | Deed::Say
            | Deed::SayMuch
            | Deed::Flood
            | Deed::SayLong
            | Deed::Quit
            | Deed::QuitInTwo
            | Deed::Vanish
            | Deed::Anything => {}
        }
        net.flush();
    }

    fn anything(&mut self) -> Deed {
        match self.rng.below(100) {
            0..30 => Deed::SayMuch,
            30..34 => Deed::Flood,
            34..54 => Deed::SayLong,
            54..70 => Deed::BeDeaf,
            70..80 => Deed::Quit,
            80..90 => Deed::QuitInTwo,
            90..95 => Deed::Drop,
            _ => Deed::Vanish,
        }
    }

    /// Is there in its own name, and is heard.
    fn settle(&mut self, net: &mut Net<'_>, check: &mut Checker) {
        match self.stage {
            Stage::Away => self.act(net, check, Deed::Join),
            Stage::Asked => {
                let name = self.words.own_name();
                self.send_line(net, check, &name);
                self.enter(net, Stage::Named);
            }
            // The clients want their names back.
            Stage::In if self.words.is_of_a_client(&self.name) => self.act(net, check, Deed::Quit),
            Stage::In if self.tried_us.is_none() => {
                self.tried_us = Some(net.now_us);
                self.act(net, check, Deed::Say);
            }
            Stage::In | Stage::Connecting | Stage::Named | Stage::Leaving => {}
        }
    }

    fn give_name(&mut self, net: &mut Net<'_>, check: &mut Checker, is_taken: bool) {
        let may_take = is_taken || check.may_break();
        let mut name = self.words.name(&mut self.rng, may_take, is_taken);
        if self.ends_lines && chance(&mut self.rng, MILLION / 5) {
            // All at once, as from a file.
            name.push('\n');
            name.push_str(&self.words.message(&mut self.rng));
        }
        // The original program sends nothing for an empty line.
        if name.is_empty() && !self.ends_lines {
            return;
        }
        let is_name = !name.trim().is_empty();
        self.send_line(net, check, &name);
        if is_name {
            self.enter(net, Stage::Named);
        }
    }

    fn say(&mut self, net: &mut Net<'_>, check: &mut Checker, messages: u64) {
        if !self.ends_lines {
            for _ in 0..messages {
                let text = self.words.message(&mut self.rng);
                self.send_line(net, check, &text);
                net.flush();
            }
            return;
        }
        // Many lines may be in one segment.
        let texts: Vec<String> = (0..messages).map(|_| self.words.message(&mut self.rng)).collect();
        let lines = texts.join(if chance(&mut self.rng, MILLION / 4) { "\r\n" } else { "\n" });
        self.send_line(net, check, &lines);
    }

    /// Whether there was no answer for so long that none will come.
    fn has_waited_long(&self, net: &Net<'_>) -> bool {
        let since_us = match self.stage {
            Stage::Connecting | Stage::Named | Stage::Leaving => self.since_us,
            Stage::In if self.tried_us.is_some_and(|tried_us| self.heard_us <= tried_us) => {
                self.tried_us.unwrap_or(0)
            }
            Stage::In | Stage::Away | Stage::Asked => return false,
        };
        net.now_us > since_us + PATIENCE_US
    }
}
