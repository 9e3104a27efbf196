//! A sealed voice path: datagrams between two ends that share keys, from counter to replay window.
//!
//! A datagram is a clear header, which is authenticated with the rest: kind (1 byte), session (4), counter (8, both
//! big-endian), then the sealed payload with its 16-byte tag. The keys belong to one control connection, so that whose
//! path it is cannot come into question. The cipher itself is the driver's ([`Seal`]): the core has no cryptography.

use alloc::{sync::Arc, vec::Vec};
use core::net::SocketAddr;

use super::replay::ReplayWindow;
use crate::{
    hooks::{Mistake, is_made},
    ids::SessionId,
    limits,
};

/// Bytes of the clear header.
pub const HEADER_BYTES: usize = 13;
/// Bytes of the authentication tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of payload that fit into one datagram.
pub const PAYLOAD_BYTES: usize = limits::DATAGRAM_BYTES - HEADER_BYTES - TAG_BYTES;

/// Bytes of payload of a probe and of its echo.
pub const PROBE_BYTES: usize = 8;

/// An AEAD with one key for each direction. `counter` is never repeated for a key and makes the nonce.
pub trait Seal {
    /// Encrypts `payload` in place and returns the tag over it and `header`.
    fn seal(&self, counter: u64, header: &[u8], payload: &mut [u8]) -> [u8; TAG_BYTES];

    /// Verifies `sealed` (payload and tag) and `header` and decrypts the payload in place; false when it is forged.
    fn open(&self, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool;
}

impl<S: Seal + ?Sized> Seal for Arc<S> {
    fn seal(&self, counter: u64, header: &[u8], payload: &mut [u8]) -> [u8; TAG_BYTES] {
        (**self).seal(counter, header, payload)
    }

    fn open(&self, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        (**self).open(counter, header, sealed)
    }
}

/// What a datagram is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatagramKind {
    /// Voice frames; see [`super::voice`].
    Voice,
    /// Asks for a [`DatagramKind::Echo`] with the same payload ([`PROBE_BYTES`] of the sender's choice).
    Probe,
    /// Answers a probe.
    Echo,
}

impl DatagramKind {
    const fn to_wire(self) -> u8 {
        match self {
            Self::Voice => 1,
            Self::Probe => 2,
            Self::Echo => 3,
        }
    }

    const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Voice),
            2 => Some(Self::Probe),
            3 => Some(Self::Echo),
            _ => None,
        }
    }
}

/// The clear header of a datagram. Nothing in it is proven before the seal is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What it is for.
    pub kind: DatagramKind,
    /// Whose keys seal it.
    pub session: SessionId,
    /// Which datagram of this direction it is.
    pub counter: u64,
}

impl Header {
    /// Reads the header; `None` when `datagram` cannot be one of ours.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        if datagram.len() > limits::DATAGRAM_BYTES || datagram.len() < HEADER_BYTES + TAG_BYTES {
            return None;
        }
        let header = datagram.first_chunk::<HEADER_BYTES>()?;
        let &[kind, s0, s1, s2, s3, ..] = header;
        Some(Self {
            kind: DatagramKind::from_wire(kind)?,
            session: SessionId::from_wire(u32::from_be_bytes([s0, s1, s2, s3])),
            counter: counter_in(header),
        })
    }

    fn to_wire(self) -> [u8; HEADER_BYTES] {
        let [s0, s1, s2, s3] = self.session.to_wire().to_be_bytes();
        let [c0, c1, c2, c3, c4, c5, c6, c7] = self.counter.to_be_bytes();
        [self.kind.to_wire(), s0, s1, s2, s3, c0, c1, c2, c3, c4, c5, c6, c7]
    }
}

fn counter_in(header: &[u8; HEADER_BYTES]) -> u64 {
    let &[_, _, _, _, _, c0, c1, c2, c3, c4, c5, c6, c7] = header;
    u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7])
}

/// Why a datagram was dropped. Each is worth a counter, none is worth a close: anybody can send datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// No header of ours, or another session's.
    NotOurs,
    /// Its counter was used already, or is older than the window.
    Replayed,
    /// The seal does not verify.
    Forged,
}

/// A datagram that proved authentic and new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened<'a> {
    /// What it is for.
    pub kind: DatagramKind,
    /// What was sealed.
    pub payload: &'a [u8],
}

/// A datagram that has its counter and is not sealed yet. Since nobody else has that counter, sealing may be done later, in any order
/// and in another thread.
#[derive(Debug)]
pub struct Draft<'a, S> {
    header: Header,
    payload: &'a [u8],
    seal: &'a S,
}

impl<'a, S: Seal> Draft<'a, S> {
    /// Appends it to `out`, with room for the tag. It must not leave before [`seal_in_place`], once, with the seal that is returned.
    pub fn write(self, out: &mut Vec<u8>) -> &'a S {
        out.extend_from_slice(&self.header.to_wire());
        out.extend_from_slice(self.payload);
        out.extend_from_slice(&[0; TAG_BYTES]);
        self.seal
    }

    /// Appends it to `out`, sealed.
    pub fn write_sealed(self, out: &mut Vec<u8>) {
        let start = out.len();
        let seal = self.write(out);
        seal_in_place(seal, out.get_mut(start..).unwrap_or_default());
    }
}

/// Seals what [`Draft::write`] wrote, with the seal that it returned; once: sealed twice it would be bare.
pub fn seal_in_place(seal: &impl Seal, datagram: &mut [u8]) {
    let Some((header, rest)) = datagram.split_first_chunk_mut::<HEADER_BYTES>() else { return };
    let Some((payload, tag)) = rest.split_last_chunk_mut::<TAG_BYTES>() else { return };
    *tag = seal.seal(counter_in(header), header, payload);
}

/// One end of a voice path.
#[derive(Debug)]
pub struct SealedPath<S> {
    session: SessionId,
    seal: S,
    next_counter: u64,
    window: ReplayWindow,
    remote: Option<SocketAddr>,
}

impl<S: Seal> SealedPath<S> {
    /// The path of `session` under fresh keys.
    pub fn new(session: SessionId, seal: S) -> Self {
        Self { session, seal, next_counter: 0, window: ReplayWindow::default(), remote: None }
    }

    /// Whose path it is.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Where the other end is: the source of the newest authentic datagram, so that a NAT that changes its mind
    /// costs nothing, and nobody else can redirect the path.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// The next datagram, to be sealed. `payload` has at most [`PAYLOAD_BYTES`]; a larger one is refused.
    pub fn draft<'a>(&'a mut self, kind: DatagramKind, payload: &'a [u8]) -> Option<Draft<'a, S>> {
        if payload.len() > PAYLOAD_BYTES {
            return None;
        }
        let header = Header { kind, session: self.session, counter: self.next_counter };
        self.next_counter += 1;
        Some(Draft { header, payload, seal: &self.seal })
    }

    /// Appends a sealed datagram to `out`. `payload` has at most [`PAYLOAD_BYTES`]; a larger one is refused: false.
    pub fn seal(&mut self, kind: DatagramKind, payload: &[u8], out: &mut Vec<u8>) -> bool {
        self.draft(kind, payload).map(|draft| draft.write_sealed(out)).is_some()
    }

    /// Opens a datagram that came from `from`, in place.
    pub fn open<'a>(&mut self, from: SocketAddr, datagram: &'a mut [u8]) -> Result<Opened<'a>, OpenError> {
        let header = Header::parse(datagram).filter(|header| header.session == self.session);
        let Header { kind, counter, .. } = header.ok_or(OpenError::NotOurs)?;
        if is_made(Mistake::AddressBeforeSeal) {
            self.remote = Some(from);
        }
        if !self.window.is_fresh(counter) {
            return Err(OpenError::Replayed);
        }
        let (clear, sealed) = datagram.split_at_mut(HEADER_BYTES);
        if !self.seal.open(counter, clear, sealed) {
            return Err(OpenError::Forged);
        }
        if self.window.accept(counter) {
            self.remote = Some(from);
        }
        let payload = sealed.get(..sealed.len() - TAG_BYTES).unwrap_or_default();
        Ok(Opened { kind, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// XOR with the counter and a sum as the tag: enough to see what is authenticated.
    struct Toy;

    fn toy_tag(counter: u64, header: &[u8], payload: &[u8]) -> [u8; TAG_BYTES] {
        let sum = header.iter().chain(payload).fold(counter, |sum, &b| sum.wrapping_mul(31) + u64::from(b));
        let mut tag = [7; TAG_BYTES];
        tag[..8].copy_from_slice(&sum.to_be_bytes());
        tag
    }

    impl Seal for Toy {
        fn seal(&self, counter: u64, header: &[u8], payload: &mut [u8]) -> [u8; TAG_BYTES] {
            toy_tag(counter, header, payload)
        }

        fn open(&self, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool {
            let (payload, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
            toy_tag(counter, header, payload) == tag
        }
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn sealed(path: &mut SealedPath<Toy>, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![];
        assert!(path.seal(DatagramKind::Voice, payload, &mut out));
        out
    }

    fn pair() -> (SealedPath<Toy>, SealedPath<Toy>) {
        let session = SessionId::from_wire(77);
        (SealedPath::new(session, Toy), SealedPath::new(session, Toy))
    }

    #[test]
    fn the_address_follows_the_newest_authentic_datagram_and_nothing_else() {
        let (mut a, mut b) = pair();
        let mut first = sealed(&mut a, b"first");
        let mut second = sealed(&mut a, b"second");
        let mut third = sealed(&mut a, b"third");
        assert_eq!(b.open(address(2), &mut second).unwrap().payload, b"second");
        assert_eq!(b.remote(), Some(address(2)));
        // Older, though authentic: delivered, but the address stays.
        assert_eq!(b.open(address(1), &mut first).unwrap().payload, b"first");
        assert_eq!(b.remote(), Some(address(2)));
        // Newer, but tampered with: neither the address nor the window moves.
        let mut forged = third.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(b.open(address(9), &mut forged), Err(OpenError::Forged));
        assert_eq!(b.remote(), Some(address(2)));
        assert_eq!(b.open(address(3), &mut third).unwrap().payload, b"third");
        assert_eq!(b.remote(), Some(address(3)));
    }

    #[test]
    fn drafts_are_sealed_in_any_order() {
        let ((mut a, _), (mut other, mut b)) = (pair(), pair());
        let payloads: [&[u8]; 3] = [b"first", b"", b"third"];
        let mut drafts = payloads.map(|payload| {
            let mut bytes = vec![];
            a.draft(DatagramKind::Voice, payload).unwrap().write(&mut bytes);
            bytes
        });
        drafts.iter_mut().rev().for_each(|draft| seal_in_place(&Toy, draft));
        assert_eq!(drafts, payloads.map(|payload| sealed(&mut other, payload)));
        for (draft, payload) in drafts.iter_mut().zip(payloads) {
            assert_eq!(b.open(address(1), draft).unwrap().payload, payload);
        }
    }

    #[test]
    fn replays_and_strangers_are_told_apart() {
        let (mut a, mut b) = pair();
        let once = sealed(&mut a, b"once");
        assert!(b.open(address(1), &mut once.clone()).is_ok());
        assert_eq!(b.open(address(1), &mut once.clone()), Err(OpenError::Replayed));
        let mut other = SealedPath::new(SessionId::from_wire(78), Toy);
        assert_eq!(other.open(address(1), &mut once.clone()), Err(OpenError::NotOurs));
        for cut in 0..HEADER_BYTES + TAG_BYTES {
            assert_eq!(b.open(address(1), &mut once.clone()[..cut]), Err(OpenError::NotOurs));
        }
    }

    #[test]
    fn every_bit_of_a_datagram_is_authenticated() {
        let (mut a, _) = pair();
        let datagram = sealed(&mut a, b"payload");
        for bit in 0..datagram.len() * 8 {
            let (_, mut b) = pair();
            let mut flipped = datagram.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(b.open(address(1), &mut flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_payload_that_does_not_fit_is_refused() {
        let (mut a, _) = pair();
        let mut out = vec![];
        assert!(!a.seal(DatagramKind::Voice, &[0; PAYLOAD_BYTES + 1], &mut out));
        assert!(out.is_empty());
        assert!(a.seal(DatagramKind::Voice, &[0; PAYLOAD_BYTES], &mut out));
        assert_eq!(out.len(), limits::DATAGRAM_BYTES);
    }
}
