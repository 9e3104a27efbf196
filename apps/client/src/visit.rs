//! What is remembered of the conversation that goes on: where it is, by what name, how loud others are to be heard in it.

use chinwag_proto::link::Link;
use chinwag_screen::Button;

use crate::memory::Memory;

/// See the module.
#[derive(Debug)]
pub(crate) struct Visit {
    memory: Memory,
    link: Link,
    /// The name that the user chose.
    name: String,
}

impl Visit {
    /// Of a server, which need not let him in.
    pub(crate) fn new(memory: Memory, link: Link, name: String) -> Self {
        Self { memory, link, name }
    }

    /// The server let him in. What the user should know is that it cannot be remembered.
    pub(crate) fn joined(&mut self) -> Option<String> {
        self.memory.joined(&self.link, &self.name)
    }

    /// The user talks by this key. What the user should know is that it cannot be remembered.
    pub(crate) fn set_button(&mut self, button: Button) -> Option<String> {
        self.memory.set_button(button)
    }

    /// How much louder somebody is to be heard, in dB, if that was ever said.
    pub(crate) fn volume(&self, name: &str) -> Option<f32> {
        self.memory.volume(&self.link, name)
    }

    /// Somebody is to be heard so much louder, in dB. What the user should know is that it cannot be remembered.
    pub(crate) fn set_volume(&mut self, name: &str, db: f32) -> Option<String> {
        self.memory.set_volume(&self.link, name, db)
    }
}
