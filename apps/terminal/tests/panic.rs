//! A program that panics while somebody types.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

use std::{
    env,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    process::Command,
};

use chinwag_terminal::{Keyboard, Terminal};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

/// Set for the program that panics, which is this one, too.
const IS_IT: &str = "CHINWAG_TEST_PANIC";

#[test]
fn a_panic_leaves_an_ordinary_terminal_and_tells_why() {
    if env::var_os(IS_IT).is_some() {
        let terminal = Terminal::new();
        let typed = Keyboard::new(&terminal).line();
        panic!("{typed:?} was too much");
    }
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let was = tcgetattr(&master).unwrap();
    let mut program = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_panic_leaves_an_ordinary_terminal_and_tells_why", "--nocapture"])
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
    until(b"\x1b[?2004h");
    assert!(!tcgetattr(&screen).unwrap().local_modes.contains(LocalModes::ICANON));
    screen.write_all(b"hello\rhalf").unwrap();
    until(b"\x1b[?2004l");
    until(b"Ok(Line(\"hello\")) was too much");
    // What else it writes must be read before it can end. Systems differ in how they tell that it has.
    let _ = std::io::copy(&mut written, &mut std::io::sink());
    assert!(!program.wait().unwrap().success());
    let is = tcgetattr(&screen).unwrap();
    assert_eq!((is.local_modes, is.input_modes), (was.local_modes, was.input_modes));
}
