//! Datagrams between a client and the server: sealed by the sender's end, then lost, doubled, changed and late as the
//! network has it.

use chinwag_proto::{limits::DATAGRAM_BYTES, wire::path::DatagramKind};

use super::{Event, Net, node};
use crate::{
    netspec::NetSpec,
    random::chance,
    tcp::{ConnId, Side},
    trace::{Mark, hash},
};

/// A datagram on its way.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) client: u32,
    pub(crate) to: Side,
    pub(crate) bytes: Vec<u8>,
}

impl Net<'_> {
    /// Seals `payload` under the keys of an end and sends it.
    pub(crate) fn send_datagram(&mut self, conn: ConnId, side: Side, kind: DatagramKind, payload: &[u8]) {
        let Some(tcp) = self.conns.get_mut(&conn) else { return };
        let client = tcp.client;
        let Some(path) = &mut tcp.end_mut(side).path else { return };
        if side == Side::Server && path.remote().is_none() {
            self.counts.datagrams_homeless += 1;
            return;
        }
        let mut bytes = Vec::with_capacity(DATAGRAM_BYTES);
        if !path.seal(kind, payload, &mut bytes) {
            self.counts.datagrams_too_large += 1;
            return;
        }
        self.counts.datagrams += 1;
        let NetSpec { delay_us, jitter_us, loss_ppm, duplicate_ppm, corrupt_ppm, .. } = self.spec;
        let is_down = self.is_down(client);
        let rng = &mut self.links[client as usize].udp[side as usize];
        // All draws are made, whatever they decide, so that one kind of fault does not shift another.
        let (is_lost, is_doubled, is_corrupted) =
            (chance(rng, loss_ppm), chance(rng, duplicate_ppm), chance(rng, corrupt_ppm));
        let ways = [delay_us + rng.below(jitter_us + 1), delay_us + rng.below(jitter_us + 1)];
        let flipped_bit = rng.below(bytes.len() as u64 * 8);
        if is_lost || is_down {
            self.counts.datagrams_lost += 1;
            self.record(node(client, side), Mark::Dropped, payload.len() as u64, u64::from(is_down));
            return;
        }
        if is_doubled {
            self.counts.datagrams_doubled += 1;
            self.launch(ways[1], Datagram { client, to: side.other(), bytes: bytes.clone() });
        }
        if is_corrupted && let Some(byte) = bytes.get_mut((flipped_bit / 8) as usize) {
            *byte ^= 1 << (flipped_bit % 8);
            self.counts.datagrams_corrupted += 1;
        }
        self.launch(ways[0], Datagram { client, to: side.other(), bytes });
    }

    fn launch(&mut self, way_us: u64, datagram: Datagram) {
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
        self.after(way_us, Event::Datagram { slot });
    }

    /// Takes a datagram that arrives.
    pub(crate) fn take_datagram(&mut self, slot: u32) -> Option<Datagram> {
        let datagram = self.datagrams.get_mut(slot as usize)?;
        let Datagram { client, to, .. } = *datagram;
        let bytes = std::mem::take(&mut datagram.bytes);
        self.free_slots.push(slot);
        self.record(node(client, to), Mark::Datagram, bytes.len() as u64, hash(&bytes));
        Some(Datagram { client, to, bytes })
    }
}
