//! What one client was told of its room, held against the room's log: a part of it without holes, but for those that the
//! server no longer remembered and the client told of.

use std::collections::BTreeSet;

use chinwag_proto::SessionId;

use super::{
    Admission, Rule,
    log::{Entry, LogId, Logs, Owner},
};

/// How far a client got in a log.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) log: LogId,
    pub(crate) session: SessionId,
    /// The last event that it knows of.
    last: u64,
    /// So many of those behind may be left out, which it was told are missed.
    gap: u64,
    /// Those that it missed: its own among them may yet be acknowledged.
    missed: BTreeSet<u64>,
    /// What is older, the server had forgotten at the last welcome.
    first_kept: u64,
    /// It came back to the same room by another session and has to be told that something is missed.
    must_miss: bool,
    /// It may be told so.
    may_miss: bool,
}

impl View {
    /// The first welcome, or one that goes on with nothing.
    pub(crate) fn begin(former: Option<Self>, logs: &Logs, owner: Owner, admission: &Admission) -> Self {
        let &Admission { session, log, told, first_kept, .. } = admission;
        let same = former.filter(|former| former.log == log);
        // Its own coming is the last event that the welcome counts.
        let is_missed = |former: &Self| {
            (former.last + 1..told).any(|seq| {
                let entry = logs.log(log).and_then(|log| log.at(seq));
                entry.is_none_or(|entry| !is_unseen(entry, logs, log, owner))
            })
        };
        let must_miss = same.as_ref().is_some_and(is_missed);
        Self {
            log,
            session,
            last: told,
            gap: 0,
            missed: BTreeSet::new(),
            first_kept,
            must_miss,
            may_miss: same.is_some(),
        }
    }

    /// A welcome that goes on where it was.
    pub(crate) fn resume(
        &mut self,
        logs: &Logs,
        owner: Owner,
        admission: &Admission,
    ) -> Result<(), (Rule, String)> {
        let &Admission { session, log, told, first_kept, .. } = admission;
        if (log, session) != (self.log, self.session) {
            return Err((Rule::Resume, format!("resumed {session:?} and had {:?}", self.session)));
        }
        if told < self.last {
            let what = format!("will be told again what came after {told}, and knows {}", self.last);
            return Err((Rule::NothingTwice, what));
        }
        // What is between can only be its own coming and going.
        self.skip_to(logs, owner, told + 1)?;
        (self.last, self.first_kept) = (told, first_kept);
        Ok(())
    }

    /// It is told that so many events are missed.
    pub(crate) fn missed(&mut self, events: u64) -> Result<(), String> {
        if std::mem::take(&mut self.may_miss) {
            self.must_miss = false;
            return Ok(());
        }
        self.gap += events;
        if self.last + 1 >= self.first_kept {
            return Err(format!("misses {events} events after {}, which were remembered", self.last));
        }
        Ok(())
    }

    /// It is told an event.
    pub(crate) fn told(
        &mut self,
        logs: &Logs,
        owner: Owner,
        seq: u64,
        told: &Entry,
    ) -> Result<(), (Rule, String)> {
        self.may_miss = false;
        if self.must_miss {
            return Err((Rule::OneOrder, "was not told that it missed something".to_owned()));
        }
        let is_own = matches!(told, Entry::Said { session, .. } if *session == self.session);
        if seq <= self.last && is_own && self.missed.remove(&seq) {
            return Ok(());
        }
        if seq <= self.last {
            return Err((Rule::NothingTwice, format!("was told {told:?} at {seq} after {}", self.last)));
        }
        self.skip_to(logs, owner, seq)?;
        let truth = logs.log(self.log).and_then(|log| log.at(seq));
        (self.last, self.gap) = (seq, 0);
        match truth {
            Some(Entry::Unknown) => Ok(()),
            Some(truth) if truth == told => Ok(()),
            truth => Err((Rule::NoForgery, format!("was told {told:?} at {seq} where there is {truth:?}"))),
        }
    }

    /// What it was not told yet.
    pub(crate) fn lack(&self, logs: &Logs, owner: Owner) -> Option<String> {
        let last = logs.log(self.log)?.last();
        if self.must_miss {
            return Some("it was not told that it missed something".to_owned());
        }
        self.clone().skip_to(logs, owner, last + 1).err().map(|(_, what)| format!("it {what}"))
    }

    /// Everything before `seq` is what it need not be told.
    fn skip_to(&mut self, logs: &Logs, owner: Owner, seq: u64) -> Result<(), (Rule, String)> {
        let Some(log) = logs.log(self.log) else { return Ok(()) };
        for skipped in self.last + 1..seq {
            let entry = log.at(skipped);
            if entry.is_some_and(|entry| is_unseen(entry, logs, self.log, owner)) {
                continue;
            }
            let may_be_missed = self.gap > 0 && skipped < self.first_kept;
            if !may_be_missed {
                return Err((Rule::OneOrder, format!("was not told {entry:?} at {skipped}")));
            }
            self.gap -= 1;
            self.missed.insert(skipped);
        }
        Ok(())
    }
}

fn is_unseen(entry: &Entry, logs: &Logs, log: LogId, owner: Owner) -> bool {
    entry.is_unseen_by(|session| logs.owner(log.generation, session) == Some(owner))
}
