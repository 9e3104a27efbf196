"""Runs the real programs and measures what is heard; see script/measure-voice. measure_voice.py BIN [RUNS]"""
import json, os, re, subprocess, sys, tempfile, time
import numpy as np, soundfile as sf

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "rig"))
from speech import RATE, recorded

binaries, runs = sys.argv[1], int((sys.argv[2:] or ["3"])[0])


def start_client(folder, name, link, frame_ms, mic):
    return subprocess.Popen(
        [f"{binaries}/chinwag", "--name", name, "--frame-ms", str(frame_ms), "--mic", mic,
         "--speaker", f"{folder}/{name}.wav", "--stats", f"{folder}/{name}.json", link],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "XDG_CONFIG_HOME": f"{folder}/config"})


def wait_line(process, part):
    for line in process.stdout:
        if part in line:
            return line
    raise SystemExit(f"no line with {part!r}")


def one_run(reference, frame_ms):
    with tempfile.TemporaryDirectory() as folder:
        ref = f"{folder}/ref.wav"
        sf.write(ref, reference, RATE, subtype="PCM_16")
        server = subprocess.Popen(
            [f"{binaries}/chinwag-server", "--listen", "127.0.0.1:0", "--data", f"{folder}/data"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            link = re.search(r"'(chinwag:[^']+)'", wait_line(server, "friends join")).group(1)
            bar = start_client(folder, "Bar", link, frame_ms, "none")
            wait_line(bar, "Welcome")
            time.sleep(1.5)  # The voice path stands, the machine is calm.
            foo = start_client(folder, "Foo", link, frame_ms, ref)
            foo.stdin.close()
            foo.wait()
            wait_line(bar, "has left")
            bar.communicate("{quit}\n")
        finally:
            server.terminate()
            server.wait()
        quality = subprocess.run([sys.executable, "script/rig/quality.py", ref, f"{folder}/Bar.wav"],
                                 check=True, capture_output=True, text=True).stdout
        values = dict(part.split("=") for part in quality.split() if "=" in part)
        foo, bar = (json.load(open(f"{folder}/{name}.json")) for name in ("Foo", "Bar"))
        started_ms = (bar["speaker_started_ns"] - foo["mic_started_ns"]) / 1e6
        return {"mouth_to_ear_ms": float(values["offset_ms"]) + started_ms, "pesq_wb": float(values["pesq_wb"]),
                "stoi": float(values["stoi"]), "hole_ms": float(values["longest_hole_ms"]),
                "buffer_ms": bar["jitter_buffer_ms"], "concealed": bar["blocks_concealed"]}


reference = recorded()
print(f"{len(reference) / RATE:.1f} s of recorded speech, {runs} runs each: median (worst)")
print("| frames | mouth to ear | PESQ-WB | STOI | longest hole | 10 ms concealed |")
print("| --- | --- | --- | --- | --- | --- |")
for frame_ms in (10, 20):
    all_runs = [one_run(reference, frame_ms) for _ in range(runs)]
    row = []
    for key, worst, unit in (("mouth_to_ear_ms", max, " ms"), ("pesq_wb", min, ""), ("stoi", min, ""),
                             ("hole_ms", max, " ms"), ("concealed", max, "")):
        values = [run[key] for run in all_runs]
        row.append(f"{np.median(values):.4g}{unit} ({worst(values):.4g})")
    print(f"| {frame_ms} ms | " + " | ".join(row) + " |", flush=True)
