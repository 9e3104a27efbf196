//! A model in which something goes on, and what stands in a picture of it.

use std::collections::VecDeque;

use chinwag_proto::SessionId;
use chinwag_screen::{
    Act, Buffer, Decoder, Gate, Link, Mic, Model, Path, Rect, RoomId, Said, Status, Theme, draw,
};

pub(crate) const LOBBY: RoomId = RoomId(1);
pub(crate) const ATTIC: RoomId = RoomId(2);
/// Some evening.
pub(crate) const EVENING: i64 = 1_764_360_000_000;
pub(crate) const MINUTE: i64 = 60_000;

pub(crate) fn id(n: u32) -> SessionId {
    SessionId::from_wire(n)
}

/// Somebody says something, and it is the evening.
pub(crate) fn says<'a>(name: &'a str, text: &'a str) -> Said<'a> {
    Said { at: EVENING, name, text, is_own: name == "Foo", is_history: false, place: 0 }
}

/// Foo, in the lobby with Bar.
pub(crate) fn alone() -> Model {
    let mut model = Model::new(Theme::Plain);
    model.set_size(80, 24);
    model.enter(LOBBY, "lobby");
    model.set_me(id(1), "Foo");
    model.set_members(LOBBY, [(id(1), "Foo"), (id(2), "Bar")].into_iter());
    model.set_status(Status { link: Link::In, ..Status::default() });
    model
}

/// The same on a busy evening, in two rooms.
pub(crate) fn busy() -> Model {
    let mut model = alone();
    model.enter(ATTIC, "attic");
    model.set_voice_room(Some(LOBBY));
    model.set_members(LOBBY, (1..=4).map(|n| (id(n), ["Foo", "Bar", "Émile", "小明"][n as usize - 1])));
    model.said(LOBBY, Said { at: EVENING - 600 * MINUTE, is_history: true, ..says("Bar", "Good morning!") });
    model.joined(LOBBY, EVENING, id(3), "Émile");
    model.joined(LOBBY, EVENING, id(4), "小明");
    model.left(LOBBY, EVENING, id(5), "Baz");
    model.said(LOBBY, says("Bar", "Hello, I am Bar!"));
    model.said(LOBBY, says("Foo", "Hi Bar, your voice comes in nicely."));
    model.said(LOBBY, says("小明", "大家好，今天晚上我们聊什么？"));
    model.missed(LOBBY, EVENING, 12, 0);
    model.notice(EVENING, "voice goes by UDP again");
    let long = "foo, this is a rather long message that has to be broken somewhere, and it should be between words, \
                of course, unless-one-is-longer-than-there-are-columns-which-happens-with-addresses-of-all-kinds \
                👩\u{200d}👧 🇦🇹";
    model.said(LOBBY, Said { at: EVENING + MINUTE, ..says("Bar", long) });
    for text in ["one", "Foo: two", "three"] {
        model.said(ATTIC, says("Qux", text));
    }
    model.set_levels(&[(id(2), 6), (id(3), 2)]);
    model.set_muted(id(4), true);
    model.set_poor(id(2), true);
    model.set_status(Status {
        link: Link::In,
        rtt_ms: Some(23),
        path: Some(Path::Udp),
        lost_per_mille: 12,
        mic: Some(Mic { gate: Gate::Voice, is_sent: true, level: 5 }),
        is_muted: false,
        is_deafened: false,
    });
    types(&mut model, "half a line");
    model
}

/// Presses what a terminal sends.
pub(crate) fn types(model: &mut Model, bytes: &str) -> Vec<Act> {
    let (mut decoder, mut keys) = (Decoder::default(), VecDeque::new());
    decoder.push(bytes.as_bytes(), &mut keys);
    keys.extend(decoder.end_escape());
    keys.into_iter().filter_map(|key| model.press(key)).collect()
}

pub(crate) fn picture(model: &mut Model, columns: u16, rows: u16) -> Buffer {
    model.set_size(columns, rows);
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
    draw(model, &mut buffer);
    buffer
}

/// The rows of a picture, without blanks at their ends.
pub(crate) fn rows(buffer: &Buffer) -> Vec<String> {
    let columns = usize::from(buffer.area.width).max(1);
    let row = |cells: &[_]| {
        let mut row = String::new();
        let mut covered = 0;
        for cell in cells {
            let cell: &ratatui_core::buffer::Cell = cell;
            if covered == 0 {
                row.push_str(cell.symbol());
                covered = unicode_width::UnicodeWidthStr::width(cell.symbol());
            }
            covered = covered.saturating_sub(1);
        }
        row.trim_end().to_owned()
    };
    buffer.content.chunks(columns).map(row).collect()
}

/// What is seen of a model on a screen of that size.
pub(crate) fn seen(model: &mut Model, columns: u16, rows: u16) -> Vec<String> {
    self::rows(&picture(model, columns, rows))
}

pub(crate) fn sees(model: &mut Model, part: &str) -> bool {
    seen(model, 80, 24).iter().any(|row| row.contains(part))
}
