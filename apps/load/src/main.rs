//! `chinwag-load`: many clients against one server, to see what it carries.
//!
//! All clients are in one thread, each with a connection and a voice socket of its own. What this program itself takes and
//! loses is measured, too, and said when it may have been what was too slow.

mod crowd;
mod delays;
mod floor;
mod limit;
mod process;
mod progress;
mod report;
mod schedule;
mod tally;
mod texts;

use std::{
    io::{self, ErrorKind, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use chinwag_proto::{
    limits,
    link::{Fingerprint, Link},
    wire::{
        path::{HEADER_BYTES, TAG_BYTES},
        voice::FRAME_HEADER_BYTES,
    },
};
use chinwag_transport_mio::{clock, descriptors, throng::ThrongOptions};
use clap::{CommandFactory as _, Parser, error};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    crowd::{Crowd, Plan, Wish},
    floor::Floor,
    limit::{Ladder, Load},
    process::Process,
    progress::Progress,
    report::{Limit, MemoryUse, Ratio, Report, Run},
};

/// Files that are open beside the clients': terminal, readiness queue, what is read of the server.
const OTHER_FILES: u64 = 64;
/// Rooms of a server beside its lobby.
const OTHER_ROOMS: u64 = limits::ROOMS as u64 - 1;
/// For how long an address of a host that has several is tried.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);
/// Who waits longer than this for a processor, in milliseconds of each second, is not alone on the machine.
const WAITED_MS: f64 = 100.0;
/// What a load must not exceed to hold, unless told otherwise.
const LIMIT_LOSS_PERCENT: f64 = 0.1;
const LIMIT_P99_MS: f64 = 10.0;

const EXIT_CODES: &str = "\
Exit codes: 0 measured, and all is well; 1 failed: it could not be measured, a connection broke, text was not delivered as it must be, \
a bound was exceeded or no load held (the report, or with --json standard error, says which); 2 the command line was wrong.";

/// Drives many clients against a chinwag server and tells what it delivers, how late, and what that costs.
///
/// The clients join rooms named load-0, load-1 and so on, where they disturb nobody, talk and write as told, and leave. Only try
/// your own server; it must let so many in (chinwag-server --max-clients). The best figures come from a quiet machine. On the
/// machine of the server, give its process number by --server-pid to see its memory and processor time as well.
#[derive(Debug, Parser)]
#[command(name = "chinwag-load", version, after_help = EXIT_CODES)]
struct Arguments {
    /// The server: HOST, HOST:PORT or a chinwag:// link
    #[arg(value_name = "SERVER", value_parser = Link::parse)]
    server: Link,

    /// How many clients join, from 1 to 10000. In one room each knows all others, so that memory grows with the square of this
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=limits::SESSIONS as u64))]
    clients: u64,

    /// How many of them talk all the time, up to all; 0 to see what an idle server takes
    #[arg(long, value_name = "K", default_value_t = 1)]
    talkers: u64,

    /// Milliseconds between two frames of a talker, from 4 to 1000; the server lets one send 250 a second in the long run
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(4..=1000))]
    frame_ms: u64,

    /// Bytes of voice in a frame, from 8 to 1000
    #[arg(long, value_name = "BYTES", default_value_t = 80,
          value_parser = clap::value_parser!(u64).range(8..=limits::OPUS_BYTES as u64))]
    payload: u64,

    /// For how long they talk and write, from 1 to 3600; with --find-limit, in each step
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Over how many rooms clients and talkers are spread, from 1 to 255
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=OTHER_ROOMS))]
    rooms: u64,

    /// Messages a second, of all clients together. Each must reach everybody in its room, once and in order. Not together with
    /// --find-limit
    #[arg(long, value_name = "M", default_value_t = 0.0, value_parser = rate)]
    text_rate: f64,

    /// How often voice sockets are looked at, in microseconds, up to 100000; 0: whenever the system says that something came, which
    /// costs more on both sides. Delays do not change with it: they are taken from the times at which the system received the
    /// datagrams [default: so that about 8 datagrams wait, from 300 to 20000]
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u64).range(0..=100_000))]
    poll_us: Option<u64>,

    /// The server's process on this machine: tells its processor time and memory (what one client takes only if the server has just
    /// started: it keeps what it had for others)
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,

    /// The server's fingerprint (64 hexadecimal digits); without it, whoever answers first is trusted for this run
    #[arg(long, value_name = "HEX", value_parser = Fingerprint::parse)]
    fingerprint: Option<Fingerprint>,

    /// Print one JSON object in place of the table
    #[arg(long)]
    json: bool,

    /// Look for the highest load that holds: more talkers, from --talkers on, then shorter frames, down to 5 ms, until more than 0.1 %
    /// is lost or one frame in a hundred takes longer than 10 ms (--max-loss and --max-p99-ms set other bounds). What fails while other
    /// programs are busy is tried once more. Not together with --text-rate
    #[arg(long, conflicts_with = "text_rate")]
    find_limit: bool,

    /// Exit with 1 when more than this share of the frames is lost, in percent; with --find-limit, what a load may lose and still holds
    #[arg(long, value_name = "PERCENT", value_parser = rate)]
    max_loss: Option<f64>,

    /// Exit with 1 when one frame in a hundred takes longer than this; with --find-limit, how long it may take in a load that holds
    #[arg(long, value_name = "MS", value_parser = rate)]
    max_p99_ms: Option<f64>,

    /// Measure as well what the system alone takes for such datagrams, to compare the server with
    #[arg(long)]
    floor: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "a number from 0 on, such as 50 or 0.5".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(message) = check(&arguments) {
        Arguments::command().error(error::ErrorKind::ValueValidation, message).exit();
    }
    let mut progress = Progress::new();
    let result = run(&arguments, &mut progress);
    progress.clear();
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            progress.say(&format!("chinwag-load: {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    let printed = print(&report, arguments.json);
    if let Err(error) = &printed {
        progress.say(&format!("chinwag-load: the report cannot be written: {error}"));
    }
    if arguments.json {
        for line in report.warnings.iter().chain(&report.failures) {
            progress.say(&format!("chinwag-load: {line}"));
        }
    }
    if printed.is_ok() && report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What no argument shows alone.
fn check(arguments: &Arguments) -> Result<(), String> {
    let &Arguments { clients, talkers, rooms, .. } = arguments;
    if talkers > clients {
        return Err(format!("{talkers} talkers are more than {clients} clients"));
    }
    let judges = [
        ("--find-limit", arguments.find_limit),
        ("--max-loss", arguments.max_loss.is_some()),
        ("--max-p99-ms", arguments.max_p99_ms.is_some()),
    ];
    let Some((judge, _)) = judges.into_iter().find(|(_, is_given)| *is_given) else { return Ok(()) };
    if talkers == 0 {
        return Err(format!(
            "{judge} is about voice, and with --talkers 0 nobody talks: give --talkers 1 or more"
        ));
    }
    // The first room has the first talker, and never fewer clients than another one.
    if clients <= rooms {
        return Err(format!(
            "{judge} is about voice, and with --clients {clients} and --rooms {rooms} nobody hears anybody, since each is alone in a \
             room: give --clients {} or more{}",
            rooms + 1,
            if clients > 1 { format!(", or --rooms {} or fewer", clients - 1) } else { String::new() }
        ));
    }
    Ok(())
}

fn print(report: &Report, is_json: bool) -> io::Result<()> {
    let text = if is_json { serde_json::to_string(report)? + "\n" } else { report.to_string() };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Who does not want to read it any more is no reason to fail.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn run(arguments: &Arguments, progress: &mut Progress) -> Result<Report> {
    let clients = usize::try_from(arguments.clients)?;
    let rooms = usize::try_from(arguments.rooms)?;
    let payload_bytes = usize::try_from(arguments.payload)?;
    let link = &arguments.server;
    let server = resolve(link)?;
    let process = arguments.server_pid.map(Process);
    let memory = |when: &str| {
        process
            .map(Process::memory)
            .transpose()
            .with_context(|| format!("--server-pid {}: {when}", arguments.server_pid.unwrap_or_default()))
    };
    allow_files(2 * arguments.clients + OTHER_FILES)?;

    let before = memory("its memory cannot be read")?;
    let run = clock::real_ns() / 1000;
    let poll = arguments.poll_us.map(Duration::from_micros);
    let plan = Plan { clients, rooms, payload_bytes, server: process, poll, run };
    let fingerprint = arguments.fingerprint.or(link.fingerprint);
    let options = ThrongOptions {
        server,
        host: link.host.clone(),
        fingerprint,
        look_every: poll.unwrap_or(crowd::POLL_MOST),
    };
    let mut crowd = Crowd::new(plan, options)?;
    let connect = crowd.join(progress).with_context(|| link.authority())?;
    let after = memory("it is gone")?;
    let memory = before.zip(after).map(|(before, after)| {
        let grown = after.rss_bytes.saturating_sub(before.rss_bytes);
        MemoryUse {
            rss_before_bytes: before.rss_bytes,
            rss_after_bytes: after.rss_bytes,
            pss_before_bytes: before.pss_bytes,
            pss_after_bytes: after.pss_bytes,
            bytes_per_client: grown as f64 / clients as f64,
        }
    });

    let wish = Wish {
        talkers: usize::try_from(arguments.talkers)?,
        frame_ms: arguments.frame_ms,
        texts_per_second: arguments.text_rate,
        seconds: arguments.seconds,
    };
    let (run, limit) = if arguments.find_limit {
        let (run, limit) = find_limit(arguments, &mut crowd, wish, progress)?;
        (run, Some(limit))
    } else {
        (crowd.measure(wish, progress)?, None)
    };
    let why_lost = crowd.why_lost().map(str::to_owned);
    crowd.leave(progress)?;

    let floor = if arguments.floor {
        progress.show(|| "measuring the floor".to_owned());
        let bytes = payload_bytes + FRAME_HEADER_BYTES + HEADER_BYTES + TAG_BYTES;
        let pause = Duration::from_micros(run.poll_us).max(crowd::POLL_LEAST);
        Some(
            floor::measure(clients, bytes, server.is_ipv6(), pause)
                .context("the floor cannot be measured")?,
        )
    } else {
        None
    };
    let per_frame_us = run.server.and_then(|server| server.cpu_us_per_frame);
    let server_to_floor = floor.zip(per_frame_us).map(|(Floor { sendto_ns, sendmmsg_ns, .. }, us)| Ratio {
        sendto: us * 1e3 / sendto_ns,
        sendmmsg: us * 1e3 / sendmmsg_ns,
    });
    let mut report = Report {
        server: link.authority(),
        clients,
        rooms,
        payload_bytes,
        connect,
        run,
        memory,
        floor,
        server_to_floor,
        limit,
        warnings: Vec::new(),
        failures: Vec::new(),
    };
    report.warnings = warnings(&report);
    report.failures = failures(arguments, &report, why_lost.as_deref());
    Ok(report)
}

/// Raises the load until it does not hold; the run that held best, and what is to be told of it.
fn find_limit(
    arguments: &Arguments,
    crowd: &mut Crowd,
    wish: Wish,
    progress: &mut Progress,
) -> Result<(Run, Limit)> {
    let max_loss_percent = arguments.max_loss.unwrap_or(LIMIT_LOSS_PERCENT);
    let max_p99_ms = arguments.max_p99_ms.unwrap_or(LIMIT_P99_MS);
    let ladder = Ladder { clients: usize::try_from(arguments.clients)?, frame_ms: wish.frame_ms };
    let has_held = |run: &Run| {
        run.connections_lost == 0
            && run.voice.is_some_and(|voice| {
                voice.loss_percent <= max_loss_percent
                    && voice.delay.is_some_and(|delay| delay.p99_ms <= max_p99_ms)
            })
    };
    let found = limit::search(ladder, wish.talkers, |Load { talkers, frame_ms }| {
        let wish = Wish { talkers, frame_ms, ..wish };
        let mut run = crowd.measure(wish, progress)?;
        if !has_held(&run) && has_waited(&run) {
            // Perhaps it was others who were too much for the machine.
            progress.say(&format!("again:  {}", run.summary()));
            run = crowd.measure(wish, progress)?;
        }
        let has_held = has_held(&run);
        progress.say(&format!("{} {}", if has_held { "held:  " } else { "failed:" }, run.summary()));
        Ok::<_, anyhow::Error>((has_held, run))
    })?;
    let failed = found.failed.as_ref();
    let is_others_limit = failed.is_some_and(|(_, run)| has_waited(run));
    let is_tools_limit = failed.is_some_and(|(_, run)| run.tool.is_bottleneck);
    let (failed_talkers, failed_frame_ms) =
        (failed.map(|(load, _)| load.talkers), failed.map(|(load, _)| load.frame_ms));
    let has_held = found.held.is_some();
    let Some((load, run)) = found.held.or(found.failed) else { bail!("nothing was tried") };
    let limit = Limit {
        max_loss_percent,
        max_p99_ms,
        has_held,
        talkers: load.talkers,
        frame_ms: load.frame_ms,
        frames_per_second: run.voice.map_or(0.0, |voice| voice.frames_per_second),
        failed_talkers,
        failed_frame_ms,
        is_tools_limit,
        is_others_limit,
    };
    Ok((run, limit))
}

/// True when server or tool could often have run, but other programs did.
fn has_waited(run: &Run) -> bool {
    run.server.is_some_and(|server| server.waited_ms_per_second > WAITED_MS)
        || run.tool.waited_percent.is_some_and(|percent| percent * 10.0 > WAITED_MS)
}

fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let tool = report.run.tool;
    if report.connect.clients_by_udp < report.clients && report.run.talkers > 0 {
        warnings.push(format!(
            "the voice of {} clients goes by TCP: their datagrams do not get through",
            report.clients - report.connect.clients_by_udp
        ));
    }
    if tool.is_bottleneck {
        let drops = tool.socket_drops.unwrap_or(0);
        warnings.push(format!(
            "THIS PROGRAM ITSELF could not keep up ({:.0} % of a core, {drops} datagrams dropped at its own sockets, {} not sent, {} frames \
             sent late): what was lost or late need not be the server's fault. Give it a core of its own, or ask for less",
            tool.cpu_percent, tool.datagrams_unsent, tool.frames_late
        ));
    }
    if report.limit.as_ref().is_some_and(|limit| limit.is_tools_limit) {
        warnings.push(
            "what did not hold was too much for this program itself: the server may carry more than that"
                .to_owned(),
        );
    }
    if report.limit.as_ref().is_some_and(|limit| limit.is_others_limit) {
        warnings.push(
            "what did not hold did not while other programs were busy: try again on a quiet machine"
                .to_owned(),
        );
    }
    if let Some(server) = report.run.server.filter(|server| server.waited_ms_per_second > WAITED_MS) {
        warnings.push(format!(
            "the server waited {:.0} ms of each second for a processor that other programs had: on a quiet machine it carries more",
            server.waited_ms_per_second
        ));
    }
    if let Some(waited) = tool.waited_percent.filter(|&percent| percent * 10.0 > WAITED_MS) {
        warnings.push(format!(
            "this program waited for a processor {waited:.0} % of the time, since other programs had them"
        ));
    }
    if let Some(text) = report.run.text.filter(|text| text.messages_unsent > 0) {
        warnings.push(format!(
            "{:.1} messages a second were not reached, only {:.1}: {} could not be sent in time",
            text.wanted_per_second, text.messages_per_second, text.messages_unsent
        ));
    }
    if let Some(voice) = report.run.voice.filter(|voice| voice.frames_strange > 0) {
        warnings.push(format!("{} frames came that belong to nobody here", voice.frames_strange));
    }
    warnings
}

fn failures(arguments: &Arguments, report: &Report, why_lost: Option<&str>) -> Vec<String> {
    let mut failures = Vec::new();
    let run = &report.run;
    if run.connections_lost > 0 {
        let why = why_lost.unwrap_or("it is not known why");
        failures.push(format!("{} connections broke, the first: {why}", run.connections_lost));
    }
    if let Some(text) = run.text.filter(|text| text.lost + text.doubled + text.reordered > 0) {
        failures.push(format!(
            "TEXT WAS NOT DELIVERED AS IT MUST BE: {} lost, {} doubled, {} reordered",
            text.lost, text.doubled, text.reordered
        ));
    }
    if let Some(limit) = &report.limit {
        if !limit.has_held {
            failures.push("no load held".to_owned());
        }
        return failures;
    }
    let Some(voice) = run.voice else { return failures };
    if voice.frames_expected == 0 && (arguments.max_loss.is_some() || arguments.max_p99_ms.is_some()) {
        failures.push("no frame was sent that anybody could hear".to_owned());
        return failures;
    }
    if let Some(max) = arguments.max_loss.filter(|&max| voice.loss_percent > max) {
        failures.push(format!("{:.4} % of the frames were lost, {max} % are allowed", voice.loss_percent));
    }
    if let Some(max) = arguments.max_p99_ms {
        match voice.delay {
            Some(delay) if delay.p99_ms <= max => {}
            Some(delay) => {
                failures.push(format!("p99 of the delay is {:.3} ms, {max} ms are allowed", delay.p99_ms));
            }
            None => failures.push("no frame arrived".to_owned()),
        }
    }
    failures
}

/// An address at which somebody listens, or the only one that there is.
fn resolve(link: &Link) -> Result<SocketAddr> {
    let host = &link.host;
    let addresses: Vec<_> = (host.as_str(), link.port)
        .to_socket_addrs()
        .with_context(|| format!("the address of {host} cannot be found"))?
        .collect();
    let answers = |address: &&SocketAddr| TcpStream::connect_timeout(address, ADDRESS_TIMEOUT).is_ok();
    let found = if addresses.len() > 1 { addresses.iter().find(answers) } else { None };
    found.or(addresses.first()).copied().with_context(|| format!("{host} has no address"))
}

/// Makes room for so many open files.
fn allow_files(needed: u64) -> Result<()> {
    let Some(allowed) = descriptors::raise_limit() else { return Ok(()) };
    // Who may, raises what others may not exceed.
    let higher = Rlimit { current: Some(needed), maximum: Some(needed) };
    if allowed >= needed || setrlimit(Resource::Nofile, higher).is_ok() {
        return Ok(());
    }
    bail!(
        "this needs {needed} open files, two for each client, and the system allows this user {allowed}: ask for {} clients or fewer, \
         or raise the limit (ulimit -Hn {needed} as root, or a line \"* hard nofile {needed}\" in /etc/security/limits.conf)",
        allowed.saturating_sub(OTHER_FILES) / 2
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        delays::Percentiles,
        report::{Text, Tool, Voice},
    };

    fn failed(report: &Report, arguments: &str) -> Vec<String> {
        let arguments = ["chinwag-load", "host"].into_iter().chain(arguments.split_whitespace());
        failures(&Arguments::parse_from(arguments), report, Some("it was cut"))
    }

    #[test]
    fn text_that_is_not_whole_and_connections_that_break_are_failures_without_being_asked_for() {
        let mut report =
            Report { run: Run { text: Some(Text::default()), ..Run::default() }, ..Report::default() };
        assert_eq!(failed(&report, ""), [""; 0]);
        for wrong in [
            Text { lost: 1, ..Text::default() },
            Text { doubled: 1, ..Text::default() },
            Text { reordered: 1, ..Text::default() },
        ] {
            report.run.text = Some(wrong);
            assert!(matches!(&*failed(&report, ""), [text] if text.starts_with("TEXT")), "{wrong:?}");
        }
        report.run = Run { connections_lost: 2, ..Run::default() };
        assert_eq!(failed(&report, ""), ["2 connections broke, the first: it was cut"]);
    }

    #[test]
    fn bounds_are_kept_up_to_themselves() {
        let delay = Some(Percentiles { p99_ms: 2.0, ..Percentiles::default() });
        let voice = Voice { frames_expected: 100, loss_percent: 1.0, delay, ..Voice::default() };
        let with = |voice| Report { run: Run { voice: Some(voice), ..Run::default() }, ..Report::default() };
        for (arguments, count) in [
            ("", 0),
            ("--max-loss 1 --max-p99-ms 2", 0),
            ("--max-loss 0.9", 1),
            ("--max-p99-ms 1.9", 1),
            ("--max-loss 0 --max-p99-ms 0", 2),
        ] {
            assert_eq!(failed(&with(voice), arguments).len(), count, "{arguments}");
        }
        let silent = Voice { delay: None, loss_percent: 100.0, ..voice };
        assert_eq!(failed(&with(silent), "--max-p99-ms 2"), ["no frame arrived"]);
        let unsaid = Voice::default();
        assert_eq!(failed(&with(unsaid), ""), [""; 0]);
        for arguments in ["--max-loss 1", "--max-p99-ms 2"] {
            assert_eq!(
                failed(&with(unsaid), arguments),
                ["no frame was sent that anybody could hear"],
                "{arguments}"
            );
        }
    }

    #[test]
    fn bounds_are_taken_only_where_somebody_hears_a_talker() {
        for judge in ["--find-limit", "--max-loss 1", "--max-p99-ms 2"] {
            for (arguments, advice) in [
                ("", None),
                ("--clients 2", None),
                ("--clients 3 --rooms 2", None),
                ("--talkers 0", Some("give --talkers 1 or more")),
                ("--clients 1", Some("give --clients 2 or more")),
                ("--rooms 10", Some("give --clients 11 or more, or --rooms 9 or fewer")),
                ("--rooms 63", Some("give --clients 64 or more, or --rooms 9 or fewer")),
            ] {
                let parse = |line: String| Arguments::parse_from(line.split_whitespace());
                assert_eq!(check(&parse(format!("chinwag-load host {arguments}"))), Ok(()));
                let checked = check(&parse(format!("chinwag-load host {arguments} {judge}")));
                let is_right = match (&checked, advice) {
                    (Ok(()), None) => true,
                    (Err(message), Some(advice)) => message.ends_with(advice),
                    _ => false,
                };
                assert!(is_right, "{arguments} {judge}: {checked:?}");
            }
        }
    }

    #[test]
    fn help_tells_the_ranges_and_the_exit_codes() {
        let help = Arguments::command().term_width(0).render_long_help().to_string();
        for told in [
            format!("from 1 to {}", limits::SESSIONS),
            format!("from 8 to {}", limits::OPUS_BYTES),
            format!("from 1 to {OTHER_ROOMS}"),
            format!("down to {} ms", limit::SHORTEST_FRAME_MS),
            format!("more than {LIMIT_LOSS_PERCENT} %"),
            format!("longer than {LIMIT_P99_MS} ms"),
            "Exit codes: 0 ".to_owned(),
        ] {
            assert!(help.contains(&told), "{told}: {help}");
        }
    }

    #[test]
    fn a_tool_that_was_too_slow_is_said_to_be() {
        let mut report = Report::default();
        assert_eq!(warnings(&report), [""; 0]);
        report.run.tool = Tool { cpu_percent: 97.0, is_bottleneck: true, ..Tool::default() };
        assert!(matches!(&*warnings(&report), [text] if text.starts_with("THIS PROGRAM ITSELF")));
        report.run.tool = Tool { waited_percent: Some(50.0), ..Tool::default() };
        assert_eq!(warnings(&report).len(), 1);
    }
}
