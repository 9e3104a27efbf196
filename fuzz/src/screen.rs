//! The full screen under whatever others say and whatever is typed, at any size: no control character gets into a cell, each row is
//! as wide as the screen, and what is written to the terminal drives it as it is meant to and no further.

use std::collections::VecDeque;

use arbitrary::{Result, Unstructured};
use chinwag_proto::{SessionId, limits::MESSAGE_BYTES};
use chinwag_screen::{
    Act, Buffer, Button, Decoder, Gate, Link, Mic, Model, NOTIFICATION_CHARS, Notifier, Path, Rect, RoomId,
    Said, Status, Theme, commands, draw, paint,
};

/// The largest screen.
const COLUMNS: u16 = 250;
const ROWS: u16 = 80;

/// Input: a list of steps, each a byte that tells which and what it takes.
pub fn screen(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut person = Person::new();
    while !u.is_empty() && person.step(&mut u).is_ok() {
        person.look();
    }
}

struct Person {
    model: Model,
    decoder: Decoder,
    size: (u16, u16),
    shown: Option<Buffer>,
    at: i64,
}

impl Person {
    fn new() -> Self {
        let mut model = Model::new(Theme::Dark);
        model.enter(RoomId(0), "lobby");
        Self { model, decoder: Decoder::default(), size: (80, 24), shown: None, at: 0 }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let model = &mut self.model;
        let kind: u8 = u.arbitrary()?;
        let room = RoomId(u32::from(kind >> 6));
        match kind & 0x3f {
            0..=5 => model.said(room, said(self.at, name(u)?, text(u)?, u.arbitrary()?)),
            6 => model.enter_private(room, name(u)?),
            7 => model.joined(room, self.at, session(u)?, name(u)?),
            8 => model.left(room, self.at, session(u)?, name(u)?),
            9 => model.missed(room, self.at, u.arbitrary()?, u.arbitrary()?),
            10 => model.notice(self.at, text(u)?),
            11 => model.enter(room, name(u)?),
            12 => model.leave(room),
            13 => model.set_me(session(u)?, name(u)?),
            14 => {
                let members = [(session(u)?, name(u)?), (session(u)?, name(u)?)];
                model.set_members(room, members.into_iter());
            }
            15 => model.set_levels(&[(session(u)?, u.arbitrary()?)]),
            16 => model.set_muted(session(u)?, u.arbitrary()?),
            17 => model.set_poor(session(u)?, u.arbitrary()?),
            18 => {
                let gate = Gate::PushToTalk { is_held: u.arbitrary()? };
                let is_muted = u.arbitrary()?;
                let mic = Mic { gate, is_sent: u.arbitrary()?, level: u.arbitrary()? };
                model.set_status(Status {
                    link: Link::Lost { retry_at: u.arbitrary()? },
                    rtt_ms: u.arbitrary()?,
                    path: Some(Path::Both),
                    lost_per_mille: u.arbitrary()?,
                    mic: Some(mic),
                    is_muted,
                    is_deafened: u.arbitrary()?,
                });
            }
            19 => model.set_pending([(room, text(u)?), (room, text(u)?)].into_iter()),
            20 => drop(model.find(text(u)?)),
            21 => model.topic_changed(room, self.at, name(u)?, text(u)?),
            22 => model.show_help(),
            23 => model.clear(),
            24 => model.set_now(u.arbitrary()?),
            25 => self.at = u.arbitrary()?,
            26 => self.size = (u.arbitrary::<u16>()? % (COLUMNS + 1), u.arbitrary::<u16>()? % (ROWS + 1)),
            27 => self.shown = None,
            28 => {
                let choice: u8 = u.arbitrary()?;
                model.set_notifier(Some(if choice & 1 == 0 { Notifier::Osc9 } else { Notifier::Osc777 }));
                model.set_button(if choice & 2 == 0 { Button::default() } else { Button::Control('t') });
            }
            29 => {
                let earlier =
                    [said(self.at, name(u)?, text(u)?, u.arbitrary()?), said(self.at, name(u)?, "", 9)];
                model.put_before(room, earlier, u.arbitrary()?);
            }
            30 => {
                model.set_read(room, u.arbitrary()?);
                model.set_draft(room, text(u)?);
                model.set_devices(vec![name(u)?.to_owned()], vec![]);
                assert!(model.draft(room).len() <= MESSAGE_BYTES);
            }
            31 => {
                model.set_topic(room, text(u)?);
                model.set_voice_room(Some(RoomId(u.arbitrary::<u32>()? % 5)));
            }
            32 => model.renamed(self.at, session(u)?, name(u)?, name(u)?),
            33 => {
                let (is_silent, is_deafened, is_elsewhere) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
                let (session, name) = (session(u)?, "");
                model.mark(
                    room,
                    chinwag_screen::Person { session, name, is_silent, is_deafened, is_elsewhere },
                );
            }
            34 => model.show_room(room),
            35 => model.called(room, self.at, name(u)?),
            36 => model.set_listed([name(u)?, text(u)?].into_iter()),
            _ => self.types(piece(u)?),
        }
        Ok(())
    }

    fn types(&mut self, bytes: &[u8]) {
        let mut keys = VecDeque::new();
        self.decoder.push(bytes, &mut keys);
        for key in keys {
            if let Some(Act::Enter(line)) = self.model.press(key) {
                // Whatever is typed means something.
                let _ = commands::Line::parse(&line, commands::Mode::Full);
                let _ = commands::nearest(&line, commands::Mode::Full);
            }
        }
    }

    fn look(&mut self) {
        let (columns, rows) = self.size;
        self.model.set_size(columns, rows);
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        let cursor = draw(&self.model, &mut buffer);
        check(&buffer);
        assert!(cursor.is_none_or(|cursor| cursor.x < columns && cursor.y < rows), "{cursor:?}");
        let written = paint(self.shown.as_ref(), &buffer, cursor, self.model.take_bell());
        check_written(&written);
        if let Some(notification) = self.model.take_notification() {
            check_notification(&notification);
        }
        if let Some(due) = self.model.due() {
            // It would be drawn without end.
            self.model.set_now(due);
            assert!(self.model.due().is_none_or(|later| later > due), "due at {due} again");
        }
        self.shown = Some(buffer);
    }
}

fn check(buffer: &Buffer) {
    let columns = usize::from(buffer.area.width);
    for row in buffer.content.chunks(columns.max(1)) {
        let mut x = 0;
        while let Some(cell) = row.get(x) {
            let symbol = cell.symbol();
            let is_bad = |c: char| {
                c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
            };
            assert!(!symbol.contains(is_bad), "{symbol:?}");
            let width = unicode_width::UnicodeWidthStr::width(symbol);
            assert!((1..=3).contains(&width), "{symbol:?}");
            x += width;
        }
        assert_eq!(x, columns, "a row is not as wide as the screen");
    }
}

/// Only what sets the cursor, erases all, or says how letters look.
fn check_written(written: &str) {
    assert!(
        !written.trim_start_matches('\x07').contains(|c: char| c.is_control() && c != '\x1b'),
        "{written:?}"
    );
    for sequence in written.split('\x1b').skip(1) {
        let parameters = sequence.strip_prefix('[').unwrap_or("!");
        let end = parameters.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == '?');
        let is_known =
            end.starts_with(['H', 'm']) || parameters.starts_with("2J") || parameters.starts_with("?25");
        assert!(is_known, "{sequence:?}");
    }
}

/// One sequence, with nothing in it that ends it.
fn check_notification(written: &str) {
    let words = written.strip_prefix("\x1b]").and_then(|rest| rest.strip_suffix("\x1b\\"));
    let words = words.unwrap_or("\0");
    assert!(
        !words.contains(char::is_control) && words.chars().count() < NOTIFICATION_CHARS + 32,
        "{written:?}"
    );
}

fn said<'a>(at: i64, name: &'a str, text: &'a str, marks: u8) -> Said<'a> {
    Said { at, name, text, is_own: marks & 1 != 0, is_history: marks & 2 != 0, place: u64::from(marks >> 2) }
}

fn session(u: &mut Unstructured<'_>) -> Result<SessionId> {
    Ok(SessionId::from_wire(u32::from(u.arbitrary::<u8>()? & 7)))
}

/// At most 255 bytes.
fn piece<'a>(u: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let length = usize::from(u.arbitrary::<u8>()?);
    u.bytes(length.min(u.len()))
}

/// The text of some bytes, as far as they are any.
fn name<'a>(u: &mut Unstructured<'a>) -> Result<&'a str> {
    let bytes = piece(u)?;
    let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    Ok(std::str::from_utf8(&bytes[..valid]).unwrap_or_default())
}

fn text<'a>(u: &mut Unstructured<'a>) -> Result<&'a str> {
    let length = usize::from(u.arbitrary::<u16>()? % 4097);
    let bytes = u.bytes(length.min(u.len()))?;
    let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    Ok(std::str::from_utf8(&bytes[..valid]).unwrap_or_default())
}
