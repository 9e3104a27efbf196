//! What Tab makes of the beginning of a word: names, commands, rooms, devices; one after the other, when it is pressed again.

use std::collections::BTreeSet;

use crate::{
    commands::{Mode, beginning_with},
    model::Model,
};

/// Words before the cursor of which a name with blanks in it may consist.
const NAME_WORDS: usize = 4;

/// What there is to choose from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Completion {
    /// The byte of the line at which what is completed begins.
    from: usize,
    choices: Vec<String>,
    next: usize,
}

impl Model {
    /// Tab was pressed.
    pub(crate) fn complete(&mut self) {
        let completion = self.completion.take().or_else(|| self.begin_completion());
        let Some(mut completion) = completion else { return self.ring() };
        if let Some(choice) = completion.choices.get(completion.next) {
            self.editor.replace(completion.from, choice);
        }
        completion.next = (completion.next + 1) % completion.choices.len().max(1);
        // Of one there is no other.
        self.completion = Some(completion).filter(|completion| completion.choices.len() > 1);
    }

    fn begin_completion(&self) -> Option<Completion> {
        let before = &self.editor.text()[..self.editor.cursor()];
        if before.starts_with('/') && !before.contains(' ') {
            let commands = beginning_with(before, Mode::Full);
            let choices: Vec<_> = commands.into_iter().map(|name| format!("{name} ")).collect();
            return Some(Completion { from: 0, choices, next: 0 }).filter(|found| !found.choices.is_empty());
        }
        if let Some((from, all)) = self.all_for(before) {
            let choices: Vec<_> = all.into_iter().filter(|name| begins_with(name, &before[from..])).collect();
            return Some(Completion { from, choices, next: 0 }).filter(|found| !found.choices.is_empty());
        }
        let words = before.match_indices(' ').map(|(at, _)| at + 1);
        let mut starts: Vec<_> = std::iter::once(0).chain(words).collect();
        starts.drain(..starts.len().saturating_sub(NAME_WORDS));
        starts.into_iter().find_map(|from| {
            let choices = self.names(&before[from..], from == 0);
            (!choices.is_empty()).then_some(Completion { from, choices, next: 0 })
        })
    }

    /// Where a command takes nothing but one of these: where that begins, and all of them.
    fn all_for(&self, before: &str) -> Option<(usize, Vec<String>)> {
        let (command, _) = before.split_once(' ')?;
        let all = match command.to_lowercase().as_str() {
            "/input" => self.devices[0].clone(),
            "/output" => self.devices[1].clone(),
            "/join" => {
                let mine = self.rooms.iter().filter(|room| !room.is_private).map(|room| &room.name);
                mine.chain(&self.listed).cloned().collect::<BTreeSet<_>>().into_iter().collect()
            }
            _ => return None,
        };
        Some((command.len() + 1, all))
    }

    /// Members, then rooms, that begin so. `is_first`: it is who the line is said to.
    fn names(&self, prefix: &str, is_first: bool) -> Vec<String> {
        let Some(room) = self.rooms.get(self.current).filter(|_| !prefix.trim().is_empty()) else {
            return vec![];
        };
        let behind = if is_first { ": " } else { " " };
        let members = room.members.beginning_with(prefix).into_iter().map(|name| name + behind);
        let rooms = self.rooms.iter().map(|room| &room.name);
        let rooms = rooms.filter(|name| begins_with(name, prefix));
        members.chain(rooms.map(|name| format!("{name} "))).collect()
    }
}

/// In any case.
fn begins_with(name: &str, prefix: &str) -> bool {
    name.to_lowercase().starts_with(&prefix.to_lowercase())
}
