//! Whatever others write, whatever keys are pressed and whatever the size is: no control character gets into a cell, and each row
//! is as wide as the screen.

use chinwag_proto::SessionId;
use chinwag_screen::{
    Buffer, Decoder, Gate, Link, Mic, Model, Path, Person, RoomId, Said, Status, Theme, paint,
};
use proptest::prelude::*;
use std::collections::VecDeque;

use crate::common::picture;

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    Said(u32, String, String),
    Private(u32, String),
    Topic(u32, String),
    Renamed(u32, String),
    Marks(u32, u32),
    Presence(u32, u32, String, bool),
    Notice(String),
    Enter(u32, String),
    Leave(u32),
    Me(String),
    Members(u32, Vec<String>),
    Levels(u32, u8),
    Status(u64, u16, u8),
    Keys(Vec<u8>),
    Find(String),
    Help,
    Clear,
    Pending(Vec<String>),
    Size(u16, u16),
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ a-c好👧\u{200d}\u{301}\u{fe0f}\u{1100}\u{1b}\u{9b}\u{202e}\u{2067}\u{5d0}\n]{0,60}",
        "(xyz|Foo){0,300}",
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let room = || 0..4_u32;
    prop_oneof![
        4 => (room(), text(), text()).prop_map(|(room, name, text)| Step::Said(room, name, text)),
        1 => (room(), text()).prop_map(|(room, name)| Step::Private(room, name)),
        1 => (room(), text()).prop_map(|(room, topic)| Step::Topic(room, topic)),
        1 => (0..9_u32, text()).prop_map(|(who, name)| Step::Renamed(who, name)),
        1 => (0..9_u32, 0..5_u32).prop_map(|(who, room)| Step::Marks(who, room)),
        2 => (room(), 0..9_u32, text(), any::<bool>()).prop_map(|(room, who, name, came)| Step::Presence(room, who, name, came)),
        1 => text().prop_map(Step::Notice),
        2 => (room(), text()).prop_map(|(room, name)| Step::Enter(room, name)),
        1 => room().prop_map(Step::Leave),
        1 => text().prop_map(Step::Me),
        1 => (room(), prop::collection::vec(text(), 0..20)).prop_map(|(room, names)| Step::Members(room, names)),
        1 => (0..9_u32, any::<u8>()).prop_map(|(who, level)| Step::Levels(who, level)),
        1 => (any::<u64>(), any::<u16>(), any::<u8>()).prop_map(|(at, lost, level)| Step::Status(at, lost, level)),
        4 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Keys),
        3 => prop::sample::select(vec!["\x1b[5~", "\x1b[6~", "\x1b[<64;1;1M", "\t", "a\t", "\x1b2", "\x0e", "\x10", "\x1b[200~a\rb\x1b[201~", "\r", "\x1b[A", "\x1b[O", "\x1b[I", "好好好👧"])
            .prop_map(|keys| Step::Keys(keys.as_bytes().to_vec())),
        1 => text().prop_map(Step::Find),
        1 => Just(Step::Help),
        1 => Just(Step::Clear),
        1 => prop::collection::vec(text(), 0..6).prop_map(Step::Pending),
        2 => (0..130_u16, 0..50_u16).prop_map(|(columns, rows)| Step::Size(columns, rows)),
    ]
}

/// Does a step.
fn happen(model: &mut Model, step: &Step, size: &mut (u16, u16)) {
    let said = |name, text| Said { at: 0, name, text, is_own: false, is_history: false, place: 0 };
    match step {
        Step::Said(room, name, text) => model.said(RoomId(*room), said(name, text)),
        Step::Private(room, name) => model.enter_private(RoomId(*room), name),
        Step::Topic(room, topic) => model.set_topic(RoomId(*room), topic),
        Step::Renamed(who, name) => model.renamed(0, SessionId::from_wire(*who), "Foo", name),
        Step::Marks(who, room) => {
            let (session, name) = (SessionId::from_wire(*who), "");
            let (is_silent, is_deafened) = (*room == 1, *room == 2);
            model.mark(
                RoomId(*room),
                Person { session, name, is_silent, is_deafened, is_elsewhere: *room == 3 },
            );
            model.set_voice_room(Some(RoomId(*room)));
        }
        Step::Presence(room, who, name, true) => {
            model.joined(RoomId(*room), 0, SessionId::from_wire(*who), name)
        }
        Step::Presence(room, who, name, false) => {
            model.left(RoomId(*room), 0, SessionId::from_wire(*who), name)
        }
        Step::Notice(text) => model.notice(0, text),
        Step::Enter(room, name) => model.enter(RoomId(*room), name),
        Step::Leave(room) => model.leave(RoomId(*room)),
        Step::Me(name) => model.set_me(SessionId::from_wire(1), name),
        Step::Members(room, names) => {
            let names = names.iter().enumerate();
            model.set_members(
                RoomId(*room),
                names.map(|(n, name)| (SessionId::from_wire(n as u32), name.as_str())),
            );
        }
        Step::Levels(who, level) => model.set_levels(&[(SessionId::from_wire(*who), *level)]),
        Step::Status(at, lost, level) => {
            let gate = Gate::PushToTalk { is_held: true };
            model.set_status(Status {
                link: Link::Lost { retry_at: *at },
                rtt_ms: Some(u32::from(*lost)),
                path: Some(Path::Both),
                lost_per_mille: *lost,
                mic: Some(Mic { gate, is_sent: true, level: *level }),
                is_muted: level % 2 == 0,
                is_deafened: level % 3 == 0,
            });
        }
        Step::Keys(bytes) => {
            let mut keys = VecDeque::new();
            Decoder::default().push(bytes, &mut keys);
            for key in keys {
                model.press(key);
            }
        }
        Step::Find(words) => drop(model.find(words)),
        Step::Help => model.show_help(),
        Step::Clear => model.clear(),
        Step::Pending(texts) => model.set_pending(texts.iter().map(|text| (RoomId(1), text.as_str()))),
        Step::Size(columns, rows) => *size = (*columns, *rows),
    }
}

/// What must hold for every picture.
fn check(buffer: &Buffer) {
    use unicode_width::UnicodeWidthStr as _;
    let columns = usize::from(buffer.area.width);
    for row in buffer.content.chunks(columns.max(1)) {
        let mut x = 0;
        while let Some(cell) = row.get(x) {
            let symbol = cell.symbol();
            assert!(!symbol.chars().any(char::is_control), "{symbol:?}");
            assert!(
                !symbol.contains([
                    '\u{2028}', '\u{2029}', '\u{202a}', '\u{202b}', '\u{202d}', '\u{202e}', '\u{2066}',
                    '\u{2067}', '\u{2068}'
                ]),
                "{symbol:?}"
            );
            let width = symbol.width();
            assert!((1..=3).contains(&width), "{symbol:?}");
            x += width;
        }
        assert_eq!(x, columns, "{row:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_picture_is_sound(steps in prop::collection::vec(step(), 0..40)) {
        let mut model = Model::new(Theme::Dark);
        let mut size = (80, 24);
        let mut before: Option<Buffer> = None;
        model.enter(RoomId(0), "lobby");
        for step in &steps {
            happen(&mut model, step, &mut size);
            let buffer = picture(&mut model, size.0, size.1);
            check(&buffer);
            let written = paint(before.as_ref(), &buffer, None, model.take_bell());
            // Nothing drives the terminal but what is meant to.
            let rest = written.replace(['\x1b', '\x07'], "");
            prop_assert!(!rest.chars().any(char::is_control));
            before = Some(buffer);
        }
    }
}
