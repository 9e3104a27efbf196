//! The frame codec of the control connection: however a stream is cut into chunks, the frames are the same, and what
//! is decoded comes back when it is encoded and decoded again.

use arbitrary::Unstructured;
use chinwag_proto::wire::{
    control::{self, Body},
    frame::{FrameReader, HEADER_BYTES, Oversized},
};

/// The most that a peer of this target may send in one frame.
const LIMIT: usize = 2048;
/// Lengths of chunks come from so many bytes at the end of the input.
const CHUNK_BYTES: usize = 16;

/// Input: a stream; its last bytes also say how it is cut.
pub fn frame(data: &[u8]) {
    let whole = read(&mut std::iter::once(data));
    let mut lengths = Unstructured::new(&data[data.len().saturating_sub(CHUNK_BYTES)..]);
    let mut rest = data;
    let mut chunks = std::iter::from_fn(|| {
        let length = usize::from(lengths.arbitrary::<u8>().unwrap_or(255)) % 67 + 1;
        let (chunk, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        (!chunk.is_empty()).then_some(chunk)
    });
    assert_eq!(whole, read(&mut chunks));
    for body in whole.0 {
        to_server(&body);
        to_client(&body);
    }
}

type Outcome = (Vec<Vec<u8>>, Option<Oversized>, usize);

fn read(chunks: &mut dyn Iterator<Item = &[u8]>) -> Outcome {
    let mut reader = FrameReader::default();
    let (mut bodies, mut pushed) = (Vec::new(), 0);
    for chunk in &mut *chunks {
        reader.push(chunk);
        pushed += chunk.len();
        loop {
            match reader.next_frame(LIMIT) {
                Ok(Some(body)) => bodies.push(body.to_vec()),
                Ok(None) => break,
                Err(oversized) => {
                    assert!(oversized.announced > LIMIT);
                    assert_eq!(reader.next_frame(LIMIT), Err(oversized), "the error is not repeated");
                    return (bodies, Some(oversized), 0);
                }
            }
        }
        assert!(reader.buffered() < LIMIT + HEADER_BYTES, "more than a frame is held");
    }
    let framed: usize = bodies.iter().map(|body| body.len() + HEADER_BYTES).sum();
    assert_eq!(framed + reader.buffered(), pushed, "bytes were lost or made");
    (bodies, None, reader.buffered())
}

fn to_server(body: &[u8]) {
    let mut again = Vec::new();
    match control::decode_to_server(body) {
        Ok(Body::Message(message)) => {
            control::write_to_server(&mut again, message.clone());
            let again = control::decode_to_server(&again[HEADER_BYTES..]).map(owned);
            // A voice message that was spelt unusually is spelt as usual now.
            match (message, again) {
                (voice_message, Ok(Owned::Voice(voice))) => {
                    assert_eq!(voice_message, chinwag_proto::wire::chinwag1::to_server::Kind::Voice(voice));
                }
                (message, again) => assert_eq!(again, Ok(Owned::Message(message))),
            }
        }
        Ok(Body::Voice(payload)) => {
            control::write_voice(&mut again, payload);
            assert_eq!(control::decode_to_server(&again[HEADER_BYTES..]), Ok(Body::Voice(payload)));
        }
        Ok(Body::Unknown) | Err(control::Undecodable) => {}
    }
}

fn to_client(body: &[u8]) {
    let mut again = Vec::new();
    match control::decode_to_client(body) {
        Ok(Body::Message(message)) => {
            control::write_to_client(&mut again, message.clone());
            match (message, control::decode_to_client(&again[HEADER_BYTES..]).map(owned)) {
                (voice_message, Ok(Owned::Voice(voice))) => {
                    assert_eq!(voice_message, chinwag_proto::wire::chinwag1::to_client::Kind::Voice(voice));
                }
                (message, again) => assert_eq!(again, Ok(Owned::Message(message))),
            }
        }
        Ok(Body::Voice(payload)) => {
            control::write_voice(&mut again, payload);
            assert_eq!(control::decode_to_client(&again[HEADER_BYTES..]), Ok(Body::Voice(payload)));
        }
        Ok(Body::Unknown) | Err(control::Undecodable) => {}
    }
}

#[derive(PartialEq, Debug)]
enum Owned<M> {
    Voice(Vec<u8>),
    Message(M),
    Unknown,
}

fn owned<M>(body: Body<'_, M>) -> Owned<M> {
    match body {
        Body::Voice(payload) => Owned::Voice(payload.to_vec()),
        Body::Message(message) => Owned::Message(message),
        Body::Unknown => Owned::Unknown,
    }
}
