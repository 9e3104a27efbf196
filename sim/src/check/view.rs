//! What one client was told of one of its rooms, held against the room's journal: every message after what it knows, without holes but for
//! those that the server no longer remembered, or that were too much, and the client told of; and, while it is connected, everything in
//! the order of the journal.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_proto::SessionId;

use super::{
    Entrance, Rule,
    log::{About, Entry, Log, LogId, Logs, Owner},
};

/// How far a client got in a log.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) log: LogId,
    pub(crate) session: SessionId,
    /// In which start of the server.
    pub(crate) generation: u32,
    /// The last message that it knows of.
    last: u64,
    /// Messages up to this one came, or are to come, with the welcome.
    replayed_to: u64,
    /// The entry of the journal that it is told next.
    place: usize,
    /// So many of the messages behind may be left out, which it was told are missed.
    gap: u64,
    /// Those that it missed: its own among them may yet be acknowledged.
    missed: BTreeSet<u64>,
    /// What is older, the server had forgotten at the last welcome, or did not tell.
    first_kept: u64,
    /// What it knows the room to be about, and whether it is to be told so, since it is not what it knew.
    topic: Option<About>,
    owes_topic: bool,
    /// Who was here when it was told last, until it is told who came and left since.
    former: Option<BTreeSet<String>>,
    /// Its session before this one, and its name: the server may not know yet that it is over.
    former_self: Option<(SessionId, String)>,
    /// It was told something behind the list of those who are here, so that it has the whole of that.
    has_list: bool,
    /// It may know only a part of those who were here before.
    may_know_part: bool,
}

impl View {
    /// It is in the room, for the first time or again.
    pub(crate) fn begin(
        former: Option<Self>,
        logs: &Logs,
        entrance: &Entrance,
    ) -> Result<Self, (Rule, String)> {
        let &Entrance { session, log, generation, told, first_kept, place, .. } = entrance;
        let replayed_to = entrance.last;
        let topic = logs.log(log).and_then(|log| log.topic_at(place));
        let owes_topic = former.as_ref().is_some_and(|former| former.topic != topic);
        let (mut last, mut missed, mut names, mut may_know_part) = (told, BTreeSet::new(), None, false);
        let mut former_self = None;
        if let Some(former) = former {
            if former.log == log {
                if told < former.last {
                    let what =
                        format!("will be told again what came after {told}, and knows {}", former.last);
                    return Err((Rule::NothingTwice, what));
                }
                if told != entrance.told_up_to(logs, former.last) {
                    let what = format!("will not be told what came after {}, but after {told}", former.last);
                    return Err((Rule::OneOrder, what));
                }
                (last, missed) = (former.last, former.missed.clone());
            } else if told != entrance.told_up_to(logs, 0) {
                let what = format!("knows nothing of this numbering, and is told what comes after {told}");
                return Err((Rule::OneOrder, what));
            }
            former_self = logs.log(former.log).and_then(|log| {
                let name = log.members_at(former.place).remove(&former.session)?;
                Some((former.session, name))
            });
            // Only a part of the first list came, perhaps: then it cannot be known what is new.
            may_know_part = former.may_know_part || (!former.has_list && former.former.is_none());
            names = Some(former.names_then(logs)).filter(|_| !may_know_part);
        } else if told != replayed_to {
            return Err((Rule::OneOrder, format!("is new, and is told what comes after {told}")));
        }
        let view = Self {
            log,
            session,
            generation,
            last,
            replayed_to,
            place,
            gap: 0,
            missed,
            first_kept,
            topic,
            owes_topic,
            former: names,
            former_self,
            has_list: false,
            may_know_part,
        };
        Ok(view.settled(logs))
    }

    /// The last message that it knows of.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Nobody need be told of what did not change.
    fn settled(mut self, logs: &Logs) -> Self {
        let now = self.names_at(logs, self.place);
        if self.former.as_ref().is_some_and(|former| *former == now) {
            self.former = None;
        }
        self
    }

    /// Who was here, besides this client, when it was told last.
    fn names_then(&self, logs: &Logs) -> BTreeSet<String> {
        self.former.clone().unwrap_or_else(|| self.names_at(logs, self.place))
    }

    fn names_at(&self, logs: &Logs, place: usize) -> BTreeSet<String> {
        let members: BTreeMap<SessionId, String> =
            logs.log(self.log).map(|log| log.members_at(place)).unwrap_or_default();
        let is_self = |session: SessionId, name: &String| {
            session == self.session
                || self
                    .former_self
                    .as_ref()
                    .is_some_and(|(former, known)| (*former, known) == (session, name))
        };
        members.into_iter().filter(|(session, name)| !is_self(*session, name)).map(|(_, name)| name).collect()
    }

    /// It is told who came and left while it was away.
    pub(crate) fn meanwhile(
        &mut self,
        logs: &Logs,
        joined: &[String],
        left: &[String],
    ) -> Result<(), (Rule, String)> {
        let now = self.names_at(logs, self.place);
        self.has_list = true;
        if std::mem::take(&mut self.may_know_part) && joined.iter().all(|name| now.contains(name)) {
            return Ok(());
        }
        let Some(former) = self.former.take() else {
            return Err((Rule::OneOrder, format!("is told that {joined:?} came and {left:?} left")));
        };
        let is_right = now.difference(&former).eq(joined) && former.difference(&now).eq(left);
        if is_right {
            return Ok(());
        }
        let what = format!("is told that {joined:?} came and {left:?} left, where {former:?} became {now:?}");
        Err((Rule::OneOrder, what))
    }

    /// It is told that so many messages are missed.
    pub(crate) fn missed(&mut self, messages: u64) -> Result<(), String> {
        self.gap += messages;
        if self.last + 1 >= self.first_kept {
            return Err(format!("misses {messages} messages after {}, which were remembered", self.last));
        }
        Ok(())
    }

    /// It is told something.
    pub(crate) fn told(&mut self, logs: &Logs, owner: Owner, told: &Entry) -> Result<(), (Rule, String)> {
        let Some(log) = logs.log(self.log) else {
            return Err((Rule::NoForgery, format!("was told {told:?} of a room that is not there")));
        };
        if let (Entry::Topic(about), true) = (told, self.owes_topic) {
            self.owes_topic = false;
            if about.clone().kept() != self.topic {
                return Err((
                    Rule::OneOrder,
                    format!("is told {about:?} where the room is about {:?}", self.topic),
                ));
            }
            return Ok(());
        }
        if self.owes_topic {
            let what =
                format!("was told {told:?} before it was told that the room is about {:?}", self.topic);
            return Err((Rule::OneOrder, what));
        }
        if let Some(former) = &self.former {
            let now = self.names_at(logs, self.place);
            let what = format!("was told {told:?} before it was told that {former:?} became {now:?}");
            return Err((Rule::OneOrder, what));
        }
        (self.has_list, self.may_know_part) = (true, false);
        if let Entry::Topic(about) = told {
            self.topic = about.clone().kept();
        }
        if let Entry::Said { seq, owner: of, .. } = told {
            let seq = *seq;
            if seq <= self.last && *of == Some(owner) && self.missed.remove(&seq) {
                return Ok(());
            }
            if seq <= self.last {
                return Err((Rule::NothingTwice, format!("was told {told:?} at {seq} after {}", self.last)));
            }
            if seq <= self.replayed_to {
                self.skip_to(log, seq)?;
                (self.last, self.gap) = (seq, 0);
                return match log.message(seq) {
                    Some(truth) if truth == told => Ok(()),
                    truth => {
                        Err((Rule::NoForgery, format!("was told {told:?} at {seq} where there is {truth:?}")))
                    }
                };
            }
        }
        self.skip_to(log, self.replayed_to.max(self.last) + 1)?;
        self.last = self.last.max(self.replayed_to);
        self.gap = 0;
        while let Some(entry) = log.entries.get(self.place) {
            self.place += 1;
            if entry == told {
                if let Entry::Said { seq, .. } = told {
                    self.last = *seq;
                }
                return Ok(());
            }
            if !is_unseen(entry, log.generation(self.place - 1), logs, owner) {
                return Err((Rule::OneOrder, format!("was not told {entry:?}, but {told:?}")));
            }
        }
        Err((Rule::NoForgery, format!("was told {told:?}, which did not happen")))
    }

    /// True when it is to be told next that somebody has another name.
    pub(crate) fn awaits(&self, logs: &Logs, owner: Owner, told: &Entry) -> bool {
        let Some(log) = logs.log(self.log) else { return false };
        let mut entries = log.entries.iter().enumerate().skip(self.place);
        let next = entries.find(|(at, entry)| !is_unseen(entry, log.generation(*at), logs, owner));
        next.is_some_and(|(_, entry)| entry == told)
    }

    /// What it was not told yet.
    pub(crate) fn lack(&self, logs: &Logs, owner: Owner) -> Option<String> {
        let log = logs.log(self.log)?;
        if let Some(former) = &self.former {
            return Some(format!("it was not told who is here, other than {former:?}"));
        }
        if self.owes_topic {
            return Some(format!("it was not told that the room is about {:?}", self.topic));
        }
        let mut rest = self.clone();
        if let Err((_, what)) = rest.skip_to(log, self.replayed_to.max(self.last) + 1) {
            return Some(format!("it {what}"));
        }
        let entries = log.entries.iter().enumerate().skip(self.place);
        let untold =
            entries.into_iter().find(|(at, entry)| !is_unseen(entry, log.generation(*at), logs, owner));
        untold.map(|(_, entry)| format!("it was not told {entry:?}"))
    }

    /// Every message before `seq` is one that it need not be told.
    fn skip_to(&mut self, log: &Log, seq: u64) -> Result<(), (Rule, String)> {
        for skipped in self.last + 1..seq {
            if self.gap == 0 || skipped >= self.first_kept {
                let entry = log.message(skipped);
                return Err((Rule::OneOrder, format!("was not told {entry:?} at {skipped}")));
            }
            self.gap -= 1;
            self.missed.insert(skipped);
        }
        Ok(())
    }
}

/// True for one's own coming and going, of which nobody is told.
fn is_unseen(entry: &Entry, generation: u32, logs: &Logs, owner: Owner) -> bool {
    match entry {
        Entry::Joined { session, .. } | Entry::Left { session, .. } => {
            logs.owner(generation, *session) == Some(owner)
        }
        Entry::Restarted => true,
        Entry::Said { .. } | Entry::Renamed { .. } | Entry::Topic(_) => false,
    }
}
