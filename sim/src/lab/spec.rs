//! The network of the voice lab, and how it is written: `delay=20,jitter=15,loss=5,burst=3`.

use std::{fmt, str::FromStr};

use crate::{
    random::MILLION,
    settings::{Setting, SpecError, decimal, settings, show},
};

/// Limits of the values.
const MAX_BURST: u64 = 100;
const MAX_RATE_KBPS: u64 = 1_000_000;
const MAX_SECOND: u64 = 86_400;
/// When a step is, unless it says so.
const STEP_FROM_US: u64 = 4_000_000;
const STEP_TO_US: u64 = 8_000_000;

/// What happens to packets between a talker and a listener. Times are the whole way's, in microseconds; probabilities in
/// millionths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LabNet {
    /// Every packet takes at least so long.
    pub delay_us: u64,
    /// The mean of an exponential delay on top, drawn for each packet by itself: packets overtake each other.
    pub jitter_us: u64,
    /// Packets that do not arrive.
    pub loss_ppm: u32,
    /// Mean length of a burst of lost packets, in thousandths of a packet (Gilbert 1960, Elliott 1963: a good state
    /// that loses nothing, a bad one that loses all); 1000 is independent loss.
    pub burst_milli: u32,
    /// Packets that take one to three frame times longer.
    pub reorder_ppm: u32,
    /// Packets that arrive twice, each for itself.
    pub duplicate_ppm: u32,
    /// What the narrowest link carries, in bits a second, headers counted; 0 is no limit.
    pub rate_bps: u64,
    /// So much more delay …
    pub step_us: u64,
    /// … from this time on …
    pub step_from_us: u64,
    /// … until this one.
    pub step_to_us: u64,
}

impl Default for LabNet {
    /// No faults, and no delay at all.
    fn default() -> Self {
        Self {
            delay_us: 0,
            jitter_us: 0,
            loss_ppm: 0,
            burst_milli: 1000,
            reorder_ppm: 0,
            duplicate_ppm: 0,
            rate_bps: 0,
            step_us: 0,
            step_from_us: STEP_FROM_US,
            step_to_us: STEP_TO_US,
        }
    }
}

impl LabNet {
    /// The delay that nothing is quicker than which is sent now.
    pub(crate) fn least_us(&self, now_us: u64) -> u64 {
        let is_stepped = (self.step_from_us..self.step_to_us).contains(&now_us);
        self.delay_us + if is_stepped { self.step_us } else { 0 }
    }

    /// Chance that a burst of loss begins with a packet, in millionths: so that the share of lost packets is `loss_ppm`.
    /// More than a million if bursts of this length cannot lose so much.
    pub(crate) fn enter_ppm(&self) -> u64 {
        let (loss, whole) = (u64::from(self.loss_ppm), u64::from(MILLION));
        (loss * whole * 1000).checked_div((whole - loss) * u64::from(self.burst_milli)).unwrap_or(whole)
    }

    /// Chance that a packet in a burst of loss is the first one after it.
    pub(crate) fn leave_ppm(&self) -> u64 {
        if self.loss_ppm == MILLION {
            0
        } else {
            u64::from(MILLION) * 1000 / u64::from(self.burst_milli).max(1)
        }
    }
}

impl FromStr for LabNet {
    type Err = SpecError;

    /// Reads `KEY=VALUE,...`; what is not named is as in [`LabNet::default`].
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut net = Self::default();
        for setting in settings(text)? {
            match setting.key {
                "delay" => net.delay_us = setting.us()?,
                "jitter" => net.jitter_us = setting.us()?,
                "loss" => net.loss_ppm = setting.ppm()?,
                "burst" => {
                    net.burst_milli = decimal(setting.value, 3)
                        .filter(|burst| (1000..=MAX_BURST * 1000).contains(burst))
                        .and_then(|burst| u32::try_from(burst).ok())
                        .ok_or_else(|| setting.wrong("a mean number of packets, 1 to 100"))?;
                }
                "reorder" => net.reorder_ppm = setting.ppm()?,
                "dup" => net.duplicate_ppm = setting.ppm()?,
                "rate" => {
                    net.rate_bps = decimal(setting.value, 3)
                        .filter(|bps| (1..=MAX_RATE_KBPS * 1000).contains(bps))
                        .ok_or_else(|| setting.wrong("kilobits a second, 0.001 to 1000000"))?;
                }
                "step" => (net.step_us, net.step_from_us, net.step_to_us) = step(setting)?,
                _ => {
                    return Err(setting.unknown("delay, jitter, loss, burst, reorder, dup, rate and step"));
                }
            }
        }
        if net.burst_milli > 1000 && net.enter_ppm() > u64::from(MILLION) {
            return Err(SpecError::Value {
                key: "loss".to_owned(),
                value: show(u64::from(net.loss_ppm), 4),
                expected: "at most burst / (burst + 1) of all packets",
            });
        }
        Ok(net)
    }
}

/// `MS` or `MS@FROM-TO`, from and to in seconds.
fn step(setting: Setting<'_>) -> Result<(u64, u64, u64), SpecError> {
    let (ms, times) = setting.value.split_once('@').map_or((setting.value, None), |(ms, t)| (ms, Some(t)));
    let read = || {
        let step_us = Setting { value: ms, ..setting }.us().ok()?;
        let Some(times) = times else { return Some((step_us, STEP_FROM_US, STEP_TO_US)) };
        let (from, to) = times.split_once('-')?;
        let (from, to) = (decimal(from, 6)?, decimal(to, 6)?);
        (from < to && to <= MAX_SECOND * 1_000_000).then_some((step_us, from, to))
    };
    read().ok_or_else(|| setting.wrong("MS or MS@FROM-TO (0 to 1000 ms, between two times in seconds)"))
}

impl fmt::Display for LabNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delay={},jitter={}", show(self.delay_us, 3), show(self.jitter_us, 3))?;
        for (key, ppm) in
            [("loss", self.loss_ppm), ("reorder", self.reorder_ppm), ("dup", self.duplicate_ppm)]
        {
            if ppm > 0 {
                write!(f, ",{key}={}", show(u64::from(ppm), 4))?;
            }
        }
        let burst = u64::from(self.burst_milli);
        for (key, thousandths, usual) in [("burst", burst, 1000), ("rate", self.rate_bps, 0)] {
            if thousandths != usual {
                write!(f, ",{key}={}", show(thousandths, 3))?;
            }
        }
        if self.step_us > 0 {
            let seconds = |us: u64| us as f64 / 1e6;
            let (from, to) = (seconds(self.step_from_us), seconds(self.step_to_us));
            write!(f, ",step={}@{from}-{to}", show(self.step_us, 3))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read() {
        let all = "delay=20,jitter=0.5,loss=5,burst=2.5,reorder=1,dup=0.25,rate=64,step=100";
        let net = LabNet {
            delay_us: 20_000,
            jitter_us: 500,
            loss_ppm: 50_000,
            burst_milli: 2500,
            reorder_ppm: 10_000,
            duplicate_ppm: 2500,
            rate_bps: 64_000,
            step_us: 100_000,
            ..LabNet::default()
        };
        assert_eq!(all.parse(), Ok(net));
        assert_eq!(net.to_string().parse(), Ok(net), "{net}");
        assert_eq!("".parse(), Ok(LabNet::default()));
        let step: LabNet = "step=80@1.5-3".parse().unwrap();
        assert_eq!((step.step_us, step.step_from_us, step.step_to_us), (80_000, 1_500_000, 3_000_000));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for (text, part) in [
            ("loss", "`loss` is not KEY=VALUE"),
            ("stall=1", "there is no `stall`; there are delay, jitter, loss, burst"),
            ("loss=101", "a percentage, 0 to 100, not `101`"),
            ("burst=0.5", "1 to 100, not `0.5`"),
            ("burst=101", "1 to 100, not `101`"),
            ("rate=0", "kilobits a second"),
            ("rate=-3", "not `-3`"),
            ("step=100@8-4", "not `100@8-4`"),
            ("step=100@4", "MS@FROM-TO"),
            ("step=5000", "0 to 1000 ms"),
            ("loss=80,burst=3", "at most burst / (burst + 1) of all packets, not `80`"),
            ("dup=1,dup=1", "`dup` is given twice"),
        ] {
            let error = text.parse::<LabNet>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
