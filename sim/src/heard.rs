//! Which voice frames of one talker reached one listener, how often, and by which way: the last
//! [`REMEMBERED`] frames. More copies by one way than were sent are a failure.

/// Frames that are looked back.
const REMEMBERED: u64 = 2048;

/// By which way a frame came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Udp,
    Tcp,
}

/// What a frame's arrival was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    First,
    Again,
    /// Older than what is remembered.
    Ancient,
    /// By this way more often than the talker sent it.
    TooOften,
}

/// How often frames came, by their number.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    frames: Vec<(u64, [u8; 2])>,
}

impl Heard {
    /// Frame `number` came; its talker sent it `sent` times, copies and both ways counted.
    pub(crate) fn note(&mut self, number: u64, way: Way, sent: u8) -> Arrival {
        let slot = (number % REMEMBERED) as usize;
        if self.frames.len() <= slot {
            self.frames.resize(slot + 1, (0, [0; 2]));
        }
        let Some((remembered, times)) = self.frames.get_mut(slot) else { return Arrival::Ancient };
        if *remembered > number {
            return Arrival::Ancient;
        }
        if *remembered < number {
            (*remembered, *times) = (number, [0; 2]);
        }
        let is_first = *times == [0; 2];
        let times = &mut times[way as usize];
        *times = times.saturating_add(1);
        match (*times > sent, is_first) {
            (true, _) => Arrival::TooOften,
            (false, true) => Arrival::First,
            (false, false) => Arrival::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_often_as_it_was_sent_is_all_that_may_come_by_one_way() {
        let mut heard = Heard::default();
        assert_eq!(heard.note(1, Way::Udp, 1), Arrival::First);
        assert_eq!(heard.note(1, Way::Tcp, 1), Arrival::Again);
        assert_eq!(heard.note(1, Way::Udp, 1), Arrival::TooOften);
        assert_eq!(heard.note(2, Way::Tcp, 2), Arrival::First);
        assert_eq!(heard.note(2, Way::Tcp, 2), Arrival::Again);
        assert_eq!(heard.note(2, Way::Tcp, 2), Arrival::TooOften);
        assert_eq!(heard.note(1 + REMEMBERED, Way::Udp, 1), Arrival::First);
        assert_eq!(heard.note(1, Way::Udp, 1), Arrival::Ancient);
    }
}
