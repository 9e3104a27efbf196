//! What was said before, by the real programs: it outlives the server, is looked at and searched by those who come later, and is
//! copied and read out by whoever has the server.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::Value;

use crate::{
    common::{PATIENCE, Place, Program, Server, server_binary},
    full::says,
    seat::Seat,
};

/// More than a page of any kind.
const MANY: usize = 300;

fn silent(name: &str) -> [&str; 6] {
    ["--name", name, "--mic", "none", "--speaker", "none"]
}

/// Somebody on the full screen, who is in.
fn full(place: &Place, server: &Server, name: &str) -> Seat {
    let arguments = [&silent(name)[..], &[server.link.as_str()]].concat();
    let mut seat = Seat::full(place, 100, 40, &arguments);
    seat.sees_part("Welcome!");
    seat.is_edited();
    seat
}

/// The same in plain lines.
fn plain(place: &Place, server: &Server, name: &str) -> Seat {
    let arguments = [&silent(name)[..], &[server.link.as_str()]].concat();
    let mut seat = Seat::client(place, 100, &arguments);
    seat.sees_part(&format!("Welcome {name}!"));
    seat.is_edited();
    seat
}

/// Ends a server in the ordinary way, and starts one with the same folder and address.
pub(crate) fn restart(place: &Place, server: &mut Server, more: &[&str]) {
    let address = server.address();
    stop(server);
    *server = Server::start_at(place, &address, more);
}

pub(crate) fn stop(server: &mut Server) {
    server.program.signal("TERM");
    assert_eq!(server.program.exit_code(), 0, "{}", server.program.errors());
}

/// Says so many lines from a pipe, and leaves when all are said.
fn say_many(place: &Place, server: &Server, name: &str, lines: impl IntoIterator<Item = String>) {
    let mut talker = server.join(place, name);
    for line in lines {
        talker.type_line(&line);
    }
    talker.end_input();
    assert_eq!(talker.exit_code(), 0, "{}", talker.errors());
}

fn numbered(from: usize, to: usize) -> impl Iterator<Item = String> {
    (from..to).map(|n| format!("line {n}"))
}

/// What is said on a screen, line by line, without times and whatever stands beside it.
fn talk(seat: &Seat, names: &[&str]) -> Vec<String> {
    let rows = seat.rows();
    let lines = rows.iter().map(|row| row.split('│').next().unwrap().trim_end());
    let lines = lines.filter_map(|line| {
        let at = names.iter().filter_map(|name| line.find(&format!("{name}: "))).min()?;
        Some(line[at..].to_owned())
    });
    lines.collect()
}

/// The time of a message of the past is cut off; it must be there.
fn without_date(line: &str) -> Option<&str> {
    let (date, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    (shape == "0000-00-00 00:00").then_some(rest)
}

/// The server's program for something else than to serve.
pub(crate) fn tool(arguments: &[&str], place: &Place) -> Program {
    let mut tool = Program::start(&server_binary(), arguments, place);
    tool.end_input();
    tool
}

/// What `export --json` tells of a data folder.
fn export(place: &Place, data: &Path) -> Vec<Value> {
    exported(tool(&["export", "--json", "--data", data.to_str().unwrap()], place))
}

fn exported(mut export: Program) -> Vec<Value> {
    assert_eq!(export.exit_code(), 0, "{}", export.errors());
    export.output().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(exported: &[Value]) -> Vec<&str> {
    exported.iter().map(|line| line["text"].as_str().unwrap()).collect()
}

/// The places have no hole.
fn assert_numbered(exported: &[Value]) {
    let seqs: Vec<_> = exported.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    let first = seqs.first().copied().unwrap_or_default();
    assert!(seqs.iter().copied().eq(first..first + seqs.len() as u64), "{seqs:?}");
}

#[test]
fn what_was_cleared_can_be_looked_up_again() {
    let place = Place::new();
    let server = Server::start(&place);
    let mut bar = server.join(&place, "Bar");
    let mut foo = full(&place, &server, "Foo");
    for line in ["one", "two", "three"] {
        bar.type_line(line);
    }
    foo.until("them", |foo| says(foo, "Bar: three"));
    for key in ["\x1b[5~", "/history\r"] {
        foo.enters("/clear");
        foo.until("an empty screen", |foo| !foo.rows().iter().any(|row| row.contains("Bar:")));
        bar.type_line("four");
        foo.until("what is said then", |foo| says(foo, "Bar: four"));
        foo.types(key);
        foo.until("the first", |foo| says(foo, "Bar: one"));
        let said = talk(&foo, &["Bar"]);
        assert_eq!(said[..4], ["Bar: one", "Bar: two", "Bar: three", "Bar: four"], "{said:?}");
    }
    assert_eq!(talk(&foo, &["Bar"]).len(), 5);
}

#[test]
fn a_restart_of_the_server_is_no_gap_for_those_who_were_there_nor_for_those_who_come_later() {
    const NAMES: [&str; 3] = ["Foo", "Bar", "Baz"];
    let place = Place::new();
    let mut server = Server::start(&place);
    let mut people =
        [full(&place, &server, "Foo"), full(&place, &server, "Bar"), plain(&place, &server, "Baz")];
    let mut said = vec![];
    let speak = |people: &mut [Seat; 3], said: &mut Vec<String>, what: &str| {
        for (n, name) in NAMES.into_iter().enumerate() {
            people[n].enters(&format!("{what} {name}"));
            let line = format!("{name}: {what} {name}");
            for person in people.iter_mut() {
                person.until(&line, |person| talk(person, &NAMES).contains(&line));
            }
            said.push(line);
        }
    };
    speak(&mut people, &mut said, "before it, says");
    restart(&place, &mut server, &[]);
    for (person, name) in people.iter_mut().zip(NAMES) {
        let back = person.sees_part(&format!("back as {name}"));
        assert!(back.contains("nothing was missed but voice"), "{back}");
    }
    speak(&mut people, &mut said, "after it, says");
    for person in &people {
        let told: Vec<_> =
            talk(person, &NAMES).into_iter().filter(|line| line.contains(" it, says ")).collect();
        assert_eq!(told, said);
        assert!(!person.rows().iter().any(|row| row.contains("missed while")), "{:#?}", person.rows());
    }
    // Whoever comes later.
    let mut late = [full(&place, &server, "Qux"), plain(&place, &server, "Zod")];
    for person in &mut late {
        person.sees_part(&said[5]);
        assert_eq!(talk(person, &NAMES), said);
    }
    let dated: Vec<_> =
        late[1].rows().iter().filter_map(|row| without_date(row)).map(str::to_owned).collect();
    assert_eq!(dated, said);
    // What is said now has no date.
    people[0].enters("it is now");
    for person in &mut late {
        person.sees_part("Foo: it is now");
    }
    late[1].sees("Foo: it is now");
    for person in &mut late {
        said.push("Foo: it is now".to_owned());
        assert_eq!(talk(person, &NAMES), said);
        said.pop();
    }
}

#[test]
fn what_is_typed_while_a_killed_server_is_away_is_said_once_when_it_is_back() {
    let place = Place::new();
    let mut server = Server::start(&place);
    let address = server.address();
    let mut foo = full(&place, &server, "Foo");
    let mut bar = plain(&place, &server, "Bar");
    for line in ["one", "two"] {
        foo.enters(line);
        bar.sees_part(&format!("Foo: {line}"));
        foo.until(line, |foo| says(foo, &format!("Foo: {line}")));
    }
    server.program.signal("KILL");
    server.program.wait();
    for person in [&mut foo, &mut bar] {
        person.sees_part("the connection is lost");
    }
    foo.enters("three");
    foo.sees_part("… three");
    foo.enters("four");
    foo.sees_part("… four");
    bar.enters("five");
    bar.sees_part("what you type now is said when the connection is back");
    let server = Server::start_at(&place, &address, &[]);
    let names = ["Foo", "Bar"];
    let all = ["Bar: five", "Foo: four", "Foo: one", "Foo: three", "Foo: two"];
    for person in [&mut foo, &mut bar] {
        person.sees_part("back as ");
        person.until("all of it", |person| {
            all.iter().all(|line| talk(person, &names).iter().any(|seen| seen == line))
        });
    }
    foo.enters("last");
    for person in [&mut foo, &mut bar] {
        person.sees_part("Foo: last");
    }
    let mut order = talk(&bar, &names);
    assert_eq!(talk(&foo, &names), order);
    assert!(!foo.rows().iter().any(|row| row.contains("… ")), "{:#?}", foo.rows());
    let exported = export(&place, &place.path("server"));
    assert_numbered(&exported);
    assert_eq!(
        texts(&exported),
        order.iter().map(|line| line.split_once(": ").unwrap().1).collect::<Vec<_>>()
    );
    assert_eq!(order.pop().as_deref(), Some("Foo: last"));
    let place_of = |line: &str| order.iter().position(|seen| seen == line);
    assert!(place_of("Foo: two") < place_of("Foo: three") && place_of("Foo: three") < place_of("Foo: four"));
    order.sort();
    assert_eq!(order, all);
    drop(server);
}

/// Presses a key, and waits until that is done: keys are taken one after the other.
fn presses(seat: &mut Seat, key: &[u8]) {
    seat.presses(key);
    seat.types("x");
    seat.sees_typed("> x|");
    seat.presses(b"\x7f");
    seat.sees_typed("> |");
}

#[test]
fn whoever_looks_up_sees_everything_down_to_the_first_message_and_it_stays_in_place() {
    let place = Place::new();
    let server = Server::start(&place);
    say_many(&place, &server, "Bar", numbered(0, MANY));
    let mut foo = full(&place, &server, "Foo");
    foo.until("the last line", |foo| says(foo, &format!("Bar: line {}", MANY - 1)));
    let mut bar = server.join(&place, "Bar");
    // So many are told to whoever comes.
    assert_eq!(
        talk(&foo, &["Bar"]),
        numbered(MANY - 20, MANY).map(|line| format!("Bar: {line}")).collect::<Vec<_>>()
    );
    // It is told what became of what was typed.
    foo.enters("/history 5");
    foo.sees_part("is above now; PgUp goes there");
    // All of that fits; what was said before it fills the window when it is there.
    presses(&mut foo, b"\x1b[5~");
    foo.until("what was said before that", |foo| says(foo, &format!("Bar: line {}", MANY - 26)));
    let mut seen = talk(&foo, &["Bar"]);
    let deadline = Instant::now() + PATIENCE;
    let mut live = 0;
    while !says(&foo, "Bar: line 0") {
        assert!(Instant::now() < deadline, "{seen:?}");
        presses(&mut foo, b"\x1b[5~");
        let page = talk(&foo, &["Bar"]);
        if live < 5 && !foo.rows().iter().any(|row| row.contains("Welcome!")) {
            live += 1;
            let below = foo.sees_part(" below");
            bar.type_line(&format!("now {live}"));
            bar.expect(&format!("Bar: now {live}"));
            foo.until("more below", |foo| !foo.rows().contains(&below));
            assert_eq!(talk(&foo, &["Bar"]), page);
        }
        seen.extend(page);
    }
    assert_eq!(live, 5);
    for line in numbered(0, MANY) {
        assert!(seen.contains(&format!("Bar: {line}")), "{line}");
    }
    let first = talk(&foo, &["Bar"]);
    assert!(
        first.iter().cloned().eq(numbered(0, first.len()).map(|line| format!("Bar: {line}"))),
        "{first:?}"
    );
    // There is nothing before it.
    presses(&mut foo, b"\x1b[5~");
    assert_eq!(talk(&foo, &["Bar"]), first);
    foo.enters("/history");
    foo.sees_part("nothing was said before that");
    foo.until("the last line", |foo| says(foo, "Bar: now 5"));
}

#[test]
fn what_was_said_long_ago_is_found_and_what_nobody_said_is_not() {
    let place = Place::new();
    let server = Server::start(&place);
    let hay = numbered(0, MANY);
    say_many(&place, &server, "Bar", ["a Needle in the hay".to_owned()].into_iter().chain(hay));
    let last = format!("Bar: line {}", MANY - 1);
    let mut people = [full(&place, &server, "Foo"), plain(&place, &server, "Baz")];
    for person in &mut people {
        person.sees_part(&last);
        person.enters("/search needle");
        person.sees_part("all messages that have \"needle\":");
        let found = person.sees_part("Bar: a Needle in the hay");
        assert!(found.contains("] Bar: "), "{found}");
        person.enters("/search pitchfork");
        person.sees_part("nothing was found for \"pitchfork\"");
        // It is not what somebody said.
        person.enters("/search pitchfork");
        person.until("no pitchfork, again", |person| {
            person.rows().iter().filter(|row| row.contains("nothing was found for \"pitchfork\"")).count()
                == 2
        });
        person.enters("/search line");
        person.until("the last line", |person| talk(person, &["Bar"]).contains(&last));
    }
}

#[test]
fn a_script_reads_farther_and_farther_back() {
    let place = Place::new();
    let server = Server::start(&place);
    say_many(&place, &server, "Bar", numbered(0, 12));
    let mut foo = server.join(&place, "Foo");
    foo.type_line("now");
    foo.expect("Foo: now");
    for (count, from, to) in [("5", 7, 12), ("5", 2, 7), ("5", 0, 2)] {
        foo.type_line(&format!("/history {count}"));
        for n in from..to {
            let line = foo.expect_part(&format!("Bar: line {n}"));
            assert_eq!(without_date(&line), Some(format!("Bar: line {n}").as_str()));
        }
    }
    foo.type_line("/history 5");
    foo.expect_error("nothing was said before that");
    foo.type_line("/search line 11");
    foo.expect_error("] Bar: line 11");
    foo.type_line("{quit}");
    assert_eq!(foo.exit_code(), 0);
    let lines: Vec<_> = foo.output().iter().filter_map(|line| without_date(line)).collect();
    let expected: Vec<_> =
        [7..12, 2..7, 0..2].into_iter().flatten().map(|n| format!("Bar: line {n}")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn hostile_messages_of_the_past_do_not_drive_a_terminal() {
    const SHOWN: &str = "Bar: evil \\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{9b}\\u{202e}desrever";
    let place = Place::new();
    let server = Server::start(&place);
    let evil = "evil \u{1b}[2J\u{1b}]0;x\u{7}\u{9b}\u{202e}desrever".to_owned();
    say_many(&place, &server, "Bar", [evil]);
    let mut people = [full(&place, &server, "Foo"), plain(&place, &server, "Baz")];
    for person in &mut people {
        person.sees_part(SHOWN);
        person.enters("/search desrever");
        person.enters("/search desrever");
        person.until("it twice", |person| {
            person.rows().iter().filter(|row| row.contains("\\u{202e}desrever")).count() >= 2
        });
        person.enters("/search \u{202e}pitchfork");
        person.sees_part("nothing was found for \"\\u{202e}pitchfork\"");
    }
    let mut pipe = server.join(&place, "Qux");
    pipe.type_line("/history 1");
    assert_eq!(without_date(&pipe.expect_part("desrever")), Some(SHOWN));
    for written in people.iter().map(Seat::written) {
        let written = String::from_utf8_lossy(written);
        assert!(
            !written.contains(['\u{9b}', '\u{202e}', '\u{7}']) && !written.contains("\u{1b}]0;"),
            "{written:?}"
        );
    }
    let exported = export(&place, &place.path("server"));
    assert!(texts(&exported)[0].starts_with("evil \u{1b}[2J"));
}

#[test]
fn a_history_in_memory_leaves_nothing_behind_and_those_who_were_there_are_told() {
    let place = Place::new();
    let memory = ["--history", "memory"];
    let mut server = Server::start_at(&place, "127.0.0.1:0", &memory);
    let mut foo = full(&place, &server, "Foo");
    let mut bar = plain(&place, &server, "Bar");
    foo.enters("forget this");
    bar.sees_part("Foo: forget this");
    restart(&place, &mut server, &memory);
    for (person, name) in [(&mut foo, "Foo"), (&mut bar, "Bar")] {
        let back = person.sees_part(&format!("back as {name}"));
        assert!(back.contains("may have been missed"), "{back}");
    }
    let names: Vec<_> =
        fs::read_dir(place.path("server")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("history")), "{names:?}");
    bar.enters("new times");
    foo.sees_part("Bar: new times");
    let mut baz = plain(&place, &server, "Baz");
    baz.sees_part("] Bar: new times");
    assert!(!baz.rows().iter().any(|row| row.contains("forget this")), "{:#?}", baz.rows());
}

#[test]
fn a_history_is_copied_and_read_out_while_the_server_runs_and_when_it_does_not() {
    let place = Place::new();
    let mut server = Server::start(&place);
    // More than a pipe takes at once.
    let said: Vec<_> = numbered(0, MANY).map(|line| format!("{line} {}", "x".repeat(1000))).collect();
    let data = place.path("server");
    let data = data.to_str().unwrap().to_owned();
    say_many(&place, &server, "Bar", said.clone());
    for is_running in [true, false] {
        let copy = place.path(&format!("copy {is_running}"));
        fs::create_dir(&copy).unwrap();
        let file = copy.join("history.db");
        let file = file.to_str().unwrap();
        let mut backup = tool(&["backup", file, "--data", &data], &place);
        assert_eq!(backup.exit_code(), 0, "{}", backup.errors());
        let exported = export(&place, Path::new(&data));
        assert_eq!(texts(&exported), said);
        assert_numbered(&exported);
        let keys = ["room", "seq", "time", "name", "text"];
        assert!(exported.iter().all(|line| keys.iter().all(|key| line.get(key).is_some())));
        assert_eq!(exported[0]["name"], "Bar");
        // A copy of before is not written over.
        let before = fs::read(file).unwrap();
        let mut again = tool(&["backup", file, "--data", &data], &place);
        assert_eq!(again.exit_code(), 1);
        assert!(again.errors().contains("it exists already and is not written over"), "{}", again.errors());
        assert_eq!(fs::read(file).unwrap(), before);
        // Whoever has seen enough stops reading.
        let script = "\"$0\" export --json --data \"$1\" | head -n 1; exit ${PIPESTATUS[0]}";
        let head = Command::new("bash")
            .args(["-c", script])
            .args([server_binary().to_str().unwrap(), &data])
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let (out, errors) =
            (String::from_utf8(head.stdout).unwrap(), String::from_utf8(head.stderr).unwrap());
        assert!(head.status.success() && errors.is_empty(), "{errors}");
        assert_eq!(out.lines().count(), 1);
        if is_running {
            stop(&mut server);
        }
    }
    // Another server has the copy.
    let elsewhere = Place::new();
    fs::rename(place.path("copy true"), elsewhere.path("server")).unwrap();
    let other = Server::start(&elsewhere);
    let mut foo = other.join(&elsewhere, "Foo");
    foo.type_line("/history 1");
    foo.expect_part(&format!("] Bar: line {}", MANY - 1));
    foo.type_line("/search line 0");
    foo.expect_error("] Bar: line 0");
}

#[test]
fn a_server_that_cannot_have_its_history_says_why_and_what_to_do() {
    let place = Place::new();
    let mut server = Server::start(&place);
    say_many(&place, &server, "Bar", numbered(0, 3));
    let data = place.path("server");
    let arguments = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let refused = |mut program: Program, parts: &[&str]| {
        assert_eq!(program.exit_code(), 1, "{}", program.errors());
        let errors = program.errors();
        assert!(errors.contains("history.db: "), "{errors}");
        assert!(parts.iter().all(|part| errors.contains(part)), "{errors}");
        assert!(!program.output().iter().any(|line| line.contains("friends")), "{:?}", program.output());
    };
    refused(tool(&arguments, &place), &["another server is using it", "stop that one"]);
    // The first one goes on.
    say_many(&place, &server, "Bar", numbered(3, 6));
    stop(&mut server);
    // On a disk that is for reading.
    let script = "mount --bind \"$2\" \"$2\" && mount -o remount,bind,ro \"$2\" || { echo left out; exit; }; exec \"$0\" --listen \
                  127.0.0.1:0 --data \"$1\"";
    let file = data.join("history.db");
    let program = server_binary();
    let [program, folder, name] = [&program, &data, &file].map(|path| path.to_str().unwrap());
    let mut read_only =
        Program::start(Path::new("unshare"), ["-Urm", "sh", "-c", script, program, folder, name], &place);
    read_only.wait();
    if read_only.output().iter().any(|line| line == "left out") || read_only.errors().contains("unshare") {
        eprintln!("LEFT OUT: nothing can be mounted here: {}", read_only.errors());
    } else {
        refused(read_only, &["it cannot be written to", "how its disk is mounted"]);
    }
    let whole = fs::read(&file).unwrap();
    let mut holed = whole.clone();
    holed[4096..12_288].fill(0xa5);
    for (garbage, parts) in [
        (vec![0xa5; 20_000], ["not a history of chinwag", "chinwag-server restore FILE"]),
        (b"hello".to_vec(), ["not a history of chinwag", "chinwag-server restore FILE"]),
        (holed, ["it is damaged", "chinwag-server restore FILE"]),
    ] {
        fs::write(&file, &garbage).unwrap();
        // After a crash a server looks through all of it.
        fs::remove_file(data.join("history.db.lock")).unwrap();
        refused(tool(&arguments, &place), &parts);
        assert_eq!(fs::read(&file).unwrap(), garbage, "it was changed");
    }
    // The advice is good.
    fs::write(&file, whole).unwrap();
    let server = Server::start(&place);
    let mut foo = server.join(&place, "Foo");
    foo.type_line("/history 1");
    foo.expect_part("] Bar: line 5");
}

#[test]
fn what_is_too_old_to_be_kept_is_forgotten() {
    let place = Place::new();
    let mut server = Server::start(&place);
    say_many(&place, &server, "Bar", numbered(0, 50));
    let mut foo = full(&place, &server, "Foo");
    foo.sees_part("Bar: line 49");
    restart(&place, &mut server, &["--keep-messages", "10"]);
    foo.sees_part("back as Foo; nothing was missed but voice");
    let deadline = Instant::now() + PATIENCE;
    let kept: Vec<_> = numbered(40, 50).collect();
    while texts(&export(&place, &place.path("server"))) != kept {
        assert!(Instant::now() < deadline, "{:?}", export(&place, &place.path("server")));
    }
    let mut bar = server.join(&place, "Bar");
    bar.type_line("/history 50");
    bar.expect_part("] Bar: line 49");
    bar.type_line("/history 50");
    bar.expect_error("nothing was said before that");
    bar.type_line("/search 39");
    bar.expect_error("nothing was found for \"39\"");
    let told: Vec<_> = bar.output().iter().filter_map(|line| without_date(line)).collect();
    assert_eq!(told, kept.iter().map(|line| format!("Bar: {line}")).collect::<Vec<_>>());
    // What is said now has the next place.
    bar.type_line("line 50");
    bar.expect("Bar: line 50");
    foo.until("it", |foo| says(foo, "Bar: line 50"));
    let exported = export(&place, &place.path("server"));
    assert_numbered(&exported);
    assert_eq!(exported.last().unwrap()["seq"], 51);
}

#[cfg(target_os = "linux")]
mod small_disk {
    use std::io::Write as _;

    use super::*;
    use crate::{
        common::samples,
        voice::{assert_heard, wait_for_samples},
    };

    /// A server whose data is on a small disk that nobody else sees; the folder as it is seen from here.
    fn start(place: &Place) -> Option<(Server, std::path::PathBuf)> {
        let data = place.path("server");
        fs::create_dir(&data).unwrap();
        let can = Command::new("unshare")
            .args(["-Urm", "sh", "-c", "mount -t tmpfs none \"$1\"", "sh"])
            .arg(&data)
            .output();
        if !can.as_ref().is_ok_and(|can| can.status.success()) {
            eprintln!("LEFT OUT: no disk can be mounted here: {can:?}");
            return None;
        }
        let script =
            "mount -t tmpfs -o size=3m none \"$1\" && exec \"$0\" --listen 127.0.0.1:0 --data \"$1\"";
        let program = server_binary();
        let [program, folder] = [&program, &data].map(|path| path.to_str().unwrap());
        let program =
            Program::start(Path::new("unshare"), ["-Urm", "sh", "-c", script, program, folder], place);
        let server = Server::from_program(program);
        let seen = format!("/proc/{}/root{folder}", server.program.pid());
        Some((server, seen.into()))
    }

    /// Takes all the room that there is.
    fn fill(file: &Path) {
        let mut file = fs::File::create(file).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    }

    #[test]
    fn a_full_disk_is_told_to_those_who_type_and_voice_goes_on_and_no_message_is_lost() {
        let place = Place::new();
        let Some((server, data)) = start(&place) else { return };
        let mut foo = server.join(&place, "Foo");
        let heard = place.path("heard.wav");
        let mut bar =
            server.client(&place, &["--name", "Bar", "--mic", "none", "--speaker", heard.to_str().unwrap()]);
        foo.expect("Bar has joined the chat!");
        foo.type_line("there is room");
        bar.expect("Foo: there is room");
        let ballast = data.join("ballast");
        fill(&ballast);
        let long = "x".repeat(3000);
        let mut refused = 0;
        for n in 0..500 {
            // What was written before may have left some room.
            foo.type_line(&format!("{n} {long}"));
            if n % 20 == 19 {
                foo.type_line(&format!("/{n}"));
                foo.expect_error(&format!("/{n} is no command"));
            }
        }
        while refused < 3 {
            let told = foo.expect_error("its disk is full; try again later");
            assert!(told.contains("not said: "), "{told}");
            refused += 1;
        }
        // All else goes on.
        let said = place.voice("said.wav", 9, 3);
        let mut baz =
            server.client(&place, &["--name", "Baz", "--mic", said.to_str().unwrap(), "--speaker", "none"]);
        foo.expect("Baz has joined the chat!");
        let begin = samples(&heard).len();
        wait_for_samples(&heard, begin + 4 * crate::voice::RATE);
        baz.type_line("{quit}");
        assert_eq!(baz.exit_code(), 0, "{}", baz.errors());
        foo.expect("Baz has left the chat.");

        fs::remove_file(&ballast).unwrap();
        foo.type_line("there is room again");
        foo.expect("Foo: there is room again");
        foo.type_line("and more");
        foo.expect("Foo: and more");
        bar.expect("Foo: and more");
        // As the server sees the disk.
        let (pid, program, folder) =
            (server.program.pid().to_string(), server_binary(), place.path("server"));
        let [program, folder] = [&program, &folder].map(|path| path.to_str().unwrap());
        let namespace = ["--preserve-credentials", "-U", "-m", "-t", &pid, program];
        let arguments = [&namespace[..], &["export", "--json", "--data", folder]].concat();
        let exported = exported(Program::start(Path::new("nsenter"), arguments, &place));
        assert_numbered(&exported);
        assert_eq!(exported[0]["seq"], 1);
        // Told is what is kept, to both.
        let told = |program: &Program| {
            let lines = program.output().iter().filter_map(|line| line.strip_prefix("Foo: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(told(&foo), texts(&exported));
        assert_eq!(told(&bar), texts(&exported));
        bar.type_line("{quit}");
        assert_eq!(bar.exit_code(), 0);
        assert_heard(&samples(&said), &samples(&heard));
    }
}
