//! Many worlds at once, in processes of their own: what panics, runs away or is stopped takes nothing with it.

use std::{
    io::{BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use chinwag_proto::hooks::Mistake;
use chinwag_sim::{Rule, Scenario, Tally};
use clap::Args;

use crate::batch::Line;

/// A world that takes longer than this never ends.
const HANGS_AFTER: Duration = Duration::from_secs(120);
/// Worlds after which everything that should happen sometimes has happened.
const SEEN_ALL_AFTER: u64 = 1_000;
/// Tries to make a failure smaller.
const SHRINK_TRIES: u32 = 300;
/// Between two words on how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct Swarm {
    /// How many worlds
    #[arg(long, value_name = "N")]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// How many at once; as many as there are cores if it is not given
    #[arg(long, value_name = "J")]
    jobs: Option<u64>,
    /// Begin no further world after so many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Go on after a failure, and tell of all
    #[arg(long)]
    keep_going: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Mistakes {
    /// Worlds in which a mistake must be found
    #[arg(long, value_name = "N", default_value_t = 500)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// How many mistakes at once; as many as there are cores if it is not given
    #[arg(long, value_name = "J")]
    jobs: Option<u64>,
    /// So many failures of each mistake are looked at for which rules they break
    #[arg(long, value_name = "N", default_value_t = 3)]
    failures: u64,
    /// Only this mistake
    #[arg(long, value_name = "NAME", value_parser = super::mistake)]
    only: Option<Mistake>,
}

/// A process that simulates a part of the worlds, and what it is at.
struct Job {
    child: Child,
    lines: Receiver<Line>,
    at: Option<(u64, Instant)>,
}

/// What a job has to say.
enum News {
    Held { events: u64, simulated_us: u64, cpu_us: u64, tally: Box<Tally> },
    Failed { seed: u64, rule: Rule, what: String },
    Nothing,
    Over,
}

impl Job {
    fn start(from: u64, step: u64, to: u64, mistake: Option<Mistake>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("where this program is cannot be found")?;
        let mut command = Command::new(program);
        command.args(["batch", "--from", &from.to_string(), "--step", &step.to_string()]);
        command.args(["--to", &to.to_string()]);
        if let Some(mistake) = mistake {
            command.args(["--mistake", &format!("{mistake:?}")]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.context("cannot start another process of this program")?;
        let stdout = child.stdout.take().context("a process without output")?;
        let (sender, lines) = channel();
        listen(stdout, sender);
        Ok(Self { child, lines, at: None })
    }

    #[expect(clippy::disallowed_methods, reason = "worlds are stopped by the real clock")]
    fn news(&mut self, patience: Duration) -> News {
        match self.lines.recv_timeout(patience) {
            Ok(Line::Begin(seed)) => {
                self.at = Some((seed, Instant::now()));
                News::Nothing
            }
            Ok(Line::Held { events, simulated_us, cpu_us, tally, .. }) => {
                self.at = None;
                News::Held { events, simulated_us, cpu_us, tally }
            }
            Ok(Line::Failed { seed, rule, what }) => {
                self.at = None;
                News::Failed { seed, rule, what }
            }
            Err(RecvTimeoutError::Timeout) => match self.at {
                Some((seed, since)) if since.elapsed() > HANGS_AFTER => {
                    self.stop();
                    self.at = None;
                    let what = format!("no end after {} s", HANGS_AFTER.as_secs());
                    News::Failed { seed, rule: Rule::NoSpin, what }
                }
                Some(_) | None => News::Nothing,
            },
            Err(RecvTimeoutError::Disconnected) => match self.at.take() {
                Some((seed, _)) => {
                    let what = "the process died".to_owned();
                    News::Failed { seed, rule: Rule::NoPanic, what }
                }
                None => News::Over,
            },
        }
    }

    fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.stop();
    }
}

#[expect(clippy::disallowed_methods, reason = "the histories are made in other processes, each in one order")]
fn listen(stdout: std::process::ChildStdout, sender: Sender<Line>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(line) = Line::parse(&line)
                && sender.send(line).is_err()
            {
                return;
            }
        }
    });
}

fn jobs(asked: Option<u64>) -> u64 {
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    asked.unwrap_or_else(cores).max(1)
}

/// A swarm makes limits of the core small, which not every build can.
fn must_have_hooks() -> anyhow::Result<()> {
    if !cfg!(debug_assertions) {
        bail!("this build lacks what a swarm needs; use that of: cargo build --profile sim -p chinwag-sim");
    }
    Ok(())
}

/// What came of the worlds so far.
#[derive(Default)]
struct Sum {
    worlds: u64,
    events: u64,
    simulated_us: u64,
    cpu_us: u64,
    tally: Tally,
}

impl Swarm {
    #[expect(clippy::disallowed_methods, reason = "how long it takes is told to people, and may be bounded")]
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        must_have_hooks()?;
        let Self { seeds, from, keep_going, .. } = *self;
        let count = jobs(self.jobs).min(seeds.max(1));
        let start = |k| Job::start(from + k, count, from + seeds, None);
        let mut jobs = (0..count).map(start).collect::<anyhow::Result<Vec<_>>>()?;
        println!("seeds {from} to {} in {count} processes", from + seeds.max(1) - 1);
        let (started, mut told) = (Instant::now(), Instant::now());
        let mut sum = Sum::default();
        let mut failures = Vec::new();
        while !jobs.is_empty() {
            if self.seconds.is_some_and(|seconds| started.elapsed() >= Duration::from_secs(seconds)) {
                break;
            }
            let mut is_over = vec![false; jobs.len()];
            for (job, is_over) in jobs.iter_mut().zip(&mut is_over) {
                match job.news(Duration::from_millis(20)) {
                    News::Held { events, simulated_us, cpu_us, tally } => {
                        sum.worlds += 1;
                        sum.events += events;
                        sum.simulated_us += simulated_us;
                        sum.cpu_us += cpu_us;
                        sum.tally.add(&tally);
                    }
                    News::Failed { seed, rule, what } => {
                        sum.worlds += 1;
                        println!("seed {seed}: {what} ({rule:?})");
                        failures.push((seed, rule));
                    }
                    News::Nothing => {}
                    News::Over => *is_over = true,
                }
            }
            let mut is_over = is_over.into_iter();
            jobs.retain(|_| !is_over.next().unwrap_or(false));
            if !failures.is_empty() && !keep_going {
                break;
            }
            if told.elapsed() > PROGRESS_EVERY {
                told = Instant::now();
                progress(&sum, started.elapsed());
            }
        }
        drop(jobs);
        sum.print(started.elapsed());
        if let Some(&(seed, rule)) = failures.first() {
            let scenario = shrink(Scenario::from_seed(seed), rule)?;
            println!("commit {}", commit());
            println!("as small as it gets: chinwag-sim run {scenario}");
            println!("as it was: chinwag-sim run --seed {seed}");
            bail!("{} of {} worlds failed", failures.len(), sum.worlds);
        }
        let never: Vec<_> = sum.tally.never().collect();
        if !never.is_empty() {
            println!("never: {}", never.join("; "));
            if sum.worlds >= SEEN_ALL_AFTER {
                bail!("something that should happen sometimes never did in {} worlds", sum.worlds);
            }
        }
        Ok(())
    }
}

fn progress(sum: &Sum, elapsed: Duration) {
    let pace = sum.worlds as f64 / elapsed.as_secs_f64();
    let events = sum.events as f64 / 1e6;
    let end = if std::io::stderr().is_terminal() { "\r" } else { "\n" };
    eprint!("{} worlds, {pace:.1} a second, {events:.0} million events{end}", sum.worlds);
    let _ = std::io::stderr().flush();
}

impl Sum {
    fn print(&self, elapsed: Duration) {
        let Self { worlds, events, simulated_us, cpu_us, tally } = self;
        println!(
            "worlds={worlds} events={events} simulated_s={} wall_s={:.1} events_per_core_s={:.0}",
            simulated_us / 1_000_000,
            elapsed.as_secs_f64(),
            *events as f64 / (*cpu_us as f64 / 1e6).max(1e-6)
        );
        let happened: Vec<_> = chinwag_sim::Sometimes::ALL
            .iter()
            .map(|(what, _)| format!("{what:?}={}", tally.of(*what)))
            .collect();
        println!("{}", happened.join(" "));
    }
}

/// A world that breaks the same rule with less of everything, each tried in a process of its own.
fn shrink(mut scenario: Scenario, rule: Rule) -> anyhow::Result<Scenario> {
    let mut tries = 0;
    'again: loop {
        for simpler in scenario.simpler() {
            tries += 1;
            if tries > SHRINK_TRIES {
                return Ok(scenario);
            }
            if breaks(&simpler, rule)? {
                scenario = simpler;
                continue 'again;
            }
        }
        return Ok(scenario);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the history is made in another process, which is stopped by the real clock"
)]
fn breaks(scenario: &Scenario, rule: Rule) -> anyhow::Result<bool> {
    let program = std::env::current_exe().context("where this program is cannot be found")?;
    let mut command = Command::new(program);
    command.arg("run").args(scenario.to_string().split(' '));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.context("cannot start another process of this program")?;
    let mut stderr = child.stderr.take().context("a process without output")?;
    let (sender, said) = channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        // What cannot be read says nothing.
        let _ = stderr.read_to_end(&mut text);
        let _ = sender.send(text);
    });
    let said = said.recv_timeout(HANGS_AFTER);
    if said.is_err() {
        child.kill().context("a process cannot be stopped")?;
    }
    let status = child.wait().context("a process cannot be waited for")?;
    let Ok(said) = said else { return Ok(rule == Rule::NoSpin) };
    Ok(!status.success() && String::from_utf8_lossy(&said).contains(&format!("({rule:?})")))
}

/// What was simulated, for whoever reads the log.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map_or_else(|| "unknown".to_owned(), |text| String::from_utf8_lossy(&text).trim().to_owned())
}

/// How a mistake was found.
struct Found {
    mistake: Mistake,
    what: &'static str,
    /// After how many worlds, and by what.
    first: Option<(u64, Rule, String)>,
    rules: Vec<Rule>,
}

impl Mistakes {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        must_have_hooks()?;
        let all = Mistake::ALL.iter().filter(|(mistake, _)| self.only.is_none_or(|only| only == *mistake));
        let mut left: Vec<_> = all.copied().rev().collect();
        let mut running: Vec<(Found, Job, u64, u64)> = Vec::new();
        let mut done: Vec<Found> = Vec::new();
        loop {
            while running.len() < usize::try_from(jobs(self.jobs)).unwrap_or(1)
                && let Some((mistake, what)) = left.pop()
            {
                let job = Job::start(self.from, 1, self.from + self.seeds, Some(mistake))?;
                running.push((Found { mistake, what, first: None, rules: Vec::new() }, job, 0, 0));
            }
            if running.is_empty() {
                break;
            }
            let mut still = Vec::new();
            for (mut found, mut job, mut worlds, mut failures) in running {
                let is_over = match job.news(Duration::from_millis(20)) {
                    News::Held { .. } => {
                        worlds += 1;
                        // Once found, the rest is only to see which rules else it breaks.
                        found.first.as_ref().is_some_and(|(first, ..)| worlds > first + 20)
                    }
                    News::Failed { rule, what, .. } => {
                        (worlds, failures) = (worlds + 1, failures + 1);
                        found.first.get_or_insert((worlds, rule, what));
                        found.rules.push(rule);
                        failures >= self.failures
                    }
                    News::Nothing => false,
                    News::Over => true,
                };
                if is_over {
                    found.rules.sort_unstable();
                    found.rules.dedup();
                    found.print();
                    done.push(found);
                } else {
                    still.push((found, job, worlds, failures));
                }
            }
            running = still;
        }
        let missed: Vec<_> = done.iter().filter(|found| found.first.is_none()).map(|f| f.what).collect();
        if !missed.is_empty() {
            bail!("not found in {} worlds: {}", self.seeds, missed.join("; "));
        }
        let is_broken = |rule: Rule| done.iter().any(|found| found.rules.contains(&rule));
        let idle = Rule::ALL.iter().filter(|(rule, _)| *rule != Rule::Harness && !is_broken(*rule));
        let idle: Vec<_> = idle.map(|(rule, text)| format!("{rule:?} ({text})")).collect();
        if self.only.is_none() && !idle.is_empty() {
            bail!("no mistake breaks these rules: {}", idle.join("; "));
        }
        println!("all found: {}", done.len());
        Ok(())
    }
}

impl Found {
    fn print(&self) {
        let Self { mistake, what, first, rules } = self;
        match first {
            Some((worlds, rule, seen)) => {
                let others: Vec<_> =
                    rules.iter().filter(|other| *other != rule).map(|rule| format!("{rule:?}")).collect();
                println!("{mistake:?} ({what}): after {worlds}, {rule:?}: {seen} [{}]", others.join(" "));
            }
            None => println!("{mistake:?} ({what}): NOT FOUND"),
        }
    }
}
