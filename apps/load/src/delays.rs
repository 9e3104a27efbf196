//! How late things were: a histogram with three significant digits, from a microsecond to a minute.

use hdrhistogram::Histogram;
use serde::Serialize;

const LONGEST_NS: u64 = 60_000_000_000;

/// Delays of one kind.
#[derive(Debug, Default)]
pub(crate) struct Delays(Option<Histogram<u64>>);

/// What is told of them, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

impl Delays {
    pub(crate) fn record(&mut self, delay_ns: u64) {
        if self.0.is_none() {
            // These bounds are valid ones.
            self.0 = Histogram::new_with_bounds(1_000, LONGEST_NS, 3).ok();
        }
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(delay_ns);
        }
    }

    /// `None` when there was none.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let histogram = self.0.as_ref()?;
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Some(Percentiles {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1e6,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut delays = Delays::default();
        assert_eq!(delays.percentiles(), None);
        for ms in 1..=1000 {
            delays.record(ms * 1_000_000);
        }
        let Percentiles { p50_ms, p99_ms, p999_ms, max_ms } = delays.percentiles().unwrap();
        for (seen, expected) in [(p50_ms, 500.0), (p99_ms, 990.0), (p999_ms, 999.0), (max_ms, 1000.0)] {
            assert!((seen - expected).abs() <= expected / 900.0, "{seen} {expected}");
        }
        // Longer than there is room for: at the end, not forgotten.
        delays.record(u64::MAX);
        assert!(delays.percentiles().unwrap().max_ms >= 60_000.0);
    }
}
