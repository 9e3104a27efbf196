//! The status line: the room, the connection, the microphone. Where it is narrow, what matters most has its place first.

use std::{borrow::Cow, collections::BTreeSet};

use ratatui_core::buffer::Buffer;

use crate::{
    draw::meter,
    glyph::{fitting, width},
    model::Model,
    panes::Panes,
    pen::Pen,
    status::{Gate, Link, Mic, Path},
    theme::Look,
};

/// What stands beside the room's name wants so many columns, but leaves it a third of a narrow line.
const OTHER_COLUMNS: usize = 48;

/// A piece of it, with a blank before and one behind it; the least rank has its place first.
struct Piece {
    text: String,
    is_alert: bool,
    rank: u8,
}

pub(crate) fn draw(model: &Model, panes: &Panes, buffer: &mut Buffer) {
    let theme = model.theme;
    let pieces = pieces(model, panes);
    let ranks = fitting_ranks(&pieces, usize::from(panes.status.width));
    let mut pen = Pen::at(buffer, panes.status, 0);
    for Piece { text, is_alert, .. } in pieces.iter().filter(|piece| ranks.contains(&piece.rank)) {
        let look = if *is_alert { Look::Alert } else { Look::Status };
        pen.text(" ", theme.style(Look::Status)).text(text, theme.style(look));
        pen.text(" ", theme.style(Look::Status));
    }
    pen.fill(" ", theme.style(Look::Status));
}

/// The ranks of what there is room for; of what matters most there is a part at least.
fn fitting_ranks(pieces: &[Piece], columns: usize) -> BTreeSet<u8> {
    let mut by_rank: Vec<_> = pieces.iter().collect();
    by_rank.sort_by_key(|piece| piece.rank);
    let mut ranks = BTreeSet::new();
    let mut free = columns;
    for piece in by_rank {
        let taken = width(&piece.text) + 2;
        if taken <= free || ranks.is_empty() {
            free = free.saturating_sub(taken);
            ranks.insert(piece.rank);
        }
    }
    ranks
}

/// No two of the same rank.
fn pieces(model: &Model, panes: &Panes) -> Vec<Piece> {
    let status = &model.status;
    let mut pieces = Vec::new();
    let mut add = |rank, is_alert, text: String| pieces.push(Piece { text, is_alert, rank });
    let room = model.rooms.get(model.current);
    if let Some(room) = room.filter(|room| !room.name.is_empty()) {
        let columns = usize::from(panes.status.width);
        let columns = columns.saturating_sub(OTHER_COLUMNS).max(columns / 3);
        add(4, false, cut(&room.label(), columns).into_owned());
    }
    match status.link {
        Link::Connecting => add(0, true, "connecting…".to_owned()),
        Link::In => {}
        Link::Silent { since } => {
            add(0, true, format!("server silent for {} s", model.now.saturating_sub(since) / 1000));
        }
        Link::Lost { retry_at } => add(0, true, lost(retry_at, model.now)),
    }
    let below = room.map_or(0, |room| room.talk.lines_below());
    if room.is_some_and(|room| !room.talk.is_at_end()) {
        add(3, true, format!("↓ {below} below"));
    }
    if panes.rooms.width == 0 && model.rooms.len() > 1 {
        let others = elsewhere(model);
        if !others.is_empty() {
            add(6, false, others);
        }
    }
    if status.is_deafened {
        add(2, true, "deafened".to_owned());
    }
    if let Some(voice) = model.voice_elsewhere() {
        add(5, true, voice);
    }
    if status.is_muted {
        add(1, true, "muted".to_owned());
    } else if let Some(mic) = status.mic {
        add(1, false, microphone(mic));
        add(7, false, meter(mic.level));
    }
    let speakers: Vec<_> = room.into_iter().flat_map(|room| room.members.speakers()).take(3).collect();
    if panes.members.width == 0 && !speakers.is_empty() {
        let names: Vec<_> = speakers.iter().map(|member| member.name.as_str()).collect();
        add(8, false, format!("♪ {}", names.join(", ")));
    }
    if let Some(rtt) = status.rtt_ms {
        add(9, false, format!("{rtt} ms"));
    }
    if status.lost_per_mille > 0 {
        let (whole, tenths) = (status.lost_per_mille / 10, status.lost_per_mille % 10);
        add(10, false, format!("{whole}.{tenths} % lost"));
    }
    if let Some(path) = status.path {
        let path = match path {
            Path::Udp => "UDP",
            Path::Tcp => "TCP",
            Path::Both => "UDP+TCP",
        };
        add(11, false, path.to_owned());
    }
    pieces
}

fn lost(retry_at: u64, now: u64) -> String {
    match retry_at.saturating_sub(now).div_ceil(1000) {
        0 => "connection lost, trying…".to_owned(),
        seconds => format!("connection lost, next try in {seconds} s"),
    }
}

/// Rooms in which something is new.
fn elsewhere(model: &Model) -> String {
    let rooms = model.rooms.iter().enumerate().filter(|(n, room)| *n != model.current && room.unread > 0);
    let counts = rooms.map(|(n, room)| {
        let mark = if room.mentions > 0 { "!" } else { "" };
        format!("{}:{}{mark}", n + 1, room.unread)
    });
    counts.collect::<Vec<_>>().join(" ")
}

fn microphone(mic: Mic) -> String {
    let gate = match mic.gate {
        Gate::Voice => "voice",
        Gate::Level => "level",
        Gate::Open => "open",
        Gate::PushToTalk { is_held: true } => "ptt talking",
        Gate::PushToTalk { is_held: false } => "ptt off",
    };
    let mark = if mic.is_sent { "●" } else { "○" };
    format!("{mark} {gate}")
}

/// So much of a name that it leaves room for others.
fn cut(name: &str, columns: usize) -> Cow<'_, str> {
    match fitting(name, columns) {
        all if all == name.len() => name.into(),
        _ => format!("{}…", &name[..fitting(name, columns.saturating_sub(1))]).into(),
    }
}
