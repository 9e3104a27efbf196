//! What is between two alone. The operator is told nothing of it, so that it is known from what both are told: what the one was told
//! to be accepted reaches the other, once and in order, and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_proto::{
    SessionId,
    client::PlaceId,
    limits::{MESSAGE_BYTES, MESSAGE_COST, REPLAY_BYTES},
};

use super::{
    Checker, Entrance, Place, Rule,
    log::{LogId, Owner, To, spoken},
};
use crate::{net::Net, person::Message, sometimes::Sometimes, tcp::ConnId, trace::hash};

/// How far a client got in what is between it and another.
#[derive(Debug)]
pub(super) struct Alone {
    log: LogId,
    /// The connection by which it knows that.
    conn: Option<ConnId>,
    with: SessionId,
    other: Owner,
    /// The last message that it knows of.
    last: u64,
    /// What is older need not be told, but that it is missed.
    first_kept: u64,
    gap: u64,
    heard: BTreeSet<u64>,
    missed: BTreeSet<u64>,
}

impl Alone {
    /// True when it is this that it is in, and it was told so over this connection.
    pub(super) fn is_in(&self, log: LogId, conn: ConnId) -> bool {
        self.log == log && self.conn == Some(conn)
    }

    /// It is told that so many messages are missed.
    pub(super) fn missed(&mut self, messages: u64) -> Result<(), (Rule, String)> {
        self.gap += messages;
        if self.last + 1 < self.first_kept {
            return Ok(());
        }
        let what = format!("misses {messages} messages after {}, which were remembered", self.last);
        Err((Rule::OneOrder, what))
    }

    /// It is told the message with this number, as one of its own or not.
    fn told(&mut self, seq: u64, is_own: bool) -> Result<(), (Rule, String)> {
        if seq <= self.last {
            // What it missed may yet be acknowledged.
            let is_news = is_own && self.missed.remove(&seq);
            self.heard.insert(seq);
            let what = format!("was told what is at {seq} after {}", self.last);
            return is_news.then_some(()).ok_or((Rule::NothingTwice, what));
        }
        for skipped in self.last + 1..seq {
            if self.gap == 0 || skipped >= self.first_kept {
                return Err((
                    Rule::OneOrder,
                    format!("was told what is at {seq}, and not what is at {skipped}"),
                ));
            }
            self.gap -= 1;
            self.missed.insert(skipped);
        }
        (self.last, self.gap) = (seq, 0);
        self.heard.insert(seq);
        Ok(())
    }

    /// True when that need not be told any more.
    fn knows(&self, seq: u64) -> bool {
        self.heard.contains(&seq) || self.missed.contains(&seq) || seq < self.first_kept
    }
}

/// All that is between two.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    /// Whose messages, and which of theirs, are at which places.
    messages: BTreeMap<LogId, BTreeMap<u64, (u32, u64)>>,
    /// The last message that a life of a client was told, in whichever place.
    known: BTreeMap<(u32, u32, LogId), u64>,
    /// With whom a life of a client was alone in a place.
    others: BTreeMap<(u32, u32, PlaceId), BTreeSet<Owner>>,
}

impl Checker {
    /// A client is alone with somebody, as the server said.
    pub(super) fn entered_alone(
        &mut self,
        net: &mut Net<'_>,
        client: u32,
        conn: Option<ConnId>,
        id: PlaceId,
        entrance: &Entrance,
    ) {
        let Some(with) = entrance.with else { return };
        let Some(other) = self.logs.owner(entrance.generation, with) else {
            let what = format!("client {client} is alone with {with:?}, which is nobody's");
            return self.fail(Rule::NoForgery, what);
        };
        let Self { members, conversations, .. } = self;
        let member = &mut members[client as usize];
        conversations.others.entry((client, member.life, id)).or_default().insert(other);
        if entrance.key == 0 {
            net.sometimes(Sometimes::Opened);
        }
        // Somebody else may have begun it.
        let place = member.places.entry(id).or_insert_with(|| Place::new(To::Alone(id)));
        place.is_out = false;
        let former = place.alone.take();
        // What another began answers nothing that the client asked for, which may find a later one of that name.
        let is_new = entrance.key == 0 || std::mem::take(&mut place.is_new);
        let same = former.as_ref().filter(|former| former.log == entrance.log);
        if same.is_some() {
            net.sometimes(Sometimes::AloneAgain);
        } else if former.is_some() && !is_new {
            let what = format!("client {client} is alone with {other:?} in place of {former:?}");
            return self.fail(Rule::NoForgery, what);
        }
        // What it was told in a place that another has taken since, it need not be told again.
        let known = conversations.known.get(&(client, member.life, entrance.log)).copied().unwrap_or(0);
        let last = same.map_or(known.min(entrance.told), |former| former.last);
        let share = (REPLAY_BYTES / entrance.rooms.max(1)) as u64;
        let may_be_cut = (entrance.last.saturating_sub(last)) * (MESSAGE_BYTES + MESSAGE_COST) as u64 > share;
        if entrance.told > last && !may_be_cut {
            let what =
                format!("client {client} alone with {other:?} will not be told what came after {last}");
            return self.fail(Rule::OneOrder, format!("{what}, but after {}", entrance.told));
        }
        let is_kept = entrance.first_kept <= entrance.last;
        let first_kept = if is_kept { entrance.first_kept } else { entrance.first_remembered };
        let first_kept = first_kept.max(same.map_or(last + 1, |former| former.first_kept));
        let (heard, missed) = match former.filter(|former| former.log == entrance.log) {
            Some(former) => (former.heard, former.missed),
            None => Default::default(),
        };
        place.alone =
            Some(Alone { log: entrance.log, conn, with, other, last, first_kept, gap: 0, heard, missed });
    }

    /// A place of a client is the same as another, under another name of the one with whom it is alone there.
    pub(super) fn merged(&mut self, client: u32, conn: Option<ConnId>, id: PlaceId) {
        let Self { members, conversations, entrances, logs, .. } = self;
        let member = &mut members[client as usize];
        member.merged.insert(id);
        let entrances = conn.and_then(|conn| entrances.get(&conn));
        let entrance = entrances.into_iter().flatten().find(|entrance| entrance.key == id.number());
        let with = entrance.and_then(|entrance| logs.owner(entrance.generation, entrance.with?));
        conversations.others.entry((client, member.life, id)).or_default().extend(with);
    }

    /// A client is told a message that is between it and another; that it is its own was judged before.
    pub(super) fn text_alone(
        &mut self,
        net: &mut Net<'_>,
        client: u32,
        place: PlaceId,
        (seq, text): (u64, &str),
        is_own: bool,
    ) {
        let verdict = self.judge_alone(net, client, place, (seq, text), is_own);
        if let Err((rule, what)) = verdict {
            self.fail(rule, format!("client {client} {what}: {text}"));
        }
    }

    fn judge_alone(
        &mut self,
        net: &mut Net<'_>,
        client: u32,
        id: PlaceId,
        (seq, text): (u64, &str),
        is_own: bool,
    ) -> Result<(), (Rule, String)> {
        let Self { members, conversations, said, .. } = self;
        let member = &mut members[client as usize];
        let life = member.life;
        let Some(alone) = member.places.get_mut(&id).and_then(|place| place.alone.as_mut()) else {
            return Err((
                Rule::NoForgery,
                "was told what is between two without being one of them".to_owned(),
            ));
        };
        let me = Owner::Client { client, life };
        // What it said before another took its place is told again as all else is.
        let is_mine = is_own || Message::parse(text).is_some_and(|message| message.client == client);
        let author = if is_mine { me } else { alone.other };
        match (author, Message::parse(text)) {
            (Owner::Client { client: of, .. }, Some(message)) if message.client == of => {
                let known =
                    spoken(said, of, message.number).filter(|known| known.text == hash(text.as_bytes()));
                let reader = if is_mine { alone.other } else { me };
                let is_meant = known.is_some_and(|known| match known.to {
                    To::Alone(place) => conversations
                        .others
                        .get(&(of, known.life, place))
                        .is_some_and(|others| others.contains(&reader)),
                    To::Nobody | To::Room(_) => false,
                });
                if !is_meant {
                    return Err((Rule::NoForgery, "was told alone what was not said to it".to_owned()));
                }
                let messages = conversations.messages.entry(alone.log).or_default();
                let here = *messages.entry(seq).or_insert((of, message.number));
                if here != (of, message.number) {
                    return Err((Rule::OneOrder, format!("was told at {seq}, where there is {here:?}")));
                }
            }
            (Owner::Stranger(_), _) => {}
            (Owner::Client { .. } | Owner::Classic(_), _) => {
                return Err((Rule::NoForgery, format!("was told what {author:?} did not say")));
            }
        }
        if !is_own {
            net.sometimes(Sometimes::ToldAlone);
        }
        let known = conversations.known.entry((client, life, alone.log)).or_default();
        *known = (*known).max(seq);
        alone.told(seq, is_own)
    }

    /// What was said to a client alone, or by it, and did not arrive.
    pub(super) fn lack_alone(&self, client: u32) -> Option<String> {
        let places = self.members[client as usize].places.values();
        places.filter_map(|place| place.alone.as_ref()).find_map(|alone| {
            let Owner::Client { client: other, life } = alone.other else { return None };
            let other = self.members.get(other as usize).filter(|other| other.life == life && other.is_in)?;
            let mut theirs = other.places.values().filter_map(|place| place.alone.as_ref());
            let theirs = theirs.find(|theirs| theirs.log == alone.log)?;
            let untold = alone.heard.iter().find(|seq| !theirs.knows(**seq))?;
            Some(format!("it said, or was told, at {untold} of {:?} what the other was not", alone.log))
        })
    }

    /// Whether a client is alone with a session.
    pub(super) fn is_alone_with(&self, client: u32, session: SessionId) -> bool {
        let places = self.members[client as usize].places.values();
        places.filter_map(|place| place.alone.as_ref()).any(|alone| alone.with == session)
    }
}
