//! The audio crate's gateway as the server's loop wants it: classic members' voice, which is PCM, and natives', which is Opus.

use std::fmt;

use chinwag_audio::gateway::{Gateway, GatewayOut, PcmFormat};
use chinwag_proto::{Instant, ReceiverReport};
use chinwag_transport_mio::server::{PcmPace, VoiceGateway, VoiceOut};

/// Bytes of a sample.
const SAMPLE_BYTES: usize = 2;

/// The voice of the room that classic members are in: all of them are in the same one.
pub(crate) struct RoomVoice {
    gateway: Gateway,
    format: PcmFormat,
}

impl RoomVoice {
    pub(crate) fn new(format: PcmFormat) -> Self {
        Self { gateway: Gateway::new(), format }
    }

    pub(crate) fn pace(format: PcmFormat) -> PcmPace {
        let frame_bytes = SAMPLE_BYTES * usize::from(format.channels);
        PcmPace { rate_hz: format.rate_hz, frame_bytes }
    }
}

impl fmt::Debug for RoomVoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomVoice").field("stats", &self.gateway.stats()).finish_non_exhaustive()
    }
}

impl VoiceGateway for RoomVoice {
    fn open(&mut self, now: Instant, session: u32) -> bool {
        let opened = self.gateway.open(now, session, self.format);
        if let Err(why) = &opened {
            tracing::warn!("a classic member has no voice: {why}");
        }
        opened.is_ok()
    }

    fn close(&mut self, session: u32) {
        self.gateway.close(session);
    }

    fn hear(&mut self, now: Instant, payload: &[u8]) {
        self.gateway.hear(now, payload);
    }

    fn reported(&mut self, now: Instant, session: u32, report: ReceiverReport) {
        self.gateway.reported(now, session, report);
    }

    fn pcm(&mut self, now: Instant, session: u32, bytes: &[u8]) {
        self.gateway.pcm(now, session, bytes);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.gateway.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut dyn VoiceOut) {
        self.gateway.handle_timeout(now, &mut Through(out));
    }
}

struct Through<'a>(&'a mut dyn VoiceOut);

impl GatewayOut for Through<'_> {
    fn send(&mut self, session: u32, payload: &[u8]) {
        self.0.send(session, payload);
    }

    fn play(&mut self, session: u32, pcm: &[u8]) {
        self.0.play(session, pcm);
    }

    fn report(&mut self, talker: u32, report: ReceiverReport) {
        self.0.report(talker, report);
    }
}
