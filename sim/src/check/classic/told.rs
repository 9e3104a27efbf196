//! What a classic peer is told: the lines of its room's log from its welcome on, each of them once, in pieces where one is long.

use chinwag_proto::{SessionId, limits::CLASSIC_BYTES};

use super::{Judgement, Rule, Sometimes};
use crate::check::log::{Entry, Line, LogId, Logs, Owner};

/// A piece that is not the last of its line is as long as it can be without cutting a character.
const LONG_PIECE: usize = CLASSIC_BYTES - 3;

/// How far it may have got.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    /// The line that comes next, or has begun.
    seq: u64,
    /// So much of it was told.
    offset: usize,
}

/// How far a classic peer got in a log. Where the log has lines that nobody saw, that may be unclear.
#[derive(Debug)]
pub(super) struct Told {
    log: LogId,
    places: Vec<Place>,
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
        let is_unknown = |entry: &Entry| *entry == Entry::Unknown;
        let after = |index: usize| Place { seq: index as u64 + 2, offset: 0 };
        let places: Vec<Place> = match joined {
            Some(index) => vec![after(index)],
            None => (0..log.entries.len()).filter(|&i| is_unknown(&log.entries[i])).map(after).collect(),
        };
        if places.is_empty() {
            return Err((Rule::OneOrder, format!("is welcomed as {name} and has not joined as that")));
        }
        Ok(Self { log: id, places })
    }

    /// It is told a line, or a part of one.
    pub(super) fn piece(&mut self, logs: &Logs, piece: &str, seen: &mut Vec<Sometimes>) -> Judgement {
        let Some(log) = logs.log(self.log) else { return Ok(()) };
        let mut places = Vec::new();
        for &Place { seq, offset } in &self.places {
            let next = Place { seq: seq + 1, offset: 0 };
            match log.line(seq) {
                Line::None => {}
                Line::Unknown => {
                    places.push(next);
                    if piece.len() >= LONG_PIECE {
                        places.push(Place { seq, offset: offset + piece.len() });
                    }
                }
                Line::Known(line) => {
                    let end = offset + piece.len();
                    if !line[offset..].starts_with(piece) || (end < line.len() && piece.len() < LONG_PIECE) {
                        continue;
                    }
                    if end < line.len() {
                        seen.push(Sometimes::ClassicPieces);
                        places.push(Place { seq, offset: end });
                    } else {
                        seen.extend(is_of_a_client(logs, self.log, seq).then_some(Sometimes::ClassicTold));
                        places.push(next);
                    }
                }
            }
        }
        if places.is_empty() {
            let [first, ..] = self.places[..] else { return Ok(()) };
            let what = format!("is told {piece:?} where {:?} comes next", log.line(first.seq));
            return Err((Rule::OneOrder, what));
        }
        places.sort_unstable();
        places.dedup();
        self.places = places;
        Ok(())
    }

    /// What it was not told yet.
    pub(super) fn lack(&self, logs: &Logs) -> Option<String> {
        let log = logs.log(self.log)?;
        let end = Place { seq: log.last() + 1, offset: 0 };
        let first = self.places.first()?;
        (!self.places.contains(&end)).then(|| format!("it was not told {:?}", log.line(first.seq)))
    }
}

fn is_of_a_client(logs: &Logs, id: LogId, seq: u64) -> bool {
    match logs.log(id).and_then(|log| log.at(seq)) {
        Some(Entry::Said { session, .. }) => {
            matches!(logs.owner(id.generation, *session), Some(Owner::Client { .. }))
        }
        Some(Entry::Joined { .. } | Entry::Left { .. } | Entry::Unknown) | None => false,
    }
}
