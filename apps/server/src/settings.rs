//! What an operator can tell the server: flags, each of which is also a variable of the environment and a line of a file.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use chinwag_audio::{gateway::PcmFormat, limits::PCM_RATES_HZ};
use chinwag_proto::limits;
use chinwag_settings::{File, Refusal, Settled, Table, settle, whole};
use clap::{Args, Parser, Subcommand, ValueEnum};
use etcetera::BaseStrategy as _;
use tracing_subscriber::filter::LevelFilter;

/// The file that is read when no other is named, in chinwag's folder for configuration.
const FILE: &str = "chinwag-server.toml";

/// The variable of the environment that names a file of settings.
const FILE_VARIABLE: &str = "CHINWAG_SERVER_CONFIG";

/// What is of use only with something else.
const NEEDS: [(&str, &str); 5] = [
    ("classic_voice", "classic_text"),
    ("classic_rate", "classic_voice"),
    ("classic_channels", "classic_voice"),
    ("cert", "key"),
    ("key", "cert"),
];

/// What would do nothing: a setting, and another one with the value by which that is so.
const IDLE: [(&str, &str, &str); 4] = [
    ("keep_days", "history", "memory"),
    ("keep_messages", "history", "memory"),
    ("keep_megabytes", "history", "memory"),
    ("keep_total_megabytes", "history", "memory"),
];

/// What settings could be that are nothing by default.
const EXAMPLES: [(&str, &str); 6] = [
    ("classic_text", "0.0.0.0:1025"),
    ("classic_voice", "0.0.0.0:1026"),
    ("data", "/srv/chinwag"),
    ("cert", "/etc/chinwag/cert.pem"),
    ("key", "/etc/chinwag/key.pem"),
    ("voice_threads", "4"),
];

/// Text and voice chat on your own machine: the server.
///
/// Starts without any configuration. On the first start it makes itself a certificate; friends join with the
/// chinwag:// link that it prints, which also proves to them that they reached this server and no other.
#[derive(Debug, Parser)]
#[command(
    name = "chinwag-server",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Whatever an option says can be said by the environment (CHINWAG_SERVER_MAX_CLIENTS for --max-clients; commas \
                  between several addresses) or a file (max_clients), too. An option comes first, then the environment, \
                  then the file. chinwag-server check-config tells what results, check-config --example shows a file."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    file: FileArgument,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

// A doc comment on these would take the place of the command's own.
#[derive(Debug, Args)]
pub(crate) struct FileArgument {
    /// A file of settings [default: chinwag-server.toml in the platform's configuration folder, ~/.config/chinwag on
    /// Linux, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

// For what concerns the history alone.
#[derive(Debug, Args)]
pub(crate) struct DataArguments {
    #[command(flatten)]
    file: FileArgument,

    /// The server's data folder, if it is not the usual one
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

// Every flag here is a setting. Relations between them are in NEEDS and IDLE, so that they hold wherever they are given.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Where to listen, TCP and UDP; may be given several times. Port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_values_t = [default_address()], value_parser = address)]
    pub(crate) listen: Vec<SocketAddr>,

    /// Where to let in the classic group chat's programs, and nc: plain TCP, which anybody on the way can read. Off unless given; its
    /// usual port is 1025
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub(crate) classic_text: Vec<SocketAddr>,

    /// Where to take their voice: as plain, TCP. Its usual port is 1026
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub(crate) classic_voice: Vec<SocketAddr>,

    /// How many samples a second the classic programs send and play
    #[arg(long, value_name = "HZ", default_value_t = PcmFormat::default().rate_hz,
          value_parser = whole(PCM_RATES_HZ))]
    pub(crate) classic_rate: u32,

    /// How many channels
    #[arg(long, value_name = "1|2", default_value_t = PcmFormat::default().channels,
          value_parser = whole::<u16>(1..=2))]
    pub(crate) classic_channels: u16,

    /// Take a keyboard: what you type is said to everybody, what they say is shown here; /help tells more
    #[arg(long)]
    pub(crate) console: bool,

    /// Where what is said is kept: disk, so that it is there after a restart, too, or memory, for as long as somebody is in the room or may
    /// come back to it
    #[arg(long, value_name = "disk|memory", default_value = "disk")]
    pub(crate) history: HistoryPlace,

    /// For how many days messages are kept; 0 is forever
    #[arg(long, value_name = "DAYS", default_value_t = 0,
          value_parser = whole::<u64>(0..=36_500))]
    pub(crate) keep_days: u64,

    /// How many messages of each room are kept; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u64>(0..=1_000_000_000_000))]
    pub(crate) keep_messages: u64,

    /// How many megabytes of text of each room are kept; 0 is all. On the disk that takes about three times as much
    #[arg(long, value_name = "MB", default_value_t = 100,
          value_parser = whole::<u64>(0..=1_000_000))]
    pub(crate) keep_megabytes: u64,

    /// How many megabytes all rooms together may take on the disk, about; beyond that the oldest messages of all go first. 0 is no limit
    #[arg(long, value_name = "MB", default_value_t = 2000,
          value_parser = whole::<u64>(0..=100_000_000))]
    pub(crate) keep_total_megabytes: u64,

    /// The folder for the certificate, its key and the history [default: the platform's data folder, ~/.local/share/chinwag on Linux]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// A certificate chain to use instead of the server's own
    #[arg(long, value_name = "PEM")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key that belongs to --cert
    #[arg(long, value_name = "PEM")]
    pub(crate) key: Option<PathBuf>,

    /// How many may be in at the same time
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = whole::<u32>(1..=limits::SESSIONS as u32))]
    pub(crate) max_clients: u32,

    /// Milliseconds that voice may wait for more of it, so that several talkers share a datagram: less work where very many
    /// talk at once, more delay for all
    #[arg(long, value_name = "MS", default_value_t = 0,
          value_parser = whole::<u64>(0..=limits::VOICE_HOLD.as_millis() as u64))]
    pub(crate) voice_hold_ms: u64,

    /// Threads that pass voice on; unless told otherwise one for each processor, at most 8
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=64))]
    pub(crate) voice_threads: Option<u16>,

    /// How much is logged on standard error: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: LevelFilter,
}

/// Where the history is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum HistoryPlace {
    /// In the data folder.
    Disk,
    /// In memory alone, and gone with the server.
    Memory,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Copies the history to a file, while the server runs or not
    ///
    /// To go back to it, stop the server and give the file to chinwag-server restore.
    Backup {
        /// The file, which must not be there yet
        file: PathBuf,
        #[command(flatten)]
        place: DataArguments,
    },
    /// Goes back to a history that was copied to a file, while no server runs
    ///
    /// The file is looked through before, and stays as it is. The history that was there is kept in the data folder, under a name that is told.
    Restore {
        /// What chinwag-server backup wrote
        #[arg(required_unless_present = "readable")]
        file: Option<PathBuf>,
        /// Goes on without a backup, with what can be read of a history of which something is missing
        #[arg(long, conflicts_with = "file")]
        readable: bool,
        #[command(flatten)]
        place: DataArguments,
    },
    /// Tells which rooms the history has, and how much of each, while the server runs or not
    Rooms {
        #[command(flatten)]
        place: DataArguments,
    },
    /// Removes a room from the history, with all that was said there, while no server runs
    ///
    /// It cannot be undone; chinwag-server backup makes a copy before.
    RemoveRoom {
        /// The room's name
        name: String,
        #[command(flatten)]
        place: DataArguments,
    },
    /// Writes the whole history to standard output, oldest first for each room, while the server runs or not
    Export {
        /// One JSON object a line: room, seq, time, name, text; what would drive a terminal is escaped
        #[arg(long, required = true)]
        json: bool,
        #[command(flatten)]
        place: DataArguments,
    },
    /// Tells what the server's settings are and where each comes from, or all that is wrong with them
    ///
    /// Takes the options of the server, too.
    CheckConfig {
        /// Prints a file with every setting in it, to begin with
        #[arg(long)]
        example: bool,
        #[command(flatten)]
        file: FileArgument,
        #[command(flatten)]
        settings: Settings,
    },
    /// Serves a one-to-one chat, for the old Python programs and for `chinwag duo`; nothing of it is encrypted
    ///
    /// One client at a time. Lines that you type go to it; quit ends the server.
    Duo {
        /// The address of this machine to listen on: 0.0.0.0 for all of IPv4, localhost for this machine alone
        host: String,
        /// The port to listen on; 0 picks a free one
        #[arg(value_parser = port)]
        port: u16,
    },
}

/// What the operator wants, by the flags, the environment and the file of settings.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn read() -> Result<(Arguments, Settled), Refusal> {
    read_and_check().map_err(|refusal| refusal.with(strangers()))
}

fn read_and_check() -> Result<(Arguments, Settled), Refusal> {
    let (arguments, settled) = settle(&table(), file)?;
    settled.check_needs(&NEEDS)?;
    settled.check_idle(&IDLE)?;
    Ok((arguments, settled))
}

/// Of variables of the environment that look like settings and are none, a line each.
pub(crate) fn strangers() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let strangers = table().strangers(names.filter(|name| name != FILE_VARIABLE)).into_iter();
    strangers.map(|name| format!("{name} is no setting.")).collect()
}

/// A file with every setting.
pub(crate) fn example() -> String {
    table().example(
        "Settings of chinwag-server. Where the file is: --config FILE, or ~/.config/chinwag/chinwag-server.toml. Files and \
         folders named in it are taken from where the server is started, unless they begin with a slash.",
    )
}

fn table() -> Table {
    Table::of::<Settings>(
        "CHINWAG_SERVER_",
        "chinwag-server check-config --example shows all of them",
        &EXAMPLES,
    )
}

fn file(arguments: &Arguments) -> Option<File> {
    let named = match &arguments.command {
        None => &arguments.file,
        Some(Command::CheckConfig { example: false, file, .. }) => file,
        Some(
            Command::Backup { place, .. }
            | Command::Restore { place, .. }
            | Command::Rooms { place }
            | Command::RemoveRoom { place, .. }
            | Command::Export { place, .. },
        ) => &place.file,
        // No setting is of use to these.
        Some(Command::CheckConfig { .. } | Command::Duo { .. }) => return None,
    };
    let from_environment = std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = named.config.clone().or(from_environment) {
        return Some(File::Named(path));
    }
    let folder = etcetera::choose_base_strategy().ok()?.config_dir();
    Some(File::Usual(folder.join("chinwag").join(FILE)))
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port is a number from 0 to 65535, such as 1025".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = limits::DEFAULT_PORT;
        format!("an IP address and a port are needed, such as 0.0.0.0:{port} or [::]:{port}")
    })
}

/// Every address of the machine, IPv6 and IPv4.
pub(crate) fn default_address() -> SocketAddr {
    SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), limits::DEFAULT_PORT)
}

#[cfg(test)]
mod tests {
    use chinwag_settings::settle_from;

    use super::*;

    #[test]
    fn each_line_of_the_example_can_be_put_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let text = example();
        let lines: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with(' '))
            .collect();
        assert_eq!(lines.len(), 18);
        std::fs::write(&path, lines.join("\n")).unwrap();
        let file = |_: &Arguments| Some(File::Named(path));
        let (_, settled) = settle_from(&table(), ["chinwag-server"], |_| None, file).unwrap();
        settled.check_needs(&NEEDS).unwrap();
        settled.check_idle(&IDLE).unwrap();
    }
}
