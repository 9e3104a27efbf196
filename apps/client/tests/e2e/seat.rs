//! A program in a terminal, and what somebody sees who sits there.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read as _, Write as _},
    num::NonZero,
    path::Path,
    process::{Child, Command, ExitStatus},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{InputModes, LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use crate::common::{PATIENCE, Place};

/// More than any test fills.
const ROWS: u16 = 250;

pub(crate) const ESCAPE: u8 = 0x1b;
pub(crate) const CTRL_C: &[u8] = b"\x03";
pub(crate) const CTRL_D: &[u8] = b"\x04";
pub(crate) const CTRL_Z: &[u8] = b"\x1a";

/// See the module. Ends with the test.
pub(crate) struct Seat {
    child: Child,
    /// The program's side, so that its modes can be seen when it has ended.
    terminal: File,
    keys: File,
    output: Receiver<Vec<u8>>,
    written: Vec<u8>,
    screen: vt100::Parser,
    columns: u16,
    rows: u16,
}

/// A terminal.
#[derive(Clone, Copy)]
pub(crate) struct Kind<'a> {
    /// What it calls itself.
    pub(crate) name: &'a str,
    pub(crate) columns: u16,
    pub(crate) rows: u16,
    pub(crate) has_colours: bool,
    /// False: nobody reads what is written to it, so that it takes no more at some time.
    pub(crate) is_looked_at: bool,
}

impl Kind<'_> {
    /// As most have it.
    pub(crate) fn xterm(columns: u16, rows: u16) -> Self {
        Self { name: "xterm", columns, rows, has_colours: false, is_looked_at: true }
    }
}

impl Seat {
    /// The client, in plain lines.
    pub(crate) fn client(place: &Place, columns: u16, arguments: &[&str]) -> Self {
        let arguments = [&["--plain"], arguments].concat();
        Self::take(place, columns, Path::new(env!("CARGO_BIN_EXE_chinwag")), &arguments)
    }

    /// The client, which fills the screen.
    pub(crate) fn full(place: &Place, columns: u16, rows: u16, arguments: &[&str]) -> Self {
        Self::take_of_kind(
            Kind::xterm(columns, rows),
            place,
            Path::new(env!("CARGO_BIN_EXE_chinwag")),
            arguments,
        )
    }

    /// A program that fills a screen of the usual size.
    pub(crate) fn full_of(place: &Place, program: &Path, arguments: &[&str]) -> Self {
        Self::take_of_kind(Kind::xterm(80, 24), place, program, arguments)
    }

    /// Any program.
    pub(crate) fn take(place: &Place, columns: u16, program: &Path, arguments: &[&str]) -> Self {
        Self::take_of_kind(Kind::xterm(columns, ROWS), place, program, arguments)
    }

    /// The same, in a terminal that calls itself so. On Linux it is the one whose Ctrl-C reaches the program.
    pub(crate) fn take_of_kind(kind: Kind<'_>, place: &Place, program: &Path, arguments: &[&str]) -> Self {
        let Kind { name: kind, columns, rows, has_colours, is_looked_at } = kind;
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        set_size(&terminal, columns, rows);
        let mut command = if cfg!(target_os = "linux") {
            let mut command = Command::new("setsid");
            command.args([OsStr::new("--ctty"), program.as_os_str()]);
            command
        } else {
            Command::new(program)
        };
        if !has_colours {
            command.env("NO_COLOR", "1");
        }
        let child = command
            .args(arguments)
            .env("XDG_CONFIG_HOME", place.path("config"))
            .env("XDG_DATA_HOME", place.path("data"))
            .env("XDG_STATE_HOME", place.path("state"))
            .env("XDG_RUNTIME_DIR", place.path("run"))
            .env("TERM", kind)
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap())
            .spawn()
            .unwrap();
        let keys = File::from(master);
        let mut reader = keys.try_clone().unwrap();
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            if !is_looked_at {
                return;
            }
            while let Ok(count) = reader.read(&mut buffer) {
                if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let screen = vt100::Parser::new(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap(), 0);
        Self { child, terminal, keys, output, written: vec![], screen, columns, rows }
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.presses(text.as_bytes());
    }

    /// Types a line, and Enter.
    pub(crate) fn enters(&mut self, line: &str) {
        self.types(&format!("{line}\r"));
    }

    pub(crate) fn presses(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    /// Waits until this is to be seen.
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.output.recv_timeout(left) else {
                panic!("no {what:?}; there is {:#?}", self.rows());
            };
            take(&mut self.screen, &mut self.written, bytes);
        }
    }

    /// Waits for a row that is exactly this.
    pub(crate) fn sees(&mut self, row: &str) {
        self.until(row, |seat| seat.rows().iter().any(|seen| seen == row));
    }

    /// Waits for a row that has this in it.
    pub(crate) fn sees_part(&mut self, part: &str) -> String {
        self.until(part, |seat| seat.row_with(part).is_some());
        self.row_with(part).unwrap()
    }

    /// Waits until the row with the cursor is this, with the cursor as `|`.
    pub(crate) fn sees_typed(&mut self, typed: &str) {
        self.until(typed, |seat| seat.typing() == typed);
    }

    fn row_with(&self, part: &str) -> Option<String> {
        self.rows().into_iter().find(|row| row.contains(part))
    }

    /// What stands on the screen.
    pub(crate) fn rows(&self) -> Vec<String> {
        let rows = self.screen.screen().rows(0, self.columns).map(|row| row.trim_end().to_owned());
        rows.filter(|row| !row.is_empty()).collect()
    }

    /// The row with the cursor.
    pub(crate) fn typing(&self) -> String {
        let screen = self.screen.screen();
        let (row, column) = screen.cursor_position();
        let part = |from, width| screen.rows(from, width).nth(row.into()).unwrap();
        format!("{}|{}", part(0, column), part(column, self.columns - column).trim_end())
    }

    /// All that was written so far, as it was.
    pub(crate) fn written(&self) -> &[u8] {
        &self.written
    }

    /// How often this was written.
    pub(crate) fn count(&self, what: &str) -> usize {
        String::from_utf8_lossy(&self.written).matches(what).count()
    }

    /// The window is made as wide.
    pub(crate) fn resizes(&mut self, columns: u16) {
        self.resizes_to(columns, self.rows);
    }

    /// The window is made as large.
    pub(crate) fn resizes_to(&mut self, columns: u16, rows: u16) {
        (self.columns, self.rows) = (columns, rows);
        let size = |n| NonZero::new(n).unwrap();
        self.screen.screen_mut().set_size(size(rows), size(columns));
        set_size(&self.terminal, columns, rows);
    }

    /// What the terminal has been told, and shows.
    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.screen.screen()
    }

    /// Whether the terminal edits lines by itself and shows what is typed, as it does for everybody.
    pub(crate) fn is_ordinary(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap();
        let all = LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN | LocalModes::ISIG;
        let is_ordinary = modes.local_modes.contains(all) && modes.input_modes.contains(InputModes::IXON);
        let screen = self.screen.screen();
        let is_shown = !screen.alternate_screen() && !screen.hide_cursor();
        let is_mouse_free = screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None;
        is_ordinary && !screen.bracketed_paste() && is_shown && is_mouse_free
    }

    /// Waits until lines are edited by the program.
    pub(crate) fn is_edited(&mut self) {
        self.until("editing", |seat| seat.screen.screen().bracketed_paste());
        assert!(!tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ICANON));
    }

    /// Waits until the terminal is ordinary again.
    pub(crate) fn is_left_ordinary(&mut self) {
        self.until("ordinary terminal", Self::is_ordinary);
    }

    /// As `kill -SIGNAL` does.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end, which leaves an ordinary terminal.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.is_left_ordinary();
                // What it wrote last comes before what is written now.
                self.terminal.write_all(&[0]).unwrap();
                self.until("end", |seat| seat.written.last() == Some(&0));
                assert_eq!(self.count("\x1b[>7u"), self.count("\x1b[<u"), "keys are told apart still");
                let written = String::from_utf8_lossy(&self.written);
                assert!(written.rfind("\x1b[?7h") >= written.rfind("\x1b[?7l"), "rows do not wrap");
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end; there is {:#?}", self.rows());
            // What it writes must be read.
            self.output.try_iter().for_each(|bytes| take(&mut self.screen, &mut self.written, bytes));
            thread::yield_now();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn take(screen: &mut vt100::Parser, written: &mut Vec<u8>, bytes: Vec<u8>) {
    screen.process(&bytes);
    written.extend(bytes);
}

fn set_size(terminal: &File, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}
