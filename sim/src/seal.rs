//! A toy cipher in place of the transport's: every bit is checked, nothing is secret.

use chinwag_proto::wire::path::{Seal, TAG_BYTES};

use crate::trace::hash;

/// The keys of one end of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToySeal {
    sends: u64,
    receives: u64,
}

impl ToySeal {
    /// The client's end of connection number `connection`.
    pub(crate) fn client(connection: u32) -> Self {
        let key = u64::from(connection) << 1;
        Self { sends: key, receives: key | 1 }
    }

    /// The server's end of the same.
    pub(crate) fn server(connection: u32) -> Self {
        let Self { sends, receives } = Self::client(connection);
        Self { sends: receives, receives: sends }
    }
}

impl Seal for ToySeal {
    fn seal(&self, counter: u64, header: &[u8], payload: &mut [u8]) -> [u8; TAG_BYTES] {
        mask(self.sends, counter, payload);
        tag(self.sends, counter, header, payload)
    }

    fn open(&self, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        let Some(at) = sealed.len().checked_sub(TAG_BYTES) else { return false };
        let (payload, sent_tag) = sealed.split_at_mut(at);
        if tag(self.receives, counter, header, payload) != sent_tag {
            return false;
        }
        mask(self.receives, counter, payload);
        true
    }
}

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state ^ (state >> 29)
}

fn mask(key: u64, counter: u64, payload: &mut [u8]) {
    let pad = mix(mix(key) ^ counter).to_le_bytes();
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_le_bytes(*word) ^ u64::from_le_bytes(pad)).to_le_bytes();
    }
    for (byte, pad) in rest.iter_mut().zip(pad) {
        *byte ^= pad;
    }
}

fn tag(key: u64, counter: u64, header: &[u8], payload: &[u8]) -> [u8; TAG_BYTES] {
    let parts = [mix(key) ^ counter, hash(header), hash(payload)];
    let sum = parts.into_iter().fold(0, |sum, part| mix(sum ^ part));
    let mut tag = [0; TAG_BYTES];
    tag[..8].copy_from_slice(&sum.to_be_bytes());
    tag[8..].copy_from_slice(&mix(sum).to_be_bytes());
    tag
}
