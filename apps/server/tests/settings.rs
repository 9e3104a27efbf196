//! Settings of the real program: from flags, the environment and files.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// What this package shows of all settings.
const EXAMPLE: &str = include_str!("../chinwag-server.example.toml");

/// A folder for configuration with the server's file in it.
struct Place(TempDir);

impl Place {
    fn new(file: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.0.path().join("chinwag")).unwrap();
        fs::write(place.file(), file).unwrap();
        place
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("chinwag/chinwag-server.toml")
    }

    fn server(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag-server"));
        command.args(arguments).env("XDG_CONFIG_HOME", self.0.path());
        command.env("XDG_DATA_HOME", self.0.path().join("data"));
        command
    }

    /// Exit code, standard output without the spaces that align it, and standard error.
    fn told(&self, output: Output) -> (Option<i32>, Vec<String>, String) {
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(self.0.path().to_str().unwrap(), "DIR");
        let out = text(output.stdout);
        let out = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        (output.status.code(), out, text(output.stderr))
    }

    fn checked(&self, arguments: &[&str]) -> (Option<i32>, Vec<String>, String) {
        let output = self.server(&[&["check-config"], arguments].concat()).output().unwrap();
        self.told(output)
    }
}

#[test]
fn what_results_is_told_with_where_it_comes_from() {
    let place = Place::new("max_clients = 3\nvoice_hold_ms = 4\nconsole = true\n");
    let mut server = place.server(&["check-config", "--voice-hold-ms", "6", "--listen", "127.0.0.1:7"]);
    let output = server
        .env("CHINWAG_SERVER_VOICE_HOLD_MS", "5")
        .env("CHINWAG_SERVER_MAX_CLIENTS", "8")
        .env("CHINWAG_SERVER_MAXCLIENTS", "9");
    let (code, out, errors) = place.told(output.output().unwrap());
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for line in [
        "# Nothing is wrong with the settings; the file is DIR/chinwag/chinwag-server.toml.",
        "listen = [\"127.0.0.1:7\"] # --listen",
        "max_clients = 8 # CHINWAG_SERVER_MAX_CLIENTS",
        "voice_hold_ms = 6 # --voice-hold-ms",
        "console = true # DIR/chinwag/chinwag-server.toml:3:1",
        "log = \"info\" # default",
        "# cert is not set",
        "data = \"DIR/data/chinwag\" # default",
        "# CHINWAG_SERVER_MAXCLIENTS is no setting.",
    ] {
        assert!(out.iter().any(|seen| seen == line), "{line}: {out:#?}");
    }
    // What is told could be the file.
    let other = Place::new(&out.join("\n"));
    let (code, again, _) = other.checked(&[]);
    assert_eq!(code, Some(0));
    let values = |lines: &[String]| {
        let settings = lines.iter().skip(1).filter(|line| !line.ends_with("is no setting."));
        settings.map(|line| line.split(" # ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&out));
}

#[test]
fn another_file_can_be_named_and_must_be_there() {
    let (place, other) = (Place::new("max_clients = 3"), Place::new("max_clients = 4"));
    let path = other.file();
    let has = |out: &[String], part: &str| out.iter().any(|line| line.starts_with(part));
    assert!(has(&place.checked(&["--config", path.to_str().unwrap()]).1, "max_clients = 4"));
    let mut server = place.server(&["check-config"]);
    let (_, out, _) = place.told(server.env("CHINWAG_SERVER_CONFIG", path).output().unwrap());
    assert!(has(&out, "max_clients = 4"), "{out:?}");
    let (code, out, errors) = place.checked(&["--config", "/none/at/all.toml"]);
    assert_eq!((code, out.len()), (Some(2), 0));
    assert!(errors.starts_with("/none/at/all.toml: the settings cannot be read: "), "{errors}");
    fs::remove_file(place.file()).unwrap();
    assert!(has(&place.checked(&[]).1, "# Nothing is wrong with the settings; there is no file."));
}

#[test]
fn all_that_is_wrong_is_told_and_no_server_starts() {
    let place = Place::new(
        "max_client = 3\nmax_clients = 0\nlisten = ['[::]:1', 'here']\nlog = 'loud'\nhistory = 'ram'\n",
    );
    let mut server = place.server(&["check-config"]);
    server.env("CHINWAG_SERVER_CLASSIC_CHANNELS", "3").env("CHINWAG_SERVER_BOGUS", "1");
    let (code, out, errors) = place.told(server.output().unwrap());
    assert_eq!((code, out.len(), errors.lines().count()), (Some(2), 0, 7), "{errors}");
    for (line, parts) in errors.lines().zip([
        ["DIR/chinwag/chinwag-server.toml:1:1: ", "\"max_client\"; did you mean max_clients?"],
        [
            "DIR/chinwag/chinwag-server.toml:2:15: ",
            "max_clients cannot be \"0\": it is a whole number from 1 to ",
        ],
        ["DIR/chinwag/chinwag-server.toml:3:21: ", "an IP address and a port are needed"],
        ["DIR/chinwag/chinwag-server.toml:4:7: ", "log cannot be \"loud\""],
        ["DIR/chinwag/chinwag-server.toml:5:11: ", "history cannot be \"ram\": it is one of disk, memory;"],
        ["CHINWAG_SERVER_CLASSIC_CHANNELS: ", "it is a whole number from 1 to 2"],
        ["CHINWAG_SERVER_BOGUS", " is no setting."],
    ]) {
        assert!(line.starts_with(parts[0]) && line.contains(parts[1]), "{line}, not {parts:?}");
    }
    let started = place.server(&["--listen", "127.0.0.1:0"]).output().unwrap();
    let (code, out, errors) = place.told(started);
    assert_eq!((code, out.len(), errors.lines().count()), (Some(2), 0, 5), "{errors}");
}

#[test]
fn what_needs_something_else_is_refused_without_it_wherever_it_comes_from() {
    let place = Place::new("classic_voice = '127.0.0.1:0'\ncert = 'a.pem'\n");
    let (code, _, errors) = place.checked(&["--classic-rate", "8000"]);
    assert_eq!(code, Some(2));
    let at = "DIR/chinwag/chinwag-server.toml";
    assert_eq!(
        errors,
        format!(
            "{at}:1:1: classic_voice needs classic_text, too; give --classic-text or set classic_text in the file\n\
             {at}:2:1: cert needs key, too; give --key or set key in the file\n"
        )
    );
    let (code, out, errors) = place.checked(&["--classic-text", "127.0.0.1:0", "--key", "b.pem"]);
    assert_eq!((code, out.len()), (Some(2), 0));
    assert!(errors.starts_with("a.pem: cannot be used as PEM: "), "{errors}");
    let alone = Place::new("").checked(&["--classic-rate", "8000"]);
    assert!(alone.2.starts_with("--classic-rate needs classic_voice, too"), "{}", alone.2);
}

#[test]
fn limits_of_a_history_that_is_not_kept_are_refused_wherever_they_come_from() {
    let place = Place::new("keep_days = 30\nhistory = 'memory'\n");
    let at = "DIR/chinwag/chinwag-server.toml";
    let mut server = place.server(&["check-config", "--keep-messages", "7"]);
    let (code, out, errors) = place.told(server.env("CHINWAG_SERVER_KEEP_MEGABYTES", "5").output().unwrap());
    let because = format!("has no effect where history is memory ({at}:2:1: history); remove one of the two");
    assert_eq!((code, out.len()), (Some(2), 0));
    assert_eq!(
        errors,
        format!(
            "{at}:1:1: keep_days {because}\n--keep-messages {because}\nCHINWAG_SERVER_KEEP_MEGABYTES {because}\n"
        )
    );
    // The server says the same.
    let (code, out, errors) =
        Place::new("").told(place.server(&["--history", "memory", "--keep-days", "1"]).output().unwrap());
    assert_eq!((code, out.len()), (Some(2), 0));
    assert!(
        errors.starts_with("--keep-days has no effect where history is memory (--history); remove one"),
        "{errors}"
    );
    // What is so anyway does no harm, and what comes first counts.
    assert_eq!(place.checked(&["--keep-days", "0"]).0, Some(0));
    assert_eq!(place.checked(&["--history", "disk"]).0, Some(0));
}

#[test]
fn a_server_starts_by_its_file_and_says_so() {
    let place = Place::new("listen = '127.0.0.1:0'\n");
    let mut server = place
        .server(&[])
        .env("CHINWAG_SERVER_CLASSIC_TEXT", "127.0.0.1:0,127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let lines: Vec<_> = lines.take_while(|line| !line.starts_with("friends join with")).collect();
    server.kill().unwrap();
    let (_, _, log) = place.told(server.wait_with_output().unwrap());
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    assert_eq!((count("127.0.0.1:"), count("for classic programs")), (3, 2), "{lines:?}");
    assert!(log.contains("settings are from DIR/chinwag/chinwag-server.toml"), "{log}");
}

#[test]
fn the_example_is_what_the_program_shows_and_changes_nothing() {
    let place = Place::new(EXAMPLE);
    let shown = place.server(&["check-config", "--example"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown == EXAMPLE,
        "write it anew: chinwag-server check-config --example >chinwag-server.example.toml"
    );
    let without = Place::new("").checked(&[]).1;
    assert_eq!(place.checked(&[]).1, without);
    // All that have a default, in force, are what they are by default.
    let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let keys: Vec<_> = EXAMPLE.lines().filter(is_setting).map(|line| &line[1..]).collect();
    let is_set = |line: &&&str| without.iter().any(|seen| seen.starts_with(&format!("{line} ")));
    let in_force: Vec<_> = keys.iter().filter(is_set).copied().collect();
    let unset = without.iter().filter(|line| line.ends_with(" is not set")).count();
    // It is told which folder that is.
    let data = 1;
    assert_eq!(in_force.len() + unset + data, keys.len(), "{keys:#?}");
    let (code, _, errors) = Place::new(&in_force.join("\n")).checked(&[]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
}
