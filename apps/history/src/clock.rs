//! Whether the computer's clock can be believed when it says that messages are old.
//!
//! A clock that is far ahead, by a typing error or after a start without a battery, would have a history forget all at once what it keeps for
//! days. So the calendar is held against the time that the machine has been up, and, over a restart, against what it said last. Where it
//! leaps, nothing is forgotten by age until it has gone on like that for an hour: by then a machine has asked the network for the time, and
//! a person has read the warning. More would be worth less: a server that is on for an evening now and then would never forget. A server that
//! was off for more than a day begins to forget an hour later; that does no harm, and needs no flag.

use std::time::Duration;

use chinwag_proto::history::UnixMillis;
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::Fault;

/// By how much the calendar may be off what was expected.
const LEAP: Duration = Duration::from_secs(24 * 60 * 60);
/// After so long a calendar that leapt is believed.
pub const CLOCK_TRIAL: Duration = Duration::from_secs(60 * 60);
/// Between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How old the calendar that is kept in the file may become.
const NOTE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// What the calendar said when the machine had been up for so long.
#[derive(Clone, Copy, Debug)]
struct Look {
    calendar: UnixMillis,
    up: Duration,
}

impl Look {
    /// Whether this calendar is, but for a [`LEAP`], what comes of it.
    fn leads_to(self, other: Self) -> bool {
        let passed = other.up.saturating_sub(self.up);
        let expected = self.calendar.0.saturating_add(millis(passed));
        expected.abs_diff(other.calendar.0) <= millis(LEAP)
    }
}

/// What is known of the clock.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    believed: Option<Look>,
    /// Since when it has been going on otherwise.
    on_trial: Option<Look>,
    warned: Option<Duration>,
    noted: Option<UnixMillis>,
}

impl Clock {
    /// What a history says of it.
    ///
    /// # Errors
    /// What SQLite says.
    pub(crate) fn of(connection: &Connection) -> Result<Self, Fault> {
        let noted =
            connection.query_row("SELECT at FROM clock", (), |row| row.get::<_, i64>(0)).optional()?;
        let noted = noted.map(|at| UnixMillis(at.cast_unsigned()));
        let believed = noted.map(|calendar| Look { calendar, up: Duration::ZERO });
        Ok(Self { believed, noted, ..Self::default() })
    }

    /// Whether the calendar is believed; `up` counts from the start.
    pub(crate) fn believes(&mut self, calendar: UnixMillis, up: Duration) -> bool {
        let now = Look { calendar, up };
        let is_expected = self.believed.is_none_or(|believed| believed.leads_to(now));
        let trial = self.on_trial.filter(|trial| trial.leads_to(now)).unwrap_or(now);
        if is_expected || up.saturating_sub(trial.up) >= CLOCK_TRIAL {
            self.believed = Some(now);
            (self.on_trial, self.warned) = (None, None);
            return true;
        }
        self.on_trial = Some(trial);
        false
    }

    /// Words on a calendar that is not believed, now and then.
    pub(crate) fn warning(&mut self, calendar: UnixMillis, up: Duration) -> Option<String> {
        let (believed, trial) = (self.believed?, self.on_trial?);
        if self.warned.is_some_and(|warned| up < warned + WARNING_INTERVAL) {
            return None;
        }
        self.warned = Some(up);
        let days = calendar.0.saturating_sub(believed.calendar.0) / millis(LEAP);
        let minutes = (CLOCK_TRIAL.saturating_sub(up.saturating_sub(trial.up))).as_secs().div_ceil(60);
        Some(format!(
            "by this computer's clock {days} days have gone by since it was last looked at; if that is wrong, set the clock within {minutes} \
             minutes, else what is too old by it is forgotten then"
        ))
    }

    /// Keeps a calendar that is believed, so that it is known after a restart; not each time.
    ///
    /// # Errors
    /// What SQLite says.
    pub(crate) fn note(&mut self, connection: &Connection) -> Result<(), Fault> {
        let Some(Look { calendar, .. }) = self.believed.filter(|_| self.on_trial.is_none()) else {
            return Ok(());
        };
        if self.noted.is_none_or(|noted| noted.0.abs_diff(calendar.0) > millis(NOTE_INTERVAL)) {
            connection
                .prepare_cached("INSERT OR REPLACE INTO clock (id, at) VALUES (1, ?1)")?
                .execute((calendar.0.cast_signed(),))?;
            self.noted = Some(calendar);
        }
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const DAY: u64 = 24 * 60 * MINUTE;
    /// Some day, in seconds.
    const TODAY: u64 = 20_000 * DAY;

    /// A clock that was believed at the start.
    fn clock(at: u64) -> Clock {
        let believed = Some(Look { calendar: UnixMillis(at * 1000), up: Duration::ZERO });
        Clock { believed, ..Clock::default() }
    }

    fn look(clock: &mut Clock, calendar: u64, up: u64) -> bool {
        clock.believes(UnixMillis(calendar * 1000), Duration::from_secs(up))
    }

    #[test]
    fn a_clock_that_leaps_is_believed_when_it_went_on_like_that_for_an_hour() {
        let mut clock = clock(TODAY);
        // Up for how many seconds, what the calendar says, whether it is believed.
        for (up, calendar, is_believed) in [
            (0, TODAY + DAY, true),
            (10, TODAY + 100, true),
            (20, TODAY + 400 * DAY, false),
            (30 * MINUTE, TODAY + 400 * DAY, false),
            // Another one.
            (40 * MINUTE, TODAY + 500 * DAY, false),
            (99 * MINUTE, TODAY + 500 * DAY, false),
            // It was set right.
            (99 * MINUTE + 1, TODAY, true),
            (99 * MINUTE + 2, TODAY + 500 * DAY, false),
            (159 * MINUTE + 2, TODAY + 500 * DAY, true),
            (159 * MINUTE + 3, TODAY, false),
            (219 * MINUTE + 3, TODAY, true),
            // Up for long, so that there is no leap.
            (219 * MINUTE + 3 + 9 * DAY, TODAY + 9 * DAY, true),
        ] {
            assert_eq!(look(&mut clock, calendar, up), is_believed, "after {up} s");
        }
    }

    #[test]
    fn a_clock_of_which_nothing_is_known_is_believed() {
        assert!(look(&mut Clock::default(), TODAY, 0));
        assert!(look(&mut Clock::default(), 0, 0));
    }

    #[test]
    fn a_warning_says_what_to_do_and_is_not_said_all_the_time() {
        let mut clock = clock(TODAY);
        let up = Duration::from_secs;
        let future = UnixMillis((TODAY + 3650 * DAY) * 1000);
        assert_eq!(clock.warning(future, up(0)), None);
        assert!(!clock.believes(future, up(0)));
        assert!(clock.warning(future, up(0)).unwrap().contains("3650 days"));
        assert!(!clock.believes(future, up(10)));
        assert_eq!(clock.warning(future, up(10)), None);
        assert!(clock.warning(future, up(20 * MINUTE)).unwrap().contains("within 40 minutes"));
        assert!(clock.believes(future, up(60 * MINUTE)));
        assert_eq!(clock.warning(future, up(60 * MINUTE)), None);
    }
}
