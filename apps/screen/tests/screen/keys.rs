//! What keys do.

use chinwag_proto::limits::MESSAGE_BYTES;
use chinwag_screen::{Act, Button, Model, PASTE_BYTES, Said, Talk};

use crate::common::{ATTIC, EVENING, LOBBY, alone, busy, id, says, seen, sees, types};

fn typed(model: &mut Model) -> String {
    seen(model, 80, 24)[23].clone()
}

/// Foo, in a lobby where much was said.
fn long() -> Model {
    let mut model = alone();
    for n in 0..100 {
        model.said(LOBBY, says("Bar", &format!("line {n}.")));
    }
    model
}

#[test]
fn lines_are_entered_and_come_back() {
    let mut model = alone();
    assert_eq!(types(&mut model, "hello\r"), [Act::Enter("hello".to_owned())]);
    assert_eq!(typed(&mut model), ">");
    types(&mut model, "\x1b[A!");
    assert_eq!(typed(&mut model), "> hello!");
    types(&mut model, "\x15\x19\x01x\x05y");
    assert_eq!(typed(&mut model), "> xhello!y");
    assert_eq!(types(&mut model, "\x15\x04"), [Act::End]);
    assert_eq!(types(&mut model, "\x0c"), [Act::Redraw]);
    assert_eq!(types(&mut model, &("x".repeat(MESSAGE_BYTES + 1) + "\r")), [Act::TooLong]);
    assert!(model.take_bell());
}

#[test]
fn pages_and_the_wheel_scroll_and_new_lines_do_not() {
    let mut model = long();
    assert!(sees(&mut model, "line 99.") && !sees(&mut model, "below"));
    types(&mut model, "\x1b[5~");
    assert!(!sees(&mut model, "line 99.") && sees(&mut model, "line 78."));
    assert!(sees(&mut model, "↓ 21 below"));
    let before = seen(&mut model, 80, 24)[..22].to_vec();
    model.said(LOBBY, says("Bar", "new"));
    assert_eq!(seen(&mut model, 80, 24)[..22], before);
    assert!(sees(&mut model, "↓ 22 below"));
    types(&mut model, "\x1b[<65;1;1M");
    assert!(sees(&mut model, "↓ 19 below"));
    types(&mut model, "\x1b[<64;1;1M\x1b[6~\x1b[6~");
    assert!(sees(&mut model, "new") && !sees(&mut model, "below"));
    // What came meanwhile is below a rule, until something is said.
    assert!(sees(&mut model, "── new"));
    model.said(LOBBY, says("Foo", "I see"));
    assert!(!sees(&mut model, "── new"));
    // Escape and a line that is entered lead back to the end.
    for key in ["\x1b", "\r"] {
        types(&mut model, "\x1b[5~\x1b[5~");
        assert!(sees(&mut model, "below"));
        types(&mut model, key);
        assert!(!sees(&mut model, "below"));
    }
}

#[test]
fn whoever_is_elsewhere_finds_where_he_was() {
    let mut model = long();
    types(&mut model, "\x1b[O");
    model.said(LOBBY, says("Bar", "are you there?"));
    model.said(LOBBY, says("Bar", "no?"));
    types(&mut model, "\x1b[I");
    let rows = seen(&mut model, 80, 24);
    let rule = rows.iter().position(|row| row.contains("── new")).unwrap();
    assert!(rows[rule - 1].contains("line 99.") && rows[rule + 1].contains("are you there?"), "{rows:#?}");
    // It is as it was until he goes again.
    model.said(LOBBY, says("Bar", "hello"));
    assert!(sees(&mut model, "── new"));
    types(&mut model, "\x1b[O");
    assert!(!sees(&mut model, "── new"));
}

#[test]
fn rooms_are_looked_at_by_number_and_one_after_the_other() {
    let mut model = busy();
    let wide = |model: &mut Model| seen(model, 120, 24).join("\n");
    assert!(wide(&mut model).contains("2 attic 3 1!"));
    types(&mut model, "\x1b2");
    assert!(wide(&mut model).contains("Qux: three") && !wide(&mut model).contains("3 1!"));
    for (keys, room) in [
        ("\x0e", "lobby"),
        ("\x0e", "attic"),
        ("\x10", "lobby"),
        ("\x10", "attic"),
        ("\x1b1", "lobby"),
        ("\x1b9", "lobby"),
    ] {
        types(&mut model, keys);
        assert!(seen(&mut model, 80, 24)[22].starts_with(&format!(" {room}")), "{keys:?} {room}");
    }
    model.said(ATTIC, says("Qux", "four"));
    assert!(wide(&mut model).contains("2 attic 1"));
}

#[test]
fn what_was_begun_stays_in_its_room() {
    let mut model = alone();
    model.enter(ATTIC, "attic");
    model.set_draft(ATTIC, "from\u{1b} before");
    types(&mut model, "in the lobby");
    types(&mut model, "\x1b2");
    assert_eq!(typed(&mut model), "> from before");
    types(&mut model, "!");
    assert_eq!((model.draft(LOBBY), model.draft(ATTIC)), ("in the lobby", "from before!"));
    // What is being typed is not overwritten, and what it was to be can be called back.
    model.set_draft(ATTIC, "another");
    assert_eq!(typed(&mut model), "> from before!");
    types(&mut model, "\x1b[A");
    assert_eq!(typed(&mut model), "> another");
    types(&mut model, "\x1b1");
    assert_eq!(typed(&mut model), "> in the lobby");
    model.leave(LOBBY);
    assert_eq!(typed(&mut model), "> another");
    assert_eq!(model.draft(LOBBY), "");
    model.set_draft(ATTIC, &"x".repeat(MESSAGE_BYTES + 1));
    assert_eq!(model.draft(ATTIC), "another");
}

/// What was said in a room, by place.
fn past(places: std::ops::Range<u64>) -> Vec<(u64, String)> {
    places
        .map(|place| (place, if place == 9 { "Foo, are you there?".into() } else { format!("old {place}.") }))
        .collect()
}

fn put_before(model: &mut Model, room: chinwag_screen::RoomId, past: &[(u64, String)], has_more: bool) {
    let said = past.iter().map(|(place, text)| Said { place: *place, is_history: true, ..says("Bar", text) });
    model.put_before(room, said, has_more);
}

/// What stands above and below the rule.
fn around_rule(model: &mut Model) -> Option<(String, String)> {
    let rows = seen(model, 80, 24);
    let rule = rows.iter().position(|row| row.contains("── new"))?;
    Some([rule.wrapping_sub(1), rule + 1].map(|row| rows.get(row).cloned().unwrap_or_default()).into())
}

#[test]
fn what_was_said_since_the_last_time_is_below_a_rule() {
    let mut model = alone();
    model.set_read(LOBBY, Some(7));
    assert_eq!(model.read(LOBBY), 7);
    put_before(&mut model, LOBBY, &past(5..11), true);
    let (above, below) = around_rule(&mut model).unwrap();
    assert!(above.contains("old 7.") && below.contains("old 8."), "{above} {below}");
    assert_eq!(model.read(LOBBY), 10, "it is seen");
    // What comes while he is there is read; the rule goes with the next line that he says.
    model.said(LOBBY, Said { place: 11, ..says("Bar", "hello") });
    assert_eq!(model.read(LOBBY), 11);
    put_before(&mut model, LOBBY, &past(1..5), false);
    assert!(around_rule(&mut model).unwrap().0.contains("old 7."));
    model.said(LOBBY, Said { place: 12, ..says("Foo", "I see") });
    assert_eq!((around_rule(&mut model), model.read(LOBBY)), (None, 12));
}

#[test]
fn what_was_read_is_found_farther_up() {
    let mut model = alone();
    model.set_read(LOBBY, Some(3));
    put_before(&mut model, LOBBY, &past(5..8), true);
    assert!(around_rule(&mut model).unwrap().1.contains("old 5."), "there is more above");
    put_before(&mut model, LOBBY, &past(2..5), true);
    let (above, below) = around_rule(&mut model).unwrap();
    assert!(above.contains("old 3.") && below.contains("old 4."), "{above} {below}");
}

#[test]
fn without_anything_new_there_is_no_rule() {
    for read in [None, Some(4), Some(9)] {
        let mut model = alone();
        model.set_read(LOBBY, read);
        put_before(&mut model, LOBBY, &past(3..5), true);
        model.said(LOBBY, Said { place: 5, ..says("Bar", "hello") });
        put_before(&mut model, LOBBY, &past(1..3), false);
        assert_eq!(around_rule(&mut model), None, "{read:?}");
    }
}

#[test]
fn whoever_looks_elsewhere_has_not_read_it() {
    let mut model = alone();
    model.enter(ATTIC, "attic");
    model.set_read(ATTIC, Some(7));
    put_before(&mut model, ATTIC, &past(6..11), true);
    model.said(ATTIC, Said { place: 11, ..says("Bar", "hello") });
    assert_eq!(model.read(ATTIC), 7);
    let wide = seen(&mut model, 120, 24).join("\n");
    assert!(wide.contains("2 attic 4 1!"), "{wide}");
    types(&mut model, "\x1b2");
    assert_eq!(model.read(ATTIC), 11);
    // Of another numbering nothing of that means anything.
    model.set_read(ATTIC, None);
    assert_eq!(model.read(ATTIC), 0);
    put_before(&mut model, ATTIC, &past(1..3), false);
    assert_eq!(model.read(ATTIC), 2);
}

#[test]
fn tab_completes_names_commands_and_rooms() {
    let mut model = alone();
    model.enter(ATTIC, "basement");
    let members = ["Foo", "Bar", "barbara", "Foo Baz", "小明"];
    model.set_members(LOBBY, members.iter().enumerate().map(|(n, name)| (id(n as u32), *name)));
    let named = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    model.set_listed(["bar", "the den", "basement"].into_iter());
    model.enter_private(chinwag_screen::RoomId(3), "The Bar");
    model.set_devices(named(&["Built-in Mic", "Built-in Other", "Headset"]), named(&["Horn"]));
    for (keys, expected) in [
        ("小\t", "小明: "),
        ("ba\t", "Bar: "),
        ("ba\t\t", "barbara: "),
        ("ba\t\t\t", "basement "),
        ("ba\t\t\t\t", "Bar: "),
        ("hi BARB\t!", "hi barbara !"),
        ("hi Foo b\t", "hi Foo Baz "),
        ("/vol\t", "/volume "),
        ("/volume barb\t-6", "/volume barbara -6"),
        ("/\t", "/bell "),
        ("/HE\t", "/help "),
        ("/join ba\t", "/join bar"),
        ("/join ba\t\t", "/join basement"),
        ("/join ba\t\t\t", "/join bar"),
        ("/join the\t", "/join the den"),
        ("/JOIN The D\t", "/JOIN the den"),
        ("/join \t", "/join bar"),
        ("/join 小\t", "/join 小"),
        ("/INPUT h\t", "/INPUT Headset"),
        ("base\t", "basement "),
        ("/input built\t", "/input Built-in Mic"),
        ("/input built\t\t", "/input Built-in Other"),
        ("/output B\t", "/output B"),
        ("/output h\t", "/output Horn"),
        ("xyz\t", "xyz"),
        ("\t", ""),
        (" \t", " "),
    ] {
        types(&mut model, keys);
        assert_eq!(typed(&mut model), format!("> {expected}").trim_end(), "{keys:?}");
        types(&mut model, "\x15");
    }
}

#[test]
fn a_paste_of_several_lines_is_asked_about() {
    let mut model = alone();
    let paste = "\x1b[200~one\r\n\r\n/two\rthree\x1b[201~";
    types(&mut model, paste);
    assert!(sees(&mut model, "Say these 3 lines?") && sees(&mut model, "/two"));
    // Nothing else can be done meanwhile.
    types(&mut model, "x\x15");
    assert!(sees(&mut model, "Say these 3 lines?"));
    assert_eq!(types(&mut model, "\x1b"), []);
    assert!(!sees(&mut model, "Say these") && typed(&mut model) == ">");
    types(&mut model, paste);
    let lines = ["one", "/two", "three"].map(str::to_owned).to_vec();
    assert_eq!(types(&mut model, "\r"), [Act::Say(lines)]);
    assert!(!sees(&mut model, "Say these"));
    // Of one line it is seen what it is.
    types(&mut model, "a\x1b[200~b\tc\r\x1b[201~d");
    assert_eq!(typed(&mut model), "> ab cd");
}

#[test]
fn the_question_about_a_paste_fits_into_the_smallest_window() {
    let mut model = alone();
    types(&mut model, "\x1b[200~one\rtwo\rthree\rfour\rfive\x1b[201~");
    let keys = [" Enter says each line as a message", " Esc   says nothing"];
    let question = [" Say these 5 lines?", "  one", "  two", "  three", "  four", "  five", keys[0], keys[1]];
    assert_eq!(seen(&mut model, 40, 10)[..8], question);
    let question = [" Say these 5 lines?", "  one", "  two", "  … and 3 more", keys[0], keys[1]];
    assert_eq!(seen(&mut model, 40, 8)[..6], question);
    assert_eq!(seen(&mut model, 40, 5)[..3], [" Say these 5 lines?", keys[0], keys[1]]);
    types(&mut model, "\x1b");
    types(&mut model, &format!("\x1b[200~{}\x1b[201~", "x\r".repeat(PASTE_BYTES)));
    let rows = seen(&mut model, 40, 10);
    assert_eq!(rows[1..4], ["  x"; 3]);
    let lost = "  That was too much: the rest is lost.";
    assert!(rows[4].ends_with(" more") && rows[5..8] == [lost, keys[0], keys[1]], "{rows:#?}");
}

#[test]
fn a_paste_of_any_length_is_bounded_and_its_lines_can_be_said() {
    let mut model = alone();
    types(&mut model, &format!("\x1b[200~{}\x1b[201~", "é".repeat(PASTE_BYTES)));
    assert!(sees(&mut model, "the rest is lost."));
    let acts = types(&mut model, "\r");
    let [Act::Say(lines)] = &acts[..] else { panic!("{acts:?}") };
    assert!(lines.iter().all(|line| line.len() <= MESSAGE_BYTES));
    assert!(lines.iter().map(String::len).sum::<usize>() > PASTE_BYTES - MESSAGE_BYTES);
}

#[test]
fn words_are_looked_for_from_the_end_on() {
    let mut model = long();
    assert!(model.find("LINE 1"));
    assert!(sees(&mut model, "line 19.") && !sees(&mut model, "line 99."));
    for _ in 0..10 {
        assert!(model.find(""));
    }
    assert!(sees(&mut model, "line 1."));
    assert!(!model.find(""));
    assert!(sees(&mut model, "line 1."));
    // It is marked until Escape, which leads to the end.
    let marked = |model: &mut Model| {
        let buffer = crate::common::picture(model, 80, 24);
        buffer.content[..80 * 22].iter().any(|cell| {
            !cell.modifier.is_empty()
                && cell.symbol() == "l"
                && cell.modifier.contains(ratatui_core::style::Modifier::REVERSED)
        })
    };
    assert!(marked(&mut model));
    types(&mut model, "\x1b");
    assert!(!marked(&mut model));
    assert!(!model.find("nowhere") && !model.find(""));
    model.clear();
    assert!(!model.find("line") && !sees(&mut model, "line"));
}

#[test]
fn the_help_is_put_away_by_typing_on() {
    let mut model = alone();
    model.show_help();
    assert!(sees(&mut model, "Help"));
    types(&mut model, "x");
    assert!(!sees(&mut model, "Help") && typed(&mut model) == "> x");
    model.show_help();
    assert_eq!(types(&mut model, "\r"), []);
    assert_eq!(typed(&mut model), "> x");
}

#[test]
fn the_key_to_talk_by_is_held_where_that_is_told_whatever_is_shown() {
    let mut model = alone();
    model.set_now(0);
    assert_eq!(types(&mut model, "\x1b[19~\x1b[19~"), [Act::Talk(Talk::Toggle)]);
    model.set_now(5000);
    assert_eq!(types(&mut model, "\x1b[19~"), [Act::Talk(Talk::Toggle)]);
    // On another terminal any other key tells that keys are let go.
    let mut model = alone();
    assert_eq!(types(&mut model, "a\x1b[97;1:3u"), []);
    model.show_help();
    let held = "\x1b[19;1:1~\x1b[19;1:2~\x1b[19;1:2~\x1b[19;1:3~";
    assert_eq!(types(&mut model, held), [Act::Talk(Talk::Begin), Act::Talk(Talk::End)]);
    assert!(sees(&mut model, "Help"));
    types(&mut model, "\x1b");
    assert_eq!(typed(&mut model), "> a");
    // It is let go by whoever goes away, and what is told later is nothing.
    let gone = [Act::Talk(Talk::Begin), Act::Talk(Talk::Away)];
    assert_eq!(types(&mut model, "\x1b[19;1:1~\x1b[O\x1b[I\x1b[19;1:3~"), gone);
    model.set_button(Button::Control('t'));
    assert_eq!(types(&mut model, held), []);
    let held = "\x1b[116;5u\x1b[116;5:2u\x1b[116;1:3u";
    assert_eq!(types(&mut model, held), [Act::Talk(Talk::Begin), Act::Talk(Talk::End)]);
    // A choice among words is not given up for a key that is let go.
    types(&mut model, "\x15ba\t\x1b[57441;1:3u\t");
    assert_eq!(typed(&mut model), "> Bar:");
}

#[test]
fn a_long_line_is_moved_so_that_the_cursor_is_seen() {
    let mut model = alone();
    let text: String = ('a'..='z').cycle().take(300).collect();
    types(&mut model, &text);
    assert!(typed(&mut model).ends_with(&text[290..]), "{}", typed(&mut model));
    assert!(typed(&mut model).starts_with("> <"));
    types(&mut model, "\x01");
    assert!(typed(&mut model).starts_with("> abc") && typed(&mut model).ends_with('>'));
    for n in 0..300 {
        model.set_size(40, 10);
        let mut buffer = chinwag_screen::Buffer::empty(chinwag_screen::Rect::new(0, 0, 40, 10));
        let cursor = chinwag_screen::draw(&model, &mut buffer).unwrap();
        assert_eq!(cursor.y, 9);
        // What it stands on.
        if !text[n..].is_empty() {
            assert_eq!(buffer[(cursor.x, 9)].symbol(), &text[n..=n], "{n}");
        }
        types(&mut model, "\x1b[C");
    }
    // At the end it stands behind all.
    types(&mut model, "\x15");
    for n in 0..60 {
        let mut buffer = chinwag_screen::Buffer::empty(chinwag_screen::Rect::new(0, 0, 40, 10));
        let cursor = chinwag_screen::draw(&model, &mut buffer).unwrap();
        assert_eq!(buffer[(cursor.x, 9)].symbol(), " ", "{n}");
        assert!(n == 0 || buffer[(cursor.x - 1, 9)].symbol() == "x", "{n}");
        types(&mut model, "x");
    }
}

#[test]
fn what_was_missed_is_put_where_it_was_missed() {
    let mut model = alone();
    let at = |place, text| Said { place, is_history: false, ..says("Bar", text) };
    let past = |place, text| Said { is_history: true, ..at(place, text) };
    model.said(LOBBY, at(1, "first"));
    model.missed(LOBBY, EVENING, 4, 5);
    model.said(LOBBY, at(6, "last"));
    // One of them is here already: one's own, acknowledged late.
    model.said(LOBBY, at(4, "four"));
    let shown = |model: &mut Model| -> Vec<String> {
        let rows = seen(model, 80, 24).into_iter().filter(|row| row.contains("20:00"));
        rows.map(|row| row[6..].trim_end().trim_end_matches('│').trim_end().to_owned()).collect()
    };
    model.fill(LOBBY, 5, [past(4, "four"), past(5, "five")], 2);
    let missed = "2 messages were missed while the connection was lost";
    assert_eq!(shown(&mut model), ["Bar: first", missed, "Bar: five", "Bar: last", "Bar: four"]);
    // The user looks elsewhere: it is counted, and marked.
    model.enter(ATTIC, "attic");
    types(&mut model, "\x1b2");
    model.fill(LOBBY, 5, [past(2, "two"), past(3, "Foo: three")], 0);
    assert!(sees(&mut model, "lobby 2 1!"), "{:#?}", seen(&mut model, 80, 24));
    types(&mut model, "\x1b1");
    let rows = seen(&mut model, 80, 24);
    let row = |text: &str| {
        rows.iter().position(|row| row.contains(text)).unwrap_or_else(|| panic!("{text}: {rows:#?}"))
    };
    assert!(row("first") < row("── new"), "{rows:#?}");
    let order = ["── new", "missed while the connection was", "two", "three", "five", "last"];
    assert!(order.is_sorted_by_key(|text| row(text)), "{rows:#?}");
    // Nothing of another gap, or of one that scrolled away.
    model.fill(LOBBY, 9, [past(8, "elsewhere")], 0);
    assert!(!sees(&mut model, "elsewhere"));
}

#[test]
fn whoever_looks_farther_up_stays_there_when_what_was_missed_comes() {
    let mut model = alone();
    for n in 1..=60 {
        model.said(LOBBY, Said { place: n, ..says("Bar", &format!("line {n}.")) });
    }
    model.missed(LOBBY, EVENING, 2, 62);
    for n in 63..=70 {
        model.said(LOBBY, Said { place: n, ..says("Bar", &format!("line {n}.")) });
    }
    types(&mut model, "\x1b[5~\x1b[5~");
    let before = seen(&mut model, 80, 24);
    let lines = [61, 62].map(|n| format!("line {n}."));
    let said =
        lines.iter().zip(61..).map(|(text, place)| Said { place, is_history: true, ..says("Bar", text) });
    model.fill(LOBBY, 62, said, 0);
    let after = seen(&mut model, 80, 24);
    assert_eq!(before[..20], after[..20]);
    types(&mut model, "\x1b");
    assert!(sees(&mut model, "line 61.") && sees(&mut model, "line 70."));
}
