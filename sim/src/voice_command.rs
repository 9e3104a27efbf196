//! `chinwag-sim voice`: what a listener hears of WAV files over a bad network.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use chinwag_audio::{
    capture::Gate,
    codec::{EncoderConfig, FrameLength},
};
use chinwag_sim::lab::{Baseline, Lab, LabNet, LabReport, MAX_DRIFT_PPM, MAX_LAB_SECONDS, svg};
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Voice {
    /// What the talker says
    #[arg(long, value_name = "REF.wav")]
    mic: PathBuf,
    /// Where to write what the listener hears; it begins when the microphone's first sample is captured
    #[arg(long, value_name = "OUT.wav")]
    heard: Option<PathBuf>,
    /// The whole way from talker to listener: delay and mean (exponential) jitter in ms; loss, reorder and dup in % of
    /// packets; burst, the mean length of a burst of loss in packets; rate in kb/s, headers counted; step, that many ms
    /// more from 4 to 8 s (step=MS@FROM-TO: between other times)
    #[arg(long, value_name = "KEY=VALUE,...", default_value = "delay=0")]
    net: LabNet,
    /// How much faster than true the talkers' clocks run, in millionths
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(-i64::from(MAX_DRIFT_PPM)..=i64::from(MAX_DRIFT_PPM)))]
    drift_ppm: i32,
    /// Length of a voice frame
    #[arg(long, value_name = "10|20", default_value = "10", value_parser = frame_length)]
    frame_ms: FrameLength,
    /// What all chance comes from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// More talkers, each over a way of its own; delays that are told are of the one at --mic
    #[arg(long, value_name = "FILE.wav,...", value_delimiter = ',')]
    talkers: Vec<PathBuf>,
    /// Talk for so long: say each file again and again, or cut it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LAB_SECONDS)))]
    seconds: Option<u32>,
    /// Write all counters and a time line (JSON) to this file
    #[arg(long, value_name = "FILE.json")]
    stats: Option<PathBuf>,
    /// Draw delay, target, losses and concealment over time to this file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Carry voice the old way instead, for comparison
    #[arg(long, value_enum, conflicts_with_all = ["talkers", "bitrate", "expect", "complexity", "copies", "fixed"])]
    baseline: Option<BaselineChoice>,
    /// The encoder's bits a second
    #[arg(long, value_name = "BPS", value_parser = clap::value_parser!(u32).range(6_000..=128_000))]
    bitrate: Option<u32>,
    /// The loss in % that in-band FEC is made for; 0 is no FEC
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    expect: Option<u8>,
    /// Copies of older frames in each datagram, by their distances in frames (0: none); kept to, whatever the listener
    /// reports
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..=12))]
    copies: Option<Vec<u8>>,
    /// How hard libopus tries
    #[arg(long, value_name = "0-10", value_parser = clap::value_parser!(u8).range(0..=10))]
    complexity: Option<u8>,
    /// Send the same whatever the listener reports
    #[arg(long)]
    fixed: bool,
    /// When talkers send
    #[arg(long, value_enum, default_value_t = GateChoice::Level)]
    gate: GateChoice,
    /// When the listener's first block is rendered, in microseconds; else chance, 0 to 10 ms
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    phase_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GateChoice {
    /// When there is sound
    Level,
    /// Always
    Open,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BaselineChoice {
    /// PCM in chunks of 1024 samples over TCP, no buffer, silence where nothing has come
    Classic,
}

fn frame_length(text: &str) -> Result<FrameLength, &'static str> {
    text.parse().ok().and_then(FrameLength::from_ms).ok_or("frames are 10 or 20 ms long")
}

impl Voice {
    fn lab(&self) -> Lab {
        let usual = EncoderConfig::default();
        Lab {
            mics: std::iter::once(&self.mic).chain(&self.talkers).cloned().collect(),
            heard: self.heard.clone(),
            net: self.net,
            seed: self.seed,
            drift_ppm: self.drift_ppm,
            phase_us: self.phase_us,
            seconds: self.seconds,
            encoder: EncoderConfig {
                frame: self.frame_ms,
                bitrate_bps: self.bitrate.unwrap_or(usual.bitrate_bps),
                expected_loss_percent: self.expect.unwrap_or(usual.expected_loss_percent),
                complexity: self.complexity.unwrap_or(usual.complexity),
                ..usual
            },
            is_fixed: self.fixed || self.copies.is_some(),
            copies: self.copies.clone().unwrap_or_default(),
            gate: match self.gate {
                GateChoice::Level => Gate::Level,
                GateChoice::Open => Gate::Open,
            },
            baseline: self.baseline.map(|BaselineChoice::Classic| Baseline::Classic),
        }
    }

    /// What a picture shows.
    fn title(&self) -> String {
        let Self { mic, seed, drift_ppm, .. } = self;
        let name = mic.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let way = if self.baseline.is_some() { "the classic way" } else { "chinwag" };
        format!("{name} by {way} over {}, {drift_ppm} ppm of drift, seed {seed}", self.net)
    }

    #[expect(clippy::disallowed_methods, reason = "how long it took is told to people only")]
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let started = std::time::Instant::now();
        let report = self.lab().run()?;
        let wall_s = started.elapsed().as_secs_f64();
        if let Some(path) = &self.stats {
            let mut json = serde_json::to_string(&report)?;
            json.push('\n');
            write(path, &json)?;
        }
        if let Some(path) = &self.plot {
            write(path, &svg(&report, &self.title()))?;
        }
        match print(&report, wall_s) {
            // Whoever goes away before the line comes does not want it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome.context("cannot write the report"),
        }
    }
}

fn write(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn print(report: &LabReport, wall_s: f64) -> io::Result<()> {
    let LabReport { network, buffer_ms, mouth_to_ear_ms: ear, playout, .. } = report;
    let total = playout.total;
    writeln!(
        io::stdout().lock(),
        "sent={} lost={} dropped={} kbps={:.1} buffer_ms={:.1} buffer_p95_ms={:.1} mouth_to_ear_ms={:.1} \
         mouth_to_ear_p95_ms={:.1} received={} late={} missing={} recovered={} copies={} concealed={} shortened_ms={} stretched_ms={} \
         simulated_s={:.1} wall_s={wall_s:.3}",
        network.sent,
        network.lost,
        network.dropped,
        report.wire_kbps,
        buffer_ms.mean,
        buffer_ms.p95,
        ear.mean,
        ear.p95,
        total.received,
        total.late,
        total.lost,
        total.fec_recovered,
        total.copies_played,
        total.concealed,
        total.shortened_us / 1000,
        total.stretched_us / 1000,
        report.simulated_s,
    )
}
