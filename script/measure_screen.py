"""Runs the real programs, the client in a pseudo-terminal; see script/measure-screen. measure_screen.py BIN [KEYS]"""
import fcntl, os, pty, re, select, struct, subprocess, sys, tempfile, termios, threading, time

binaries, keys = sys.argv[1], int((sys.argv[2:] or ["500"])[0])
COLUMNS, ROWS = 120, 40
SCROLLBACK, RATE = 10_000, 200
IDLE_SECONDS = 10


class Screen:
    """The client before a person who looks at all that it writes."""

    def __init__(self, link, folder):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.environ |= {"TERM": "xterm-256color", "XDG_CONFIG_HOME": folder}
            name = f"{binaries}/chinwag"
            os.execv(name, [name, "--name", "Foo", "--mic", "none", "--speaker", "none", link])
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def read(self, seconds):
        if select.select([self.terminal], [], [], seconds)[0]:
            return os.read(self.terminal, 65536)
        return b""

    def until(self, pattern, seconds=60):
        """How long it took until that was written, and all that was."""
        begin, seen = time.monotonic(), b""
        while not re.search(pattern, seen):
            seen += self.read(0.1)
            if time.monotonic() - begin > seconds:
                raise SystemExit(f"no {pattern!r} in {seen[-2000:]!r}")
        return time.monotonic() - begin, seen

    def memory_mb(self):
        status = open(f"/proc/{self.process}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1000

    def cpu_seconds(self):
        fields = open(f"/proc/{self.process}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def use_of_cpu(self, seconds):
        begin, used = time.monotonic(), self.cpu_seconds()
        while time.monotonic() - begin < seconds:
            self.read(0.5)
        return 100 * (self.cpu_seconds() - used) / (time.monotonic() - begin)


def main():
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [f"{binaries}/chinwag-server", "--listen", "127.0.0.1:0", "--data", f"{folder}/data"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        link = next(m.group(1) for line in server.stdout if (m := re.search(r"'(chinwag:[^']+)'", line)))
        bar = subprocess.Popen(
            [f"{binaries}/chinwag", "--name", "Bar", "--mic", "none", "--speaker", "none", link],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        foo = Screen(link, folder)
        foo.until(rb"Welcome!")
        begun = foo.memory_mb()
        idle = foo.use_of_cpu(IDLE_SECONDS)

        words = "the quick brown fox jumps over the lazy dog and says what it thinks of it, at length and in detail"
        def say(text):
            bar.stdin.write(f"{text}\n".encode())
            bar.stdin.flush()
        line = lambda n: f"line {n} {words[: n * 7 % len(words)]}"
        # Only what differs is written, and nothing else has that.
        end = "@" * 9
        threading.Thread(target=lambda: [say(text) for text in [*map(line, range(SCROLLBACK)), end]], daemon=True).start()
        filled, _ = foo.until(end.encode(), 120)
        foo.read(0.5)
        full = foo.memory_mb()
        full_idle = foo.use_of_cpu(IDLE_SECONDS)

        is_over = threading.Event()
        def chatter():
            n = SCROLLBACK
            while not is_over.is_set():
                say(line(n))
                n += 1
                time.sleep(1 / RATE)
        threading.Thread(target=chatter, daemon=True).start()
        foo.until(rb"[0-9]")
        begin, used, delays = time.monotonic(), foo.cpu_seconds(), []
        for n in range(keys):
            key = b"abcdefghijklmnopqrstuvwxyz"[n % 26 : n % 26 + 1]
            # What was there before is not an answer.
            while foo.read(0):
                pass
            at = time.monotonic()
            os.write(foo.terminal, key)
            # It stands in the last row.
            foo.until(rb"\x1b\[%d;\d+H(\x1b\[[;\d]*m)?%s" % (ROWS, key))
            delays.append(1000 * (time.monotonic() - at))
            if n % 50 == 49:
                os.write(foo.terminal, b"\x15")
            # Not in step with what else happens.
            time.sleep(0.011 + 0.013 * (n % 3))
        busy = 100 * (foo.cpu_seconds() - used) / (time.monotonic() - begin)
        is_over.set()
        delays.sort()
        at = lambda share: delays[min(len(delays) - 1, int(share * len(delays)))]
        print(f"key to screen, {SCROLLBACK} lines kept, {RATE} messages a second, {COLUMNS}x{ROWS}, {keys} keys: "
              f"median {at(0.5):.2f} ms, 95 % {at(0.95):.2f}, 99 % {at(0.99):.2f}, worst {delays[-1]:.2f}")
        print(f"{SCROLLBACK} lines arrived within {filled:.1f} s")
        print(f"processor: idle {idle:.2f} %, idle with {SCROLLBACK} lines {full_idle:.2f} %, while those arrive {busy:.1f} % of a core")
        print(f"memory: {begun:.1f} MB at first, {full:.1f} MB with {SCROLLBACK} lines")
        os.write(foo.terminal, b"\x03")
        bar.stdin.close()
        bar.wait()
        server.terminate()


main()
