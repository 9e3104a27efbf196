//! The conversation: its rows from the last one that is seen upwards.

use ratatui_core::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    glyph::glyphs,
    line::{Kind, Line},
    model::Model,
    panes::{Panes, TIME_COLUMNS},
    pen::Pen,
    talk::{Place, Rule, day},
    theme::Look,
};

const MINUTE_MS: i64 = 60 * 1000;

pub(crate) fn draw(model: &Model, panes: &Panes, buffer: &mut Buffer) {
    let Some(room) = model.rooms.get(model.current) else { return };
    let talk = &room.talk;
    let (columns, _) = panes.talk_size();
    // What waits to be said stands below all else, if that is what is looked at.
    let pending = if talk.is_at_end() { pending(model) } else { vec![] };
    let mut row = panes.talk.height;
    for text in pending.iter().rev() {
        let Some(above) = row.checked_sub(1) else { return };
        row = above;
        let pen = &mut Pen::at(buffer, panes.talk, row);
        pen.skip(if panes.has_times() { TIME_COLUMNS } else { 0 });
        pen.text(text, model.theme.style(Look::Pending));
    }
    let mut place = talk.bottom(columns);
    while let (Some(at), Some(above)) = (place, row.checked_sub(1)) {
        row = above;
        draw_row(model, panes, buffer, at, row);
        place = talk.above(at, columns);
    }
}

/// What was typed and is not said yet.
fn pending(model: &Model) -> Vec<String> {
    let here = model.current_room().and_then(|here| model.pending.get(&here));
    let Some((texts, more)) = here else { return vec![] };
    let mut rows: Vec<_> = texts.iter().map(|text| format!("… {text}")).collect();
    if *more > 0 {
        rows.push(format!("… and {more} more"));
    }
    rows
}

fn draw_row(model: &Model, panes: &Panes, buffer: &mut Buffer, at: Place, row: u16) {
    let Some(room) = model.rooms.get(model.current) else { return };
    let Some(line) = room.talk.line(at.line) else { return };
    let pane = panes.talk;
    let rules: Vec<_> = room.talk.rules(at.line).collect();
    if let Some(rule) = rules.get(at.row) {
        return draw_rule(model, pane, buffer, *rule, line, row);
    }
    let (columns, _) = panes.talk_size();
    let n = at.row - rules.len();
    let mut pen = Pen::at(buffer, pane, row);
    if panes.has_times() {
        if n == 0 {
            pen.text(&time(line.at), model.theme.style(Look::Time));
            pen.skip(1);
        } else {
            pen.skip(TIME_COLUMNS);
        }
    }
    let (text, begin) = line.row(columns, n);
    let found = found(model, text);
    pen.glyphs(glyphs(text), |glyph| {
        let is_found = found.iter().any(|&(from, to)| (from..to).contains(&glyph.at));
        if is_found {
            model.theme.style(Look::Found)
        } else {
            style(model, line, begin + glyph.at, room.is_private)
        }
    });
}

/// How the byte `at` of a line looks.
fn style(model: &Model, line: &Line, at: usize, is_private: bool) -> Style {
    let head = &line.text()[..line.head()];
    let look = match line.kind {
        Kind::Own if at < line.head() => Look::Own,
        Kind::Said if at < line.head() => Look::Name(who(head)),
        // Between two, all that the other says is for the user.
        Kind::Own | Kind::Said if line.is_mention && !is_private => Look::Mention,
        Kind::Own | Kind::Said => Look::Text,
        Kind::Presence => Look::Presence,
        Kind::Notice => Look::Notice,
        Kind::Missed => Look::Missed,
    };
    model.theme.style(look)
}

/// The name in what says who.
fn who(head: &str) -> &str {
    head.strip_suffix(": ").unwrap_or_else(|| head.trim_start_matches("* ").trim_end_matches(' '))
}

/// Where in a row stands what was looked for.
fn found(model: &Model, row: &str) -> Vec<(usize, usize)> {
    let Some((words, _)) = &model.search else { return vec![] };
    let small = row.to_lowercase();
    // In letters that change their length nothing is marked, rather than something else.
    if small.len() != row.len() {
        return vec![];
    }
    small.match_indices(words.as_str()).map(|(at, found)| (at, at + found.len())).collect()
}

fn draw_rule(model: &Model, pane: Rect, buffer: &mut Buffer, rule: Rule, line: &Line, row: u16) {
    let (text, look) = match rule {
        Rule::Unread => ("new".to_owned(), Look::Unread),
        Rule::Day => (date(day(line.at)), Look::Rule),
    };
    let style = model.theme.style(look);
    Pen::at(buffer, pane, row).text(&format!("── {text} "), style).fill("─", style);
}

/// `HH:MM`.
fn time(at: i64) -> String {
    let minutes = at.div_euclid(MINUTE_MS).rem_euclid(24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// `YYYY-MM-DD` of a day since 1970 (the algorithm of Howard Hinnant's `civil_from_days`).
fn date(day: i64) -> String {
    let days = day.saturating_add(719_468);
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * of_year + 2) / 153;
    let month = if part < 10 { part + 3 } else { part - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{:02}", of_year - (153 * part + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_days_are_those_of_the_calendar() {
        for (at, expected) in [
            (0, "1970-01-01 00:00"),
            (-1, "1969-12-31 23:59"),
            (951_782_400_000, "2000-02-29 00:00"),
            (1_709_251_199_000, "2024-02-29 23:59"),
            (1_735_689_600_000, "2025-01-01 00:00"),
        ] {
            assert_eq!(format!("{} {}", date(day(at)), time(at)), expected);
        }
        // Whatever a server claims.
        for at in [i64::MIN, i64::MAX] {
            assert_eq!(time(at).len(), 5);
            assert!(date(day(at)).len() >= 10);
        }
    }
}
