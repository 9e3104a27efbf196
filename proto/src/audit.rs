//! How the machines' audits say what does not hold. What must hold is said by each of them.

use alloc::{collections::BTreeSet, string::String};
use core::fmt::{Debug, Display};

/// Ends an audit with what is wrong, unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($wrong:tt)+) => {
        if !$holds {
            return Err(alloc::format!($($wrong)+));
        }
    };
}
pub(crate) use ensure;

/// There are no more than `limit` of `what`.
pub(crate) fn at_most(what: impl Display, count: usize, limit: usize) -> Result<(), String> {
    ensure!(count <= limit, "{what}: {count}, the limit is {limit}");
    Ok(())
}

/// A table that is kept beside the things themselves says the same as they do.
pub(crate) fn same<T: Ord + Debug>(
    what: &str,
    kept: &BTreeSet<T>,
    actual: &BTreeSet<T>,
) -> Result<(), String> {
    if let Some(missing) = actual.difference(kept).next() {
        return Err(alloc::format!("{what}: {missing:?} is missing among {}", kept.len()));
    }
    if let Some(stray) = kept.difference(actual).next() {
        return Err(alloc::format!("{what}: {stray:?} is one too many of {}", kept.len()));
    }
    Ok(())
}

/// What is told, and what was done to a machine for that.
#[cfg(test)]
pub(crate) type Damage<'a, M> = (&'a str, fn(&mut M));

/// A machine that is as it should be passes; broken in each of these ways it does not, and its audit says so in these words.
#[cfg(test)]
pub(crate) fn assert_told<M>(
    sound: impl Fn() -> M,
    audit: impl Fn(&M) -> Result<(), String>,
    cases: &[Damage<'_, M>],
) {
    assert_eq!(audit(&sound()), Ok(()));
    for (told, damage) in cases {
        let mut machine = sound();
        damage(&mut machine);
        let wrong = audit(&machine).expect_err(told);
        assert!(wrong.contains(told), "{told:?} was expected, {wrong:?} was told");
    }
}
