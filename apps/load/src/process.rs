//! What a process took of the machine: the server's by its number, from `/proc`; this one's own.

use std::{fs, io};

use rustix::time::{ClockId, clock_gettime};

/// Another process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

/// How much memory it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Memory {
    /// Pages that are in memory.
    pub(crate) rss_bytes: u64,
    /// The same with its share of what it has together with others; `None` for another user's process.
    pub(crate) pss_bytes: Option<u64>,
}

/// What a process had of the processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CpuTime {
    pub(crate) ran_ns: u64,
    /// It could have run, but others did.
    pub(crate) waited_ns: u64,
}

impl CpuTime {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            ran_ns: self.ran_ns.saturating_sub(earlier.ran_ns),
            waited_ns: self.waited_ns.saturating_sub(earlier.waited_ns),
        }
    }
}

impl Process {
    /// This one.
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// The processor time of all its threads, to the nanosecond. That of threads that ended is not in it.
    ///
    /// # Errors
    /// When there is no such process, or no `/proc`.
    pub(crate) fn cpu(self) -> io::Result<CpuTime> {
        let mut sum = CpuTime::default();
        for task in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let mut figures = text.split_whitespace().map(|figure| figure.parse::<u64>().unwrap_or(0));
            sum.ran_ns += figures.next().unwrap_or(0);
            sum.waited_ns += figures.next().unwrap_or(0);
        }
        Ok(sum)
    }

    /// # Errors
    /// When there is no such process, or no `/proc`.
    pub(crate) fn memory(self) -> io::Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let shares = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0)).ok();
        Ok(Memory {
            rss_bytes: kibibytes(&status, "VmRSS:").unwrap_or(0),
            pss_bytes: shares.and_then(|shares| kibibytes(&shares, "Pss:")),
        })
    }
}

/// The figure of the line that begins so, in bytes.
fn kibibytes(text: &str, label: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    Some(rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The processor time of this process.
pub(crate) fn own_cpu_ns() -> u64 {
    read_ns(ClockId::ProcessCPUTime)
}

/// The processor time of this thread.
pub(crate) fn thread_cpu_ns() -> u64 {
    read_ns(ClockId::ThreadCPUTime)
}

fn read_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_their_labels() {
        let text = "Name:\tx\nVmRSS:\t   12 kB\nPss:  \t 5 kB\nPss_Dirty: 7 kB\n";
        assert_eq!((kibibytes(text, "VmRSS:"), kibibytes(text, "Pss:")), (Some(12 * 1024), Some(5 * 1024)));
        assert_eq!(kibibytes(text, "VmHWM:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_can_be_measured() {
        let this = Process::own();
        let before = (this.cpu().unwrap(), own_cpu_ns());
        let end = thread_cpu_ns() + 20_000_000;
        while thread_cpu_ns() < end {}
        assert!(
            this.cpu().unwrap().since(before.0).ran_ns > 10_000_000 && own_cpu_ns() > before.1 + 10_000_000
        );
        assert!(this.memory().unwrap().rss_bytes > 100_000);
        assert!(Process(u32::MAX).memory().is_err() && Process(u32::MAX).cpu().is_err());
    }
}
