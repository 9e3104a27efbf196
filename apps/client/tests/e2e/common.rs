//! The real programs, driven as a person or a script would drive them.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use chinwag_audio::{
    BLOCK, sample,
    wav::{WavSink, WavSource},
};
use tempfile::TempDir;

/// Far more than anything takes on a busy machine; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A folder for one test: data, configuration, WAV files.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.path("run")).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A WAV file with the made-up voice of `seed`.
    pub(crate) fn voice(&self, name: &str, seed: u64, seconds: usize) -> PathBuf {
        let path = self.path(name);
        let mut sink = WavSink::create(&path).unwrap();
        for chunk in sample::voice(seed, seconds).chunks_exact(BLOCK) {
            sink.write(chunk.try_into().unwrap());
        }
        sink.flush();
        path
    }
}

/// What is in a WAV file; nothing as long as it is being begun.
pub(crate) fn samples(path: &Path) -> Vec<f32> {
    let Ok(mut source) = WavSource::open(path) else { return vec![] };
    let (mut samples, mut block) = (vec![], [0.0; BLOCK]);
    while source.read(&mut block) {
        samples.extend_from_slice(&block);
    }
    samples
}

/// Lines of a stream as they come.
struct Lines {
    receiver: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { receiver, seen: vec![] }
    }

    /// Waits for a line that `wanted` accepts and returns it.
    fn until(&mut self, what: &str, mut wanted: impl FnMut(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receiver.recv_timeout(left) {
                Ok(line) => {
                    let found = wanted(&line);
                    self.seen.push(line.clone());
                    if found {
                        return line;
                    }
                }
                Err(_) => panic!("no line with {what:?}; these came: {:#?}", self.seen),
            }
        }
    }

    /// Everything, once the stream has ended.
    fn rest(&mut self) -> &[String] {
        while let Ok(line) = self.receiver.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        &self.seen
    }
}

/// A running program that ends with the test.
pub(crate) struct Program {
    child: Child,
    stdin: Option<Box<dyn Write>>,
    stdout: Lines,
    stderr: Lines,
}

impl Program {
    pub(crate) fn start(
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        place: &Place,
    ) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .env("XDG_CONFIG_HOME", place.path("config"))
            .env("XDG_DATA_HOME", place.path("data"))
            .env("XDG_STATE_HOME", place.path("state"))
            .env("XDG_RUNTIME_DIR", place.path("run"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; build the workspace first", program.display()));
        let stdin = child.stdin.take().map(|stdin| Box::new(stdin) as Box<dyn Write>);
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self { child, stdin, stdout, stderr }
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.type_bytes(format!("{line}\n").as_bytes());
    }

    pub(crate) fn type_bytes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Ends its input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for exactly this line on standard output.
    pub(crate) fn expect(&mut self, line: &str) {
        self.stdout.until(line, |seen| seen == line);
    }

    /// Waits for these lines on standard output, in any order.
    pub(crate) fn expect_all<const N: usize>(&mut self, lines: [&str; N]) {
        let mut left = lines.to_vec();
        self.stdout.until(&lines.join(", "), |seen| {
            left.retain(|line| *line != seen);
            left.is_empty()
        });
    }

    /// Waits for a line on standard output with `part` in it.
    pub(crate) fn expect_part(&mut self, part: &str) -> String {
        self.stdout.until(part, |seen| seen.contains(part))
    }

    /// Waits for a line on standard error with `part` in it.
    pub(crate) fn expect_error(&mut self, part: &str) -> String {
        self.stderr.until(part, |seen| seen.contains(part))
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// As `kill -SIGNAL` does.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Its output ends with it.
        self.stdout.rest();
        self.stderr.rest();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end; it said {:#?}", self.stderr.seen);
            thread::yield_now();
        }
    }

    /// Waits for its end; its exit code.
    pub(crate) fn exit_code(&mut self) -> i32 {
        self.wait().code().unwrap()
    }

    /// All lines of standard output so far; of all time after [`Program::wait`].
    pub(crate) fn output(&self) -> &[String] {
        &self.stdout.seen
    }

    /// All of standard error after [`Program::wait`].
    pub(crate) fn errors(&self) -> String {
        self.stderr.seen.join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with the link that it printed.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) link: String,
}

impl Server {
    pub(crate) fn start(place: &Place) -> Self {
        Self::start_at(place, "127.0.0.1:0", &[])
    }

    pub(crate) fn start_at(place: &Place, address: &str, more: &[&str]) -> Self {
        let data = place.path("server");
        let data = data.to_str().unwrap();
        let arguments = ["--listen", address, "--data", data].into_iter().chain(more.iter().copied());
        Self::from_program(Program::start(&server_binary(), arguments, place))
    }

    /// Waits for the link.
    pub(crate) fn from_program(mut program: Program) -> Self {
        let line = program.expect_part("friends join with");
        let link = line.split('\'').nth(1).unwrap().to_owned();
        Self { program, link }
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> String {
        let rest = self.link.trim_start_matches("chinwag://");
        rest.split('#').next().unwrap().to_owned()
    }

    /// A client that only types.
    pub(crate) fn join(&self, place: &Place, name: &str) -> Program {
        let mut client = self.client(place, &["--name", name, "--mic", "none", "--speaker", "none"]);
        client.expect(&format!("Welcome {name}! If you ever want to quit, type {{quit}} to exit."));
        client
    }

    pub(crate) fn client(&self, place: &Place, arguments: &[&str]) -> Program {
        client(place, arguments.iter().copied().chain([self.link.as_str()]))
    }
}

pub(crate) fn client(place: &Place, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Program {
    Program::start(Path::new(env!("CARGO_BIN_EXE_chinwag")), arguments, place)
}

/// A double of one of the old programs.
pub(crate) fn old(program: &str, arguments: &[&str], place: &Place) -> Program {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../script/classic").join(program);
    let arguments =
        [OsStr::new("-u"), script.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new));
    Program::start(Path::new("python3"), arguments, place)
}

pub(crate) fn server_binary() -> PathBuf {
    binary("chinwag-server")
}

/// A program of another package: built by the same `cargo` call for the workspace, into the same folder.
pub(crate) fn binary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_chinwag")).with_file_name(name)
}

/// A number from a file that `--stats` wrote.
pub(crate) fn statistic(path: &Path, name: &str) -> serde_json::Value {
    let text = fs::read_to_string(path).unwrap();
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    stats.get(name).unwrap_or_else(|| panic!("{name} is not in {text}")).clone()
}

/// The same, of one that counts.
pub(crate) fn number(path: &Path, name: &str) -> u64 {
    statistic(path, name).as_u64().unwrap()
}
