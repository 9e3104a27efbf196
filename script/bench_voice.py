"""Runs the voice lab over named networks and judges what is heard; see script/bench-voice."""
import argparse, json, os, shlex, subprocess, sys, tempfile
from dataclasses import dataclass
from multiprocessing import Pool
import numpy as np, soundfile as sf

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "rig"))
import speech
from quality import aligned, longest_hole_following_ms, longest_hole_ms, pesq_wb
from speech import RATE

BLOCK = 480


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    net: str
    delay_ms: float  # the most that the 95th percentile may be; 0: judged by what came back of it, see `returned_ms`
    pesq: float  # the least
    hole_ms: float  # the most
    frame_ms: int = 0  # 0: as asked for
    drift_ppm: int = 0
    step_ms: int = 0  # for STEP_S seconds
    step_s: float = 0  # from when; 0: in each seed from another word on


ROWS = [
    Row("clean10", "clean", "delay=0.1", 45, 4.2, 0, frame_ms=10),
    Row("clean20", "clean", "delay=0.1", 65, 4.2, 0, frame_ms=20),
    Row("loss", "20 ms + 5 % loss", "delay=20,loss=5", 90, 3.9, 0),
    Row("burst", "20 ms + 10 % loss in bursts of 3", "delay=20,loss=10,burst=3", 120, 3.4, 10),
    Row("jitter", "jitter 30", "jitter=30", 130, 4.1, 5),
    Row("jitterloss", "jitter 22 + 2 % loss", "jitter=22,loss=2", 110, 4.0, 5),
    Row("far", "120 ms + jitter 8 + 1 % loss", "delay=120,jitter=8,loss=1", 195, 4.1, 0),
    Row("step", "+100 ms for 4 s and back", "delay=20", 0, 3.9, 30, step_ms=100),
    Row("step4", "+100 ms from 4 to 8 s", "delay=20", 0, 3.9, 30, step_ms=100, step_s=4.0),
    Row("drift", "300 ppm of drift", "delay=20", 0, 4.1, 0, drift_ppm=300),
    Row("slow", "−300 ppm of drift", "delay=20", 0, 4.1, 0, drift_ppm=-300),
]
RETURN_MS = 10  # where delay_ms is 0
STEP_S = 4  # as long as it lasts, and as long as it may take to come back


@dataclass(frozen=True)
class Job:
    row: Row
    voice: str
    frame_ms: int
    seed: int
    seconds: int
    classic: bool


def prepare(folder):
    """The pieces, whole blocks long, so that they can be said again and again without a seam."""
    for name, samples in (("recorded", speech.recorded()), ("made", speech.made())):
        samples = np.concatenate([samples, np.zeros(-len(samples) % BLOCK)])
        sf.write(f"{folder}/{name}.wav", samples, RATE, subtype="PCM_16")


def ear_ms(moments, from_s, to_s):
    """The mean delay from mouth to ear between two times, or at the first time thereafter at which anything was heard."""
    heard = [(m["at_ms"] / 1000, m["mouth_to_ear_ms"]) for m in moments if m["mouth_to_ear_ms"] is not None]
    there = [ms for at, ms in heard if from_s <= at < to_s] or [ms for at, ms in heard if at >= to_s][:5]
    return float(np.mean(there)) if there else float("nan")


def step_begin_s(row, seed):
    """Where the step falls decides what can be heard of it, far more than chance does."""
    return row.step_s or 3 + 0.2 * ((seed - 1) % 10)


def bare_step(reference, row, seed):
    """PESQ of the speech as it is, without any codec or network, where it only stands still once for as long as the step takes."""
    at = int(step_begin_s(row, seed) * RATE)
    still = np.concatenate([reference[:at], np.zeros(row.step_ms * RATE // 1000), reference[at:]])
    return pesq_wb(reference, aligned(reference, still)[0], RATE)


def run(job):
    """One seed: what was heard, in figures."""
    row, tag = job.row, f"{job.row.name}-{job.voice}-{job.frame_ms}-{job.seed}-{job.classic}"
    mic, heard, stats = f"{folder}/{job.voice}.wav", f"{folder}/{tag}.wav", f"{folder}/{tag}.json"
    step_s = step_begin_s(row, job.seed)
    net = row.net + (f",step={row.step_ms}@{step_s:.1f}-{step_s + STEP_S:.1f}" if row.step_ms else "")
    command = [binary, "voice", "--mic", mic, "--heard", heard, "--stats", stats, "--net", net,
               "--seed", str(job.seed), "--drift-ppm", str(row.drift_ppm), "--frame-ms", str(job.frame_ms)]
    command += ["--seconds", str(job.seconds)] if job.seconds else []
    command += ["--baseline", "classic"] if job.classic else extra
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}\n{result.stderr}")
    with open(stats) as file:
        report = json.load(file)
    reference = sf.read(mic)[0]
    rate = 1 + row.drift_ppm * 1e-6
    # Of an hour the last whole repetition is judged, of all else the first one.
    last = int(job.seconds * RATE // len(reference)) - 1 if row.drift_ppm else 0
    begin = max(0, int(last * len(reference) / rate))
    samples, _ = sf.read(heard, start=begin, frames=len(reference) + 3 * RATE)
    here, lag = aligned(reference, samples)
    moments, returned_ms = report["moments"], None
    if row.drift_ppm:
        returned_ms = ear_ms(moments, job.seconds - 60, job.seconds) - ear_ms(moments, 5, 65)
    elif row.delay_ms == 0:
        back_s = step_s + 2 * STEP_S
        returned_ms = ear_ms(moments, back_s, back_s + 1) - ear_ms(moments, step_s - 1, step_s)
    os.remove(heard)
    os.remove(stats)
    return {"p95": report["mouth_to_ear_ms"]["p95"], "aligned": lag / RATE * 1e3, "returned": returned_ms,
            "pesq": pesq_wb(reference, here, RATE), "hole": longest_hole_following_ms(reference, samples, lag, RATE),
            "hole_at_one_lag": longest_hole_ms(reference, here, RATE),
            "bare": bare_step(reference, row, job.seed) if row.step_ms else None, "kbps": report["wire_kbps"], "figures": result.stdout.strip()}


def judge(row, results):
    """The cells of a row, and which bounds are broken."""
    def values(key):
        return np.array([result[key] for result in results], dtype=float)
    p95, pesq, hole, aligned_ms = values("p95"), values("pesq"), values("hole"), values("aligned")
    broken = []
    if row.delay_ms:
        delay = f"≤ {row.delay_ms:g} / {p95.mean():.0f} (worst {p95.max():.0f})"
        broken += ["delay"] if not p95.mean() <= row.delay_ms else []
    else:
        returned = values("returned")
        delay = f"± {RETURN_MS} / {returned.mean():+.1f} (worst {returned[np.argmax(np.abs(returned))]:+.1f})"
        broken += ["delay"] if not np.abs(returned).mean() <= RETURN_MS else []
    broken += ["PESQ"] if not pesq.mean() >= row.pesq else []
    broken += ["hole"] if not hole.mean() <= row.hole_ms else []
    bare = f"; as it is, standing still once: {values('bare').mean():.2f}, {values('bare').min():.2f}" if row.step_ms else ""
    cells = [delay, f"{aligned_ms.mean():.0f}", f"≥ {row.pesq:g} / {pesq.mean():.2f} (worst {pesq.min():.2f}{bare})",
             f"≤ {row.hole_ms:g} / {hole.mean():.0f} (worst {hole.max():.0f}, {values('hole_at_one_lag').max():.0f})", f"{values('kbps').mean():.0f}"]
    return cells, broken


def jobs_of(row, options, classic):
    voices = ["recorded", "made"] if options.voice == "both" else [options.voice]
    frames = [row.frame_ms] if row.frame_ms else [10, 20] if options.frames == "both" else [int(options.frames)]
    seeds, seconds = range(1, options.seeds + 1), 0
    if row.drift_ppm:
        seeds, seconds = [1], options.drift_seconds
    elif row.delay_ms == 0:
        seconds = 18
    for voice in voices:
        for frame_ms in [0] if classic else frames:
            yield (voice, frame_ms), [Job(row, voice, frame_ms or 20, seed, seconds, classic) for seed in seeds]


def main():
    parser = argparse.ArgumentParser(prog="script/bench-voice", description=__doc__)
    parser.add_argument("binary", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="3 seeds, 5 minutes of drift, no baseline")
    parser.add_argument("--seeds", type=int, help="runs of each row (default 10)")
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS], help="only this row; may be repeated")
    parser.add_argument("--frames", choices=["10", "20", "both"], default="10", help="where a row leaves it open (default 10)")
    parser.add_argument("--voice", choices=["recorded", "made", "both"], default="both")
    parser.add_argument("--no-baseline", action="store_true", help="leave out the classic way")
    parser.add_argument("--with", dest="extra", default="", metavar="OPTIONS",
                        help="more options for chinwag-sim voice, e.g. --with='--bitrate 48000 --expect 10'")
    parser.add_argument("--verbose", action="store_true", help="a line for each seed, on standard error")
    options = parser.parse_args()
    options.seeds = options.seeds or (3 if options.quick else 10)
    options.drift_seconds = 300 if options.quick else 3600
    options.no_baseline |= options.quick
    rows = [row for row in ROWS if not options.row or row.name in options.row]
    if options.quick and not options.row:
        rows = [row for row in rows if row.name != "slow"]

    global folder, binary, extra
    binary, extra = options.binary, shlex.split(options.extra)
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        with Pool(os.cpu_count() if os.cpu_count() < 2 else 2) as pool:
            plan = []
            for classic in [False] if options.no_baseline else [False, True]:
                for row in rows:
                    if classic and (row.drift_ppm or row.name == "clean10"):
                        continue
                    for key, jobs in jobs_of(row, options, classic):
                        plan.append((row, classic, key, pool.map_async(run, jobs, chunksize=1)))
            failures = report(plan, options)
    if failures:
        print(f"\nBroken: {', '.join(failures)}")
        sys.exit(1)


def report(plan, options):
    print("| network | speech | frames | delay p95, ms: asked / measured | aligned, ms | PESQ-WB: asked / mean (worst) | "
          "longest hole, ms: asked / mean (worst, and with one delay for all) | kb/s on the wire | verdict |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    failures = []
    for row, is_classic, (voice, frame_ms), outcome in plan:
        try:
            results = outcome.get()
        except RuntimeError as error:
            sys.exit(f"bench-voice: {error}")
        if options.verbose:
            for result in results:
                print(f"{row.name} {voice} {frame_ms}: pesq={result['pesq']:.2f} hole={result['hole']} at_one_lag={result['hole_at_one_lag']} "
                      f"aligned={result['aligned']:.1f} {result['figures']}", file=sys.stderr)
        cells, broken = judge(row, results)
        if is_classic:
            verdict = "the classic way"
        else:
            verdict = "good" if not broken else f"**broken: {', '.join(broken)}**"
            failures += [f"{row.name}/{voice}/{frame_ms} ({', '.join(broken)})"] if broken else []
        frames = f"{frame_ms} ms" if frame_ms else "PCM"
        title = f"{row.title}, {options.drift_seconds // 60} minutes" if row.drift_ppm else row.title
        print(f"| {title} | {voice} | {frames} | {' | '.join(cells)} | {verdict} |", flush=True)
    return failures


if __name__ == "__main__":
    main()
