//! Whether everybody is told every message once and in one order, and how late.
//!
//! The order in which the first of a room was told is the room's; whoever is told another has lost, doubled or reordered
//! something, and so has the server when a sender's messages are not in the order in which it said them.

use crate::delays::Delays;

/// One room: the messages in their order, by number.
#[derive(Clone, Debug, Default)]
struct Room {
    order: Vec<u32>,
    /// How many of them were said there, by whomever.
    said: u32,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Texts {
    /// Distinguishes these messages from those of any other run or program.
    run: u64,
    rooms: Vec<Room>,
    /// How far each listener was told.
    told: Vec<usize>,
    /// Each sender's last message in its room's order.
    last: Vec<u32>,
    /// Each message's place in its room's order, once anybody was told.
    places: Vec<Option<usize>>,
    next: u32,
    /// Each of them is one too many.
    pub(crate) wrong: Wrong,
    pub(crate) delivered: u64,
    pub(crate) delays: Delays,
    /// How long those who said them waited for the server's word that it has them.
    pub(crate) acknowledgements: Delays,
}

/// What must not happen to text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wrong {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
}

impl Texts {
    pub(crate) fn new(run: u64, listeners: usize, rooms: usize) -> Self {
        Self {
            run,
            rooms: vec![Room::default(); rooms.max(1)],
            told: vec![0; listeners],
            last: vec![0; listeners],
            places: vec![None],
            next: 0,
            wrong: Wrong::default(),
            delivered: 0,
            delays: Delays::default(),
            acknowledgements: Delays::default(),
        }
    }

    /// The next message of `sender`, who says it now. Say so by [`Texts::note_said`] when it was taken.
    pub(crate) fn next_text(&self, sender: usize, now_ns: u64) -> String {
        format!("load {:x} {sender} {} {now_ns}", self.run, self.next + 1)
    }

    pub(crate) fn note_said(&mut self, sender: usize) {
        self.next += 1;
        self.places.push(None);
        let room = sender % self.rooms.len();
        if let Some(room) = self.rooms.get_mut(room) {
            room.said += 1;
        }
    }

    /// Messages that were said.
    pub(crate) fn said(&self) -> u64 {
        u64::from(self.next)
    }

    /// What `listener` was told. Other people's words are no matter of ours.
    pub(crate) fn take(&mut self, listener: usize, text: &str, is_own: bool, now_ns: u64) {
        let Some((sender, number, sent_ns)) = self.parse(text) else { return };
        let room = listener % self.rooms.len();
        let (Some(room), Some(told)) = (self.rooms.get_mut(room), self.told.get_mut(listener)) else {
            return;
        };
        let Some(place) = self.places.get_mut(number as usize) else { return };
        let delays = if is_own { &mut self.acknowledgements } else { &mut self.delays };
        delays.record(now_ns.saturating_sub(sent_ns));
        match room.order.get(*told) {
            Some(&expected) if expected == number => {
                *told += 1;
                self.delivered += 1;
            }
            // The first of the room to be told.
            None if place.is_none() => {
                *place = Some(room.order.len());
                room.order.push(number);
                *told += 1;
                self.delivered += 1;
                if let Some(last) = self.last.get_mut(sender)
                    && number <= std::mem::replace(last, number)
                {
                    self.wrong.reordered += 1;
                }
            }
            Some(_) | None => {
                // Out of step: what lies between was lost, unless it was told before.
                match *place {
                    Some(at) if at < *told => self.wrong.doubled += 1,
                    Some(at) => {
                        *told = at + 1;
                        self.delivered += 1;
                    }
                    None => self.wrong.reordered += 1,
                }
            }
        }
    }

    fn parse(&self, text: &str) -> Option<(usize, u32, u64)> {
        let mut words = text.strip_prefix("load ")?.split(' ');
        let run = u64::from_str_radix(words.next()?, 16).ok()?;
        let (sender, number, sent_ns) =
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (run == self.run && words.next().is_none()).then_some((sender, number, sent_ns))
    }

    /// Deliveries that there should be, those of the senders themselves included.
    pub(crate) fn expected(&self) -> u64 {
        let rooms = self.rooms.len();
        let listeners = self.told.len();
        let members = |room: usize| (room..listeners).step_by(rooms).count() as u64;
        self.rooms.iter().enumerate().map(|(number, room)| u64::from(room.said) * members(number)).sum()
    }

    /// True when everybody was told everything.
    pub(crate) fn is_complete(&self) -> bool {
        self.delivered >= self.expected()
    }

    /// What did not come, and what came wrong. Call when nothing more is to come.
    pub(crate) fn verdict(&self) -> Wrong {
        Wrong { lost: self.expected().saturating_sub(self.delivered), ..self.wrong }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says messages of these senders and returns them.
    fn say(texts: &mut Texts, senders: &[usize]) -> Vec<String> {
        let said = senders.iter().map(|&sender| {
            let text = texts.next_text(sender, 100);
            texts.note_said(sender);
            text
        });
        said.collect()
    }

    #[test]
    fn all_told_in_one_order_is_right() {
        let mut texts = Texts::new(7, 4, 2);
        let said = say(&mut texts, &[0, 1, 2, 0]);
        assert_eq!((texts.said(), texts.expected()), (4, 8));
        // The room's order need not be that in which different people spoke.
        for (listener, order) in [(2, [2, 0, 3].as_slice()), (0, &[2, 0, 3]), (1, &[1]), (3, &[1])] {
            assert!(!texts.is_complete());
            order.iter().for_each(|&n| texts.take(listener, &said[n], false, 150));
        }
        assert!(texts.is_complete());
        assert_eq!((texts.verdict(), texts.delivered), (Wrong::default(), 8));
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        for (first, second, wrong) in [
            ([0, 1, 2].as_slice(), [0, 2].as_slice(), Wrong { lost: 1, ..Wrong::default() }),
            (&[0, 1, 2], &[0, 1], Wrong { lost: 1, ..Wrong::default() }),
            (&[0, 1, 2], &[0, 1, 1, 2], Wrong { doubled: 1, ..Wrong::default() }),
            (&[0, 1, 2, 2], &[0, 1, 2], Wrong { doubled: 1, ..Wrong::default() }),
            (&[0, 1, 2], &[1, 0, 2], Wrong { lost: 1, doubled: 1, ..Wrong::default() }),
            // Sender 0 said message 0 before message 2.
            (&[2, 1, 0], &[2, 1, 0], Wrong { reordered: 1, ..Wrong::default() }),
        ] {
            let mut texts = Texts::new(7, 2, 1);
            let said = say(&mut texts, &[0, 1, 0]);
            first.iter().for_each(|&n| texts.take(0, &said[n], false, 150));
            second.iter().for_each(|&n| texts.take(1, &said[n], true, 150));
            assert_eq!(texts.verdict(), wrong, "{first:?} {second:?}");
        }
    }

    #[test]
    fn words_of_others_do_not_count() {
        let mut texts = Texts::new(7, 1, 1);
        let said = say(&mut Texts::new(8, 1, 1), &[0]);
        let long = format!("{} more", say(&mut texts, &[0])[0]);
        for text in ["", "hello", "load", "load 7", "load 7 0 x 1", &said[0], &long] {
            texts.take(0, text, false, 0);
        }
        assert_eq!((texts.delivered, texts.delays.percentiles()), (0, None));
    }
}
