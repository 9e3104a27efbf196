//! `chinwag-server duo` as its operator and a bare connection have to do with it.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

/// Far more than anything takes on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(40);

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_chinwag-server"))
}

struct Running {
    child: Child,
    keys: ChildStdin,
    out: BufReader<ChildStdout>,
    port: u16,
}

impl Running {
    fn start() -> Self {
        let mut child = program()
            .args(["duo", "127.0.0.1", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (keys, out) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut server = Self { child, keys, out, port: 0 };
        let line = server.line();
        server.port = line.strip_prefix("Server open with 127.0.0.1:").unwrap().parse().unwrap();
        server
    }

    /// The next line that is not empty.
    fn line(&mut self) -> String {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "it has ended");
        }
        line.trim_end().to_owned()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Connects, and waits until the operator sees it.
    fn join(&mut self) -> TcpStream {
        let stream = self.connect();
        assert_eq!(self.line(), shown(&stream));
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shown(client: &TcpStream) -> String {
    format!("Client ('127.0.0.1', {})", client.local_addr().unwrap().port())
}

#[test]
fn a_message_is_what_a_read_gives_in_both_directions() {
    let mut server = Running::start();
    let mut client = server.join();
    client.write_all("héllo".as_bytes()).unwrap();
    assert_eq!(server.line(), "<127.0.0.1> : héllo");
    // A character that never ends is not waited for.
    client.write_all(b"cut \xf0\x9f").unwrap();
    assert_eq!(server.line(), "<127.0.0.1> : cut \u{fffd}");
    writeln!(server.keys, "to you").unwrap();
    assert_eq!(server.line(), "I > to you");
    let mut bytes = [0; 6];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"to you");
    writeln!(server.keys, "quit").unwrap();
    let mut rest = vec![];
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_line_is_busy_until_the_client_has_gone_however_he_went() {
    let mut server = Running::start();
    for breaks in [false, true] {
        let client = server.join();
        for _ in 0..50 {
            let mut busy = String::new();
            server.connect().read_to_string(&mut busy).unwrap();
            assert_eq!(busy, "The line is busy, please try again later.");
        }
        let shown = shown(&client);
        if breaks {
            // Nothing but a reset goes out.
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
        let line = server.line();
        let how = if breaks { "is lost: " } else { "has left" };
        assert!(line.starts_with(&format!("{shown} {how}")), "{line}");
    }
    let _next = server.join();
}

#[test]
fn what_is_wrong_with_the_command_line_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, code, what) in [
        (vec!["duo"], 2, "Usage: chinwag-server duo <HOST> <PORT>"),
        (vec!["duo", "127.0.0.1"], 2, "<PORT>"),
        (vec!["duo", "127.0.0.1", "1", "2"], 2, "unexpected argument '2'"),
        (vec!["duo", "127.0.0.1", "many"], 2, "a port is a number from 0 to 65535, such as 1025"),
        (vec!["duo", "127.0.0.1", "65536"], 2, "a port is a number from 0 to 65535, such as 1025"),
        (vec!["--max-clients", "5", "duo", "127.0.0.1", "0"], 2, "cannot be used with"),
        (vec!["duo", "127.0.0.1", &port], 1, "chinwag-server: cannot listen on 127.0.0.1, port"),
    ] {
        let output = program().args(&arguments).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(what) && output.stdout.is_empty(), "{arguments:?}: {told}");
    }
}
