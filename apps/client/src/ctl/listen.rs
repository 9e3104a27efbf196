//! The side of the client that is in a conversation: a thread that answers one connection after the other, so that nobody who is
//! slow or means harm holds up the conversation. He holds up others who ask, for a second.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use chinwag_proto::text::escape;
use chinwag_transport_mio::Waker;
use clap::ValueEnum as _;

use super::{ANSWER_PATIENCE, LINE_PATIENCE, NO, OK, WHO, place, read_line};
use crate::switch::{Switch, To, What};

/// After a connection could not be accepted, be it that there are too many files open.
const PAUSE: Duration = Duration::from_secs(1);

/// The socket, until it is dropped.
#[derive(Debug)]
pub(crate) struct Listening(PathBuf);

impl Drop for Listening {
    fn drop(&mut self) {
        // Somebody may have tidied up.
        let _ = fs::remove_file(&self.0);
    }
}

/// Takes what other programs want from now on, in a thread that ends with the process. `who` tells users which client it is.
///
/// # Errors
/// When there can be no socket.
pub(crate) fn listen(who: &str, switches: SyncSender<Switch>, waker: Arc<Waker>) -> io::Result<Listening> {
    let folder = place::folder();
    place::make(&folder)?;
    place::living(&folder);
    let path = place::socket(&folder, process::id());
    // Of another process that had this number.
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    let listening = Listening(path);
    fs::set_permissions(&listening.0, fs::Permissions::from_mode(0o600))?;
    let gate = Gate { who: escape(who).into_owned(), switches, waker };
    thread::Builder::new().name("ctl".to_owned()).spawn(move || {
        loop {
            match listener.accept() {
                // Whoever asked may have gone.
                Ok((stream, _)) => drop(gate.attend(stream)),
                Err(_) => thread::sleep(PAUSE),
            }
        }
    })?;
    Ok(listening)
}

/// What leads to the conversation.
struct Gate {
    who: String,
    switches: SyncSender<Switch>,
    waker: Arc<Waker>,
}

impl Gate {
    fn attend(&self, mut stream: UnixStream) -> io::Result<()> {
        let line = read_line(&mut stream, LINE_PATIENCE)?;
        let answer = match self.answer(&line) {
            Ok(answer) => format!("{OK}{answer}\n"),
            Err(why) => format!("{NO}{why}\n"),
        };
        stream.set_write_timeout(Some(LINE_PATIENCE))?;
        stream.write_all(answer.as_bytes())
    }

    fn answer(&self, line: &str) -> Result<&str, &'static str> {
        if line == WHO {
            return Ok(&self.who);
        }
        let wanted = line
            .split_once(' ')
            .and_then(|(what, to)| Some((What::from_str(what, false).ok()?, To::from_str(to, false).ok()?)));
        let (what, to) = wanted.ok_or("it does not know what that is; it may be of another version")?;
        let (answer, answered) = sync_channel(1);
        match self.switches.try_send(Switch::by_program(what, to, answer, ANSWER_PATIENCE)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err("it has too much to do at the moment"),
            Err(TrySendError::Disconnected(_)) => return Err("it ends just now"),
        }
        // A loop that cannot be woken has ended.
        let _ = self.waker.wake();
        answered
            .recv_timeout(ANSWER_PATIENCE)
            .unwrap_or(Err("it does not answer at the moment; nothing was done"))
    }
}
