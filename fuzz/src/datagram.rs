//! Voice datagrams: header, seal, replay window and voice frames, under bytes that come from anywhere.

use std::net::SocketAddr;

use chinwag_proto::{
    SessionId,
    limits::{DATAGRAM_BYTES, FRAMES_PER_DATAGRAM, OPUS_BYTES},
    wire::{
        path::{DatagramKind, HEADER_BYTES, Header, OpenError, PAYLOAD_BYTES, Seal, SealedPath, TAG_BYTES},
        voice::Frames,
    },
};

/// A toy cipher: a sum over everything as the tag, no secrecy.
#[derive(Clone, Copy, Debug)]
pub struct Toy;

impl Toy {
    fn tag(counter: u64, header: &[u8], payload: &[u8]) -> [u8; TAG_BYTES] {
        let sum = header.iter().chain(payload).fold(counter ^ 0xcbf2_9ce4_8422_2325, |sum, &byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(9)
        });
        let mut tag = [7; TAG_BYTES];
        tag[..8].copy_from_slice(&sum.to_be_bytes());
        tag
    }
}

impl Seal for Toy {
    fn seal(&self, counter: u64, header: &[u8], payload: &mut [u8]) -> [u8; TAG_BYTES] {
        Self::tag(counter, header, payload)
    }

    fn open(&self, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        sealed.split_last_chunk().is_some_and(|(payload, tag)| Self::tag(counter, header, payload) == *tag)
    }
}

/// Input: one byte that says what to do with a sealed datagram, then any datagram or payload.
pub fn datagram(data: &[u8]) {
    let _ = Header::parse(data);
    voice(data);
    strangers(data);
    if let Some((&how, payload)) = data.split_first() {
        sealed(how, payload);
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Frames come back as they are when they are written again.
fn voice(payload: &[u8]) {
    let Ok(frames) = Frames::parse(payload) else { return };
    let frames: Vec<_> = frames.collect();
    assert!((1..=FRAMES_PER_DATAGRAM).contains(&frames.len()));
    let mut again = Vec::new();
    for frame in &frames {
        assert!(frame.opus.len() <= OPUS_BYTES && frame.level <= 127);
        assert!(frame.write(&mut again));
    }
    assert_eq!(again.len(), payload.len());
    let again: Vec<_> = Frames::parse(&again).into_iter().flatten().collect();
    assert_eq!(frames, again);
}

/// A datagram that nobody sealed moves nothing.
fn strangers(data: &[u8]) {
    let session = Header::parse(data).map_or(SessionId::from_wire(1), |header| header.session);
    let mut path = SealedPath::new(session, Toy);
    let mut bytes = data.to_vec();
    match path.open(address(1), &mut bytes) {
        // It had the right sum: then it is in order, but only once.
        Ok(opened) => {
            assert!(data.len() <= DATAGRAM_BYTES && opened.payload.len() <= PAYLOAD_BYTES);
            assert_eq!(path.open(address(2), &mut data.to_vec()), Err(OpenError::Replayed));
            assert_eq!(path.remote(), Some(address(1)));
        }
        Err(_) => assert_eq!(path.remote(), None),
    }
}

/// What is sealed is opened, once; what is changed on the way is not.
fn sealed(how: u8, payload: &[u8]) {
    let session = SessionId::from_wire(u32::from(how));
    let (mut sender, mut receiver) = (SealedPath::new(session, Toy), SealedPath::new(session, Toy));
    let kind = match how % 3 {
        0 => DatagramKind::Voice,
        1 => DatagramKind::Probe,
        _ => DatagramKind::Echo,
    };
    let mut sent = Vec::new();
    for _ in 0..how % 5 {
        sent.clear();
        sender.seal(kind, b"earlier", &mut sent);
    }
    sent.clear();
    assert_eq!(sender.seal(kind, payload, &mut sent), payload.len() <= PAYLOAD_BYTES);
    if sent.is_empty() {
        return;
    }
    let mut changed = sent.clone();
    let at = usize::from(how) * 7 % changed.len();
    changed[at] ^= 1 << (how % 8);
    assert!(receiver.open(address(9), &mut changed).is_err());
    let mut cut = sent[..sent.len() - 1 - usize::from(how) % (HEADER_BYTES + TAG_BYTES)].to_vec();
    assert!(receiver.open(address(9), &mut cut).is_err());
    assert_eq!(receiver.remote(), None);
    let opened =
        receiver.open(address(3), &mut sent.clone()).map(|opened| (opened.kind, opened.payload.to_vec()));
    assert_eq!(opened, Ok((kind, payload.to_vec())));
    assert_eq!(receiver.open(address(4), &mut sent), Err(OpenError::Replayed));
    assert_eq!(receiver.remote(), Some(address(3)));
}
