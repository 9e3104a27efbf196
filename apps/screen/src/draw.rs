//! The picture of a model: what stands in which cell of the screen.

use chinwag_proto::text::escape;
use ratatui_core::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::{
    draw_status, draw_talk,
    glyph::{Glyph, fitting, glyphs, width},
    members::{LOUDEST, Member},
    model::Model,
    overlay::Overlay,
    panes::Panes,
    pen::Pen,
    theme::Look,
};

/// Columns of the help, at most.
const OVERLAY_COLUMNS: u16 = 80;
const PROMPT: &str = "> ";
/// Narrower than that, there is no room for a prompt.
const PROMPT_COLUMNS: u16 = 12;
const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Draws a model on all of the buffer, whose corner is the screen's; where the cursor is then.
pub fn draw(model: &Model, buffer: &mut Buffer) -> Option<Position> {
    buffer.reset();
    let area = buffer.area;
    let panes = model.panes_of(area.width, area.height);
    topic(model, panes.topic, buffer);
    draw_talk::draw(model, &panes, buffer);
    rooms(model, panes.rooms, buffer);
    members(model, panes.members, buffer);
    draw_status::draw(model, &panes, buffer);
    let cursor = input(model, panes.input, buffer);
    match &model.overlay {
        None => cursor,
        Some(overlay) => {
            draw_overlay(model, overlay, &panes, buffer);
            cursor.filter(|_| matches!(overlay, Overlay::Help { .. }))
        }
    }
}

fn rooms(model: &Model, pane: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    // The one that is looked at is always seen.
    let first = model.current.saturating_sub(usize::from(pane.height.saturating_sub(1)));
    for row in 0..pane.height {
        let n = first + usize::from(row);
        if let Some(room) = model.rooms.get(n) {
            let count = if room.unread > 0 { format!(" {}", room.unread) } else { String::new() };
            let mentions = if room.mentions > 0 { format!(" {}!", room.mentions) } else { String::new() };
            let counts = width(&count) + width(&mentions) + 1;
            let look = match room.is_private {
                _ if n == model.current => Look::Current,
                true => Look::Private,
                false => Look::Text,
            };
            let room_columns = usize::from(pane.width).saturating_sub(counts);
            let voice = if model.voice == Some(room.id) && model.rooms.len() > 1 { "♪" } else { "" };
            let name = format!("{} {}{voice}", n + 1, room.label());
            let mut pen = Pen::at(buffer, pane, row);
            pen.text(&name[..fitting(&name, room_columns)], theme.style(look));
            pen.text(&count, theme.style(Look::Text)).text(&mentions, theme.style(Look::Mention));
        }
        Pen::at(buffer, pane, row).keep(1).text("│", theme.style(Look::Rule));
    }
}

fn topic(model: &Model, pane: Rect, buffer: &mut Buffer) {
    if let Some(room) = model.rooms.get(model.current).filter(|_| pane.height > 0) {
        let style = model.theme.style(Look::Title);
        Pen::at(buffer, pane, 0).text(&format!(" {}", room.topic), style).fill(" ", style);
    }
}

fn members(model: &Model, pane: Rect, buffer: &mut Buffer) {
    let Some(room) = model.rooms.get(model.current) else { return };
    let theme = model.theme;
    for row in 0..pane.height {
        Pen::at(buffer, pane, row).text("│", theme.style(Look::Rule));
    }
    let pane = Rect { x: pane.x + 1, width: pane.width.saturating_sub(1), ..pane };
    let here = format!(" {} here", room.members.len());
    Pen::at(buffer, pane, 0).text(&here, theme.style(Look::Time));
    let places = usize::from(pane.height.saturating_sub(1));
    let has_room = room.members.len() <= places;
    // Where not all can be seen, those who speak are.
    let speakers = room.members.speakers().filter(|_| !has_room);
    let others = room.members.iter().filter(|member| has_room || member.level == 0);
    let shown = if has_room { places } else { places.saturating_sub(1) };
    for (row, member) in (1..).zip(speakers.chain(others).take(shown)) {
        draw_member(model, member, &mut Pen::at(buffer, pane, row));
    }
    if !has_room && pane.height > 1 {
        let more = format!(" … and {} more", room.members.len() - shown);
        Pen::at(buffer, pane, pane.height - 1).text(&more, theme.style(Look::Time));
    }
}

fn draw_member(model: &Model, member: &Member, pen: &mut Pen<'_>) {
    let theme = model.theme;
    let Member { name, level, is_muted, is_silent, is_deafened, is_poor, is_elsewhere, .. } = member;
    let is_muted = *is_muted || *is_silent;
    let marks = [(is_muted, " m"), (*is_deafened, " d"), (*is_poor, " ~"), (*is_elsewhere, " -")];
    let marks: String = marks.into_iter().filter_map(|(is_so, mark)| is_so.then_some(mark)).collect();
    let (bar, look) = match usize::from(*level).checked_sub(1).and_then(|bar| BARS.get(bar)) {
        Some(bar) => (*bar, Look::Speaking),
        None => (" ", Look::Text),
    };
    pen.text(bar, theme.style(Look::Speaking));
    let columns = usize::from(pen.room()).saturating_sub(marks.len());
    let columns = fitting(name, columns);
    pen.text(&name[..columns], theme.style(look)).text(&marks, theme.style(Look::Missed));
}

/// A bar for a level, eight columns wide.
pub(crate) fn meter(level: u8) -> String {
    (0..LOUDEST).map(|n| if n < level { '█' } else { '·' }).collect()
}

/// The line that is typed, moved so that the cursor is seen: by half of the row, so that it does not jump at each key.
fn input(model: &Model, pane: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let prompt = if pane.width < PROMPT_COLUMNS { "" } else { PROMPT };
    let mut pen = Pen::at(buffer, pane, 0);
    if pen.room() == 0 {
        return None;
    }
    pen.text(prompt, theme.style(Look::Time));
    let (text, cursor) = (model.editor.text(), model.editor.cursor());
    let before = escape(&text[..cursor]);
    let shown = format!("{before}{}", escape(&text[cursor..]));
    let (column, all, room) = (width(&before), width(&shown), usize::from(pen.room()));
    // The mark behind it does not lie over what the cursor stands on.
    let step = (room / 2).saturating_sub(1).max(1);
    let fits = column + 1 < room || (column < room && all <= room);
    let start = if fits { 0 } else { (column - room / 2) / step * step };
    let first = start + usize::from(start > 0);
    let x = pen.x();
    if start > 0 {
        pen.text("<", theme.style(Look::Found));
    }
    let has_more = all > start + room;
    if has_more {
        pen.narrow(1);
    }
    let mut place = 0;
    let mut skipped = first;
    let seen = glyphs(&shown).filter_map(|glyph: Glyph<'_>| {
        let at = place;
        place += glyph.width;
        if at < first {
            // One that is cut by the edge leaves a blank.
            skipped = skipped.max(place);
            return None;
        }
        Some(glyph)
    });
    let seen: Vec<_> = seen.collect();
    pen.skip(u16::try_from(skipped - first).unwrap_or_default());
    pen.glyphs(seen.into_iter(), |_| theme.style(Look::Text));
    if has_more {
        Pen::at(buffer, pane, 0).keep(1).text(">", theme.style(Look::Found));
    }
    let beside = u16::try_from(column - start).unwrap_or_default();
    Some(Position { x: (x + beside).min(pane.right().saturating_sub(1)), y: pane.y })
}

fn draw_overlay(model: &Model, overlay: &Overlay, panes: &Panes, buffer: &mut Buffer) {
    let theme = model.theme;
    let rows = overlay.rows(panes.columns, panes.overlay_rows());
    let height = panes.overlay_rows().min(rows.len());
    let columns = panes.columns.min(OVERLAY_COLUMNS);
    let x = (panes.columns - columns) / 2;
    let pane_rows = u16::try_from(height).unwrap_or_default() + 1;
    let pane = Rect::new(x, 0, columns, pane_rows.min(panes.rows.saturating_sub(2)));
    let scrolled = match overlay {
        Overlay::Help { scrolled } => *scrolled,
        Overlay::Paste { .. } => rows.len().saturating_sub(height),
    };
    let more = if scrolled + height < rows.len() { ", PgDn tells more" } else { "" };
    let title = format!(" {}{more}", overlay.title());
    Pen::at(buffer, pane, 0).text(&title, theme.style(Look::Title)).fill(" ", theme.style(Look::Title));
    for (row, cells) in (1..pane.height).zip(rows.iter().skip(scrolled)) {
        Pen::at(buffer, pane, row).fill(" ", theme.style(Look::Text));
        let cell_columns = columns / u16::try_from(cells.len()).unwrap_or(1).max(1);
        for (n, (head, text)) in (0..).zip(cells) {
            let cell = Rect { x: pane.x + n * cell_columns, width: cell_columns, ..pane };
            let tab = if head.is_empty() { 1 } else { overlay.tab().min(usize::from(columns) / 2) };
            Pen::at(buffer, cell, row).text(&format!(" {}", escape(head)), theme.style(Look::Own));
            let mut pen = Pen::at(buffer, cell, row);
            // A head that is longer pushes on what is said about it.
            pen.skip(u16::try_from(tab.max(width(head) + 2)).unwrap_or_default());
            pen.text(&escape(text), theme.style(Look::Text));
        }
    }
}
