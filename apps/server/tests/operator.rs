//! The real program, as its operator has to do with it: what it prints, how it ends, what it refuses.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{
    fs,
    io::{BufRead as _, BufReader, PipeReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// Far more than anything takes on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(40);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag-server"));
    // Not the settings of whoever runs this.
    command.env("XDG_CONFIG_HOME", "/none");
    command
}

/// A server that listens, and both ends of the pipe that is its standard output.
struct Running {
    child: Child,
    out: BufReader<PipeReader>,
    out_writer: std::io::PipeWriter,
    address: SocketAddr,
}

impl Running {
    fn start(data: &Path, errors: impl Into<Stdio>) -> Self {
        let (reader, out_writer) = std::io::pipe().unwrap();
        let child = program()
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(out_writer.try_clone().unwrap())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut out = BufReader::new(reader);
        let mut address = None;
        let mut line = String::new();
        while !line.starts_with("friends join with") {
            line.clear();
            out.read_line(&mut line).unwrap();
            let listening = line.strip_prefix("listening on ");
            address = address.or(listening.and_then(|rest| rest.split(',').next()?.parse().ok()));
        }
        Self { child, out, out_writer, address: address.unwrap() }
    }

    /// A stranger who talks nonsense; true when the server threw him out.
    fn is_serving(&self) -> bool {
        let mut stranger = TcpStream::connect(self.address).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        stranger.write_all(b"no TLS at all").unwrap();
        // An alert may come first.
        stranger.read_to_end(&mut vec![]).is_ok()
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_whose_output_nobody_wants_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let (errors, errors_writer) = std::io::pipe().unwrap();
    let mut server = Running::start(&folder.path().join("data"), errors_writer);
    // As `chinwag-server 2>&1 | head -1` does it.
    drop(errors);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(std::mem::replace(&mut server.out, BufReader::new(reader)));
    drop(std::mem::replace(&mut server.out_writer, writer));
    for _ in 0..10 {
        assert!(server.is_serving());
    }
    server.terminate();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_whose_output_is_stuck_serves_on_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Running::start(&folder.path().join("data"), Stdio::null());
    // Not a byte more fits into the pipe, and nobody reads it.
    server.out_writer.write_all(&[b'\n'; 64 * 1024]).unwrap();
    for _ in 0..200 {
        assert!(server.is_serving());
    }
    server.terminate();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_flood_of_connections_is_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, log_writer) = std::io::pipe().unwrap();
    let mut server = Running::start(&folder.path().join("data"), log_writer);
    for _ in 0..500 {
        assert!(server.is_serving());
    }
    server.terminate();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));

    let (mut text, mut log_text) = (String::new(), String::new());
    log.read_to_string(&mut log_text).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(std::mem::replace(&mut server.out_writer, writer));
    std::mem::replace(&mut server.out, BufReader::new(reader)).read_to_string(&mut text).unwrap();
    let shown = text.lines().filter(|line| line.ends_with(" has connected.")).count();
    let more = text.lines().filter_map(|line| line.split_once(" more have connected"));
    let more: usize = more.map(|(count, _)| count.parse::<usize>().unwrap()).sum();
    assert_eq!(shown + more, 500, "{text}");
    assert!(more > 0, "{text}");
    // What is said at the end is said whatever came before.
    assert!(log_text.contains("more lines within") && log_text.contains("stopped: 0 messages"), "{log_text}");
}

fn refused(arguments: &[&Path]) -> (ExitStatus, String) {
    let mut command = program();
    let output = command.args(["--listen", "127.0.0.1:0"]).args(arguments).output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_it_cannot_use_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (file, cert, none) =
        (folder.path().join("file"), folder.path().join("cert.pem"), folder.path().join("none"));
    fs::write(&file, "no folder and no PEM").unwrap();
    fs::write(&cert, "").unwrap();
    let (data, below) = (Path::new("--data"), file.join("data"));
    let (cert_option, key_option) = (Path::new("--cert"), Path::new("--key"));
    for (arguments, what) in [
        (vec![data, &file], "file"),
        (vec![data, &below], "--data DIR"),
        (vec![data, Path::new("/proc/chinwag")], "--data DIR"),
        (vec![cert_option, &none, key_option, &none], "none"),
        (vec![cert_option, &cert, key_option, &file], "no certificate"),
    ] {
        let (status, told) = refused(&arguments);
        assert_eq!((status.code(), told.lines().count()), (Some(1), 1), "{told}");
        assert!(told.starts_with("chinwag-server: ") && told.contains(what), "{told}");
    }
}
