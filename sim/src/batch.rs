//! The work of one of a swarm's processes: one world after the other, a line for each.

use std::io::{self, Write as _};

use chinwag_proto::hooks::Mistake;
use chinwag_sim::{Report, Rule, Scenario, Tally};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Batch {
    /// The first seed
    #[arg(long)]
    pub(crate) from: u64,
    /// How far apart seeds are
    #[arg(long)]
    pub(crate) step: u64,
    /// The seed after the last
    #[arg(long)]
    pub(crate) to: u64,
    /// A mistake that is made in all worlds
    #[arg(long, value_parser = super::mistake)]
    pub(crate) mistake: Option<Mistake>,
}

/// What one of a swarm's processes says of a world.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Line {
    /// It begins.
    Begin(u64),
    /// It is over, and all held.
    Held { seed: u64, events: u64, simulated_us: u64, cpu_us: u64, tally: Box<Tally> },
    /// Something did not hold.
    Failed { seed: u64, rule: Rule, what: String },
}

impl Batch {
    #[expect(clippy::disallowed_methods, reason = "how long it took is told to people only")]
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        // A panic is told of as a failure; what it prints besides would be lost in a swarm.
        std::panic::set_hook(Box::new(|_| {}));
        let mut seed = self.from;
        while seed < self.to {
            write(&Line::Begin(seed))?;
            let started = std::time::Instant::now();
            let scenario = Scenario { mistake: self.mistake, ..Scenario::from_seed(seed) };
            let line = match chinwag_sim::run(&scenario, None) {
                Ok(Report { events, simulated_us, tally, .. }) => {
                    let cpu_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                    Line::Held { seed, events, simulated_us, cpu_us, tally: Box::new(tally) }
                }
                Err(failure) => Line::Failed { seed, rule: failure.rule, what: failure.what },
            };
            write(&line)?;
            seed += self.step;
        }
        Ok(())
    }
}

fn write(line: &Line) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match line {
        Line::Begin(seed) => writeln!(out, "begin {seed}"),
        Line::Held { seed, events, simulated_us, cpu_us, tally } => {
            let tally: Vec<_> = tally.counts().iter().map(u64::to_string).collect();
            writeln!(out, "held {seed} {events} {simulated_us} {cpu_us} {}", tally.join(","))
        }
        Line::Failed { seed, rule, what } => writeln!(out, "failed {seed} {rule:?} {}", what.escape_debug()),
    }?;
    out.flush()
}

impl Line {
    /// Reads what another process wrote.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let (kind, seed) = (words.next()?, words.next()?.parse().ok()?);
        match kind {
            "begin" => Some(Self::Begin(seed)),
            "held" => {
                let events = words.next()?.parse().ok()?;
                let mut rest = words.next()?.split(' ');
                let mut number = || rest.next()?.parse().ok();
                let (simulated_us, cpu_us) = (number()?, number()?);
                let counts = rest.next()?.split(',').map_while(|count| count.parse().ok());
                let tally = Box::new(Tally::from_counts(counts));
                Some(Self::Held { seed, events, simulated_us, cpu_us, tally })
            }
            "failed" => {
                let name = words.next()?;
                let (rule, _) = Rule::ALL.iter().find(|(rule, _)| format!("{rule:?}") == name)?;
                Some(Self::Failed { seed, rule: *rule, what: words.next()?.to_owned() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processes_say_is_read_back() {
        let tally = Box::new(Tally::from_counts([1, 2, 3]));
        assert_eq!(Line::parse("begin 7"), Some(Line::Begin(7)));
        let held = Line::Held { seed: 7, events: 8, simulated_us: 9, cpu_us: 10, tally };
        assert_eq!(Line::parse("held 7 8 9 10 1,2,3"), Some(held));
        let failed = Line::Failed { seed: 7, rule: Rule::NoSpin, what: "it spins".to_owned() };
        assert_eq!(Line::parse("failed 7 NoSpin it spins"), Some(failed));
        assert_eq!(Line::parse("held 7"), None);
    }
}
