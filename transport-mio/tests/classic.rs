//! Classic programs over real sockets, beside native clients.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use chinwag_proto::{
    ReceiverReport,
    client::{ClientEvent, EndReason},
    wire::voice::Frames,
};
use chinwag_transport_mio::server::Order;
use common::{PATIENCE, RunningClient, RunningServer, Seen, Wish};

/// A program that reads and writes as the originals do, and remembers all that it read.
struct Classic {
    socket: TcpStream,
    read: String,
}

impl Classic {
    fn connect(to: SocketAddr) -> Self {
        let socket = TcpStream::connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, read: String::new() }
    }

    fn join(to: SocketAddr, name: &str) -> Self {
        let mut classic = Self::connect(to);
        classic.until("press enter!");
        classic.says(name);
        classic.until("type {quit} to exit.");
        classic
    }

    fn says(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` has come. Each read is to be whole text: else the original dies of it.
    fn until(&mut self, text: &str) {
        while !self.read.contains(text) {
            let mut buffer = [0; 1024];
            let count = self.socket.read(&mut buffer).unwrap();
            assert!(count > 0, "the end, and no {text:?} in {:?}", self.read);
            self.read += std::str::from_utf8(&buffer[..count]).unwrap();
        }
    }

    fn until_the_end(&mut self) {
        let mut rest = String::new();
        self.socket.read_to_string(&mut rest).unwrap();
        self.read += &rest;
    }
}

#[test]
fn classic_programs_and_natives_are_in_one_room() {
    let data = tempfile::tempdir().unwrap();
    let server = RunningServer::start(data.path(), 0);
    let mut foo = Classic::join(server.classic, "Foo");
    let mut bar = Classic::join(server.classic, "Bar");
    foo.until("Bar has joined the chat!");
    let baz =
        RunningClient::join(server.address, Some(server.fingerprint), &data.path().join("known"), "Baz");
    foo.until("Baz has joined the chat!");
    foo.says("Gr\u{fc}\u{df}e");
    baz.until_said("Gr\u{fc}\u{df}e");
    baz.wish(Wish::Say("hello, Foo".to_owned()));
    for classic in [&mut foo, &mut bar] {
        classic.until("Foo: Gr\u{fc}\u{df}e");
        classic.until("Baz: hello, Foo");
    }
    foo.says("{quit}");
    foo.until("{quit}");
    foo.until_the_end();
    bar.until("Foo has left the chat.");
    // One who is just gone is announced at once.
    drop(bar);
    baz.until_event("Bar leaves", |event| matches!(event, ClientEvent::Left { name, .. } if name == "Bar"));
    server.stop();
}

/// What the next read of a voice socket gives.
fn heard(voice: &mut TcpStream) -> String {
    let mut buffer = [0; 1024];
    let count = voice.read(&mut buffer).unwrap();
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

fn voice(server: &RunningServer) -> TcpStream {
    let voice = TcpStream::connect(server.classic_voice).unwrap();
    voice.set_read_timeout(Some(PATIENCE)).unwrap();
    voice
}

#[test]
fn voice_goes_both_ways_and_belongs_to_the_text_connection_that_came_first() {
    let data = tempfile::tempdir().unwrap();
    let server = RunningServer::start(data.path(), 0);
    // As the originals do: text, then voice, then somebody types a name.
    let mut foo = Classic::connect(server.classic);
    foo.until("press enter!");
    let mut foos = voice(&server);
    let mut bar = Classic::connect(server.classic);
    bar.until("press enter!");
    let mut bars = voice(&server);
    let baz =
        RunningClient::join(server.address, Some(server.fingerprint), &data.path().join("known"), "Baz");
    baz.until_event("Baz is in", |event| matches!(event, ClientEvent::Welcome { .. }));
    foo.says("Foo");
    foo.until("type {quit}");
    bar.says("Bar");
    bar.until("type {quit}");
    foos.write_all(b"the voice of Foo").unwrap();
    let foo_is = baz.until("the voice of Foo", |seen| match seen {
        Seen::Voice(payload) => {
            let mut frames = Frames::parse(&payload).unwrap();
            frames.find(|frame| frame.opus == b"the voice of Foo").map(|frame| frame.talker)
        }
        Seen::Event(_) => None,
    });
    assert_eq!(heard(&mut bars), "the voice of Foo");
    baz.wish(Wish::Talk(b"the voice of Baz".to_vec()));
    assert_eq!([heard(&mut foos), heard(&mut bars)], ["the voice of Baz", "the voice of Baz"]);
    // How it arrives is told to the gateway, and by the gateway to natives.
    let report = ReceiverReport { lost_per_mille: 9, ..ReceiverReport::default() };
    baz.wish(Wish::Report(foo_is, report));
    baz.until_event(
        "the report",
        |event| matches!(event, ClientEvent::Reported(told) if told.lost_per_mille == 9),
    );
    // Without a voice one is still there to read and write.
    drop(bars);
    foo.says("{quit}");
    bar.until("Foo has left the chat.");
    assert_eq!(heard(&mut foos), "", "the voice ends with the text");
    bar.says("still here");
    baz.until_said("still here");
    server.stop();
}

#[test]
fn the_operator_is_heard_and_removes_people() {
    let data = tempfile::tempdir().unwrap();
    let server = RunningServer::start(data.path(), 0);
    let mut foo = Classic::join(server.classic, "Foo");
    let baz =
        RunningClient::join(server.address, Some(server.fingerprint), &data.path().join("known"), "Baz");
    foo.until("Baz has joined the chat!");
    server.operator.give(Order::Say("hello from here".to_owned())).unwrap();
    foo.until("server: hello from here");
    baz.until_said("hello from here");
    server.operator.give(Order::Who).unwrap();
    assert!(server.until_observed("Members").contains(r#"("lobby", ["Foo", "Baz"])"#));
    server.operator.give(Order::Remove("Nobody".to_owned())).unwrap();
    server.until_observed("NobodyNamed");
    server.operator.give(Order::Remove("foo".to_owned())).unwrap();
    foo.until_the_end();
    assert!(foo.read.contains("server: the operator removed you"));
    server.operator.give(Order::Remove("baz".to_owned())).unwrap();
    assert_eq!(baz.thread.join().unwrap().unwrap(), EndReason::Removed);
    server.stop();
}
