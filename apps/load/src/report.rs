//! What was measured: as a table for people, as JSON for programs. The names of the JSON fields stay what they are.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::{delays::Percentiles, floor::Floor};

/// Everything that one call measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) server: String,
    pub(crate) clients: usize,
    pub(crate) rooms: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) connect: Connect,
    /// What held best, where the limit was looked for.
    pub(crate) run: Run,
    pub(crate) memory: Option<MemoryUse>,
    pub(crate) floor: Option<Floor>,
    /// The server's processor time for a delivered frame in units of the floor.
    pub(crate) server_to_floor: Option<Ratio>,
    pub(crate) limit: Option<Limit>,
    /// What makes the figures doubtful.
    pub(crate) warnings: Vec<String>,
    /// Why the exit code is 1.
    pub(crate) failures: Vec<String>,
}

/// How the clients came in.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Connect {
    pub(crate) seconds: f64,
    pub(crate) clients_per_second: f64,
    /// Clients whose voice goes by datagrams.
    pub(crate) clients_by_udp: usize,
}

/// One load, for some seconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Run {
    pub(crate) talkers: usize,
    pub(crate) frame_ms: u64,
    /// How often each socket was looked at; zero: when the system said that something had come.
    pub(crate) poll_us: u64,
    pub(crate) seconds: f64,
    pub(crate) voice: Option<Voice>,
    pub(crate) text: Option<Text>,
    pub(crate) server: Option<ServerCpu>,
    pub(crate) tool: Tool,
    /// Connections that broke meanwhile.
    pub(crate) connections_lost: u64,
}

/// Frames are counted at each listener.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Voice {
    pub(crate) frames_sent: u64,
    pub(crate) frames_expected: u64,
    pub(crate) frames_delivered: u64,
    pub(crate) frames_lost: u64,
    pub(crate) loss_percent: f64,
    /// Of one talker at one listener.
    pub(crate) worst_loss_percent: f64,
    pub(crate) frames_doubled: u64,
    pub(crate) frames_too_old: u64,
    pub(crate) frames_strange: u64,
    pub(crate) frames_per_second: f64,
    pub(crate) datagrams_received: u64,
    pub(crate) datagrams_per_second: f64,
    /// Payloads that came by TCP.
    pub(crate) tcp_received: u64,
    pub(crate) delay: Option<Percentiles>,
}

/// A delivery is one client that is told of one message, its sender included.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Text {
    pub(crate) wanted_per_second: f64,
    pub(crate) messages_sent: u64,
    pub(crate) messages_per_second: f64,
    /// Not sent, since too many were waiting for the server, or since this program was late.
    pub(crate) messages_unsent: u64,
    pub(crate) deliveries_expected: u64,
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) delay: Option<Percentiles>,
    /// How long senders waited for the server's word that it has their messages: that they are kept, where it keeps them.
    pub(crate) acknowledged: Option<Percentiles>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct ServerCpu {
    pub(crate) cpu_ms_per_second: f64,
    /// It could have run, but other programs did.
    pub(crate) waited_ms_per_second: f64,
    /// `None` without any frame, and where there was text as well.
    pub(crate) cpu_us_per_frame: Option<f64>,
    /// Of text, where there was no voice.
    pub(crate) cpu_us_per_delivery: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct MemoryUse {
    pub(crate) rss_before_bytes: u64,
    pub(crate) rss_after_bytes: u64,
    pub(crate) pss_before_bytes: Option<u64>,
    pub(crate) pss_after_bytes: Option<u64>,
    pub(crate) bytes_per_client: f64,
}

/// This program itself.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Tool {
    pub(crate) cpu_percent: f64,
    /// It could have run, but other programs did; `None` where the system does not say.
    pub(crate) waited_percent: Option<f64>,
    /// Datagrams that came while the queue of one of its sockets was full; `None` where the system does not say.
    pub(crate) socket_drops: Option<u64>,
    pub(crate) datagrams_unsent: u64,
    /// Frames that were sent more than a frame time too late.
    pub(crate) frames_late: u64,
    /// Frames that were not sent, since they were much too late.
    pub(crate) frames_skipped: u64,
    pub(crate) is_bottleneck: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) sendto: f64,
    pub(crate) sendmmsg: f64,
}

/// The highest load that held.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Limit {
    pub(crate) max_loss_percent: f64,
    pub(crate) max_p99_ms: f64,
    /// False when even the first load did not hold: `run` is then that one.
    pub(crate) has_held: bool,
    pub(crate) talkers: usize,
    pub(crate) frame_ms: u64,
    pub(crate) frames_per_second: f64,
    /// `None` when all that was tried held.
    pub(crate) failed_talkers: Option<usize>,
    pub(crate) failed_frame_ms: Option<u64>,
    /// Where it did not hold this program had no time left: the server may carry more.
    pub(crate) is_tools_limit: bool,
    /// Where it did not hold, server or tool waited for a processor that other programs had.
    pub(crate) is_others_limit: bool,
}

impl Run {
    /// One line.
    pub(crate) fn summary(&self) -> String {
        let voice = self.voice.unwrap_or_default();
        let delay = voice.delay.unwrap_or_default();
        let server = self.server.map_or(String::new(), |server| {
            let ServerCpu { cpu_ms_per_second, waited_ms_per_second, .. } = server;
            format!(", server {cpu_ms_per_second:.0} ms/s (waited {waited_ms_per_second:.0})")
        });
        format!(
            "{}, {} ms frames: {} frames/s, {:.3} % lost, p99 {:.2} ms{server}, this program {:.0} % of a core",
            many(self.talkers, "talker"),
            self.frame_ms,
            grouped(voice.frames_per_second),
            voice.loss_percent,
            delay.p99_ms,
            self.tool.cpu_percent
        )
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Connect { seconds, clients_per_second, clients_by_udp } = self.connect;
        row(
            f,
            "clients",
            format_args!(
                "{} in {}, let in within {seconds:.2} s ({clients_per_second:.0} a second), {clients_by_udp} with voice by UDP",
                self.clients,
                many(self.rooms, "room")
            ),
        )?;
        if let Some(limit) = &self.limit {
            limit_row(f, limit)?;
        }
        run_rows(f, &self.run, self.payload_bytes)?;
        if let Some(memory) = self.memory {
            let MemoryUse { rss_before_bytes, rss_after_bytes, bytes_per_client, .. } = memory;
            let mb = |bytes: u64| bytes as f64 / 1e6;
            row(
                f,
                "server memory",
                format_args!(
                    "{:.1} MB before, {:.1} MB with everybody in: {:.1} kB a client",
                    mb(rss_before_bytes),
                    mb(rss_after_bytes),
                    bytes_per_client / 1e3
                ),
            )?;
        }
        if let Some(Floor { datagram_bytes, sendto_ns, sendmmsg_ns }) = self.floor {
            row(
                f,
                "floor",
                format_args!(
                    "{:.2} µs of CPU for a datagram of {datagram_bytes} bytes by sendto, {:.2} µs by sendmmsg",
                    sendto_ns / 1e3,
                    sendmmsg_ns / 1e3
                ),
            )?;
        }
        if let Some(Ratio { sendto, sendmmsg }) = self.server_to_floor {
            row(
                f,
                "",
                format_args!(
                    "the server takes {sendto:.2} times that of sendto, {sendmmsg:.2} times that of sendmmsg"
                ),
            )?;
        }
        for warning in &self.warnings {
            writeln!(f, "WARNING: {warning}")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}

fn limit_row(f: &mut Formatter<'_>, limit: &Limit) -> fmt::Result {
    let Limit { max_loss_percent, max_p99_ms, .. } = limit;
    if !limit.has_held {
        return row(
            f,
            "limit",
            format_args!("even this did not hold within {max_loss_percent} % lost and {max_p99_ms} ms (p99)"),
        );
    }
    row(
        f,
        "limit",
        format_args!(
            "{} with {} ms frames, {} frames/s, held within {max_loss_percent} % lost and {max_p99_ms} ms (p99)",
            many(limit.talkers, "talker"),
            limit.frame_ms,
            grouped(limit.frames_per_second)
        ),
    )?;
    match (limit.failed_talkers, limit.failed_frame_ms) {
        (Some(talkers), Some(frame_ms)) => {
            row(f, "", format_args!("{} with {frame_ms} ms frames did not", many(talkers, "talker")))
        }
        _ => row(f, "", format_args!("everything that was tried held; more clients may show more")),
    }
}

fn run_rows(f: &mut Formatter<'_>, run: &Run, payload_bytes: usize) -> fmt::Result {
    if run.voice.is_none() && run.text.is_none() {
        row(f, "load", format_args!("none, for {:.1} s", run.seconds))?;
    }
    if let Some(voice) = &run.voice {
        row(
            f,
            "voice",
            format_args!(
                "{}, {} ms frames of {payload_bytes} bytes, {:.1} s: {} frames sent",
                many(run.talkers, "talker"),
                run.frame_ms,
                run.seconds,
                voice.frames_sent
            ),
        )?;
        row(
            f,
            "delivered",
            format_args!(
                "{} of {} frames, {} lost ({:.4} %; worst pair {:.2} %), {} came twice",
                voice.frames_delivered,
                voice.frames_expected,
                voice.frames_lost,
                voice.loss_percent,
                voice.worst_loss_percent,
                voice.frames_doubled
            ),
        )?;
        row(
            f,
            "",
            format_args!(
                "{} frames/s in {} datagrams/s, {} payloads by TCP",
                grouped(voice.frames_per_second),
                grouped(voice.datagrams_per_second),
                voice.tcp_received
            ),
        )?;
        delay_row(f, "delay", voice.delay)?;
    }
    if let Some(text) = &run.text {
        row(
            f,
            "text",
            format_args!(
                "{} messages, {:.0} a second of {:.0} that were wanted; {} of {} deliveries, {} a second",
                text.messages_sent,
                text.messages_per_second,
                text.wanted_per_second,
                text.deliveries,
                text.deliveries_expected,
                grouped(text.deliveries_per_second)
            ),
        )?;
        row(
            f,
            "",
            format_args!("{} lost, {} doubled, {} reordered", text.lost, text.doubled, text.reordered),
        )?;
        delay_row(f, "delay", text.delay)?;
        delay_row(f, "acknowledged", text.acknowledged)?;
    }
    if let Some(server) = run.server {
        let each = |what: &str, us: Option<f64>| {
            us.map_or(String::new(), |us| format!(", {us:.2} µs for each {what}"))
        };
        row(
            f,
            "server CPU",
            format_args!(
                "{:.2} ms a second{}{}; it waited {:.0} ms a second for a processor",
                server.cpu_ms_per_second,
                each("delivered frame", server.cpu_us_per_frame),
                each("delivery", server.cpu_us_per_delivery),
                server.waited_ms_per_second
            ),
        )?;
    }
    let tool = run.tool;
    let drops = tool.socket_drops.map_or("unknown".to_owned(), |drops| drops.to_string());
    row(
        f,
        "this program",
        format_args!(
            "{:.0} % of a core, waited {:.0} % for one; drops at its sockets {drops}, sends that failed {}, frames late {}, skipped {}",
            tool.cpu_percent,
            tool.waited_percent.unwrap_or(0.0),
            tool.datagrams_unsent,
            tool.frames_late,
            tool.frames_skipped
        ),
    )
}

fn delay_row(f: &mut Formatter<'_>, what: &str, delay: Option<Percentiles>) -> fmt::Result {
    let Some(Percentiles { p50_ms, p99_ms, p999_ms, max_ms }) = delay else { return Ok(()) };
    row(f, what, format_args!("p50 {p50_ms:.3} ms, p99 {p99_ms:.3}, p99.9 {p999_ms:.3}, max {max_ms:.3}"))
}

fn row(f: &mut Formatter<'_>, label: &str, what: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "{label:14}{what}")
}

fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Whole, in groups of three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in [(0.0, "0"), (999.0, "999"), (1000.0, "1 000"), (1234567.4, "1 234 567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
