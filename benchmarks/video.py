"""Clips: speed, truth, jitter, lag, blinks, memory; in one run, against capturing every frame as a photo.

    python benchmarks/video.py [CLIP_OR_FOLDER ...] [--frames 250] [--size 512] [--smooth 0 0.25 0.5 0.75 1]
        [--pairs 3] [--minutes 0] [--sheet PICTURE] [--recipe NAME]

1. Speed: the whole chain (following, tracks, person, frames, smoothing, ARKit values), and that with overlay.mp4,
   against MediaPipe's video mode alone on the same frames, in turn, so that a busy machine slows all.
2. Two synthetic clips with known truth. Vertices are those of the face; their error is that in the head's own axes at
   equal size, which a picture does not tell; jitter is how much their error accelerates, with the turn of the head.
3. Real clips, if given: how far the fitted landmarks are from the detected ones, how much the vertices accelerate, and
   how far identity wanders where every frame is a photo. Heads move: how much of that is movement, the landmarks tell,
   which nothing has smoothed. A frame that is shown twice moves once: it counts once for what accelerates, and the last
   figure is that with all of them. Several clips are also counted together.
4. With --minutes: the synthetic clip again and again; memory after ten seconds and at the end.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from PIL import Image
from synthetic_clip import KnownClip, blink_times, known_code, photographed

from emoca_core import load_method
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.images.crops import crops_to_batch
from emoca_core.images.warp import transform_points
from emoca_core.interfaces import Clip, FaceParameters
from emoca_core.method import Method
from emoca_core.reconstruction.following import follow_faces
from emoca_core.reconstruction.observations import Observations
from emoca_core.reconstruction.sequence_settings import SequenceSettings
from emoca_core.reconstruction.sequences import capture_track, reconstruct_sequence
from emoca_core.reconstruction.tracks import Track, find_people, read_track
from emoca_core.video.open import is_clip, open_clip
from emoca_core.vocabulary.arkit import ARKIT_NAMES

RATE = 25.0
FEWEST_FRAMES = 50
NOISE = 6.0
"""Levels of 255."""
COPIED = 0.3
"""Levels of 255 by which a frame that is shown again differs on average: it is compressed anew."""
BLINK = [ARKIT_NAMES.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
MOUTH_AND_BROWS = [k for k, name in enumerate(ARKIT_NAMES) if name.startswith(("mouth", "brow", "cheek", "nose"))]


@dataclass(frozen=True)
class Shown:
    """What a capture says of some frames.

    Attributes:
        numbers: Of the frames.
        code: A row for each.
        turned: Vertices of the face with the turn of the head, millimetres.
        points: The 68 landmarks, frame pixels.
    """

    numbers: Int[ndarray, "N"]
    code: FaceParameters
    turned: Float[ndarray, "N V 3"]
    points: Float[ndarray, "N 68 2"]


def show(
    method: Method, code: FaceParameters, numbers: Int[ndarray, "N"], places: Float[ndarray, "N 3 3"], size: int
) -> Shown:
    """Pose the meshes of a code and project their landmarks through crops of some size."""
    face = method.face_model.vertex_masks["face"]
    turned, points = [], []
    for first in range(0, len(code), 64):
        part = code.map(lambda tensor, first=first: tensor[first : first + 64])
        with torch.no_grad():
            geometry = method.face_model(part)
        assert part.camera is not None
        turned.append(1000 * geometry.vertices[:, face].numpy())
        points.append(part.camera.project(geometry.landmarks["ibug68"])[..., :2].numpy())
    in_crop = (np.concatenate(points) + 1) * size / 2 - 0.5
    in_frame = np.stack([transform_points(place, each) for place, each in zip(places, in_crop, strict=True)])
    return Shown(numbers, code, np.concatenate(turned), in_frame)


def follow(method: Method, clip: Clip, folder: str) -> tuple[Track, Float[ndarray, "N 68 2"]]:
    """The largest person of a clip.

    Raises:
        ValueError: Nobody is seen long enough.
    """
    observations = Observations(Path(folder))
    follow_faces(method, clip, SequenceSettings(), observations)
    people = find_people(observations)
    if not len(people.labels):
        raise ValueError("nobody is seen")
    track = read_track(observations, people, 0)
    return track, track.landmarks


def by_clip(method: Method, clip: Clip, track: Track, strength: float) -> Shown:
    """The chain for clips."""
    found = capture_track(method, clip, track, SequenceSettings(smooth=strength))
    return show(method, found.parameters, found.numbers, found.crop_to_image, found.crop_size[0])


def by_photo(method: Method, clip: Clip) -> tuple[Shown, Float[ndarray, "N 68 2"]]:
    """Every frame as a photo of its own; and the landmarks that were detected."""
    assert method.landmarker is not None
    rule, crops, detections, numbers = method.encoder.crop_rule, [], [], []
    for frame in clip.frames():
        for face in method.landmarker.detect(frame.pixels)[:1]:
            crops.append(rule(frame.pixels, face))
            detections.append(face)
            numbers.append(frame.number)
    with torch.no_grad():
        parts = [
            method.encode(
                crops_to_batch(crops[k : k + 64], detections[k : k + 64], [clip.size] * len(crops[k : k + 64]))
            )
            for k in range(0, len(crops), 64)
        ]
    places = np.stack([crop.crop_to_image for crop in crops])
    points = np.stack([face.landmarks["ibug68"] for face in detections])
    return show(method, FaceParameters.cat(parts), np.array(numbers), places, rule.size), points


def accelerations(points: Float[ndarray, "N V D"], numbers: Int[ndarray, "N"]) -> float:
    """Mean length of the second difference of successive frames."""
    return float(each_acceleration(points, numbers).mean())


def each_acceleration(points: Float[ndarray, "N V D"], numbers: Int[ndarray, "N"]) -> Float[ndarray, "K"]:
    """The same, of each frame between two others."""
    steady = (np.diff(numbers)[1:] == 1) & (np.diff(numbers)[:-1] == 1)
    return cast(ndarray, np.linalg.norm(np.diff(points, n=2, axis=0)[steady], axis=-1).mean(1))


def own_axes(vertices: Float[ndarray, "N V 3"], pose: torch.Tensor) -> Float[ndarray, "N V 3"]:
    """Without the turn of the head, about their middle."""
    unturned = vertices @ rotation_vector_to_matrix(pose).numpy()
    return cast(ndarray, unturned - unturned.mean(1, keepdims=True))


def vertex_error(found: Shown, true: Shown) -> float:
    """Mean distance in the head's own axes, at one size for the whole clip, millimetres."""
    one = own_axes(found.turned, found.code.global_pose)
    other = own_axes(true.turned, true.code.global_pose)[found.numbers]
    size = (one * other).sum() / (one * one).sum()
    return float(np.linalg.norm(size * one - other, axis=-1).mean())


def jitter(found: Shown, true: Shown) -> float:
    """How much the error accelerates, millimetres a frame squared."""
    return accelerations(found.turned - true.turned[found.numbers], found.numbers)


def lag(found: Shown, true: Shown) -> float:
    """Frames by which the yaw of the head and the jaw are late: where they correlate best with the truth."""
    return statistics.mean(
        _lag(found.code.blocks()[name][:, axis].numpy(), true.code.blocks()[name][found.numbers, axis].numpy())
        for name, axis in (("global_pose", 1), ("jaw_pose", 0))
    )


def _lag(found: Float[ndarray, "N"], true: Float[ndarray, "N"]) -> float:
    shifts = np.arange(-3, 4)
    inner = slice(4, len(true) - 4)
    score = np.array([np.corrcoef(np.roll(true, shift)[inner], found[inner])[0, 1] for shift in shifts])
    best = int(np.clip(score.argmax(), 1, 5))
    before, at, after = score[best - 1 : best + 2]
    return float(shifts[best] + 0.5 * (before - after) / (before - 2 * at + after))


def blink_depth(found: Shown, blinks: Float[ndarray, "B"]) -> float:
    """Mean rise of the lids' activation from before a blink to its height."""
    times, lids = found.numbers / RATE, found.code.expression[:, BLINK].mean(1).numpy()
    before = [np.median(lids[(times > t - 0.4) & (times < t - 0.12)]) for t in blinks]
    height = [lids[np.abs(times - t) < 0.09].max() for t in blinks]
    return float(np.mean(height) - np.mean(before))


def synthetic(method: Method, options: argparse.Namespace) -> KnownClip:
    """Figures 2; returns a clip for the others."""
    strengths = ["photos", *options.smooth]
    rows: dict[object, list[list[float]]] = {strength: [] for strength in strengths}
    for seed in (1, 2):
        code = known_code(method.face_model, options.frames, RATE, seed)
        frames = photographed(method.face_model, method.renderer, code, options.size, NOISE, seed)
        clip, blinks = KnownClip.of(frames, RATE), blink_times(options.frames, RATE)
        whole = np.tile(np.eye(3), (len(code), 1, 1))
        true = show(method, code, np.arange(len(code)), whole, options.size)
        photos, _ = by_photo(method, clip)
        with tempfile.TemporaryDirectory() as folder:
            track, _ = follow(method, clip, folder)
            found = {"photos": photos} | {s: by_clip(method, clip, track, s) for s in options.smooth}
        for strength, one in found.items():
            expected = true.code.expression[one.numbers][:, MOUTH_AND_BROWS]
            wrong = (one.code.expression[:, MOUTH_AND_BROWS] - expected).abs().mean()
            figures = [
                vertex_error(one, true),
                jitter(one, true),
                lag(one, true),
                blink_depth(one, blinks),
                float(wrong),
            ]
            rows[strength].append(figures)
    means = {strength: np.mean(each, axis=0) for strength, each in rows.items()}
    print(f"\n2. synthetic clips of {options.frames} frames, {options.size} px, noise of {NOISE:.0f} levels")
    print("   smooth   error mm (ratio)    jitter mm/f2 (ratio)   lag frames   blink depth (kept)   activations wrong")
    base = means["photos"]
    for strength, (error, shake, late, depth, wrong) in means.items():
        print(
            f"   {strength!s:7}  {error:8.2f} ({error / base[0]:.2f})  {shake:13.3f} ({shake / base[1]:.2f})"
            f"  {late:16.2f}  {depth:12.2f} ({depth / base[3]:.2f})  {wrong:17.3f}"
        )
    print("   accepted: error at most 1.00, jitter at most 0.30, lag 0, blink depth at least 0.90 of photos")
    return clip


def real(method: Method, paths: Sequence[Path], options: argparse.Namespace) -> None:
    """Figures 3."""
    print(
        "\n3. real clips: landmark error % of the eye distance (ratio), vertices mm/f2 (ratio), identity wanders sigma,"
        " vertices with copies (ratio)"
    )
    strengths: Sequence[float] = options.smooth
    rows: dict[object, list[list[ndarray]]] = {how: [] for how in ("photos", *strengths)}
    for path in paths:
        clip = KnownClip.of(np.stack([f.pixels for _, f in zip(range(options.frames), open_clip(path).frames())]), RATE)  # noqa: B905
        with tempfile.TemporaryDirectory() as folder:
            try:
                photos, detected = by_photo(method, clip)
                track, followed = follow(method, clip, folder)
            except ValueError:
                print(f"   {path.name}: no face")
                continue
            print(f"   {path.name}: {len(photos.numbers)} frames as photos, {len(track)} in the track")
            shaken = [_landmarks_accelerate(detected, photos.numbers), _landmarks_accelerate(followed, track.numbers)]
            line = "      landmarks accelerate, % of the eye distance: as photos {:.2f}, followed {:.2f}"
            print(line.format(*shaken))
            found = {"photos": (photos, detected)} | {s: (by_clip(method, clip, track, s), followed) for s in strengths}
        new = is_new(clip)
        print(f"      {np.count_nonzero(~new)} frames show the one before again")
        for how, (one, points) in found.items():
            rows[how].append(_judged(one, points, new))
        _print_real({how: clips[-1] for how, clips in rows.items()})
    if len(rows["photos"]) > 1:
        print(f"   all {len(rows['photos'])} clips together: every frame counts the same")
        _print_real({how: [np.concatenate(part) for part in zip(*clips, strict=True)] for how, clips in rows.items()})
    print("   accepted: landmarks at most 1.05, vertices at most 0.30 of photos, identity 0")


def is_new(clip: KnownClip) -> Bool[ndarray, "N"]:
    """Which frames do not show the one before again."""
    changes = [float(cv2.absdiff(before, after).mean()) for before, after in pairwise(clip.pictures)]
    return np.array([True, *(change >= COPIED for change in changes)])


def _judged(one: Shown, points: Float[ndarray, "N 68 2"], new: Bool[ndarray, "F"]) -> list[Float[ndarray, "K"]]:
    """Of each frame: how far its landmarks are from the detected ones; identity moves; how its vertices accelerate.

    The last once without frames that are shown again, once with them.
    """
    eyes = np.linalg.norm(points[:, 36] - points[:, 45], axis=-1)
    missed = 100 * np.linalg.norm(one.points - points, axis=-1).mean(1) / eyes
    shape = one.code.shape
    wander = np.zeros(len(points)) if shape is None else shape.diff(dim=0).abs().mean(1).numpy()
    once = new[one.numbers]
    places = np.cumsum(new)[one.numbers[once]]
    moved = each_acceleration(one.turned[once], places), each_acceleration(one.turned, one.numbers)
    return [missed, wander, *moved]


def _print_real(rows: dict[object, list[Float[ndarray, "K"]]]) -> None:
    base = [float(column.mean()) for column in rows["photos"]]
    for how, columns in rows.items():
        missed, wander, moved, every = (float(column.mean()) for column in columns)
        print(
            f"      {how!s:7} {missed:6.2f} ({missed / base[0]:.3f}) {moved:7.3f} ({moved / base[2]:.3f})  {wander:.2f}"
            f"  {every:7.3f} ({every / base[3]:.3f})"
        )


def _landmarks_accelerate(points: Float[ndarray, "N 68 2"], numbers: Int[ndarray, "N"]) -> float:
    eyes = np.linalg.norm(points[:, 36] - points[:, 45], axis=-1).mean()
    return 100 * accelerations(points, numbers) / float(eyes)


def speed(method: Method, clip: KnownClip, options: argparse.Namespace) -> None:
    """Figures 1."""
    seconds: dict[str, list[tuple[float, float]]] = {"MediaPipe": [], "chain": [], "overlay": []}
    long = KnownClip.of(clip.pictures, RATE, rounds=max(1, round(options.speed_frames / len(clip.pictures))))
    for _ in range(options.pairs):
        seconds["MediaPipe"].append(clocked(lambda: video_mode(long)))
        seconds["chain"].append(clocked(lambda: [s.rig.weights for s in reconstruct_sequence(method, long)]))
        seconds["overlay"].append(clocked(lambda: with_overlay(method, long)))
    frames = long.length or 0
    size = f"{clip.size[1]} x {clip.size[0]} px"
    print(f"\n1. speed: {frames} frames of {size}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name, each in seconds.items():
        wall, processor = (statistics.median(column) for column in zip(*each, strict=True))
        print(
            f"   {name:10} {frames / wall:6.1f} frames/s by the clock, {1000 * processor / frames:5.1f} ms of processor"
        )
    for name, accepted in (("chain", 0.6), ("overlay", 0.35)):
        for column, what in ((0, "clock"), (1, "processor")):
            ratios = [m[column] / c[column] for m, c in zip(seconds["MediaPipe"], seconds[name], strict=True)]
            spread = f"accepted: {accepted}; pairs {min(ratios):.2f} to {max(ratios):.2f}"
            print(f"   {name}, {what}: {statistics.median(ratios):.2f} of MediaPipe's frames/s ({spread})")


def with_overlay(method: Method, clip: Clip) -> None:
    """Codes, curves and ``overlay.mp4``."""
    for sequence in reconstruct_sequence(method, clip):
        with tempfile.TemporaryDirectory() as folder:
            sequence.save(folder, ["arkit_csv", "codes", "overlay"])


def clocked(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def video_mode(clip: Clip) -> int:
    """MediaPipe's Face Landmarker in its video mode with all its outputs; how many frames show a face."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    from emoca_plugins.landmarkers.model_bundle import find_bundle

    chosen = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(find_bundle())),
        running_mode=vision.RunningMode.VIDEO,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    found = 0
    with vision.FaceLandmarker.create_from_options(chosen) as task:
        for frame in clip.frames():
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame.pixels)
            found += bool(task.detect_for_video(image, round(1000 * frame.time)).face_landmarks)
    return found


def draw_sheet(method: Method, clip: KnownClip, path: Path) -> None:
    """Some frames of ``overlay.mp4``, two beside each other."""
    (sequence,) = reconstruct_sequence(method, clip)
    frames = [frame.pixels for frame in sequence.overlay() or ()]
    some = [Image.fromarray(frames[k]).reduce(2) for k in np.linspace(4, len(frames) - 5, 8).astype(int)]
    width, height = some[0].size
    sheet = Image.new("RGB", (2 * width + 8, 4 * height), "white")
    for number, picture in enumerate(some):
        sheet.paste(picture, (number % 2 * (width + 8), number // 2 * height))
    sheet.save(path, quality=85)


def memory(method: Method, clip: KnownClip, minutes: float) -> None:
    """Figures 4."""
    print(f"\n4. {minutes:g} minutes of frames")
    for seconds in (10.0, 60 * minutes):
        rounds = max(1, round(seconds * RATE / len(clip.pictures)))
        long = KnownClip.of(clip.pictures, RATE, rounds)
        wall, _ = clocked(lambda long=long: reconstruct_sequence(method, long))  # type: ignore[misc]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"   {long.length} frames: peak {peak:.0f} MB, {(long.length or 0) / wall:.1f} frames/s")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--speed-frames", type=int, default=500)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--smooth", type=float, nargs="*", default=[0.0, 0.25, 0.5, 0.75, 1.0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--recipe", default="open_fit", help="method (default: %(default)s)")
    parser.add_argument("--sheet", type=Path, help="write frames of overlay.mp4 of the synthetic clip to this picture")
    options = parser.parse_args()
    if options.frames < FEWEST_FRAMES:
        parser.error(f"--frames must be {FEWEST_FRAMES} or more: the first blink is that late")
    method = load_method(options.recipe)
    clip = synthetic(method, options)
    paths = [each for path in options.clips for each in (sorted(path.iterdir()) if path.is_dir() else [path])]
    if paths:
        real(method, [path for path in paths if is_clip(path)], options)
    if options.sheet:
        draw_sheet(method, clip, options.sheet)
    if options.pairs:
        speed(method, clip, options)
    if options.minutes:
        memory(method, clip, options.minutes)


if __name__ == "__main__":
    main()
