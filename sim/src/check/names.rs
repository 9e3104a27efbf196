//! How clients and rooms are called.

use chinwag_proto::limits::DEFAULT_ROOM;

/// The name of a client's user: another number behind it does not make it another's.
pub(crate) fn name_of(client: u32) -> String {
    format!("{client} Person")
}

/// The rooms of a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rooms {
    pub(crate) count: u32,
    /// Rooms beside those, in which nobody is at first.
    pub(crate) others: u32,
    /// The first is the one in which classic peers are.
    pub(crate) has_classics: bool,
}

impl Rooms {
    /// The number of the room of a client.
    pub(crate) fn of(self, client: u32) -> u32 {
        client % self.count
    }

    /// The name of the room of a client.
    pub(crate) fn name_for(self, client: u32) -> String {
        self.name_of(self.of(client))
    }

    /// The name of a room.
    pub(crate) fn name_of(self, room: u32) -> String {
        match room {
            0 if self.has_classics => DEFAULT_ROOM.to_owned(),
            room => format!("room {room}"),
        }
    }
}

/// Whether a client may go by that name: its user's, or that with a number, which it was offered when a stranger had it.
pub(super) fn is_name_of(name: &str, client: u32) -> bool {
    name.starts_with(&name_of(client))
}
