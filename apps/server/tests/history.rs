//! The real program's commands for the history.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use chinwag_history::Retention;
use chinwag_proto::{
    MessageId, RoomId, Seq,
    history::{AuthorKey, KeptMessage, KeptRoom, UnixMillis, Write},
    name::Name,
};

fn program(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag-server"));
    // Not the settings of whoever runs this.
    command.env("XDG_CONFIG_HOME", "/none").args(arguments).arg("--data").arg(data);
    command
}

/// Whether it went well, and what was said.
fn told(data: &Path, arguments: &[&str]) -> (bool, String) {
    let output = program(data, arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap().replace(data.to_str().unwrap(), "DIR");
    (output.status.success(), text)
}

/// A server that listens.
fn running(data: &Path) -> Child {
    let mut child = program(data, &["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.take_while(|line| !line.starts_with("fingerprint")).count() > 0);
    child
}

/// A history with two rooms.
fn history() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = chinwag_history::open(&folder.path().join("history.db"), Retention::default()).unwrap();
    for (id, name, count) in [(1, "lobby", 3), (2, "Zoë's den", 12)] {
        let id = RoomId::from_wire(id);
        let room = Write::Room(KeptRoom { id, name: Name::new(name).unwrap(), epoch: 1 });
        let messages = (1..=count).map(|seq| {
            Write::Message(KeptMessage {
                room: id,
                seq: Seq::from_wire(seq),
                at: UnixMillis(1_700_000_000_000 + seq * 60_000),
                author: AuthorKey([1; 16]),
                id: MessageId::from_wire(seq),
                name: Name::new("Foo").unwrap(),
                text: "hello".repeat(4000).into(),
            })
        });
        opened.store.write(&[room].into_iter().chain(messages).collect::<Vec<_>>()).unwrap();
    }
    drop(opened);
    folder
}

const HEAD: &str = "    messages  MB on disk  first (UTC)       last (UTC)        room\n";
const LOBBY: &str = "           3         0.2  2023-11-14 22:14  2023-11-14 22:16  lobby\n";
const DEN: &str = "          12         0.7  2023-11-14 22:14  2023-11-14 22:25  Zoë's den\n";

#[test]
fn rooms_are_listed_and_removed() {
    let folder = history();
    let data = folder.path();
    let all = (true, [HEAD, LOBBY, DEN].concat());
    assert_eq!(told(data, &["rooms"]), all);
    let mut server = running(data);
    assert_eq!(told(data, &["rooms"]), all);
    let refused =
        (false, "chinwag-server: DIR/history.db: a server is using it; stop that one first\n".into());
    assert_eq!(told(data, &["remove-room", "lobby"]), refused);
    server.kill().unwrap();
    server.wait().unwrap();
    let (is_well, text) = told(data, &["remove-room", "attic"]);
    assert!(
        !is_well && text.contains("there is no room \"attic\" in it; chinwag-server rooms tells"),
        "{text}"
    );
    let removed = (true, "Zoë's den is removed, with 12 messages\n".into());
    assert_eq!(told(data, &["remove-room", "zoë's DEN"]), removed);
    assert_eq!(told(data, &["rooms"]), (true, [HEAD, LOBBY].concat()));
}

#[test]
fn a_backup_is_gone_back_to() {
    let folder = history();
    let data = folder.path();
    let copy = data.join("copy.db");
    let copy = copy.to_str().unwrap();
    assert_eq!(told(data, &["backup", copy]), (true, String::new()));
    let mut server = running(data);
    let (is_well, text) = told(data, &["restore", copy]);
    assert!(!is_well && text.contains("stop that one first"), "{text}");
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(told(data, &["remove-room", "lobby"]).0);
    let restored =
        "DIR/history.db is the history of DIR/copy.db now\nwhat was there before is DIR/history.db.old-1\n";
    assert_eq!(told(data, &["restore", copy]), (true, restored.into()));
    assert_eq!(told(data, &["rooms"]), (true, [HEAD, LOBBY, DEN].concat()));
    // Where there is no data folder yet.
    let fresh = data.join("fresh/folder");
    let restored = "DIR/history.db is the history of DIR/../../copy.db now\n";
    let from = fresh.join("../../copy.db");
    fs::create_dir_all(&fresh).unwrap();
    assert_eq!(told(&fresh, &["restore", from.to_str().unwrap()]), (true, restored.into()));
    assert_eq!(told(&fresh, &["rooms"]), (true, [HEAD, LOBBY, DEN].concat()));
}

#[test]
fn a_history_of_which_something_is_missing_is_refused_and_gone_on_with() {
    let folder = history();
    let data = folder.path();
    let mut server = running(data);
    server.kill().unwrap();
    server.wait().unwrap();
    // As if more had been kept than is there.
    let lock = data.join("history.db.lock");
    let note = fs::read_to_string(&lock).unwrap().replace("00000000017", "00000000021");
    fs::write(&lock, note).unwrap();
    let (is_well, text) = told(data, &["--listen", "127.0.0.1:0"]);
    let said =
        "DIR/history.db: of what was kept in it (messages, rooms, topics) the last 4 or more are missing";
    assert!(!is_well && text.contains(said) && text.contains("15 messages can be read"), "{text}");
    let copy = data.join("copy.db");
    for command in [&["export", "--json"][..], &["rooms"], &["backup", copy.to_str().unwrap()]] {
        let (is_well, text) = told(data, command);
        assert!(is_well && text.contains("DIR/history.db: the last 4 or more of what was kept"), "{text}");
    }
    assert!(!told(data, &["restore", "--readable", "copy.db"]).0 && !told(data, &["restore"]).0);
    let told_of =
        "DIR/history.db has what can be read of the history\nwhat was there before is DIR/history.db.old-1\n";
    assert_eq!(told(data, &["restore", "--readable"]), (true, told_of.into()));
    assert_eq!(told(data, &["rooms"]), (true, [HEAD, LOBBY, DEN].concat()));
    let mut server = running(data);
    server.kill().unwrap();
    server.wait().unwrap();
}
