//! What a classic peer is told: the lines of its room's journal from its welcome on, each of them once, in pieces where one is long.

use chinwag_proto::{SessionId, limits::CLASSIC_BYTES};

use super::{Judgement, Rule, Sometimes};
use crate::check::log::{Entry, Log, LogId, Logs, Owner};

/// A piece that is not the last of its line is as long as it can be without cutting a character.
const LONG_PIECE: usize = CLASSIC_BYTES - 3;

/// How far a classic peer got in a log.
#[derive(Debug)]
pub(super) struct Told {
    log: LogId,
    /// The entry whose line comes next, or has begun.
    place: usize,
    /// So much of that line was told.
    offset: usize,
}

impl Told {
    /// It is welcomed.
    pub(super) fn begin(logs: &Logs, session: SessionId, name: &str) -> Result<Self, (Rule, String)> {
        let Some((id, log)) = logs.classic() else {
            return Err((Rule::OneOrder, format!("{name} is welcomed to a room that is not there")));
        };
        let joined = log.entries.iter().rposition(
            |entry| matches!(entry, Entry::Joined { session: of, name: as_whom } if *of == session && as_whom == name),
        );
        match joined {
            Some(at) => Ok(Self { log: id, place: at + 1, offset: 0 }),
            None => Err((Rule::OneOrder, format!("is welcomed as {name} and has not joined as that"))),
        }
    }

    /// It is told a line, or a part of one.
    pub(super) fn piece(&mut self, logs: &Logs, piece: &str, seen: &mut Vec<Sometimes>) -> Judgement {
        let Some(log) = logs.log(self.log) else { return Ok(()) };
        let end = self.offset + piece.len();
        let line = log.line(self.place).unwrap_or_default();
        let rest = line.get(self.offset..).unwrap_or_default();
        if !rest.starts_with(piece) || (end < line.len() && piece.len() < LONG_PIECE) {
            let what = format!("is told {piece:?} where {rest:?} comes next");
            return Err((Rule::OneOrder, what));
        }
        if end < line.len() {
            seen.push(Sometimes::ClassicPieces);
            self.offset = end;
        } else {
            seen.extend(is_of_a_client(log, self.place).then_some(Sometimes::ClassicTold));
            (self.place, self.offset) = (self.place + 1, 0);
        }
        Ok(())
    }

    /// What it was not told yet.
    pub(super) fn lack(&self, logs: &Logs) -> Option<String> {
        let log = logs.log(self.log)?;
        let is_done = self.place == log.entries.len() && self.offset == 0;
        (!is_done).then(|| format!("it was not told {:?}", log.line(self.place)))
    }
}

fn is_of_a_client(log: &Log, place: usize) -> bool {
    matches!(log.entries.get(place), Some(Entry::Said { owner: Some(Owner::Client { .. }), .. }))
}
