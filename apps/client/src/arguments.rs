//! The command line.

use std::path::PathBuf;

use chinwag_audio::{capture::Gate, codec::EncoderConfig, limits::SAMPLE_RATES_HZ};
use chinwag_proto::{link::Fingerprint, name::Name};
use chinwag_screen::{Button, Notifier, Theme};
use chinwag_settings::whole;
use chinwag_terminal::Terminal;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

use crate::switch::{To, What};

/// Text and voice chat that people run themselves: the client.
///
/// Lines that you type go to everybody in the room; {quit} or /quit leaves. Everybody hears your microphone; use
/// --mic none to listen only.
#[derive(Debug, Parser)]
#[command(
    name = "chinwag",
    version,
    disable_help_subcommand = true,
    override_usage = "chinwag [OPTIONS] [SERVER]\n       chinwag devices [--json]\n       chinwag test-audio [OPTIONS]\n       \
                      chinwag classic [OPTIONS] HOST\n       chinwag duo HOST PORT\n       \
                      chinwag ctl [--pid PID] ptt|mute|deafen on|off|toggle",
    after_help = "Most options can be set for good in a file: config.toml in the platform's configuration folder, \
                  ~/.config/chinwag on Linux, which the first conversation writes with all of them in it; or in the \
                  environment (CHINWAG_FRAME_MS for --frame-ms). An option comes first, then the environment, then the file."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// The server: HOST, HOST:PORT or a chinwag://HOST:PORT/ROOM#FINGERPRINT link; asked for when not given
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,

    #[command(flatten)]
    pub(crate) settings: Settings,

    /// The server's fingerprint (64 hexadecimal digits), as proof of who it is
    #[arg(long, value_name = "HEX", value_parser = Fingerprint::parse)]
    pub(crate) fingerprint: Option<Fingerprint>,

    /// Writes statistics to this file at the end, as JSON
    #[arg(long, value_name = "FILE.json")]
    pub(crate) stats: Option<PathBuf>,
}

/// Somebody who talks for longer than this without a pause has most likely forgotten it.
const PTT_SECONDS: u16 = 60;

// Every flag here is a setting, in the file and in the environment, too. A doc comment here would take the place of the
// command's own.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Your name in the chat; asked for when not given
    #[arg(long, value_name = "NAME", value_parser = own_name)]
    pub(crate) name: Option<String>,

    /// What you speak into: default, none, a device (see `chinwag devices`) or a WAV file
    #[arg(long, value_name = "default|none|DEVICE|FILE.wav", default_value = "default")]
    pub(crate) mic: String,

    /// What you hear with: default, none, a device, or a WAV file to write
    #[arg(long, value_name = "default|none|DEVICE|FILE.wav", default_value = "default")]
    pub(crate) speaker: String,

    /// Spreads talkers from left to right, for headphones or two speakers
    #[arg(long)]
    pub(crate) stereo: bool,

    /// Leaves talkers as loud as they come, instead of making all equally loud
    #[arg(long)]
    pub(crate) no_auto_level: bool,

    /// Milliseconds of voice in a packet: 10 arrives sooner, 20 takes less of the network
    #[arg(long, value_name = "10|20", default_value_t = 10, value_parser = frame_ms)]
    pub(crate) frame_ms: u32,

    /// Kilobits of sound a second while the network has room for them; less when it has not
    #[arg(long, value_name = "KBPS", default_value_t = EncoderConfig::default().bitrate_bps / 1000, value_parser = whole::<u32>(16..=128))]
    pub(crate) bitrate: u32,

    /// When your sound is sent: voice (while you speak), level (at any sound), open (always) or ptt (from one /ptt to
    /// the next) [default: voice for a device, level for a WAV file]
    #[arg(long, value_name = "voice|level|open|ptt", value_parser = gate)]
    pub(crate) gate: Option<Gate>,

    /// The key to talk by on the full screen, where --gate is ptt: F1 to F12, or Ctrl-G, O, Q, R, S, T, V or X [default: what
    /// /ptt KEY chose last, at first F8]
    #[arg(long, value_name = "KEY")]
    pub(crate) ptt_key: Option<Button>,

    /// Push-to-talk stops by itself after so long
    #[arg(long, value_name = "SECONDS", default_value_t = PTT_SECONDS, value_parser = whole::<u16>(1..=3600))]
    pub(crate) ptt_seconds: u16,

    /// Takes echo and noise out of your sound and evens its level: auto is on for a device, off for a WAV file
    #[arg(long, value_name = "auto|on|off", default_value = "auto", value_parser = processing)]
    pub(crate) processing: Switch,

    /// Leaves in the echo of your loudspeakers; with a headset there is none
    #[arg(long)]
    pub(crate) no_echo_cancel: bool,

    /// Leaves in background noise
    #[arg(long)]
    pub(crate) no_noise_suppression: bool,

    /// Leaves your voice as loud or quiet as it is
    #[arg(long)]
    pub(crate) no_gain_control: bool,

    /// Plain lines in the place of the full screen, as in a pipe
    #[arg(long)]
    pub(crate) plain: bool,

    /// What background your terminal has, for the colours of the full screen; with NO_COLOR set there are none
    #[arg(long, value_name = "auto|dark|light", default_value = "auto", value_parser = background)]
    pub(crate) theme: Background,

    /// Rings a bell when your name is said, on the full screen
    #[arg(long)]
    pub(crate) bell: bool,

    /// Shows a notification on your desktop when your name is said and the full screen's window has not the focus, if the terminal
    /// can do that
    #[arg(long)]
    pub(crate) notify: bool,

    /// How much is logged on standard error: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log: LevelFilter,
}

impl Arguments {
    /// Whether the client fills that terminal's screen.
    pub(crate) fn is_full(&self, terminal: &Terminal) -> bool {
        self.command.is_none() && !self.settings.plain && terminal.is_edited()
    }
}

impl Settings {
    /// How notifications are shown, if they are.
    pub(crate) fn notifier(&self) -> Option<Notifier> {
        self.notify.then(notifier)
    }

    /// How the full screen looks.
    pub(crate) fn theme(&self) -> Theme {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match self.theme {
            _ if is_set("NO_COLOR") => Theme::Plain,
            Background::Dark => Theme::Dark,
            Background::Light => Theme::Light,
            // Some terminals tell, as the numbers of their colours: the last is the background's, 7 and above are light.
            Background::Auto => {
                let colours = std::env::var("COLORFGBG").unwrap_or_default();
                let background = colours.rsplit(';').next().and_then(|number| number.parse::<u8>().ok());
                if matches!(background, Some(7 | 9..=15)) { Theme::Light } else { Theme::Dark }
            }
        }
    }
}

/// The terminal's way to show notifications.
pub(crate) fn notifier() -> Notifier {
    Notifier::of(&std::env::var("TERM").unwrap_or_default())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists the microphones and speakers of this machine
    Devices {
        /// As JSON, for another program
        #[arg(long)]
        json: bool,
    },
    /// Records three seconds, plays them back, and tells how loud you are and how late your
    /// devices are
    TestAudio {
        /// What is recorded: default, none, a device (see `chinwag devices`) or a WAV file
        #[arg(long, value_name = "default|none|DEVICE|FILE.wav", default_value = "default")]
        mic: String,
        /// What plays it: default, none, a device, or a WAV file to write
        #[arg(long, value_name = "default|none|DEVICE|FILE.wav", default_value = "default")]
        speaker: String,
    },
    /// Switches what runs: for hot-keys of the desktop; it tells how it is then
    Ctl {
        /// The one with this process id, where several run
        #[arg(long, value_parser = whole::<u32>(1..=i32::MAX as u32))]
        pid: Option<u32>,
        /// What is switched
        what: What,
        /// To what
        to: To,
    },
    /// Joins the group chat of an old Python server: text and voice, nothing of it encrypted
    ///
    /// Lines that you type go to everybody; {quit} leaves. Everybody hears your microphone, and you hear yourself, since the
    /// old server sends everybody everything; use --mic none to listen only.
    Classic(ClassicArguments),
    /// Joins a one-to-one chat, of an old Python server or of `chinwag-server duo`; nothing of it is encrypted
    ///
    /// Lines that you type go to the other side; quit leaves.
    Duo {
        /// The server's name or address
        host: String,
        /// The server's port
        #[arg(value_parser = port)]
        port: u16,
    },
}

// A doc comment here would take the place of the command's own.
#[derive(Debug, Args)]
pub(crate) struct ClassicArguments {
    /// The server's name or address
    pub(crate) host: String,

    /// The server's port for text
    #[arg(long, value_name = "PORT", default_value_t = 1025, value_parser = port)]
    pub(crate) text_port: u16,

    /// The server's port for voice
    #[arg(long, value_name = "PORT", default_value_t = 1026, value_parser = port)]
    pub(crate) voice_port: u16,

    /// Samples a second of its voice: a constant in the old programs, and the same for all who talk there
    #[arg(long, value_name = "HZ", default_value_t = 44_100, value_parser = rate)]
    pub(crate) rate: u32,

    /// Channels of its voice, as with --rate
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u16>(1..=8))]
    pub(crate) channels: u16,

    /// Your name in the chat; when not given, the first line that you type
    #[arg(long, value_name = "NAME", value_parser = own_name)]
    pub(crate) name: Option<String>,

    /// What you speak into: default, none, a device (see `chinwag devices`) or a WAV file
    #[arg(long, value_name = "default|none|DEVICE|FILE.wav", default_value = "default")]
    pub(crate) mic: String,

    /// What you hear with: default, none, a device, or a WAV file to write
    #[arg(long, value_name = "default|none|DEVICE|FILE.wav", default_value = "default")]
    pub(crate) speaker: String,
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| "a port is a number from 1 to 65535".to_owned())
}

fn rate(text: &str) -> Result<u32, String> {
    let (low, high) = (SAMPLE_RATES_HZ.start(), SAMPLE_RATES_HZ.end());
    let rate = text.parse().ok().filter(|rate| SAMPLE_RATES_HZ.contains(rate));
    rate.ok_or_else(|| format!("it is a number from {low} to {high}, most often 44100"))
}

/// An old server takes any name; this is what no reader can be fooled by.
fn own_name(text: &str) -> Result<String, String> {
    match Name::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn frame_ms(text: &str) -> Result<u32, String> {
    match text {
        "10" => Ok(10),
        "20" => Ok(20),
        _ => Err("it is 10 or 20".to_owned()),
    }
}

/// On, off, or as it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    Auto,
    On,
    Off,
}

/// What is behind the letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Background {
    Auto,
    Dark,
    Light,
}

fn background(text: &str) -> Result<Background, String> {
    match text {
        "auto" => Ok(Background::Auto),
        "dark" => Ok(Background::Dark),
        "light" => Ok(Background::Light),
        _ => Err("it is auto, dark or light".to_owned()),
    }
}

fn processing(text: &str) -> Result<Switch, String> {
    match text {
        "auto" => Ok(Switch::Auto),
        "on" => Ok(Switch::On),
        "off" => Ok(Switch::Off),
        _ => Err("it is auto, on or off".to_owned()),
    }
}

fn gate(text: &str) -> Result<Gate, String> {
    match text {
        "voice" => Ok(Gate::Voice),
        "level" => Ok(Gate::Level),
        "open" => Ok(Gate::Open),
        "ptt" => Ok(Gate::PushToTalk),
        _ => Err("it is voice, level, open or ptt".to_owned()),
    }
}
