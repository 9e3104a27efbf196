//! What the user wants of devices in the conversation, and what he is told of them.

use std::sync::Arc;

use chinwag_audio::device::{DeviceInfo, Direction};
use chinwag_proto::text::escape;
use chinwag_transport_mio::Waker;

use super::{
    Voice,
    change::{Answer, Changer, Used, Wish},
    open::{NONE, is_wav},
};
use crate::devices::numbered;

/// What the microphone or the speaker is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    Device,
    File,
    Nothing,
}

impl Use {
    pub(super) fn of(choice: &str) -> Self {
        match choice {
            NONE => Self::Nothing,
            choice if is_wav(choice) => Self::File,
            _ => Self::Device,
        }
    }
}

/// Microphones come first where there are both.
fn place(direction: Direction) -> usize {
    usize::from(direction == Direction::Output)
}

/// What the user is told of devices.
#[derive(Debug)]
pub(crate) enum DeviceNews {
    Notice(String),
    /// The names of microphones and speakers.
    Names([Vec<String>; 2]),
}

impl Voice {
    /// Asks which devices there are; [`Self::device_news`] tells. Else what is wrong with that.
    pub(crate) fn list_devices(&mut self, waker: &Arc<Waker>) -> Option<String> {
        self.wish(Wish::List, waker)
    }

    /// Uses another device, as soon as it is open; [`Self::device_news`] tells. Else what is wrong with that.
    pub(crate) fn use_device(
        &mut self,
        direction: Direction,
        choice: &str,
        waker: &Arc<Waker>,
    ) -> Option<String> {
        let flag = ["--mic", "--speaker"][place(direction)];
        if self.uses[place(direction)] == Use::File {
            return Some(format!("your {direction} is a file ({flag}), and stays so in this conversation"));
        }
        if is_wav(choice) {
            return Some(format!("a file can be your {direction} only from the start: {flag} FILE.wav"));
        }
        let (choice, in_use) = (choice.to_owned(), self.devices[place(direction)].clone());
        self.wish(Wish::Use { direction, choice, in_use }, waker)
    }

    fn wish(&mut self, wish: Wish, waker: &Arc<Waker>) -> Option<String> {
        if self.changer.is_none() {
            match Changer::start(self.to_sound.clone(), Arc::clone(waker)) {
                Ok(changer) => self.changer = Some(changer),
                Err(error) => return Some(format!("{error:#}")),
            }
        }
        let is_taken = self.changer.as_ref().is_some_and(|changer| changer.wish(wish));
        (!is_taken).then(|| "the sound system has not answered yet; try again in a moment".to_owned())
    }

    /// What came of what was wanted of devices, if anything is new.
    pub(crate) fn device_news(&mut self) -> Vec<DeviceNews> {
        let answers: Vec<_> =
            self.changer.iter().flat_map(|changer| std::iter::from_fn(|| changer.answer())).collect();
        answers.into_iter().flat_map(|answer| self.answered(answer)).collect()
    }

    fn answered(&mut self, answer: Answer) -> Vec<DeviceNews> {
        let notice = match answer {
            Answer::Listed(devices) => {
                let names = [Direction::Input, Direction::Output].map(|direction| {
                    let fitting = devices.iter().filter(|found| found.direction == direction);
                    fitting.map(|found| found.name.clone()).collect()
                });
                return vec![DeviceNews::Notice(self.listed(&devices)), DeviceNews::Names(names)];
            }
            Answer::Used(direction, used) => {
                if !matches!(used, Used::Already(_)) {
                    let is_device = used != Used::Nothing;
                    self.uses[place(direction)] = if is_device { Use::Device } else { Use::Nothing };
                }
                let by = ["you speak into", "you hear by"][place(direction)];
                match used {
                    Used::Default => format!("{by} the default {direction} now"),
                    Used::Named(name) => format!("{by} \"{}\" now", escape(&name)),
                    Used::Already(name) => format!("{by} \"{}\" already", escape(&name)),
                    Used::Nothing => format!("{by} no {direction} now"),
                }
            }
            Answer::Failed(why) => format!("{}; nothing has changed", escape(&why)),
        };
        vec![DeviceNews::Notice(notice)]
    }

    /// Which devices there are, in words.
    fn listed(&self, devices: &[DeviceInfo]) -> String {
        if devices.is_empty() {
            return "no sound devices were found".to_owned();
        }
        let mut lines = Vec::new();
        for (direction, command) in [(Direction::Input, "/input"), (Direction::Output, "/output")] {
            let own = match self.uses[place(direction)] {
                Use::Device => "",
                Use::File => " (yours is a file)",
                Use::Nothing => " (you use none)",
            };
            lines.push(format!("{direction}s, for {command}{own}:"));
            lines.extend(numbered(devices, direction, self.devices[place(direction)].as_deref()));
        }
        lines.join("\n")
    }
}
