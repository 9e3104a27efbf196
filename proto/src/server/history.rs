//! Pages and searches of a room's history: from memory where that reaches back far enough, else from the store.

use alloc::{borrow::ToOwned as _, collections::BTreeMap, string::String, vec::Vec};

use super::{Queued, ReadRequest, Server, native};
use crate::{
    audit::{at_most, ensure},
    history::{KeptMessage, PageRequest, SearchRequest},
    ids::{Peer, RoomId, Seq, SessionId},
    limits,
    outbox::Class,
    text,
    time::Instant,
    wire::{
        chinwag1::{self as pb, to_client::Kind},
        control,
    },
};

/// What the store was asked for and did not answer yet.
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: BTreeMap<u32, Question>,
    last_ticket: u32,
}

#[derive(Debug)]
struct Question {
    session: SessionId,
    token: u32,
    room: RoomId,
    limit: usize,
    /// The connection by which it was asked is gone. It keeps its place until the store has answered it.
    is_given_up: bool,
}

impl Reads {
    /// A ticket for a question, unless there are too many.
    fn ask(&mut self, question: Question) -> Option<u32> {
        let of_session = self.waiting.values().filter(|other| other.session == question.session).count();
        if self.waiting.len() >= limits::READS || of_session >= limits::READS_EACH {
            return None;
        }
        self.last_ticket = self.last_ticket.wrapping_add(1);
        self.waiting.insert(self.last_ticket, question);
        Some(self.last_ticket)
    }

    /// Nobody waits any more for what a session asked, and the store is told so.
    pub(super) fn give_up(&mut self, session: SessionId, mut tell: impl FnMut(u32)) {
        let of_session = self.waiting.iter_mut().filter(|(_, question)| question.session == session);
        for (&ticket, question) in of_session.filter(|(_, question)| !question.is_given_up) {
            question.is_given_up = true;
            tell(ticket);
        }
    }

    /// A question beside all limits.
    #[cfg(test)]
    pub(super) fn ask_for(&mut self, ticket: u32, session: SessionId) {
        let question = Question { session, token: 0, room: RoomId::new(1), limit: 1, is_given_up: false };
        self.waiting.insert(ticket, question);
    }

    /// Checks that there are no more than there may be, and that those whose questions they are are there.
    pub(super) fn audit(&self, is_here: impl Fn(SessionId) -> bool) -> Result<(), String> {
        at_most("reads", self.waiting.len(), limits::READS)?;
        for (ticket, question) in self.waiting.iter().filter(|(_, question)| !question.is_given_up) {
            let session = question.session;
            ensure!(is_here(session), "question {ticket} is of {session:?}, who is not here");
        }
        Ok(())
    }
}

impl Server {
    pub(super) fn read_history(
        &mut self,
        now: Instant,
        peer: Peer,
        session: SessionId,
        request: &pb::HistoryRequest,
    ) {
        if let Some(conn) = self.conn_mut(peer) {
            let is_search = !request.words.is_empty();
            conn.rate.charge(now, if is_search { limits::SEARCH_COST } else { limits::HISTORY_COST });
        }
        let (token, room) = (request.token, RoomId::from_wire(request.room));
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).clamp(1, limits::PAGE_MESSAGES);
        let before = Seq::from_wire(if request.before == 0 { u64::MAX } else { request.before });
        let words = request.words.as_str();
        if !self.hub.rooms_of(session).contains(&room) {
            return self.refuse_page(peer, room, token, "you are not in that room");
        } else if words.len() > limits::SEARCH_BYTES {
            return self.refuse_page(peer, room, token, "that is too much to search for");
        } else if (words.is_empty() || !self.hub.is_lasting_in(room))
            && let Some(page) = self.remembered_page(room, token, before, limit, words)
        {
            return self.send_page(peer, page);
        }
        let Some(ticket) = self.reads.ask(Question { session, token, room, limit, is_given_up: false })
        else {
            return self.refuse_page(peer, room, token, "the server reads too much at once; try again");
        };
        // One more than was asked for tells whether there are more.
        let limit = limit + 1;
        let what = if words.is_empty() {
            ReadRequest::Page(PageRequest { room, before, limit })
        } else {
            ReadRequest::Search(SearchRequest { room, words: words.into(), before, limit })
        };
        self.out.push(Queued::Read { ticket, what }, |_, _| {});
    }

    /// A page from memory, if that reaches back far enough.
    fn remembered_page(
        &self,
        room: RoomId,
        token: u32,
        before: Seq,
        limit: usize,
        words: &str,
    ) -> Option<pb::HistoryPage> {
        let earlier = self.hub.messages_after(room, Seq::ZERO).rev();
        let earlier = earlier.filter(|message| message.kept.seq < before);
        let words = text::Words::new(words);
        let mut matching = earlier.filter(|message| words.are_in(&message.kept.text));
        let messages: Vec<_> = matching.by_ref().take(limit).collect();
        let has_all =
            !self.hub.is_lasting_in(room) || self.hub.first_remembered(room) == Some(Seq::from_wire(1));
        if messages.len() < limit && !has_all {
            return None;
        }
        let more = matching.next().is_some() || !has_all;
        let messages = messages.into_iter().map(|message| (message.member, &message.kept));
        Some(page(room, token, messages, more))
    }

    /// The store's answer.
    pub(super) fn has_read(&mut self, ticket: u32, found: Option<&[KeptMessage]>) {
        let question = self.reads.waiting.remove(&ticket).filter(|question| !question.is_given_up);
        let Some(Question { session, token, room, limit, .. }) = question else { return };
        let Some(peer) = self.seats.peer_of(session) else { return };
        let Some(found) = found else {
            return self.refuse_page(
                peer,
                room,
                token,
                "the server could not read so much; look for rarer words, or try again later",
            );
        };
        let messages = found.iter().rev().take(limit).map(|kept| (SessionId::NOBODY, kept));
        let page = page(room, token, messages, found.len() > limit);
        self.send_page(peer, page);
    }

    fn refuse_page(&mut self, peer: Peer, room: RoomId, token: u32, why: &str) {
        self.stats.pages_refused += 1;
        let (room, error) = (room.to_wire(), why.to_owned());
        self.write_page(peer, pb::HistoryPage { room, token, messages: Vec::new(), more: false, error });
    }

    fn send_page(&mut self, peer: Peer, page: pb::HistoryPage) {
        self.stats.pages += 1;
        self.write_page(peer, page);
    }

    fn write_page(&mut self, peer: Peer, page: pb::HistoryPage) {
        self.out.push(Queued::Send(Class::Control), |bytes, to| {
            control::write_to_client(bytes, Kind::History(page));
            to.push(peer);
        });
    }
}

/// A page of these messages, which come newest first: as many as fit.
fn page<'a>(
    room: RoomId,
    token: u32,
    messages: impl Iterator<Item = (SessionId, &'a KeptMessage)>,
    more: bool,
) -> pb::HistoryPage {
    let (mut taken, mut bytes, mut is_cut) = (Vec::new(), 0, false);
    for (member, kept) in messages {
        bytes += kept.text.len();
        if bytes > limits::PAGE_BYTES && !taken.is_empty() {
            is_cut = true;
            break;
        }
        taken.push(native::said(member, kept));
    }
    taken.reverse();
    pb::HistoryPage {
        room: room.to_wire(),
        token,
        messages: taken,
        more: more || is_cut,
        error: String::new(),
    }
}
