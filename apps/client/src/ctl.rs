//! `chinwag ctl`: what runs in this user's name is switched from another program, such as a hot-key of the desktop.
//!
//! Each client in a conversation listens on a socket of its own, `PID.sock` in a folder that nobody else can enter ([`place`]). A
//! connection is one line and one line of answer ([`mod@listen`]; [`ask`] is the other side):
//!
//! ```text
//! ptt toggle   →   ok talking
//! who          →   ok Foo at pub.example:24469
//! ptt on       →   no push-to-talk is off; ...
//! ```

mod ask;
mod listen;
mod place;

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

pub(crate) use self::{ask::run, listen::listen};

/// The longest line; what is longer is no request, and no answer.
const LINE_BYTES: usize = 512;
/// How long a line may take.
const LINE_PATIENCE: Duration = Duration::from_secs(1);
/// How long the conversation may take for what is wanted of it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// The request for who that is.
const WHO: &str = "who";
/// Before an answer.
const OK: &str = "ok ";
/// Before the reason why not.
const NO: &str = "no ";

/// The line that comes, without its end.
fn read_line(stream: &mut UnixStream, patience: Duration) -> io::Result<String> {
    let until = Instant::now() + patience;
    let (mut line, mut buffer) = (Vec::new(), [0; LINE_BYTES]);
    loop {
        if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            line.truncate(end);
            return String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into());
        }
        if line.len() >= LINE_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => line.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
