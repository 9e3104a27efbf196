//! The seal of the voice path: AES-128-GCM under keys from the TLS exporter (RFC 8446, section 7.5), one key for each
//! direction. The nonce is the direction's IV with the datagram's counter added by XOR, as in RFC 8446, section 5.3.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use chinwag_proto::wire::{
    control::EXPORTER_LABEL,
    path::{Seal, TAG_BYTES},
};

const KEY_BYTES: usize = 16;
const IV_BYTES: usize = 12;
/// Client to server first, then server to client: key and IV of each.
const MATERIAL_BYTES: usize = 2 * (KEY_BYTES + IV_BYTES);

/// Which end of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Client,
    Server,
}

#[derive(Debug)]
struct Direction {
    key: LessSafeKey,
    iv: [u8; IV_BYTES],
}

impl Direction {
    fn nonce(&self, counter: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, counter) in nonce[IV_BYTES - 8..].iter_mut().zip(counter.to_be_bytes()) {
            *byte ^= counter;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The keys of one connection's voice path.
#[derive(Debug)]
pub(crate) struct AesSeal {
    sending: Direction,
    receiving: Direction,
}

impl AesSeal {
    /// The keys of this connection. `None` before its handshake is done.
    pub(crate) fn from_tls(tls: &rustls::Connection, end: End) -> Option<Self> {
        let material = [0; MATERIAL_BYTES];
        let material = tls.export_keying_material(material, EXPORTER_LABEL, None).ok()?;
        Self::from_material(material, end)
    }

    fn from_material(material: [u8; MATERIAL_BYTES], end: End) -> Option<Self> {
        let (up, down) = material.split_at(KEY_BYTES + IV_BYTES);
        let (up, down) = (direction(up)?, direction(down)?);
        Some(match end {
            End::Client => Self { sending: up, receiving: down },
            End::Server => Self { sending: down, receiving: up },
        })
    }

    /// For tests: a client's and the server's end of one path.
    #[cfg(test)]
    #[allow(dead_code)] // The bench, which takes this file in, has no use for it.
    pub(crate) fn pair(number: u8) -> (Self, Self) {
        let of = |end| Self::from_material(std::array::from_fn(|n| number ^ n as u8), end).unwrap();
        (of(End::Client), of(End::Server))
    }
}

fn direction(material: &[u8]) -> Option<Direction> {
    let (key, iv) = material.split_at_checked(KEY_BYTES)?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).ok()?);
    Some(Direction { key, iv: iv.try_into().ok()? })
}

impl Seal for AesSeal {
    fn seal(&self, counter: u64, header: &[u8], payload: &mut [u8]) -> [u8; TAG_BYTES] {
        let Direction { key, .. } = &self.sending;
        let tag = key.seal_in_place_separate_tag(self.sending.nonce(counter), Aad::from(header), payload);
        // It fails only for payloads of gigabytes; an all-zero tag would then be refused by the other end.
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).unwrap_or_default()
    }

    fn open(&self, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        let Direction { key, .. } = &self.receiving;
        key.open_in_place(self.receiving.nonce(counter), Aad::from(header), sealed).is_ok()
    }
}
