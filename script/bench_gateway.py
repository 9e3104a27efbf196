"""Runs the gateway's example over recorded and synthetic speech and judges what is heard; see script/bench-gateway."""
import os, re, subprocess, sys, tempfile
import numpy as np, soundfile as sf

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "rig"))
import speech
from pystoi import stoi
from quality import aligned, longest_hole_following_ms, pesq_wb
from speech import RATE

# What is heard, and its bounds: PESQ-WB (at least), delay in ms (at most).
ROWS = [
    ("to-native", "classic to native", 3.8, 200),
    ("to-classic", "native to classic", 3.8, 200),
    ("two-first", "two classic at once, the first", 3.8, 200),
    ("two-second", "two classic at once, the second", 3.8, 200),
    ("two-mixed", "two classic at once, mixed for a third", 3.8, 200),
    ("jitter", "chunks up to 40 ms late", 3.8, 200),
    ("stalls", "one chunk in 2 s is 120 ms late", 2.8, 250),
    ("fast", "a sound card 300 ppm too fast", 3.8, 200),
    ("slow", "a sound card 300 ppm too slow", 3.8, 200),
]
CPU_PERCENT = 35
STOI = 0.85

broken = []
print("| way | speech | delay | PESQ-WB | STOI | longest hole |\n| --- | --- | --- | --- | --- | --- |")
with tempfile.TemporaryDirectory() as folder:
    for voice, samples in (("recorded", speech.recorded()), ("synthetic", speech.made())):
        said = f"{folder}/said.wav"
        sf.write(said, np.concatenate([samples, np.zeros(-len(samples) % 480)]), RATE, subtype="PCM_16")
        told = subprocess.run([sys.argv[1], said, folder], check=True, capture_output=True, text=True).stdout
        for name, title, least_pesq, most_ms in ROWS:
            reference, heard = sf.read(f"{folder}/{name}-said.wav")[0], sf.read(f"{folder}/{name}.wav")[0]
            here, lag = aligned(reference, heard)
            pesq, hole = pesq_wb(reference, here, RATE), longest_hole_following_ms(reference, heard, lag, RATE)
            delay_ms = lag / RATE * 1e3
            # Where time is stretched, STOI compares different moments.
            clear, least = stoi(reference, here, RATE), STOI if name.startswith("two") else 0
            print(f"| {title} | {voice} | ≤ {most_ms} / {delay_ms:.0f} ms | ≥ {least_pesq} / {pesq:.2f} | ≥ {least} / {clear:.2f} | {hole} ms |", flush=True)
            if pesq < least_pesq or delay_ms > most_ms or clear < least:
                broken.append(f"{title}, {voice}")
    for line, percent in re.findall(r"^(50 classic members.*: ([\d.]+) % of a core)$", told, re.MULTILINE):
        print(line)
        if "silent" in line and float(percent) > CPU_PERCENT:
            broken.append("CPU")
if broken:
    raise SystemExit(f"bounds broken: {'; '.join(broken)}")
