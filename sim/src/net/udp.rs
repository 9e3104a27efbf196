//! Datagrams between a client and the server: sealed by the sender's end, then lost, doubled, changed and late as the
//! way has it, and from and to such addresses as the NAT has it.

use std::net::SocketAddr;

use chinwag_proto::{limits::DATAGRAM_BYTES, wire::path::DatagramKind};

use super::{Brought, Net, nat::Nat, node};
use crate::{
    spec::Key,
    tcp::{ConnId, Side},
    trace::{Mark, Node, hash},
};

/// Datagrams that whoever listens to the network keeps.
const CAUGHT: usize = 64;

/// A datagram on its way.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    /// Where to; none is the server.
    pub(crate) to: Option<SocketAddr>,
    pub(crate) bytes: Vec<u8>,
}

impl Net<'_> {
    /// Seals `payload` under the keys of a client's end and sends it.
    pub(crate) fn send_datagram(&mut self, conn: ConnId, kind: DatagramKind, payload: &[u8]) {
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        let client = tcp.client;
        let Some(path) = &mut tcp.path else { return };
        let mut bytes = Vec::with_capacity(DATAGRAM_BYTES);
        if !path.seal(kind, payload, &mut bytes) {
            self.counts.datagrams_too_large += 1;
            return;
        }
        let expire_us = self.spec.seconds_us(Key::Expire);
        let from = self.links[client as usize].nat.outward(self.now_us, expire_us);
        if self.spec.get(Key::Hostile) > 0 {
            self.catch(&bytes);
        }
        self.launch(client, Side::Client, Datagram { from, to: None, bytes });
    }

    /// The server sends a sealed datagram.
    pub(crate) fn send_sealed(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        // An address that is no client's leads nowhere, by any link.
        let link = Nat::link_of(to).filter(|&link| (link as usize) < self.links.len()).unwrap_or(0);
        self.launch(link, Side::Server, Datagram { from: server_address(), to: Some(to), bytes });
    }

    /// A stranger sends any bytes to the server.
    pub(crate) fn send_raw(&mut self, link: u32, bytes: Vec<u8>) {
        let from = self.links[link as usize].nat.outward(self.now_us, 0);
        self.launch(link, Side::Client, Datagram { from, to: None, bytes });
    }

    /// The `index`-th last datagram that was caught on its way to the server.
    pub(crate) fn caught(&self, index: u64) -> Option<&[u8]> {
        let count = self.caught.len() as u64;
        self.caught.get(usize::try_from(index.checked_rem(count)?).ok()?).map(Vec::as_slice)
    }

    fn catch(&mut self, bytes: &[u8]) {
        if self.caught.len() == CAUGHT {
            self.caught.pop_front();
        }
        self.caught.push_back(bytes.to_vec());
    }

    fn launch(&mut self, link: u32, side: Side, datagram: Datagram) {
        self.counts.datagrams += 1;
        let is_down = self.is_down(link) || self.without_udp_us(link) > 0;
        let Self { spec, now_us, links, .. } = self;
        let Some(over) = links.get_mut(link as usize) else { return };
        let fate = over.ways[side as usize].datagram(spec, *now_us, datagram.bytes.len());
        let is_parted = *now_us < over.parted_until_us[side as usize];
        if fate.lost.is_some() || is_down || is_parted {
            self.counts.datagrams_lost += 1;
            let why = if is_down || is_parted { 9 } else { fate.lost.map_or(0, |lost| 1 + lost as u64) };
            self.record(node(link, side), Mark::Dropped, datagram.bytes.len() as u64, why);
            return;
        }
        let [first, second, third] = fate.arrivals;
        self.counts.datagrams_doubled += u64::from(second.is_some());
        self.counts.datagrams_replayed += u64::from(third.is_some());
        for arrival in [second, third].into_iter().flatten() {
            let Datagram { from, to, ref bytes } = datagram;
            self.fly(arrival.after_us, Datagram { from, to, bytes: bytes.clone() });
        }
        if let Some(arrival) = first {
            let mut datagram = datagram;
            let is_hurt = arrival.flipped_bit.is_some() || arrival.cut_to.is_some();
            self.counts.datagrams_corrupted += u64::from(is_hurt);
            arrival.damage(&mut datagram.bytes);
            self.fly(arrival.after_us, datagram);
        }
    }

    fn fly(&mut self, way_us: u64, datagram: Datagram) {
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.datagrams[slot as usize] = datagram;
                slot
            }
            None => {
                self.datagrams.push(datagram);
                u32::try_from(self.datagrams.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.after(way_us, Brought::Datagram { slot });
    }

    /// To whom a datagram goes that is on its way; none when its address leads nowhere.
    pub(crate) fn addressee(&self, slot: u32) -> Option<Node> {
        match self.datagrams.get(slot as usize)?.to {
            None => Some(Node::Server),
            Some(to) => Nat::link_of(to).map(Node::Client),
        }
    }

    /// Takes a datagram that arrives, with the node that it reaches, if it reaches one.
    pub(crate) fn take_datagram(&mut self, slot: u32) -> Option<(Node, Datagram)> {
        let to = self.addressee(slot);
        let expire_us = self.spec.seconds_us(Key::Expire);
        let datagram = self.datagrams.get_mut(slot as usize)?;
        let bytes = std::mem::take(&mut datagram.bytes);
        let datagram = Datagram { from: datagram.from, to: datagram.to, bytes };
        self.free_slots.push(slot);
        let passes = match (to?, datagram.to) {
            (Node::Client(client), Some(address)) => {
                let now_us = self.now_us;
                self.links.get_mut(client as usize)?.nat.inward(address, now_us, expire_us)
            }
            (Node::Client(_) | Node::Server | Node::World, _) => true,
        };
        let node = to?;
        if !passes {
            self.counts.datagrams_astray += 1;
            self.record(node, Mark::Astray, datagram.bytes.len() as u64, 0);
            return None;
        }
        self.record(node, Mark::Datagram, datagram.bytes.len() as u64, hash(&datagram.bytes));
        Some((node, datagram))
    }

    /// A datagram that is dropped on its last step.
    pub(crate) fn drop_datagram(&mut self, slot: u32) {
        if let Some(datagram) = self.datagrams.get_mut(slot as usize) {
            datagram.bytes = Vec::new();
            self.free_slots.push(slot);
            self.counts.datagrams_lost += 1;
        }
    }
}

/// Where datagrams of the server come from.
fn server_address() -> SocketAddr {
    SocketAddr::from(([10, 255, 255, 255], 24469))
}
