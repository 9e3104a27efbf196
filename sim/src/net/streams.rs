//! The byte streams of connections: from an outbox into a pipe, cut into segments anywhere, and out of it again.

use chinwag_proto::{
    outbox::{Class, Overflow},
    pacer::Next,
};

use super::{Brought, Net, Read, node};
use crate::{
    sometimes::Sometimes,
    spec::Key,
    tcp::{ConnId, EndState, Side},
    trace::{Mark, Node, hash},
};

/// Bytes of the largest segment.
const SEGMENT_BYTES: u64 = 1460;
/// One segment in so many is tiny.
const TINY_SEGMENTS: u64 = 8;

impl Net<'_> {
    /// Queues whole frames at an end.
    pub(crate) fn send(
        &mut self,
        conn: ConnId,
        side: Side,
        class: Class,
        bytes: &[u8],
    ) -> Result<(), Overflow> {
        let Some(tcp) = self.conns.get_mut(&conn) else { return Ok(()) };
        let end = tcp.end_mut(side);
        end.outbox.push(class, bytes)?;
        if !std::mem::replace(&mut end.dirty, true) {
            self.dirty.push((conn, side));
        }
        Ok(())
    }

    /// Writes what was queued since the last time. Called once for each wake-up of a node.
    pub(crate) fn flush(&mut self) {
        while let Some((conn, side)) = self.dirty.pop() {
            if let Some(tcp) = self.conns.get_mut(&conn) {
                tcp.end_mut(side).dirty = false;
            }
            self.pump(conn, side);
        }
    }

    /// Moves bytes from an outbox into the pipe, as many as fit, and cuts them into segments.
    pub(crate) fn pump(&mut self, conn: ConnId, side: Side) {
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        if tcp.end(side).pacer.is_some() {
            return self.pace(conn, side);
        }
        let client = tcp.client;
        let (end, pipe) = tcp.writer(side);
        if matches!(end.state, EndState::Connecting | EndState::Closed) || end.fin_sent {
            return;
        }
        let (before, window) = (pipe.bytes.len(), self.spec.get(Key::Window) as usize * 1024);
        let way = &mut self.links[client as usize].ways[side as usize];
        while let Some(front) = end.outbox.front() {
            let fits = front.len().min(window.saturating_sub(pipe.bytes.len()));
            if fits == 0 {
                break;
            }
            let count = way.portion(&self.spec, fits);
            pipe.bytes.extend(&front[..count]);
            end.outbox.consume(count);
        }
        pipe.unsent += pipe.bytes.len() - before;
        pipe.blocked = !end.outbox.is_empty();
        if pipe.blocked {
            self.tally.note(Sometimes::WindowFull);
        }
        self.transmit(conn, side);
    }

    /// The same for a classic peer: one message after the other, as its pacer says.
    fn pace(&mut self, conn: ConnId, side: Side) {
        let now = self.now(Node::Server);
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        let client = tcp.client;
        let (end, pipe) = tcp.writer(side);
        let Some(pacer) = &mut end.pacer else { return };
        if matches!(end.state, EndState::Connecting | EndState::Closed) || end.fin_sent {
            return;
        }
        let (before, window) = (pipe.bytes.len(), self.spec.get(Key::Window) as usize * 1024);
        let way = &mut self.links[client as usize].ways[side as usize];
        pipe.blocked = false;
        let mut due = None;
        loop {
            let is_next = pacer.piece().is_empty();
            match pacer.next(now, &mut end.outbox) {
                Next::Nothing => break,
                Next::At(at) => {
                    due = Some(at).filter(|_| !std::mem::replace(&mut end.is_paced, true));
                    break;
                }
                Next::Piece => {}
            }
            if is_next && pacer.piece().split_last().is_some_and(|(_, piece)| piece.contains(&b'\n')) {
                self.tally.note(Sometimes::ClassicLines);
            }
            let fits = pacer.piece().len().min(window.saturating_sub(pipe.bytes.len()));
            if fits == 0 {
                pipe.blocked = true;
                self.tally.note(Sometimes::WindowFull);
                break;
            }
            let count = way.portion(&self.spec, fits);
            pipe.bytes.extend(&pacer.piece()[..count]);
            pacer.wrote(now, count);
        }
        pipe.unsent += pipe.bytes.len() - before;
        if let Some(due) = due {
            let due_us = self.when(Node::Server, due);
            self.at(due_us, Brought::Paced(conn));
        }
        self.transmit(conn, side);
    }

    /// A classic peer may be written to again.
    pub(crate) fn paced(&mut self, conn: ConnId) {
        if let Some(tcp) = self.conns.get_mut(&conn) {
            tcp.end_mut(Side::Server).is_paced = false;
            self.pump(conn, Side::Server);
        }
    }

    /// Sends what was put into the pipe, in segments, and the end of the stream when all is in it.
    fn transmit(&mut self, conn: ConnId, side: Side) {
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        let client = tcp.client;
        let (end, pipe) = tcp.writer(side);
        let is_done = end.state == EndState::Closing && end.is_idle();
        if self.links[client as usize].parted_until_us[side as usize] > self.now_us {
            // TCP tries again when the link is whole; see [`Net::part`].
            return;
        }
        end.fin_sent = is_done;
        let (mut left, mut arrival) = (std::mem::take(&mut pipe.unsent) as u64, pipe.last_arrival_us);
        while left > 0 {
            let rng = self.links[client as usize].ways[side as usize].chances();
            let longest = if rng.below(TINY_SEGMENTS) == 0 { 8 } else { SEGMENT_BYTES };
            let bytes = (1 + rng.below(longest)).min(left);
            left -= bytes;
            arrival = arrival.max(self.arrival_us(client, side, bytes as usize));
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.at(arrival, Brought::Segment { conn, from: side, bytes });
        }
        if is_done {
            arrival = arrival.max(self.arrival_us(client, side, 0));
            self.at(arrival, Brought::Fin { conn, from: side });
        }
        if let Some(tcp) = self.conns.get_mut(&conn) {
            tcp.pipe_mut(side).last_arrival_us = arrival;
        }
    }

    /// When a segment of so many bytes arrives that is sent now, or as soon as the link is whole.
    pub(super) fn arrival_us(&mut self, client: u32, from: Side, bytes: usize) -> u64 {
        let link = &mut self.links[client as usize];
        let way_us = link.ways[from as usize].segment_us(&self.spec, self.now_us, bytes);
        self.now_us.max(link.parted_until_us[from as usize]) + way_us
    }

    /// A segment arrives: true when there is something to read at the other end.
    pub(crate) fn segment(&mut self, conn: ConnId, from: Side, bytes: u32) -> bool {
        let Some(tcp) = self.conns.get_mut(&conn) else { return false };
        if tcp.cut {
            return false;
        }
        let client = tcp.client;
        tcp.pipe_mut(from).arrived += bytes as usize;
        match tcp.end(from.other()).state {
            EndState::Open => !tcp.end(from.other()).paused,
            EndState::Connecting => false,
            EndState::Closing => {
                // Read and thrown away, so that a goodbye behind it still gets out.
                self.read(conn, from.other(), &mut Vec::new());
                false
            }
            EndState::Closed => {
                self.reset(conn, client, from);
                false
            }
        }
    }

    /// The end of a stream arrives: true when there is something to read at the other end.
    pub(crate) fn fin(&mut self, conn: ConnId, from: Side) -> bool {
        let Some(tcp) = self.conns.get_mut(&conn) else { return false };
        if tcp.cut {
            return false;
        }
        let node = node(tcp.client, from.other());
        tcp.pipe_mut(from).fin_arrived = true;
        let (state, paused) = (tcp.end(from.other()).state, tcp.end(from.other()).paused);
        self.record(node, Mark::Fin, u64::from(conn.0), 0);
        match state {
            EndState::Open => !paused,
            EndState::Connecting => false,
            EndState::Closing => {
                self.finish(conn, from.other());
                false
            }
            EndState::Closed => false,
        }
    }

    /// Both sides have said that they are done; what the end still has to write goes on its way first.
    fn finish(&mut self, conn: ConnId, side: Side) {
        self.pump(conn, side);
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        if tcp.end(side).fin_sent || tcp.end(side.other()).state == EndState::Closed {
            tcp.end_mut(side).state = EndState::Closed;
            if tcp.is_over() {
                self.conns.remove(&conn);
            }
        }
    }

    /// Takes what has arrived at an end.
    pub(crate) fn read(&mut self, conn: ConnId, side: Side, buffer: &mut Vec<u8>) -> Read {
        let Some(tcp) = self.conns.get_mut(&conn) else { return Read::Nothing };
        let client = tcp.client;
        let pipe = tcp.pipe_mut(side.other());
        if pipe.arrived == 0 {
            return if pipe.fin_arrived { Read::End } else { Read::Nothing };
        }
        let way = &mut self.links[client as usize].ways[side.other() as usize];
        let count = way.portion(&self.spec, pipe.arrived);
        buffer.clear();
        pipe.read(count, buffer);
        if std::mem::take(&mut pipe.blocked) {
            let at_us = self.arrival_us(client, side, 0);
            self.at(at_us, Brought::Writable { conn, from: side.other() });
        }
        self.record(node(client, side), Mark::Stream, buffer.len() as u64, hash(buffer));
        Read::Bytes
    }
}
