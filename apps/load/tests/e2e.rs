//! The real `chinwag-load` against the real server.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use chinwag_proto::limits::FRAMES_PER_DATAGRAM;
use serde_json::Value;
use tempfile::TempDir;

/// A running server that ends with the test.
struct Server {
    child: Child,
    address: String,
    fingerprint: String,
    _data: TempDir,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_chinwag-load")).with_file_name("chinwag-server");
        let mut child = Command::new(&program)
            .args(["--listen", "127.0.0.1:0", "--log", "off", "--data"])
            .arg(data.path())
            .args(more)
            // Not the settings of whoever runs this.
            .env("XDG_CONFIG_HOME", data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; build the workspace first", program.display()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let link = lines.map(Result::unwrap).find(|line| line.contains("chinwag://")).unwrap();
        let (address, rest) = link.split_once("chinwag://").unwrap().1.split_once('#').unwrap();
        let fingerprint = rest.chars().take_while(char::is_ascii_hexdigit).collect();
        Self { child, address: address.to_owned(), fingerprint, _data: data }
    }

    fn load(&self, arguments: &str) -> Output {
        load(&format!("{} {arguments}", self.address))
    }

    /// What it printed as JSON, having gone well.
    fn measure(&self, arguments: &str) -> Value {
        let output = self.load(&format!("{arguments} --json"));
        assert!(output.status.success(), "{output:?}");
        json(&output)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn load(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag-load"));
    command.args(arguments.split_whitespace()).stdin(Stdio::null()).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn voice_arrives_and_is_counted() {
    let server = Server::start(&[]);
    let arguments = format!(
        "--clients 10 --talkers 2 --seconds 1 --server-pid {} --fingerprint {} --floor --max-loss 5 --json",
        server.child.id(),
        server.fingerprint
    );
    // A machine that stands still for a moment may lose voice; it does not do so every time.
    let mut output = server.load(&arguments);
    for _ in 0..2 {
        if !output.status.success() {
            output = server.load(&arguments);
        }
    }
    assert!(output.status.success(), "{output:?}");
    let report = json(&output);
    let (run, voice) = (&report["run"], &report["run"]["voice"]);
    assert_eq!((&report["clients"], &report["rooms"], &run["talkers"]), (&10.into(), &1.into(), &2.into()));
    assert_eq!(report["failures"], Value::Array(vec![]));
    let sent = number(&voice["frames_sent"]);
    assert!((1.0..=100.0).contains(&sent), "{sent}");
    assert_eq!(number(&voice["frames_expected"]), sent * 9.0);
    let (delivered, lost) = (number(&voice["frames_delivered"]), number(&voice["frames_lost"]));
    assert_eq!(delivered + lost, sent * 9.0, "{voice}");
    assert!(lost <= sent * 9.0 * 0.05, "{voice}");
    assert!((number(&voice["loss_percent"]) - lost * 100.0 / (sent * 9.0)).abs() < 1e-6, "{voice}");
    assert_eq!(voice["frames_strange"], Value::from(0));
    assert_eq!(number(&voice["frames_per_second"]), delivered);
    // Frames may share datagrams, and may come by TCP when this machine is busy.
    let payloads = number(&voice["datagrams_received"]) + number(&voice["tcp_received"]);
    assert!(payloads * FRAMES_PER_DATAGRAM as f64 >= delivered, "{voice}");
    let delays = ["p50_ms", "p99_ms", "p999_ms", "max_ms"].map(|name| number(&voice["delay"][name]));
    assert!(delays.is_sorted() && delays[0] > 0.0, "{delays:?}");
    assert!(number(&report["connect"]["seconds"]) > 0.0 && number(&run["tool"]["cpu_percent"]) > 0.0);
    if cfg!(target_os = "linux") {
        let us = number(&run["server"]["cpu_us_per_frame"]);
        let ms = number(&run["server"]["cpu_ms_per_second"]);
        assert!(us > 0.1 && ms > 0.0 && us * delivered / 1e3 >= ms * 0.9, "{run}");
        assert!(number(&report["memory"]["rss_after_bytes"]) > 1e6);
        let ratio = number(&report["server_to_floor"]["sendto"]);
        assert!((ratio * number(&report["floor"]["sendto_ns"]) / 1e3 - us).abs() < us / 100.0);
        assert!(number(&report["floor"]["sendmmsg_ns"]) > 0.0);
        assert_eq!(number(&run["tool"]["socket_drops"]), 0.0);
    }
}

#[test]
fn rooms_hear_their_own_talkers_only_and_text_is_told_to_all_in_them() {
    let server = Server::start(&[]);
    let report = server
        .measure("--clients 7 --talkers 3 --rooms 2 --text-rate 40 --seconds 1 --poll-us 0 --frame-ms 10");
    let (voice, text) = (&report["run"]["voice"], &report["run"]["text"]);
    // Four in the first room, two of them talkers; three in the second.
    let (sent, expected) = (number(&voice["frames_sent"]), number(&voice["frames_expected"]));
    assert!(sent >= 3.0 && (sent * 2.0..sent * 3.0).contains(&expected), "{voice}");
    assert_eq!((&voice["frames_strange"], &report["run"]["connections_lost"]), (&0.into(), &0.into()));
    let said = number(&text["messages_sent"]);
    assert!(said >= 1.0 && said + number(&text["messages_unsent"]) <= 40.0, "{text}");
    assert_eq!(text["deliveries"], text["deliveries_expected"]);
    let deliveries = number(&text["deliveries"]);
    assert!((said * 3.0..=said * 4.0).contains(&deliveries), "{text}");
    assert_eq!(["lost", "doubled", "reordered"].map(|what| number(&text[what])), [0.0; 3]);
    assert!(number(&text["delay"]["max_ms"]) > 0.0);
}

#[test]
fn an_idle_server_can_be_measured() {
    let server = Server::start(&[]);
    let report =
        server.measure(&format!("--clients 3 --talkers 0 --seconds 1 --server-pid {}", server.child.id()));
    assert_eq!((&report["run"]["voice"], &report["run"]["text"]), (&Value::Null, &Value::Null));
    if cfg!(target_os = "linux") {
        assert!(number(&report["run"]["server"]["cpu_ms_per_second"]) < 500.0);
        assert_eq!(report["run"]["server"]["cpu_us_per_frame"], Value::Null);
    }
}

#[test]
fn a_bound_that_is_broken_is_said_and_is_exit_code_1() {
    let server = Server::start(&[]);
    let output = server.load("--clients 2 --seconds 1 --max-p99-ms 0.000001");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("\nFAILED: p99 of the delay is ") && table.contains("\ndelivered "), "{table}");
}

#[test]
fn the_limit_is_looked_for_step_by_step() {
    let server = Server::start(&[]);
    // Bounds that no load breaks, so that the end of the ladder is found.
    let output = server.load(
        "--clients 3 --talkers 2 --frame-ms 6 --seconds 1 --find-limit --max-loss 100 --max-p99-ms 100000 --json",
    );
    assert!(output.status.success(), "{output:?}");
    let report = json(&output);
    let limit = &report["limit"];
    assert_eq!(
        (&limit["talkers"], &limit["frame_ms"], &limit["has_held"]),
        (&3.into(), &5.into(), &true.into())
    );
    assert_eq!((&limit["failed_talkers"], &report["run"]["frame_ms"]), (&Value::Null, &5.into()));
    assert_eq!(report["run"]["voice"]["frames_strange"], Value::from(0), "frames of the step before");
    let progress = String::from_utf8(output.stderr).unwrap();
    let steps: Vec<_> = progress.lines().filter(|line| line.starts_with("held: ")).collect();
    assert_eq!(steps.len(), 3, "{progress}");

    let output = server.load("--clients 2 --seconds 1 --find-limit --max-p99-ms 0.000001");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("even this did not hold") && table.contains("FAILED: no load held"), "{table}");
}

#[test]
fn what_keeps_clients_out_is_said() {
    let server = Server::start(&["--max-clients", "3"]);
    let wrong = "ab".repeat(32);
    let nobody = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let unreached = load(&nobody);
    let error = String::from_utf8(unreached.stderr).unwrap();
    assert!(error.contains("could not connect") && !error.contains("let in"), "{error}");
    for (arguments, code, what) in [
        (format!("{} --clients 4", server.address), 1, "full"),
        (format!("{} --clients 1 --fingerprint {wrong}", server.address), 1, "another fingerprint"),
        (nobody.clone(), 1, "; is the server running?"),
        (format!("{} --clients 2 --server-pid 4294967295", server.address), 1, "--server-pid 4294967295"),
        (format!("{} --clients 2 --talkers 3", server.address), 2, "3 talkers are more than 2 clients"),
        (format!("{} --clients 0", server.address), 2, "--clients"),
        (format!("{} --max-loss=-1", server.address), 2, "--max-loss"),
        ("chinwag://".to_owned(), 2, "there is no host in it"),
        ("host:0".to_owned(), 2, "the port must be a number"),
        // Before anything is connected.
        (format!("{nobody} --find-limit --clients 1"), 2, "give --clients 2 or more"),
        (format!("{nobody} --find-limit --talkers 0"), 2, "give --talkers 1 or more"),
        (format!("{nobody} --find-limit --text-rate 1"), 2, "cannot be used with"),
        (format!("{nobody} --max-loss 1 --talkers 0"), 2, "nobody talks"),
        (format!("{nobody} --max-p99-ms 1 --rooms 10"), 2, "nobody hears anybody"),
    ] {
        let output = load(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {error}");
        assert!(error.to_lowercase().contains(&what.to_lowercase()), "{arguments}: {error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure_unless_nobody_reads_it() {
    let server = Server::start(&[]);
    let print_to = |stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag-load"));
        command.args([&server.address, "--clients", "2", "--seconds", "1", "--json"]);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap()
    };
    if cfg!(target_os = "linux") {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = print_to(full.into()).wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("the report cannot be written: "), "{error}");
    }
    let mut unread = print_to(Stdio::piped());
    drop(unread.stdout.take());
    let output = unread.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
