"""The speech that voice is measured with, 48 kHz mono: recorded words of alsa-utils, and sentences by espeak-ng."""
import glob, io, subprocess
import numpy as np, soundfile as sf
from scipy.signal import resample_poly

RATE = 48000
TEXT = ("The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. "
        "It is easy to tell the depth of a well. Rice is often served in round bowls.")


def at_48k(file):
    data, rate = sf.read(file, always_2d=True)
    return resample_poly(data.mean(axis=1), RATE, rate)


def recorded():
    """All recorded words, one after the other."""
    return np.concatenate([at_48k(path) for path in sorted(glob.glob("/usr/share/sounds/alsa/*_*.wav"))])


def made():
    """Sentences of the Harvard list (IEEE 297-1969), spoken by a program."""
    return at_48k(io.BytesIO(subprocess.run(["espeak-ng", "--stdout", TEXT], check=True, capture_output=True).stdout))
