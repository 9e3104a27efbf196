//! The statistics that `--stats` writes.

use std::{fs, io, path::Path, time::Duration};

use chinwag_proto::{Instant, relay::VoicePath};
use chinwag_transport_mio::client::ClientLoop;
use serde::Serialize;

use crate::voice::VoiceReport;

/// One JSON object. Times named `_ns` are of CLOCK_MONOTONIC; what was never measured is null.
#[derive(Debug, Serialize)]
struct Stats {
    /// When the first sample of the microphone was captured.
    mic_started_ns: Option<u64>,
    /// When the first sample of the speaker was played.
    speaker_started_ns: Option<u64>,
    packets_sent: u64,
    packets_received: u64,
    frames_sent: u64,
    frames_received: u64,
    frames_lost: u64,
    frames_late: u64,
    frames_duplicate: u64,
    frames_recovered_by_fec: u64,
    /// Frames of which only a copy came in time.
    frames_recovered_by_copy: u64,
    /// Blocks of 10 ms that were made up.
    blocks_concealed: u64,
    /// Copies of older frames that were sent with newer ones.
    copies_sent: u64,
    reports_sent: u64,
    reports_received: u64,
    /// How voice was sent at last: bits a second, length of frames, copies in a datagram; null without sound.
    bitrate_bps: Option<u32>,
    frame_ms: Option<u32>,
    copies: Option<u32>,
    /// How often that was changed, how often it was for congestion, and how often more was tried and taken back.
    adaptations: u64,
    rate_cuts: u64,
    failed_raises: u64,
    frames_dropped: u64,
    /// Times that the microphone came back after it was gone, or was changed.
    mic_reopened: u64,
    /// Blocks of 10 ms of silence in the place of a microphone that gave nothing.
    mic_blocks_missing: u64,
    /// Samples of the microphone that were lost because this program was too slow.
    mic_samples_lost: u64,
    speaker_reopened: u64,
    /// Blocks of 10 ms that no speaker took.
    speaker_blocks_missing: u64,
    /// Times that playback broke off because this program was too slow.
    speaker_gaps: u64,
    path: &'static str,
    rtt_ms: Option<f64>,
    control_rtt_ms: Option<f64>,
    jitter_buffer_ms: u32,
    reconnects: u64,
}

/// Whether they can be written; what is there stays as it is until they are.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().append(true).create(true).open(path).map(drop)
}

pub(crate) fn write(path: &Path, voice: &VoiceReport, client: &ClientLoop) -> io::Result<()> {
    let (sound, net) = (&voice.playout.total, client.client().stats());
    let datagrams = client.datagram_stats();
    let stats = Stats {
        mic_started_ns: voice.mic_started.map(nanoseconds),
        speaker_started_ns: voice.speaker_started.map(nanoseconds),
        packets_sent: datagrams.sent,
        packets_received: datagrams.received,
        frames_sent: net.frames_sent,
        frames_received: sound.received,
        frames_lost: sound.lost,
        frames_late: sound.late,
        frames_duplicate: sound.duplicate,
        frames_recovered_by_fec: sound.fec_recovered,
        frames_recovered_by_copy: sound.copies_played,
        blocks_concealed: sound.concealed,
        copies_sent: net.copies_sent,
        reports_sent: net.reports_sent,
        reports_received: net.reports_received,
        bitrate_bps: voice.sending.map(|sending| sending.bitrate_bps),
        frame_ms: voice.sending.map(|sending| sending.frame.ms()),
        copies: voice.sending.map(|sending| sending.copies()),
        adaptations: voice.adapted.changes,
        rate_cuts: voice.adapted.cuts,
        failed_raises: voice.adapted.failed_raises,
        frames_dropped: net.frames_unsent
            + voice.capture.failed
            + net.malformed
            + datagrams.voice_dropped
            + sound.bad
            + sound.overflow
            + sound.jumped
            + voice.playout.refused
            + voice.dropped_between_threads,
        mic_reopened: voice.mic.opened.saturating_sub(1),
        mic_blocks_missing: voice.mic.made_up,
        mic_samples_lost: voice.mic.overflowed,
        speaker_reopened: voice.speaker.opened.saturating_sub(1),
        speaker_blocks_missing: voice.speaker.made_up,
        speaker_gaps: voice.speaker.gaps,
        path: match net.voice_path {
            VoicePath::Tcp => "tcp",
            VoicePath::Udp | VoicePath::Both => "udp",
        },
        rtt_ms: net.voice_rtt.or(net.control_rtt).map(milliseconds),
        control_rtt_ms: net.control_rtt.map(milliseconds),
        jitter_buffer_ms: sound.delay_ms,
        reconnects: net.reconnects,
    };
    let mut json = serde_json::to_string_pretty(&stats).map_err(io::Error::other)?;
    json.push('\n');
    fs::write(path, json)
}

fn nanoseconds(instant: Instant) -> u64 {
    instant.as_micros() * 1000
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
