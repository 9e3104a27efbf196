//! Classic peers in the world: when they act, and what a script makes them do.

use super::{Phase, World};
use crate::{
    classic::{Deed, Mood},
    net::{Event, Fault},
    script::Action,
    spec::Key,
};

impl World<'_> {
    /// The link of a classic peer.
    fn classic_link(&self, number: u32) -> u32 {
        self.scenario.clients + u32::try_from(self.strangers.len()).unwrap_or(0) + number
    }

    /// Plans the first of what they do, and of what happens to their links.
    pub(super) fn plan_classics(&mut self, spread_us: u64) {
        for number in 0..u32::try_from(self.classics.len()).unwrap_or(0) {
            let after_us = self.classics[number as usize].joins_after(spread_us);
            self.net.after(after_us, Event::Turn(number));
            let link = self.classic_link(number);
            self.net.plan(link, Key::Cut, Fault::Cut(link));
            self.net.plan(link, Key::Reset, Fault::Reset(link));
        }
    }

    /// A classic peer does something.
    pub(super) fn turn(&mut self, number: u32) {
        let Self { net, check, classics, phase, .. } = self;
        let mood = match phase {
            Phase::Faults => Mood::Talk,
            Phase::Core | Phase::Whole => Mood::Settle,
            Phase::Quit => Mood::Leave,
        };
        if let Some(classic) = classics.get_mut(number as usize) {
            let is_taken = check.stays_in(0);
            let after_us = classic.turn(net, check, mood, is_taken);
            net.after(after_us, Event::Turn(number));
        }
    }

    /// A step of a script for a classic peer.
    pub(super) fn step_of_classic(&mut self, number: u32, action: Action) {
        let link = self.classic_link(number);
        let Self { net, check, classics, .. } = self;
        let Some(classic) = classics.get_mut(number as usize) else { return };
        let deed = match action {
            Action::Cut(_) => return net.cut(link),
            Action::Reset(_) => return net.reset_link(link),
            Action::Join(_) => Deed::Join,
            Action::Quit(_) => Deed::Quit,
            Action::Say(_) => Deed::Say,
            Action::Rebind(_) => Deed::QuitInTwo,
            Action::Fall(_) => Deed::Vanish,
            Action::PauseClient(_) => Deed::BeDeaf,
            Action::JumpClient(_) => Deed::Flood,
            Action::Talk(_)
            | Action::Partition
            | Action::Crash
            | Action::PauseServer
            | Action::JumpServer
            | Action::Harm(_)
            | Action::Set(..) => Deed::Anything,
        };
        classic.act(net, check, deed);
    }

    /// What keeps classic peers from being at rest.
    pub(super) fn unrest_of_classics(&self) -> Option<String> {
        let mut classics = (0..).zip(&self.classics);
        classics.find_map(|(number, classic)| {
            let what = classic.unrest(&self.check)?;
            Some(format!("classic peer {number}: {what}"))
        })
    }
}
