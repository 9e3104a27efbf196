//! The operator's keyboard, in a pipe, with a classic member who answers.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{ChildStdout, Command, Stdio},
    time::Duration,
};

/// Far more than anything takes on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(40);

/// Reads lines until one has `what` in it.
fn until(lines: &mut Lines<BufReader<ChildStdout>>, what: &str) -> String {
    loop {
        let line = lines.next().unwrap_or_else(|| panic!("the end, and no {what}")).unwrap();
        if line.contains(what) {
            return line;
        }
    }
}

struct Member(TcpStream, String);

impl Member {
    fn join(to: SocketAddr, name: &str) -> Self {
        let socket = TcpStream::connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut member = Self(socket, String::new());
        member.until("press enter!");
        member.0.write_all(name.as_bytes()).unwrap();
        member.until("Welcome");
        member
    }

    fn until(&mut self, what: &str) {
        while !self.1.contains(what) {
            let mut buffer = [0; 1024];
            let count = self.0.read(&mut buffer).unwrap();
            assert!(count > 0, "the end, and no {what} in {}", self.1);
            self.1 += std::str::from_utf8(&buffer[..count]).unwrap();
        }
    }
}

#[test]
fn the_operator_talks_looks_around_removes_somebody_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_chinwag-server"))
        .args(["--listen", "127.0.0.1:0", "--classic-text", "127.0.0.1:0", "--console", "--data"])
        .arg(folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = server.stdin.take().unwrap();
    let mut out = BufReader::new(server.stdout.take().unwrap()).lines();
    let listening = until(&mut out, "for classic programs");
    let classic: SocketAddr = listening.split(' ').nth(2).unwrap().parse().unwrap();
    until(&mut out, "/help tells more");
    for line in ["/who", "does anybody hear this?"] {
        writeln!(keyboard, "{line}").unwrap();
        until(&mut out, "nobody is here");
    }
    let mut foo = Member::join(classic, "Foo");
    until(&mut out, "Foo has joined the chat!");
    foo.0.write_all(b"\x1b[2Jhello").unwrap();
    assert_eq!(until(&mut out, "hello"), r"Foo: \u{1b}[2Jhello");
    writeln!(keyboard, "hello, Foo").unwrap();
    foo.until("server: hello, Foo");
    assert_eq!(until(&mut out, "hello, Foo"), "server: hello, Foo");
    writeln!(keyboard, "/who\n/kick Nobody").unwrap();
    assert_eq!(until(&mut out, "in lobby"), "in lobby: Foo");
    until(&mut out, "nobody here is called Nobody");
    writeln!(keyboard, "/nonsense").unwrap();
    until(&mut out, "there is no /nonsense");
    writeln!(keyboard, "/kick foo").unwrap();
    foo.until("server: the operator removed you");
    until(&mut out, "Foo has left the chat. (removed)");
    writeln!(keyboard, "quit").unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
}
