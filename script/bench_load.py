"""What the real server costs and carries, as tables: each case some times against a fresh server, medians (least to most).

Nothing else should run on the machine. Beside each cost stands the floor of the same run: what a plain `sendto` takes.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time

BIN = "target/release"
ADDRESS = "127.0.0.1:25469"


class Server:
    """A server with a data folder of its own."""

    def __init__(self, *arguments):
        self.folder = tempfile.TemporaryDirectory()
        self.log = open(f"{self.folder.name}/log", "w+")
        command = [f"{BIN}/chinwag-server", "--listen", ADDRESS, "--data", f"{self.folder.name}/data"]
        self.process = subprocess.Popen(
            command + list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
            # Not the settings of whoever runs this.
            env={**os.environ, "XDG_CONFIG_HOME": self.folder.name},
        )
        for line in self.process.stdout:
            if "chinwag://" in line:
                self.link = line[line.index("chinwag://"):].split()[0].strip("'")
                break
        # Nobody reads the rest, and it must not wait for that.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()


def load(server, arguments):
    """One run of the load tool."""
    command = [f"{BIN}/chinwag-load", ADDRESS, "--json", "--server-pid", str(server.process.pid)]
    done = subprocess.run(command + arguments.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not done.stdout.startswith("{"):
        raise SystemExit(f"chinwag-load {arguments}: {done.stderr}")
    return json.loads(done.stdout)


def shown(values, digits):
    """Median, and least to most."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


# Cases: each says how its server is started, what is asked of the load tool, and what of the answer is shown.


def delay(run, which):
    return run["run"]["voice"]["delay"][which]


def loss(run):
    return run["run"]["voice"]["loss_percent"]


def per_frame(run):
    return run["run"]["server"]["cpu_us_per_frame"]


def floor(run):
    return run["floor"]["sendto_ns"] / 1000


def per_datagram(run):
    voice = run["run"]["voice"]
    return per_frame(run) * voice["frames_delivered"] / voice["datagrams_received"]


VOICE = [
    ("server CPU, µs for each delivered frame", per_frame, 2),
    ("floor, µs for each datagram", floor, 2),
    ("ratio to the floor", lambda run: per_frame(run) / floor(run), 2),
    ("server CPU, µs for each datagram", per_datagram, 2),
    ("delay p50, ms", lambda run: delay(run, "p50_ms"), 3),
    ("delay p99, ms", lambda run: delay(run, "p99_ms"), 3),
    ("lost, %", loss, 4),
]

LIMIT = [
    ("frames/s that held", lambda run: run["run"]["voice"]["frames_per_second"], 0),
    ("datagrams/s in that", lambda run: run["run"]["voice"]["datagrams_per_second"], 0),
    ("delay p99, ms", lambda run: delay(run, "p99_ms"), 2),
    ("server CPU, µs for each delivered frame", per_frame, 2),
]

# As many as they may send in the long run, of that length.
SENDERS = "--clients 20 --talkers 0 --text-rate 20000 --seconds 10"
KEPT = [
    ("messages/s", lambda run: run["run"]["text"]["messages_per_second"], 0),
    ("acknowledged p50, ms", lambda run: run["run"]["text"]["acknowledged"]["p50_ms"], 1),
    ("acknowledged p99, ms", lambda run: run["run"]["text"]["acknowledged"]["p99_ms"], 1),
    ("server CPU, µs for each message", lambda run: run["run"]["server"]["cpu_ms_per_second"] * 1000
     / run["run"]["text"]["messages_per_second"], 1),
    ("lost, doubled or out of order", lambda run: sum(
        run["run"]["text"][what] for what in ("lost", "doubled", "reordered")), 0),
]
OVERLOAD = [
    ("frames/s asked", lambda run: run["run"]["voice"]["frames_expected"] / run["run"]["seconds"], 0),
    ("frames/s delivered", lambda run: run["run"]["voice"]["frames_per_second"], 0),
    ("lost, %", loss, 1),
    ("lost by the worst pair of talker and listener, %", lambda run: run["run"]["voice"]["worst_loss_percent"], 1),
    ("delay p50, ms", lambda run: delay(run, "p50_ms"), 0),
    ("delay p99, ms", lambda run: delay(run, "p99_ms"), 0),
    ("text lost", lambda run: run["run"]["text"]["lost"], 0),
    ("text delay p99, ms", lambda run: run["run"]["text"]["delay"]["p99_ms"], 0),
]

CASES = {
    "4 talkers": ([], "--clients 100 --talkers 4 --poll-us 300 --seconds 10 --floor", VOICE),
    "1 talker": ([], "--clients 100 --talkers 1 --poll-us 300 --seconds 10 --floor", VOICE),
    "1 talker, 1 thread": (
        ["--voice-threads", "1"],
        "--clients 100 --talkers 1 --poll-us 300 --seconds 10 --floor",
        VOICE,
    ),
    "20 talkers, hold 2 ms": (
        ["--voice-hold-ms", "2"],
        "--clients 100 --talkers 20 --poll-us 300 --seconds 10 --floor",
        VOICE,
    ),
    "20 talkers": ([], "--clients 100 --talkers 20 --poll-us 300 --seconds 10 --floor", VOICE),
    "4 talkers, 1 thread": (
        ["--voice-threads", "1"],
        "--clients 100 --talkers 4 --poll-us 300 --seconds 10 --floor",
        VOICE,
    ),
    "1000 clients, 4 talkers": ([], "--clients 1000 --talkers 4 --seconds 10 --floor", VOICE),
    "1000 clients, 4 talkers, 1 thread": (
        ["--voice-threads", "1"],
        "--clients 1000 --talkers 4 --seconds 10 --floor",
        VOICE,
    ),
    "20 rooms of 20, 2 talk in each": (
        [],
        "--clients 400 --talkers 40 --rooms 20 --poll-us 300 --seconds 10 --floor",
        VOICE,
    ),
    "limit": ([], "--clients 100 --talkers 16 --poll-us 300 --seconds 3 --find-limit", LIMIT),
    "limit, 1 thread": (
        ["--voice-threads", "1"],
        "--clients 100 --talkers 16 --poll-us 300 --seconds 3 --find-limit",
        LIMIT,
    ),
    "3 million frames/s": ([], "--clients 1000 --talkers 60 --text-rate 20 --seconds 10", OVERLOAD),
    "3 million frames/s, 1 thread": (
        ["--voice-threads", "1"],
        "--clients 1000 --talkers 60 --text-rate 20 --seconds 10",
        OVERLOAD,
    ),
    "4 million frames/s": ([], "--clients 1000 --talkers 80 --text-rate 20 --seconds 10", OVERLOAD),
    "1000 idle clients": (
        [],
        "--clients 1000 --talkers 0 --seconds 20",
        [
            ("all are in after, s", lambda run: run["connect"]["seconds"], 2),
            ("memory, KB a client", lambda run: run["memory"]["bytes_per_client"] / 1000, 1),
            ("server CPU, ms a second", lambda run: run["run"]["server"]["cpu_ms_per_second"], 1),
        ],
    ),
    "text": (
        [],
        "--clients 100 --talkers 0 --text-rate 9000 --seconds 10",
        [
            ("deliveries/s", lambda run: run["run"]["text"]["deliveries_per_second"], 0),
            ("server CPU, µs for each delivery", lambda run: run["run"]["server"]["cpu_us_per_delivery"], 2),
            ("delay p50, ms", lambda run: run["run"]["text"]["delay"]["p50_ms"], 2),
            ("delay p99, ms", lambda run: run["run"]["text"]["delay"]["p99_ms"], 2),
            ("lost, doubled or out of order", lambda run: sum(
                run["run"]["text"][what] for what in ("lost", "doubled", "reordered")), 0),
        ],
    ),
    "text of 20 senders, kept": ([], SENDERS, KEPT),
    "text of 20 senders, in memory": (["--history", "memory"], SENDERS, KEPT),
}


# What others do meanwhile: each is a function that starts it and gives the processes.


def again_and_again(command):
    """The same program until it is ended."""
    return [subprocess.Popen(["sh", "-c", f"while :; do {command}; done"], start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]


def program(*command, **options):
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            **options)


def deaf(server):
    """One who listens in the room and takes nothing any more."""
    link = server.link.replace("#", "/load-0#")
    known = f"{server.folder.name}/config"
    listener = program(f"{BIN}/chinwag", "--name", "deaf", "--mic", "none", "--speaker", "none", link,
                       stdin=subprocess.PIPE, env={**os.environ, "XDG_CONFIG_HOME": known, "XDG_STATE_HOME": known})
    time.sleep(2)
    listener.send_signal(signal.SIGSTOP)
    return [listener]


DISTURBANCES = {
    "nothing": lambda server: [],
    "200 clients that connect, leave and come again": lambda server: again_and_again(
        f"{BIN}/chinwag-load {ADDRESS} --clients 200 --rooms 20 --talkers 0 --seconds 1"),
    "2000 messages a second to 50 others each, in other rooms": lambda server: again_and_again(
        f"{BIN}/chinwag-load {ADDRESS} --clients 50 --talkers 0 --text-rate 2000 --seconds 60"),
    "10 000 half-open connections, 1000 more a second": lambda server: [
        program(f"{BIN}/examples/nuisance", "half-open", ADDRESS, "10000", "127.0.0.2")],
    "forged datagrams as fast as they can be sent": lambda server: [
        program(f"{BIN}/examples/nuisance", "forge", ADDRESS)],
    "one listener who takes nothing": deaf,
}


def disturbed(runs):
    print("\n### 100 clients, 4 talkers, while others do something else\n")
    print("| meanwhile | delay p50, ms | p99 | p99.9 | lost, % |\n| --- | --- | --- | --- | --- |")
    for name, start in DISTURBANCES.items():
        found = []
        for _ in range(runs):
            with Server("--max-clients", "2000") as server:
                processes = start(server)
                try:
                    time.sleep(1)
                    found.append(load(server, "--clients 100 --talkers 4 --poll-us 300 --seconds 10"))
                finally:
                    for process in processes:
                        os.killpg(process.pid, signal.SIGKILL)
                        process.wait()
        which = [shown([delay(run, key) for run in found], 2) for key in ("p50_ms", "p99_ms", "p999_ms")]
        print(f"| {name} | {' | '.join(which)} | {shown([loss(run) for run in found], 3)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("cases", nargs="*", help=f"of: {', '.join(CASES)}, disturbed; all if there is none")
    arguments = parser.parse_args()
    wanted = arguments.cases or [*CASES, "disturbed"]
    for name in wanted:
        if name == "disturbed":
            disturbed(arguments.runs)
            continue
        options, asked, rows = CASES[name]
        found, warnings = [], 0
        for _ in range(arguments.runs):
            with Server("--max-clients", "2000", *options) as server:
                found.append(load(server, asked))
                warnings += bool(found[-1]["warnings"])
        with_options = f" (server: {' '.join(options)})" if options else ""
        print(f"\n### {name}\n\n`chinwag-load {asked}`{with_options}, {arguments.runs} runs, {warnings} of them with a warning\n")
        print("| what | median (least to most) |\n| --- | --- |")
        for what, pick, digits in rows:
            print(f"| {what} | {shown([pick(run) for run in found], digits)} |", flush=True)


if __name__ == "__main__":
    main()
