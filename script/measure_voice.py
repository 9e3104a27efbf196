"""Runs the real programs and measures what is heard; see script/measure-voice. measure_voice.py BIN [RUNS]"""
import json, os, re, subprocess, sys, tempfile, time
import numpy as np, soundfile as sf
from pystoi import stoi
from scipy.signal import resample_poly

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "rig"))
from quality import aligned, longest_hole_ms, pesq_wb
from speech import RATE, recorded

binaries, runs = sys.argv[1], int((sys.argv[2:] or ["3"])[0])
# The classic programs' rate.
OLD_RATE = 44100


def wait_line(process, part):
    for line in process.stdout:
        if part in line:
            return line
    raise SystemExit(f"no line with {part!r}")


class Server:
    """Ours, for old programs and new ones."""

    def __init__(self, folder):
        listen = [word for option in ("--listen", "--classic-text", "--classic-voice") for word in (option, "127.0.0.1:0")]
        self.process = subprocess.Popen(
            [f"{binaries}/chinwag-server", *listen, "--data", f"{folder}/data"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            # Not the settings of whoever runs this.
            env={**os.environ, "XDG_CONFIG_HOME": f"{folder}/config"})
        # In the order in which it tells them.
        port = lambda line: re.search(r"127\.0\.0\.1:(\d+)", line).group(1)
        self.ports = [port(wait_line(self.process, part)) for part in ("for classic programs", "for their voice")]
        self.link = re.search(r"'(chinwag:[^']+)'", wait_line(self.process, "friends join")).group(1)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Client:
    """Somebody in the room, who says a file or nothing. When he has said all, or is told to, he leaves."""

    def __init__(self, folder, name, command):
        self.folder, self.name = folder, name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "XDG_CONFIG_HOME": f"{folder}/config", "XDG_STATE_HOME": f"{folder}/state"})

    def leave(self):
        self.process.communicate("{quit}\n")
        self.stats = json.load(open(f"{self.folder}/{self.name}.json"))


class Native(Client):
    frame_ms = 10

    def __init__(self, server, folder, name, said=None):
        super().__init__(folder, name, [
            f"{binaries}/chinwag", "--name", name, "--frame-ms", str(self.frame_ms), "--mic", said or "none",
            "--speaker", f"{folder}/{name}.wav", "--stats", f"{folder}/{name}.json", server.link])
        if not said:
            wait_line(self.process, "Welcome")

    def say_all(self):
        self.process.stdin.close()
        self.process.wait()
        self.stats = json.load(open(f"{self.folder}/{self.name}.json"))

    def heard(self):
        return sf.read(f"{self.folder}/{self.name}.wav")[0]


class Native20(Native):
    frame_ms = 20


class Old(Client):
    """A double of the old program."""

    def __init__(self, server, folder, name, said=None):
        say = []
        if said:
            samples, _ = sf.read(said)
            said = said.replace(".wav", "-old.wav")
            sf.write(said, resample_poly(samples, OLD_RATE, RATE), OLD_RATE, subtype="PCM_16")
            say = ["--say", said]
        super().__init__(folder, name, [
            sys.executable, "script/classic/group_client.py", *say, "--heard", f"{folder}/{name}.pcm",
            "--stats", f"{folder}/{name}.json", "127.0.0.1", *server.ports])
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        wait_line(self.process, "Welcome")

    def say_all(self):
        wait_line(self.process, "all said")
        time.sleep(0.5)  # What is under way arrives.
        self.leave()

    def heard(self):
        samples = np.fromfile(f"{self.folder}/{self.name}.pcm", dtype="<i2") / 32768
        return resample_poly(samples, RATE, OLD_RATE)


def one_run(speech, talker_kinds, listener_kind):
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        try:
            listener = listener_kind(server, folder, "Listener")
            time.sleep(1.5)  # The voice path stands, the machine is calm.
            talkers = []
            for number, kind in enumerate(talker_kinds):
                said = f"{folder}/said-{number}.wav"
                # Not the same at the same time.
                sf.write(said, np.roll(speech, number * len(speech) // 2), RATE, subtype="PCM_16")
                talkers.append(kind(server, folder, f"Talker{number}", said))
            for talker in talkers:
                talker.say_all()
            listener.leave()
        finally:
            server.stop()
        # What all of them said, from the first on.
        begun = min(talker.stats["mic_started_ns"] for talker in talkers)
        after = [round((talker.stats["mic_started_ns"] - begun) * RATE / 1e9) for talker in talkers]
        reference = np.zeros(len(speech) + max(after))
        for number, begin in enumerate(after):
            reference[begin : begin + len(speech)] += np.roll(speech, number * len(speech) // 2)
        here, lag = aligned(reference, listener.heard())
        started_ms = (listener.stats["speaker_started_ns"] - begun) / 1e6
        return {"mouth_to_ear_ms": lag / RATE * 1e3 + started_ms, "pesq_wb": pesq_wb(reference, here, RATE),
                "stoi": stoi(reference, here, RATE), "hole_ms": longest_hole_ms(reference, here, RATE)}


speech = recorded()
print(f"{len(speech) / RATE:.1f} s of recorded speech, {runs} runs each: median (worst)")
print("| from | to | mouth to ear | PESQ-WB | STOI | longest hole |")
print("| --- | --- | --- | --- | --- | --- |")
for title, talkers, listener in (
    ("native, frames of 10 ms", [Native], Native),
    ("native, frames of 20 ms", [Native20], Native20),
    ("classic", [Old], Native),
    ("native", [Native], Old),
    ("classic", [Old], Old),
    ("two classic at once", [Old, Old], Native),
    ("two classic at once", [Old, Old], Old),
):
    all_runs = [one_run(speech, talkers, listener) for _ in range(runs)]
    row = []
    for key, worst, unit in (("mouth_to_ear_ms", max, " ms"), ("pesq_wb", min, ""), ("stoi", min, ""),
                             ("hole_ms", max, " ms")):
        values = [run[key] for run in all_runs]
        row.append(f"{np.median(values):.3g}{unit} ({worst(values):.3g})")
    hears = "classic" if listener is Old else "native"
    print(f"| {title} | {hears} | " + " | ".join(row) + " |", flush=True)
