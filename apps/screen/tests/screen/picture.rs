//! What is to be seen, at several sizes.

use chinwag_screen::{
    Gate, Link, Mic, Model, NOTIFICATION_PAUSE_MS, Notifier, Path, ROOMS, RoomId, Said, Status, Theme, draw,
};
use ratatui_core::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier},
};

use crate::common::{ATTIC, EVENING, LOBBY, MINUTE, alone, busy, id, picture, rows, says, seen, sees, types};

fn snapshot(name: &str, model: &mut Model, columns: u16, height: u16) {
    let rows = seen(model, columns, height);
    insta::assert_snapshot!(format!("{name}_{columns}x{height}"), rows.join("\n"));
}

#[test]
fn a_busy_evening_at_several_sizes() {
    for (columns, height) in [(40, 10), (80, 24), (120, 40), (200, 50)] {
        snapshot("busy", &mut busy(), columns, height);
    }
}

#[test]
fn hostile_text_at_several_sizes() {
    let mut model = alone();
    let bidi = "\u{202e}desrever\u{202c} \u{2067}x\u{2069} שלום עולם! مرحبا 123";
    for text in [
        "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31mred",
        bidi,
        "line\nFoo: forged\r\ttab",
        "👩\u{200d}👧👩🏽\u{200d}❤\u{fe0f}\u{200d}💋\u{200d}👨🏻 🇦🇹🇩🇪 1\u{fe0f}\u{20e3}",
        &("e".to_owned() + &"\u{301}".repeat(2000)),
        &"x".repeat(200),
        &"\u{1100}".repeat(50),
        "\u{301}\u{200d}\u{fe0f}",
    ] {
        model.said(LOBBY, says("Bar", text));
    }
    model.joined(LOBBY, EVENING, id(9), "\u{1b}[31m\u{202e}evil");
    model.enter(ATTIC, "שלום\u{7}");
    for (columns, height) in [(40, 10), (80, 24), (120, 40)] {
        snapshot("hostile", &mut model, columns, height);
    }
}

#[test]
fn the_help_fits_on_a_screen_of_the_usual_size_and_is_scrolled_on_a_smaller_one() {
    let mut model = alone();
    model.show_help();
    snapshot("help", &mut model, 80, 24);
    assert!(sees(&mut model, "//TEXT") && sees(&mut model, "is elsewhere"));
    assert!(!seen(&mut model, 40, 10).iter().any(|row| row.contains("//TEXT")));
    types(&mut model, "\x1b[6~\x1b[6~\x1b[6~");
    assert!(seen(&mut model, 40, 10).iter().any(|row| row.contains("//TEXT")));
    types(&mut model, "\x1b[6~\x1b[6~\x1b[6~\x1b[B");
    let rows = seen(&mut model, 40, 10);
    assert!(rows[7].contains("~ -"), "{rows:#?}");
    types(&mut model, "\x1b");
    assert!(!sees(&mut model, "Help"));
}

#[test]
fn no_size_is_too_small() {
    for (columns, height) in [(0, 0), (1, 1), (0, 5), (5, 0), (2, 2), (3, 50), (50, 1), (u16::MAX, 1)] {
        let mut model = busy();
        let buffer = picture(&mut model, columns, height);
        assert_eq!(buffer.content.len(), usize::from(columns) * usize::from(height));
        types(&mut model, "\x1b[5~\x1b[6~\t\x1b[<64;1;1M");
        model.show_help();
        types(&mut model, "\x1b[6~");
        picture(&mut model, columns, height);
    }
    // The last row is what is typed, as long as there is one.
    assert_eq!(seen(&mut busy(), 20, 1), ["> half a line"]);
    assert_eq!(seen(&mut busy(), 5, 2)[1], "<e");
}

#[test]
fn the_status_line_keeps_what_matters_where_it_is_narrow() {
    let mut model = busy();
    for (columns, expected) in [
        (80, " lobby  ● voice  █████···  23 ms  1.2 % lost  UDP"),
        (60, " lobby  2:3!  ● voice  █████···  23 ms  1.2 % lost  UDP"),
        (46, " lobby  2:3!  ● voice  █████···"),
        (25, " lobby  2:3!  ● voice"),
        (20, " lobby  ● voice"),
        (9, " ● voice"),
    ] {
        // The rooms have no pane at 60, the members none below.
        let row = seen(&mut model, columns, 24)[22].clone();
        let row = row.replace("  ♪ Bar, Émile", "");
        assert_eq!(row, expected, "{columns}");
    }
    let mut status = model.status();
    status.link = Link::Lost { retry_at: 10_000 };
    status.mic = Some(Mic { gate: Gate::PushToTalk { is_held: false }, is_sent: false, level: 0 });
    status.is_deafened = true;
    model.set_status(status);
    for (now, expected) in [
        (0, "next try in 10 s"),
        (1, "next try in 10 s"),
        (1000, "next try in 9 s"),
        (9001, "next try in 1 s"),
        (10_000, "connection lost, trying…"),
        (99_999, "connection lost, trying…"),
    ] {
        model.set_now(now);
        assert!(sees(&mut model, expected), "{now}: {:#?}", seen(&mut model, 80, 24));
    }
    assert!(sees(&mut model, "deafened  ○ ptt off  ········"));
    assert!(seen(&mut model, 30, 10)[8].starts_with(" connection lost, trying…"));
}

#[test]
fn whether_he_is_heard_is_told_in_a_small_window_wherever_he_looks() {
    let mut model = alone();
    model.enter(ATTIC, "a room with a name of 32 letters");
    model.set_voice_room(Some(LOBBY));
    types(&mut model, "\x1b2");
    model.said(LOBBY, says("Bar", "Foo: hello"));
    let gate = Gate::PushToTalk { is_held: false };
    let mic = Some(Mic { gate, is_sent: false, level: 0 });
    model.set_status(Status { mic, rtt_ms: Some(23), path: Some(Path::Udp), ..model.status() });
    assert_eq!(seen(&mut model, 40, 10)[8], " a room with …  ♪ in lobby  ○ ptt off");
    model.set_status(Status { is_muted: true, ..model.status() });
    assert_eq!(seen(&mut model, 40, 10)[8], " a room with …  1:1!  ♪ in lobby  muted");
    model.set_status(Status { is_muted: false, ..model.status() });
    model.leave(ATTIC);
    model.enter(ATTIC, "attic");
    types(&mut model, "\x1b2");
    model.said(LOBBY, says("Bar", "Foo: hello"));
    assert_eq!(seen(&mut model, 40, 10)[8], " attic  1:1!  ♪ in lobby  ○ ptt off");
    // What is shorter has a place where the meter has none.
    let mic = Some(Mic { gate: Gate::Open, is_sent: true, level: 0 });
    model.set_status(Status { mic, ..model.status() });
    assert_eq!(seen(&mut model, 40, 10)[8], " attic  1:1!  ♪ in lobby  ● open  23 ms");
}

#[test]
fn whoever_is_muted_is_told_so_with_a_microphone_or_without() {
    let mut model = busy();
    for mic in [model.status().mic, None] {
        model.set_status(Status { mic, is_muted: true, ..model.status() });
        assert!(sees(&mut model, " lobby  muted  23 ms"), "{mic:?}");
        assert!(sees(&mut model, "│ Foo m"), "{mic:?}");
        model.set_status(Status { is_muted: false, ..model.status() });
        assert!(!sees(&mut model, " muted ") && !sees(&mut model, "│ Foo m"), "{mic:?}");
    }
}

#[test]
fn a_countdown_is_due_at_each_second_and_not_when_it_is_over() {
    let mut model = alone();
    assert_eq!(model.due(), None);
    model.set_status(Status { link: Link::Lost { retry_at: 2500 }, ..Status::default() });
    for (now, due) in [(0, Some(500)), (499, Some(500)), (500, Some(1500)), (1501, Some(2500)), (2500, None)]
    {
        model.set_now(now);
        assert_eq!(model.due(), due, "{now}");
    }
}

#[test]
fn a_server_that_is_silent_is_told_of_and_since_when() {
    let mut model = busy();
    model.set_status(Status { link: Link::Silent { since: 500 }, ..model.status() });
    for (now, expected, due) in [
        (5500, "server silent for 5 s", 6500),
        (6499, "server silent for 5 s", 6500),
        (6500, "server silent for 6 s", 7500),
        (0, "server silent for 0 s", 1500),
    ] {
        model.set_now(now);
        assert!(sees(&mut model, expected), "{now}: {:#?}", seen(&mut model, 80, 24));
        assert_eq!(model.due(), Some(due), "{now}");
    }
    // Nothing else matters more where it is narrow.
    assert!(seen(&mut model, 24, 10)[8].starts_with(" server silent for 0 s"));
}

#[test]
fn a_mention_is_counted_and_rung_only_if_that_is_wanted() {
    let mut model = alone();
    model.enter(ATTIC, "attic");
    model.said(ATTIC, says("Bar", "foo: hello"));
    assert!(!model.take_bell());
    model.set_rings(true);
    model.said(ATTIC, says("Bar", "food"));
    assert!(!model.take_bell());
    model.said(ATTIC, says("Bar", "hello Foo"));
    assert!(model.take_bell() && !model.take_bell());
    model.said(ATTIC, Said { is_history: true, ..says("Bar", "hello Foo") });
    model.said(ATTIC, says("Foo", "I am Foo"));
    assert!(!model.take_bell());
    assert!(sees(&mut model, "2 attic 3 2!") || sees(&mut model, "2:3!"), "{:#?}", seen(&mut model, 80, 24));
}

#[test]
fn a_mention_is_notified_only_to_who_is_away_and_not_too_often() {
    let mut model = alone();
    model.set_now(1);
    types(&mut model, "\x1b[O");
    model.said(LOBBY, says("Bar", "Foo: one"));
    assert_eq!(model.take_notification(), None);
    model.set_notifier(Some(Notifier::Osc9));
    model.said(LOBBY, says("Bar", "food"));
    model.said(LOBBY, Said { is_history: true, ..says("Bar", "Foo: then") });
    assert_eq!(model.take_notification(), None);
    model.said(LOBBY, says("Bar", "Foo: two"));
    assert_eq!(model.take_notification().unwrap(), "\x1b]9;chinwag: Bar: Foo: two\x1b\\");
    assert_eq!(model.take_notification(), None);
    // A flood of them is one, and not told later either.
    model.said(LOBBY, says("Bar", "Foo: three"));
    model.set_now(NOTIFICATION_PAUSE_MS);
    assert_eq!(model.take_notification(), None);
    model.set_now(1 + NOTIFICATION_PAUSE_MS);
    assert_eq!(model.take_notification(), None);
    model.enter_private(ATTIC, "Bar");
    model.said(ATTIC, says("Bar", "psst"));
    assert!(model.take_notification().unwrap().contains("Bar to you: psst"));
    // Whoever looks sees it.
    model.set_now(1 + 2 * NOTIFICATION_PAUSE_MS);
    types(&mut model, "\x1b[I");
    model.said(LOBBY, says("Bar", "Foo: four"));
    assert_eq!(model.take_notification(), None);
}

#[test]
fn nobody_is_told_of_what_he_said_himself() {
    let mut model = alone();
    model.set_rings(true);
    model.set_notifier(Some(Notifier::Osc9));
    types(&mut model, "\x1b[O");
    model.enter_private(ATTIC, "Bar");
    // Said over an earlier connection, and told again.
    let again = |text| Said { is_own: false, ..says("Foo", text) };
    model.said(ATTIC, again("psst"));
    model.said(LOBBY, again("I am Foo"));
    assert!(!model.take_bell() && model.take_notification().is_none());
    assert!(sees(&mut model, "2 @Bar 1") && !sees(&mut model, "1!"), "{:#?}", seen(&mut model, 80, 24));
    model.missed(LOBBY, EVENING, 1, 7);
    model.fill(LOBBY, 7, [Said { place: 7, ..again("I am Foo still") }], 0);
    assert!(!sees(&mut model, "!"), "{:#?}", seen(&mut model, 80, 24));
    model.said(ATTIC, says("Bar", "psst"));
    assert!(model.take_bell() && model.take_notification().is_some());
}

#[test]
fn no_room_looks_like_what_is_between_two() {
    let mut model = alone();
    for (n, name) in (3..).zip(["Bar", "@Bar", "\\@Bar"]) {
        model.enter(RoomId(n), name);
        model.enter_private(RoomId(n + 10), name);
    }
    let mic = Some(Mic { gate: Gate::Open, is_sent: true, level: 1 });
    model.set_status(Status { mic, ..model.status() });
    let labels = ["lobby", "Bar", "@Bar", "\\@Bar", "@@Bar", "\\\\@Bar", "@\\@Bar"];
    for (key, label) in (1..).zip(labels) {
        types(&mut model, &format!("\x1b{key}"));
        let rows = seen(&mut model, 120, 24);
        assert!(rows[22].starts_with(&format!(" {label}  ")), "{rows:#?}");
        assert_eq!(rows[key - 1].split_once('│').unwrap().0.trim_end(), format!("{key} {label}"));
    }
    model.set_voice_room(Some(RoomId(4)));
    assert!(sees(&mut model, "♪ in \\@Bar "), "{:#?}", seen(&mut model, 80, 24));
}

#[test]
fn whoever_never_told_where_he_looks_is_not_notified() {
    let mut model = alone();
    model.set_notifier(Some(Notifier::Osc9));
    model.said(LOBBY, says("Bar", "Foo: one"));
    assert_eq!(model.take_notification(), None);
}

#[test]
fn of_his_own_name_one_is_told_wherever_he_looks() {
    let mut model = alone();
    model.enter_private(ATTIC, "Gone");
    model.show_room(ATTIC);
    model.renamed(EVENING, id(1), "Foo", "Qux");
    assert!(sees(&mut model, "Foo is called Qux now"));
    model.renamed(EVENING, id(2), "Bar", "Baz");
    assert!(!sees(&mut model, "Bar is called"));
}

#[test]
fn whoever_leaves_a_room_looks_at_the_one_before() {
    let mut model = alone();
    model.said(LOBBY, says("Bar", "in the lobby"));
    for room in [ATTIC, RoomId(7)] {
        model.enter(room, "another");
    }
    model.show_room(RoomId(7));
    model.leave(RoomId(7));
    assert!(sees(&mut model, "in the lobby"));
    model.show_room(ATTIC);
    model.leave(LOBBY);
    model.leave(ATTIC);
    assert_eq!(model.current_room(), None);
}

#[test]
fn what_is_not_said_yet_stands_below() {
    let mut model = alone();
    model.said(LOBBY, says("Bar", "hello"));
    model.set_pending(["one", "tw\u{1b}o", "three", "four", "five"].into_iter().map(|text| (LOBBY, text)));
    let rows = seen(&mut model, 60, 10);
    let shown: Vec<_> = rows[3..8].iter().map(|row| row.trim_end_matches([' ', '│']).trim()).collect();
    assert!(shown[0].contains("Bar: hello"), "{rows:#?}");
    assert_eq!(shown[1..], ["… one", "… tw\\u{1b}o", "… three", "… and 2 more"]);
    // What is typed in one room takes no place from another.
    model.enter(ATTIC, "attic");
    types(&mut model, "\x1b2");
    model.set_pending(
        [LOBBY, LOBBY, LOBBY, LOBBY, ATTIC].into_iter().zip(["one", "two", "three", "four", "up"]),
    );
    assert!(sees(&mut model, "… up") && !sees(&mut model, " more"), "{:#?}", seen(&mut model, 60, 10));
    model.set_pending([].into_iter());
    assert!(!sees(&mut model, "…"));
}

#[test]
fn a_room_that_is_left_is_gone_and_another_one_seen() {
    let mut model = busy();
    types(&mut model, "\x1b2");
    assert!(sees(&mut model, "Qux: three"));
    model.leave(ATTIC);
    assert!(sees(&mut model, "Hello, I am Bar!"));
    model.leave(LOBBY);
    model.leave(RoomId(7));
    seen(&mut model, 80, 24);
    // There is always somewhere to tell something.
    model.notice(EVENING, "two\nrows");
    assert!(sees(&mut model, "two") && sees(&mut model, "rows"));
}

#[test]
fn of_more_members_than_there_is_room_for_those_who_speak_are_seen() {
    let mut model = alone();
    let names: Vec<String> = (0..200).map(|n| format!("Name {n:03}")).collect();
    model.set_members(LOBBY, names.iter().enumerate().map(|(n, name)| (id(n as u32), name.as_str())));
    assert!(!sees(&mut model, "Name 150") && sees(&mut model, "… and 180 more"));
    model.set_levels(&[(id(150), 8)]);
    assert!(sees(&mut model, "█Name 150"));
}

#[test]
fn without_colours_there_are_none_and_with_them_they_are_the_terminals_own() {
    let styles = |theme| {
        let mut model = Model::new(theme);
        model.set_size(80, 24);
        model.enter(LOBBY, "lobby");
        model.set_me(id(1), "Foo");
        model.said(LOBBY, says("Bar", "hello Foo"));
        model.missed(LOBBY, EVENING, 3, 0);
        model.notice(EVENING + MINUTE, "notice");
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
        draw(&model, &mut buffer);
        buffer.content.iter().map(|cell| (cell.fg, cell.bg, cell.modifier)).collect::<Vec<_>>()
    };
    assert!(styles(Theme::Plain).iter().all(|&(fg, bg, _)| (fg, bg) == (Color::Reset, Color::Reset)));
    // A mention stands out all the same.
    assert!(styles(Theme::Plain).iter().any(|(.., modifier)| modifier.contains(Modifier::BOLD)));
    for theme in [Theme::Dark, Theme::Light] {
        assert!(styles(theme).iter().any(|&(fg, ..)| fg != Color::Reset));
        assert!(styles(theme).iter().all(|&(_, bg, _)| bg == Color::Reset));
        assert!(!styles(theme).iter().any(|&(fg, ..)| matches!(fg, Color::Rgb(..) | Color::Indexed(_))));
    }
    let light = styles(Theme::Light);
    assert!(!light.iter().any(|&(fg, ..)| fg == Color::Yellow || fg == Color::LightBlue));
}

#[test]
fn what_was_said_before_looks_as_it_did_when_it_was_said() {
    let mut model = Model::new(Theme::Dark);
    model.enter(LOBBY, "lobby");
    model.set_me(id(1), "Foo");
    let said = |place, is_history| Said { place, is_history, ..says("Bar", "hello Foo") };
    model.said(LOBBY, said(3, true));
    model.missed(LOBBY, EVENING, 1, 4);
    model.said(LOBBY, said(5, false));
    model.fill(LOBBY, 4, [said(4, true)], 0);
    model.put_before(LOBBY, [said(2, true)], false);
    let buffer = picture(&mut model, 40, 10);
    let styles = |row: usize| {
        let cells = buffer.content[40 * row..40 * (row + 1)].iter();
        cells.map(|cell| (cell.fg, cell.modifier)).collect::<Vec<_>>()
    };
    let rows = rows(&buffer);
    let said: Vec<_> = (0..rows.len()).filter(|row| rows[*row].contains("Bar: hello Foo")).collect();
    assert_eq!(said.len(), 4, "{rows:#?}");
    for row in &said {
        assert_eq!(styles(*row), styles(said[3]));
    }
    let (name, text) = (styles(said[0])[6], styles(said[0])[11]);
    assert!(name.0 != Color::Reset && text.0 == Color::Yellow, "{name:?} {text:?}");
}

#[test]
fn right_to_left_text_is_closed_off_where_its_pane_ends() {
    let mut model = alone();
    model.said(LOBBY, says("Bar", "שלום"));
    let rows = rows(&picture(&mut model, 80, 24));
    let row = rows.iter().find(|row| row.contains("שלום")).unwrap();
    assert!(row.contains("שלום\u{200e}"), "{row}");
}

#[test]
fn there_is_always_space_for_one_more_room() {
    let mut model = alone();
    model.enter_private(RoomId(3), "Bar");
    model.show_room(RoomId(3));
    let last = u32::try_from(3 * ROOMS).unwrap();
    for n in 4..=last {
        model.enter_private(RoomId(n), "Qux");
        assert!(model.has_room(RoomId(n)));
    }
    // Neither what is looked at nor, as long as there are others, one with a name.
    assert_eq!(model.current_room(), Some(RoomId(3)));
    assert!(model.has_room(RoomId(3)) && model.has_room(LOBBY));
    let kept = (0..=last).filter(|n| model.has_room(RoomId(*n))).count();
    assert_eq!(kept, ROOMS);
    assert!(!model.has_room(RoomId(4)) && model.has_room(RoomId(last - 1)));
    let many = (last + 1..).take(2 * ROOMS);
    for n in many.clone() {
        model.enter(RoomId(n), "attic");
    }
    assert!(model.has_room(RoomId(3)) && many.last().is_some_and(|n| model.has_room(RoomId(n))));
}
