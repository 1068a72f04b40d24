"""How true a retargeting is: against known movement, to a witness, to the driver's lips; and deformation transfer.

    python benchmarks/retargeting.py [CLIP ...] [--sources PHOTO ...] [--frames 40] [--people 8] [--out FOLDER]

1. Truth: a synthetic clip whose code is known drives each source. Truth is the source's own mesh with the known code;
   the error is that of the vertices of the face in the head's axes. `at rest` is the same of a face that does not move.
2. Clips, if given: how far the classes that a witness reads in the retargeted rendering are from those that it reads in
   the driver's frames (total variation), as plain and as relative movement, and by ARKit names in place of codes; and
   how far it is from the source's own rendering to a recognition network: how far two sources are says what is much.
3. Named emotions at full intensity: how often the witness reads them.
4. Deformation transfer of the 52 targets to the meshes of random people, against the targets of their own model.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from synthetic_clip import KnownClip, known_code, photographed

from emoca_core import load_method, open_clip, reconstruct, reconstruct_sequence
from emoca_core.cli.demo_run import example_photos
from emoca_core.interfaces import CapturedFace, EmotionBackbone, FaceParameters, Loss
from emoca_core.measures.intervals import interval_of, resampled_sums
from emoca_core.method import Method
from emoca_core.retargeting import Curve, Driving, RetargetedSequence, RetargetSettings, retarget
from emoca_core.retargeting.deformation_transfer import DeformationTransfer
from emoca_core.retargeting.drivers import sequence_to_driving
from emoca_core.retargeting.measures import _drawn, emotion_kept, identity_distance, identity_kept, lip_figures
from emoca_core.runs.backbones import find_witness
from emoca_core.runs.recognition import find_recognition
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.vocabulary.emotions import EXPRESSIONS

RATE = 25.0
Rows = list[dict[str, Any]]


def main() -> None:
    """Measure, print a table of each part, and write both as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--sources", type=Path, nargs="+", help="by default the example photos")
    parser.add_argument("--frames", type=int, default=40, help="of each clip, evenly spread")
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--out", type=Path, help="folder for retargeting.json")
    options = parser.parse_args()
    method, witness, recognition = load_method("open_fit"), find_witness(), find_recognition()
    sources = [face for photo in options.sources or example_photos() for face in reconstruct(method, photo)[:1]]
    parts: dict[str, Rows] = {"truth": list(truth(method, sources, options.frames))}
    if witness is not None:
        parts["clips"] = [
            row
            for clip in options.clips
            for row in of_clip(method, sources, clip, options.frames, witness, recognition)
        ]
        parts["emotions"] = [emotion(method, sources, name, witness) for name in EXPRESSIONS[1:]]
    parts["transfer"] = [transfer(method, options.people)]
    for name, rows in parts.items():
        print(f"\n{name}\n{table(rows)}")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        record = {
            "witness": witness and witness[0],
            "recognition": recognition and recognition[0],
            "identity of another": recognition and of_another(method, sources, recognition[1]),
            "sources": [face.photo.path.name for face in sources],
            **parts,
        }
        (options.out / "retargeting.json").write_text(json.dumps(record, indent=1) + "\n")


def truth(method: Method, sources: Sequence[CapturedFace], frames: int) -> Rows:
    """Known movement."""
    count = 4 * frames
    code = known_code(method.face_model, count, RATE, seed=7)
    pictures = photographed(method.face_model, method.renderer, code, 384, noise=6.0, seed=7)
    person = reconstruct_sequence(method, KnownClip.of(pictures, RATE))[0]
    driving, known = sequence_to_driving(person, method), code.map(lambda t: t[torch.from_numpy(person.numbers)])
    rows = []
    for source in sources:
        moved = retarget(method, source, driving)
        right = moved.parameters.replace(**{n: known.get(n) for n in ("expression", "jaw_pose", "eye_pose")})
        still = right.replace(**{n: torch.zeros_like(right.get(n)) for n in ("expression", "jaw_pose", "eye_pose")})
        away, rest = (distances(method, one, right) for one in (moved.parameters, still))
        lips = lip_figures(moved)
        assert lips is not None
        rows.append(
            {
                "source": source.photo.path.name,
                "frames": len(moved),
                "error mm": round(float(away.mean()), 3),
                "at rest mm": round(float(rest.mean()), 3),
                "lips mm": lips["error_mm"],
            }
        )
    return rows


def distances(method: Method, one: FaceParameters, other: FaceParameters) -> Float[ndarray, "N"]:
    """Mean distance of the face's vertices in the head's axes, millimetres."""
    mask = method.face_model.vertex_masks["face"]
    with torch.no_grad():
        first, second = (method.face_model(code.replace(global_pose=None)).vertices[:, mask] for code in (one, other))
    return 1000 * (first - second).norm(dim=2).mean(1).numpy()


def of_clip(
    method: Method,
    sources: Sequence[CapturedFace],
    path: Path,
    frames: int,
    witness: tuple[str, EmotionBackbone],
    recognition: tuple[str, Loss] | None,
) -> Rows:
    """One clip on every source, in three ways."""
    whole = open_clip(path)
    clip = open_clip(path, every=max(1, (whole.length or frames) // frames))
    people = reconstruct_sequence(method, clip)
    if not people:
        return [{"clip": path.name, "way": "no face"}]
    driving = sequence_to_driving(people[0], method)
    by_names = replace(driving, face_model={"uses": "another", "assets": {}}, arkit=people[0].arkit)
    ways: dict[str, tuple[Driving, RetargetSettings]] = {
        "codes": (driving, RetargetSettings()),
        "relative": (driving, RetargetSettings(relative=True)),
        "ARKit names": (by_names, RetargetSettings()),
    }
    return [
        averaged(path, way, [retarget(method, s, *what) for s in sources], witness, recognition)
        for way, what in ways.items()
    ]


def of_another(method: Method, sources: Sequence[CapturedFace], loss: Loss) -> float | None:
    """How far the renderings of two sources are apart, on average; ``None`` of one."""
    still = [retarget(method, source, "emotion:neutral", RetargetSettings(rate=1.0)) for source in sources]
    pictures = [_drawn(one, one.source.parameters).image for one in still]
    apart = [
        identity_distance(one, one.source.parameters, picture, loss)
        for row, one in enumerate(still)
        for other, picture in enumerate(pictures)
        if row != other
    ]
    return round(float(np.mean(apart)), 3) if apart else None


def averaged(
    path: Path,
    way: str,
    moved: Sequence[RetargetedSequence],
    witness: tuple[str, EmotionBackbone],
    recognition: tuple[str, Loss] | None,
) -> dict[str, Any]:
    """One row for all sources."""
    figures = [emotion_kept(one, *witness).figures(None, None) for one in moved]
    lips = [lip_figures(one) for one in moved]
    row: dict[str, Any] = {"clip": path.name, "way": way, "frames": len(moved[0])}
    for name in ("distance", "distance_unmoved", "agreement"):
        row[name] = round(float(np.mean([figure[name] for figure in figures])), 3)
    if recognition is not None:
        row["identity"] = round(float(np.mean([identity_kept(one, *recognition)["mean"] for one in moved])), 3)
    return row | {"lips mm": round(float(np.mean([one["error_mm"] for one in lips if one])), 2)}


def emotion(
    method: Method, sources: Sequence[CapturedFace], name: str, witness: tuple[str, EmotionBackbone]
) -> dict[str, Any]:
    """One named emotion on every source."""
    settings = RetargetSettings(curve=Curve.parse("0:0.6,0.4:1"), rate=10.0)
    asked = []
    for source in sources:
        moved = retarget(method, source, f"emotion:{name}", settings)
        asked.append(emotion_kept(moved, *witness).figures(name, moved.driving.intensity).get("asked"))
    known = [one for one in asked if isinstance(one, dict)]
    return {"emotion": name} | {
        figure: round(float(np.mean([one[figure] for one in known])), 3) if known else None
        for figure in ("probability", "probability_unmoved", "recognised")
    }


def transfer(method: Method, people: int) -> dict[str, Any]:
    """All 52 targets of the average head to other people."""
    model, random = method.face_model, torch.Generator().manual_seed(0)
    code = torch.cat([torch.zeros(1, 52), torch.eye(52)])
    pose: Callable[[torch.Tensor], Float[ndarray, "53 V 3"]] = lambda shape: (  # noqa: E731
        model(FaceParameters(shape=shape.expand(53, -1), expression=code)).vertices.double().numpy()
    )
    faces = model.faces.numpy()
    own, pairs = pose(torch.zeros(1, 100)), np.repeat(np.arange(len(faces))[:, None], 2, axis=1)
    errors, sizes = [], []
    for _ in range(people):
        theirs = pose(torch.randn(1, 100, generator=random))
        added = DeformationTransfer(own[0], faces, theirs[0], faces, pairs)(own[1:] - own[0])
        away, size = (
            1000 * np.linalg.norm(d, axis=2) for d in (added - theirs[1:] + theirs[0], theirs[1:] - theirs[0])
        )
        moves = size > 0.5
        errors.append(float(away[moves].mean()))
        sizes.append(float(size[moves].mean()))
    low, high = interval_of(resampled_sums(np.array(errors)[:, None], np.arange(people))[:, 0] / people)
    return {
        "people": people,
        "targets": len(ARKIT_NAMES),
        "error mm": round(float(np.mean(errors)), 3),
        "from": round(low, 3),
        "to": round(high, 3),
        "movement mm": round(float(np.mean(sizes)), 3),
    }


def table(rows: Rows) -> str:
    """As Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(str(row.get(name, '')) for name in names)} |" for row in rows)])


if __name__ == "__main__":
    main()
