//! What keys do on the full screen.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each place is about a few keys, and there may be more of them"
)]

use chinwag_proto::limits::MESSAGE_BYTES;

use crate::{
    button::{Button, Talk},
    editor::{Entered, Outcome},
    key::Key,
    model::Model,
    overlay::{Overlay, PASTE_BYTES},
};

/// Rows by which the wheel scrolls.
const WHEEL_ROWS: usize = 3;

/// What is to be done about a key by whoever has the model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// A line was entered.
    Enter(String),
    /// Lines were pasted, and are to be said whatever they look like.
    Say(Vec<String>),
    /// A line was entered that was longer than there was room for, and is not to be said in part.
    TooLong,
    /// No more will be typed.
    End,
    /// The key of push-to-talk was pressed, or was let go.
    Talk(Talk),
    /// Everything is to be drawn anew.
    Redraw,
    /// What was said in the room before all that is here is wanted: [`Model::put_before`].
    Earlier,
}

/// A paste while it comes.
#[derive(Debug, Default)]
pub(crate) struct Paste {
    text: String,
    /// Bytes of the line that comes.
    line: usize,
    is_cut: bool,
}

impl Model {
    /// A key was pressed, at the time that was set.
    pub fn press(&mut self, key: Key) -> Option<Act> {
        if let Some(paste) = &mut self.paste {
            paste.take(key);
            if key == Key::PasteEnd {
                self.end_paste();
            }
            return None;
        }
        if let Key::Released(button) = key {
            return self.ptt.release(button).map(Act::Talk);
        }
        if Button::of(key) == Some(self.ptt.button) {
            return self.ptt.press(self.now).map(Act::Talk);
        }
        if key != Key::Tab {
            self.completion = None;
        }
        match key {
            Key::PasteBegin => {
                self.paste = Some(Paste::default());
                None
            }
            Key::FocusIn => self.changed(|model| model.set_focus(true)),
            Key::FocusOut => {
                self.set_focus(false);
                Some(Act::Talk(self.ptt.leave()))
            }
            Key::Control('l') => Some(Act::Redraw),
            _ => match self.overlay {
                Some(Overlay::Paste { .. }) => self.answer(key),
                Some(Overlay::Help { .. }) => {
                    if self.read_help(key) {
                        return None;
                    }
                    self.type_or_look(key)
                }
                None => self.type_or_look(key),
            },
        }
    }

    fn changed(&mut self, change: impl FnOnce(&mut Self)) -> Option<Act> {
        change(self);
        None
    }

    /// What is neither about a paste nor about the help.
    fn type_or_look(&mut self, key: Key) -> Option<Act> {
        let (columns, height) = self.panes.talk_size();
        match key {
            Key::PageUp => return self.scroll_up(height.saturating_sub(1).max(1)),
            Key::PageDown => self.scroll_down(height.saturating_sub(1).max(1), columns),
            Key::WheelUp => return self.scroll_up(WHEEL_ROWS),
            Key::WheelDown => self.scroll_down(WHEEL_ROWS, columns),
            Key::Escape => {
                self.search = None;
                self.scroll_to_end();
            }
            Key::Control('n') => self.look_at((self.current + 1) % self.rooms.len().max(1)),
            Key::Control('p') => {
                self.look_at(self.current.checked_sub(1).unwrap_or(self.rooms.len().saturating_sub(1)));
            }
            Key::Alt(digit @ '1'..='9') => self.look_at(digit as usize - '1' as usize),
            Key::Tab => self.complete(),
            _ => return self.edit(key),
        }
        None
    }

    fn edit(&mut self, key: Key) -> Option<Act> {
        match self.editor.press(key) {
            Outcome::Unchanged | Outcome::Changed | Outcome::Clear => None,
            Outcome::Refused => self.changed(Self::ring),
            Outcome::Entered(entered) => {
                self.editor.remember(&entered);
                let Entered { text, is_cut } = entered;
                self.scroll_to_end();
                Some(if is_cut { Act::TooLong } else { Act::Enter(text) })
            }
            Outcome::Ended => Some(Act::End),
        }
    }

    /// True if the key was for the help; all others put it away.
    fn read_help(&mut self, key: Key) -> bool {
        let height = self.panes.overlay_rows();
        let page = isize::try_from(height).unwrap_or(1);
        let by = match key {
            Key::Up => -1,
            Key::Down => 1,
            Key::WheelUp => -3,
            Key::WheelDown => 3,
            Key::PageUp => -page,
            Key::PageDown => page,
            _ => {
                self.overlay = None;
                return matches!(key, Key::Escape | Key::Enter);
            }
        };
        if let Some(overlay) = &mut self.overlay {
            overlay.scroll(by, height, self.panes.columns);
        }
        true
    }

    /// The answer to whether a paste is to be said.
    fn answer(&mut self, key: Key) -> Option<Act> {
        match (key, self.overlay.take()) {
            (Key::Enter, Some(Overlay::Paste { lines, .. })) => {
                self.scroll_to_end();
                Some(Act::Say(lines))
            }
            // Control-C ends the program, as always.
            (Key::Escape, _) => None,
            (_, overlay) => {
                self.overlay = overlay;
                None
            }
        }
    }

    /// One line goes to where the cursor is; of more it is asked whether they are meant.
    fn end_paste(&mut self) {
        let Some(Paste { text, is_cut, .. }) = self.paste.take() else { return };
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        if let ([line], false) = (&lines[..], is_cut) {
            if self.editor.insert(line) == Outcome::Refused {
                self.ring();
            }
        } else if !lines.is_empty() {
            self.overlay = Some(Overlay::Paste { lines, is_cut });
        }
    }

    fn scroll_up(&mut self, rows: usize) -> Option<Act> {
        let (columns, height) = self.panes.talk_size();
        let room = self.rooms.get_mut(self.current)?;
        room.talk.scroll_up(rows, columns, height);
        room.talk.wants_earlier(columns, height).then_some(Act::Earlier)
    }

    fn scroll_down(&mut self, rows: usize, columns: usize) {
        if let Some(room) = self.rooms.get_mut(self.current) {
            room.talk.scroll_down(rows, columns);
        }
        self.see();
    }

    fn scroll_to_end(&mut self) {
        if let Some(room) = self.rooms.get_mut(self.current) {
            room.talk.scroll_to_end();
        }
        self.see();
    }
}

impl Paste {
    fn take(&mut self, key: Key) {
        let c = match key {
            Key::Char(c) => c,
            Key::Enter => '\n',
            Key::Tab => ' ',
            _ => return,
        };
        // A line that is too long for a message is cut into several.
        if self.text.len() + 2 * c.len_utf8() > PASTE_BYTES {
            self.is_cut = true;
            return;
        }
        if c == '\n' {
            self.line = 0;
        } else if self.line + c.len_utf8() > MESSAGE_BYTES {
            self.text.push('\n');
            self.line = c.len_utf8();
        } else {
            self.line += c.len_utf8();
        }
        self.text.push(c);
    }
}
