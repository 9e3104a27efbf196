//! What a listener tells a talker about the path between them, so that the talker can send what gets through
//! ([`crate::adapt`]). In the manner of RTCP's receiver reports (RFC 3550 §6.4, RFC 3611), but about voice as it is
//! played: a frame that comes too late is as lost as one that does not come.

use crate::limits::MAX_TALKERS;

pub use chinwag_proto::ReceiverReport;

/// A queue below this many milliseconds is not worth telling of.
const LITTLE_QUEUE_MS: u16 = 10;

fn tells_of_trouble(report: &ReceiverReport) -> bool {
    report.lost_per_mille > 0 || report.unrecovered_per_mille > 0 || report.queue_ms > LITTLE_QUEUE_MS
}

/// Which talkers were told of trouble: that all is well again is said once, and then not repeated.
#[derive(Debug)]
pub struct Told(Vec<u32>);

impl Default for Told {
    /// Of nobody. What it will ever take is there, so that a talker in trouble costs no allocation.
    fn default() -> Self {
        Self(Vec::with_capacity(MAX_TALKERS))
    }
}

impl Told {
    /// Whether to send a report.
    pub fn is_news(&mut self, talker: u32, report: &ReceiverReport) -> bool {
        let known = self.0.iter().position(|told| *told == talker);
        match known {
            Some(at) if !tells_of_trouble(report) => _ = self.0.swap_remove(at),
            Some(_) => {}
            None if !tells_of_trouble(report) => return false,
            None => {
                if self.0.len() >= MAX_TALKERS {
                    // Of talkers that are long gone; whoever is forgotten here misses one "all is well", which silence says too.
                    self.0.clear();
                }
                self.0.push(talker);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_each_time_and_its_end_once() {
        let well = ReceiverReport { queue_ms: LITTLE_QUEUE_MS, ..ReceiverReport::default() };
        let lossy = ReceiverReport { lost_per_mille: 1, ..well };
        let mut told = Told::default();
        let reports = [(1, well), (1, lossy), (2, well), (1, lossy), (1, well), (1, well), (2, lossy)];
        let news = reports.map(|(talker, report)| told.is_news(talker, &report));
        assert_eq!(news, [false, true, false, true, true, false, true]);
        for talker in 0..10 * MAX_TALKERS as u32 {
            assert!(told.is_news(talker, &lossy));
            assert!(told.0.len() <= MAX_TALKERS);
        }
    }
}
