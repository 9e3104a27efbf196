//! Which frames have come, and which can be played: flags for the last ten seconds of media time.

/// Blocks remembered.
const WINDOW: i64 = 1024;

/// The frame itself arrived.
const OWN: u8 = 1;
/// It, or a copy of it, arrived.
const WHOLE: u8 = 2;
/// It can be played, from in-band FEC at least.
const PLAYABLE: u8 = 4;

/// Flags by media time in blocks.
#[derive(Debug)]
pub(super) struct Seen {
    flags: Vec<u8>,
    newest: Option<i64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { flags: vec![0; WINDOW as usize], newest: None }
    }
}

/// What a frame's arrival was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// Nothing of it was there.
    First,
    /// A copy was there.
    AfterCopy,
    /// It was there.
    Again,
    /// Too long ago to know.
    Ancient,
}

impl Seen {
    /// The frame at `media`, or a copy of it, arrived. Also tells whether it can be played only from now on.
    pub(super) fn whole(&mut self, media: i64, is_copy: bool) -> (Arrival, bool) {
        let Some(flags) = self.at(media) else { return (Arrival::Ancient, false) };
        let before = *flags;
        *flags |= WHOLE | PLAYABLE | if is_copy { 0 } else { OWN };
        let arrival = match (before & OWN > 0, before & WHOLE > 0) {
            (false, false) => Arrival::First,
            (false, true) if !is_copy => Arrival::AfterCopy,
            _ => Arrival::Again,
        };
        (arrival, before & PLAYABLE == 0)
    }

    /// In-band FEC for the frame at `media` arrived. True if it can be played only from now on.
    pub(super) fn fec(&mut self, media: i64) -> bool {
        let Some(flags) = self.at(media) else { return false };
        let was = *flags & PLAYABLE > 0;
        *flags |= PLAYABLE;
        !was
    }

    /// Whether the frame itself has come.
    pub(super) fn own(&self, media: i64) -> bool {
        self.newest.is_some_and(|newest| (newest - WINDOW + 1..=newest).contains(&media))
            && self.flags.get(media.rem_euclid(WINDOW) as usize).is_some_and(|f| f & OWN > 0)
    }

    pub(super) fn clear(&mut self) {
        self.flags.fill(0);
        self.newest = None;
    }

    fn at(&mut self, media: i64) -> Option<&mut u8> {
        let newest = *self.newest.get_or_insert(media);
        if media <= newest - WINDOW {
            return None;
        }
        if media > newest {
            if media - newest >= WINDOW {
                self.flags.fill(0);
            } else {
                (newest + 1..=media).for_each(|m| self.flags[m.rem_euclid(WINDOW) as usize] = 0);
            }
            self.newest = Some(media);
        }
        self.flags.get_mut(media.rem_euclid(WINDOW) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_frame_its_copies_and_its_fec_apart() {
        let mut seen = Seen::default();
        assert_eq!(seen.whole(-5, false), (Arrival::First, true));
        assert_eq!(seen.whole(-5, false), (Arrival::Again, false));
        assert_eq!(seen.whole(-5, true), (Arrival::Again, false));
        assert_eq!(seen.whole(7, true), (Arrival::First, true));
        assert!(!seen.own(7) && seen.own(-5));
        assert_eq!(seen.whole(7, false), (Arrival::AfterCopy, false));
        assert_eq!(seen.whole(7, false), (Arrival::Again, false));
        assert!(seen.fec(6) && !seen.fec(6) && !seen.own(6));
        assert_eq!(seen.whole(6, false), (Arrival::First, false));
        assert_eq!(seen.whole(7 + WINDOW, false), (Arrival::First, true));
        assert_eq!(seen.whole(7, false), (Arrival::Ancient, false));
        assert_eq!(seen.whole(8, false), (Arrival::First, true));
        assert!(!seen.own(7) && !seen.own(i64::MIN / 2));
        assert_eq!(seen.whole(7 + 9 * WINDOW, true), (Arrival::First, true));
        assert_eq!(seen.whole(8 + 8 * WINDOW, true), (Arrival::First, true), "forgotten as time went on");
    }
}
