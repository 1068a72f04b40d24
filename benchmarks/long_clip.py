"""A clip of an hour through ``emoca reconstruct``: does memory stay flat, and does time grow with length alone?

    python benchmarks/long_clip.py [--minutes 10 60] [--size 512] [--write NAMES] [--keep FOLDER]
        [--recipe NAME]

The synthetic clip of ``benchmarks/video.py`` (10 s, 25 frames a second, noise on every pixel), encoded as H.264 once
and repeated packet by packet, with a tone as AAC: a real file, which is decoded, followed, captured and written with
all that the command writes by default. Each length is a process of its own, watched from outside: most resident memory,
and processor time of each tenth of the first look. The first line is the clip once: what others are compared with.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import psutil
from jaxtyping import UInt8
from numpy import ndarray
from synthetic_clip import known_code, photographed

from emoca_core import load_method
from emoca_core.reconstruction.observations import PART
from emoca_core.video.writer import clip_writer

RATE, SECONDS, NOISE = 25, 10, 6.0
ACCEPTED = 300
"""MB above the clip of ten seconds."""
SOUND_RATE = 48_000
MANY = 100
"""Samples from which on parts of a run are told."""


@dataclass(frozen=True)
class Sample:
    """A process at one moment.

    Attributes:
        clock: Seconds since it began.
        processor: Seconds that it used.
        memory: Resident, MB.
        frames: Observed, in whole parts; 0 before the first part, and again when the clip is done.
    """

    clock: float
    processor: float
    memory: float
    frames: int


def repeated(once: Path, rounds: int, path: Path) -> None:
    """The pictures of a clip so many times, packet by packet, and a tone beside them."""
    with av.open(str(once)) as source, av.open(str(path), "w", format="mp4") as target:
        pictures = source.streams.video[0]
        video = target.add_stream_from_template(pictures)
        audio = target.add_stream("aac", rate=SOUND_RATE, layout="mono")
        packets = [packet for packet in source.demux(pictures) if packet.dts is not None]
        data = [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in packets]
        base = pictures.time_base
        length = round(SECONDS / base)
        tone = _tones()
        for number in range(rounds):
            for content, pts, dts, is_key in data:
                packet = av.Packet(content)
                packet.stream, packet.time_base, packet.is_keyframe = video, base, is_key
                packet.pts, packet.dts = pts + number * length, dts + number * length
                target.mux(packet)
            for _ in range(SOUND_RATE * SECONDS // 1000):
                target.mux(audio.encode(next(tone)))
        target.mux(audio.encode(None))


def _tones() -> Iterator[av.AudioFrame]:
    when = 0
    while True:
        wave = 0.1 * np.sin(2 * np.pi * 440 * (when + np.arange(1000)) / SOUND_RATE)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, when, Fraction(1, SOUND_RATE)
        yield frame
        when += 1000


def encoded(pictures: UInt8[ndarray, "N H W 3"], path: Path) -> None:
    """The pictures as a clip."""
    with clip_writer(path, (pictures.shape[1], pictures.shape[2]), RATE) as writer:
        for number, pixels in enumerate(pictures):
            writer.write(pixels, number / RATE)


def watched(clip: Path, out: Path, recipe: str, write: str | None) -> list[Sample]:
    """Reconstruct the clip in a process of its own, and look at it every second."""
    command = [sys.executable, "-m", "emoca_core", "reconstruct", str(clip), "--recipe", recipe, "--out", str(out)]
    command += ["--write", write] if write else []
    with (out.parent / f"{out.name}.log").open("w") as log:
        child = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        begun, samples = time.perf_counter(), list[Sample]()
        while child.poll() is None:
            try:
                used, memory = child.cpu_times(), child.memory_info().rss / 1e6
            except psutil.Error:
                break
            frames = PART * len(list(out.glob("*/unfinished-*/frames_*.npz")))
            samples.append(Sample(time.perf_counter() - begun, used.user + used.system, memory, frames))
            time.sleep(1)
    if child.wait() != 0:
        raise SystemExit(f"the run failed: see {log.name}")
    return samples


def report(frames: int, samples: list[Sample], base: float | None) -> float:
    """Print a line for each length, and one for the tenths of its first look; returns the most memory, MB."""
    peak, last = max(sample.memory for sample in samples), samples[-1]
    above = "" if base is None else f"{peak - base:+6.0f} MB (accepted: {ACCEPTED})"
    print(
        f"{frames:6} frames: most memory {peak:5.0f} MB {above}; {last.clock / 60:5.1f} minutes by the clock,"
        f" {1000 * last.processor / frames:5.1f} ms of processor a frame; load {os.getloadavg()[0]:.1f}"
    )
    looks = [sample for sample in samples if sample.frames]
    most = max((one.frames for one in looks), default=0)
    looks = looks[: 1 + next((k for k, one in enumerate(looks) if one.frames == most), 0)]  # parts go when all is done
    if len(looks) > MANY:
        _report_parts(looks, [sample for sample in samples if sample.clock > looks[-1].clock])
    return peak


def _report_parts(looks: list[Sample], after: list[Sample]) -> None:
    marks = [next(one for one in looks if one.frames >= share * looks[-1].frames / 10) for share in range(1, 11)]
    costs = [
        1000 * (one.processor - before.processor) / (one.frames - before.frames) for before, one in pairwise(marks)
    ]
    print("        first look, ms a frame, tenth by tenth:", " ".join(f"{cost:.1f}" for cost in costs))
    print("        memory, MB, tenth by tenth:", " ".join(f"{one.memory:.0f}" for one in marks))
    steps = after[:: max(1, len(after) // 12)]
    print("        minute and memory after it, MB:", ", ".join(f"{s.clock / 60:.0f}: {s.memory:.0f}" for s in steps))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="*", default=[10.0, 60.0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--write", help="formats, as for `emoca reconstruct`")
    parser.add_argument("--keep", type=Path, help="a folder for the clips and what is made of them")
    parser.add_argument("--recipe", default="open_fit", help="method (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        once, base = folder / "once.mp4", None
        if not once.exists():
            method = load_method("open_fit")
            code = known_code(method.face_model, RATE * SECONDS, RATE, 1)
            encoded(photographed(method.face_model, method.renderer, code, options.size, NOISE, 1), once)
        for rounds in [1, *(round(60 * minutes / SECONDS) for minutes in options.minutes)]:
            clip = folder / f"rounds_{rounds}.mp4"
            if not clip.exists():
                repeated(once, rounds, clip)
            frames = rounds * RATE * SECONDS
            peak = report(frames, watched(clip, folder / f"captures_{rounds}", options.recipe, options.write), base)
            base = peak if base is None else base
            sys.stdout.flush()


if __name__ == "__main__":
    main()
