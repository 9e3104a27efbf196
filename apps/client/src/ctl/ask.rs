//! The side of `chinwag ctl`.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use chinwag_proto::text::escape;
use chinwag_terminal::print;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{ANSWER_PATIENCE, LINE_PATIENCE, NO, OK, WHO, place, read_line};
use crate::switch::{To, What};

/// It may have others before us.
const PATIENCE: Duration = ANSWER_PATIENCE.saturating_add(LINE_PATIENCE).saturating_add(LINE_PATIENCE);

const NOBODY: &str = "no chinwag of yours is in a conversation here";

/// Switches what is wanted and tells how it is now.
pub(crate) fn run(pid: Option<u32>, what: What, to: To) -> Result<ExitCode> {
    let folder = place::folder();
    match place::check(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(NOBODY),
        checked => checked?,
    }
    let pid = chosen(&folder, pid)?;
    let unreached = || format!("the chinwag with process id {pid} cannot be reached");
    match ask(&place::socket(&folder, pid), &format!("{what} {to}")).with_context(unreached)? {
        Ok(answer) => print(&answer)?,
        Err(why) => bail!(why),
    }
    Ok(ExitCode::SUCCESS)
}

/// Which client is meant.
fn chosen(folder: &Path, pid: Option<u32>) -> Result<u32> {
    let living = place::living(folder);
    if let Some(pid) = pid.filter(|pid| living.contains(pid)) {
        return Ok(pid);
    }
    let running: Vec<_> = living.iter().filter_map(|&pid| Some((pid, who(folder, pid)?))).collect();
    let all: Vec<_> = running.iter().map(|(pid, who)| format!("  --pid {pid}   {who}")).collect();
    match (pid, &running[..]) {
        (_, []) => Err(anyhow!(NOBODY)),
        (None, [(pid, _)]) => Ok(*pid),
        (None, _) => {
            Err(anyhow!("several of your chinwags are in conversations; choose one:\n{}", all.join("\n")))
        }
        (Some(pid), _) => {
            Err(anyhow!("process {pid} is no chinwag in a conversation; these are:\n{}", all.join("\n")))
        }
    }
}

/// Who a client is; nothing if another program has that number now.
fn who(folder: &Path, pid: u32) -> Option<String> {
    match ask(&place::socket(folder, pid), WHO) {
        Ok(Ok(who) | Err(who)) => Some(who),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => None,
        Err(error) => Some(format!("(does not answer: {error})")),
    }
}

/// What a client answers.
fn ask(socket: &Path, request: &str) -> io::Result<Result<String, String>> {
    let asking = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    asking.connect_timeout(&SockAddr::unix(socket)?, PATIENCE)?;
    let mut stream = UnixStream::from(asking);
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let line = read_line(&mut stream, PATIENCE)?;
    match (line.strip_prefix(OK), line.strip_prefix(NO)) {
        (Some(answer), _) => Ok(Ok(escape(answer).into_owned())),
        (_, Some(why)) => Ok(Err(escape(why).into_owned())),
        (None, None) => Err(io::ErrorKind::InvalidData.into()),
    }
}
