//! Whole numbers, as they are given.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

/// For a `value_parser`: any number of the range, and plain words for all else.
pub fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("it is a whole number from {} to {}", range.start(), range.end()))
    }
}
