//! A program that panics or crashes while somebody types.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{
    env,
    fs::File,
    hint::black_box,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus},
    sync::{Arc, Mutex, mpsc::channel},
};

use chinwag_terminal::{Full, Keyboard, Terminal};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

/// Set for the program that ends so, which is this one, too.
const IS_IT: &str = "CHINWAG_TEST_PANIC";

/// What is seen of a full screen, and what was printed meanwhile.
#[derive(Debug, Default)]
struct Picture(Mutex<String>);

impl Full for Picture {
    fn paint(&self, columns: u16, rows: u16, _: bool) -> String {
        format!("{columns} columns, {rows} rows")
    }

    fn print(&self, text: &str) {
        self.0.lock().unwrap().push_str(text);
    }
}

/// Runs a test again, as a program in a terminal. It says `begin` when it wants something typed, and panics or crashes then; what it
/// writes ends with `end` and then with the `words` for that. The terminal must be as it was.
fn fails(test: &str, begin: &[u8], end: &[u8], words: &[u8]) -> ExitStatus {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let was = tcgetattr(&master).unwrap();
    let mut program = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(IS_IT, "1")
        .env("TERM", "xterm")
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal)
        .spawn()
        .unwrap();
    // From now on nobody but the program has its side: it ends with it.
    let mut screen = File::from(master);
    let mut written = BufReader::new(screen.try_clone().unwrap());
    let mut until = |what: &[u8]| {
        let mut seen = vec![];
        while !seen.ends_with(what) {
            let count = written.read_until(what[what.len() - 1], &mut seen).unwrap();
            assert!(count > 0, "it has ended");
        }
    };
    until(begin);
    assert!(!tcgetattr(&screen).unwrap().local_modes.contains(LocalModes::ICANON));
    screen.write_all(b"hello\rhalf").unwrap();
    until(end);
    until(words);
    // What else it writes must be read before it can end. Systems differ in how they tell that it has.
    let _ = std::io::copy(&mut written, &mut std::io::sink());
    let status = program.wait().unwrap();
    assert!(!status.success());
    let is = tcgetattr(&screen).unwrap();
    assert_eq!((is.local_modes, is.input_modes), (was.local_modes, was.input_modes));
    status
}

#[test]
fn a_panic_leaves_an_ordinary_terminal_and_tells_why() {
    if env::var_os(IS_IT).is_some() {
        let terminal = Terminal::new();
        let typed = Keyboard::new(&terminal).line();
        panic!("{typed:?} was too much");
    }
    let test = "a_panic_leaves_an_ordinary_terminal_and_tells_why";
    fails(test, b"\x1b[?2004h", b"\x1b[?2004l", b"Ok(Line(\"hello\")) was too much");
}

#[test]
fn a_panic_leaves_the_screen_that_was_there_before_and_the_log_is_not_on_it() {
    if env::var_os(IS_IT).is_some() {
        let terminal = Terminal::new();
        let picture = Arc::new(Picture::default());
        let painter = terminal.fill(Arc::clone(&picture) as Arc<dyn Full>);
        assert!(painter.paint(false));
        terminal.stderr().write_all(b"log").unwrap();
        let (sender, keys) = channel();
        Keyboard::new(&terminal).listen_to_keys(move |keys| sender.send(keys.is_some()).is_ok());
        let is_pressed = keys.recv();
        panic!("{is_pressed:?} was too much, {picture:?}");
    }
    let test = "a_panic_leaves_the_screen_that_was_there_before_and_the_log_is_not_on_it";
    fails(
        test,
        b"80 columns, 24 rows",
        chinwag_screen::LEAVE.as_bytes(),
        b"Ok(true) was too much, Picture(Mutex { data: \"log\"",
    );
}

/// A full screen, until a key is pressed.
fn show_until_pressed() -> Terminal {
    let terminal = Terminal::new();
    assert!(terminal.fill(Arc::default() as Arc<Picture>).paint(false));
    let (sender, keys) = channel();
    Keyboard::new(&terminal).listen_to_keys(move |keys| sender.send(keys.is_some()).is_ok());
    assert!(keys.recv().unwrap());
    terminal
}

#[test]
fn a_stack_that_overflows_leaves_the_screen_that_was_there_before_and_rust_tells_it_there() {
    fn deeper(depth: u64) -> u64 {
        if depth == u64::MAX { depth } else { black_box(deeper(black_box(depth + 1))) - 1 }
    }
    if env::var_os(IS_IT).is_some() {
        let _terminal = show_until_pressed();
        black_box(deeper(0));
    }
    let test = "a_stack_that_overflows_leaves_the_screen_that_was_there_before_and_rust_tells_it_there";
    let status =
        fails(test, b"80 columns, 24 rows", chinwag_screen::LEAVE.as_bytes(), b"has overflowed its stack");
    assert_eq!(status.signal(), Some(libc::SIGABRT));
}

#[test]
fn an_abort_leaves_an_ordinary_terminal() {
    if env::var_os(IS_IT).is_some() {
        let terminal = Terminal::new();
        let _typed = Keyboard::new(&terminal).line();
        std::process::abort();
    }
    let test = "an_abort_leaves_an_ordinary_terminal";
    let status = fails(test, b"\x1b[?2004h", b"\n\r\x1b[J", b"\x1b[?2004l");
    assert_eq!(status.signal(), Some(libc::SIGABRT));
}
