"""Emotion optimisation over pairs of photos: energy, witness, landmarks, and how far the starts end apart.

    python benchmarks/optimisation.py PAIRS.csv OUT.json --judge fer_mini_xception --other face_api_expression

PAIRS.csv has the columns source and target: paths of photos. Every pair is optimised in several ways; what is finished
is kept in OUT.json, so that the same command goes on after a stop. Intervals are those of resampled pairs.
"""

import argparse
import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from emoca_core import load_method, optimise
from emoca_core.errors import EmocaError
from emoca_core.files import write_json
from emoca_core.interfaces import CapturedFace, EmotionBackbone
from emoca_core.measures.intervals import interval_of
from emoca_core.method import Method
from emoca_core.optimisation import STARTS, default_terms
from emoca_core.optimisation.optimisation import Optimisation
from emoca_core.optimisation.pair import one_face
from emoca_core.optimisation.record import RunRecord, record_of
from emoca_core.optimisation.terms import jaw_term
from emoca_core.runs.backbones import load_emotion_backbone

DRAWS = 2000
JAW = ("expression", "jaw_pose")
SWAPPED, ONE_START = "jaw fixed, other judge", "jaw fixed, one start"


def ways(target: CapturedFace, weight: float) -> dict[str, dict[str, object]]:
    """What is compared: options of ``optimise``."""
    terms = default_terms(target.parameters)
    jaw = [float(angle) for angle in target.parameters.jaw_pose[0]]
    joint = {"uses": "code_gaussian", "weight": weight}
    return {
        "jaw fixed": {"starts": STARTS},
        ONE_START: {},
        "jaw free": {"unknowns": JAW},
        "jaw free, jaw prior": {"unknowns": JAW, "terms": terms | {"jaw": jaw_term(jaw, 10 * weight)}},
        "jaw free, joint prior": {"unknowns": JAW, "terms": terms | {"joint": joint}},
        "jaw fixed, joint prior": {"terms": terms | {"joint": joint}},
        "jaw fixed, in the photo": {"background": "input"},
        "jaw fixed, SGD": {"optimizer": "sgd"},
        SWAPPED: {},
    }


def measure(
    method: Method,
    source: CapturedFace,
    target: CapturedFace,
    judges: Sequence[EmotionBackbone],
    args: argparse.Namespace,
) -> dict[str, object]:
    """Every way of one pair."""
    known, found = ways(target, args.weight), dict[str, object]()
    for name in args.ways or [name for name in known if name != ONE_START]:
        judge, witness = judges[::-1] if name == SWAPPED else judges
        common = {"judge": judge, "witness": witness, "steps": args.steps, "size": args.size}
        found[name] = described(optimise(method, source, target, **common, **known[name]))
    return found


def described(result: Optimisation) -> dict[str, object]:
    """The figures of one optimisation."""
    record = record_of(result, "", {})
    return record.model_dump(mode="json", include={"judge", "witness", "runs", "spread", "target_seen"})


def summary(pairs: Sequence[Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """Figures of every way over the pairs, of the start with everything from the target."""
    table = {}
    for way in pairs[0]["ways"]:
        runs = [RunRecord.model_validate(pair["ways"][way]["runs"][0]) for pair in pairs]
        figures: dict[str, Callable[[RunRecord], float]] = {
            "energy_ratio": lambda run: run.after.energy / run.before.energy,
            "judge_change": lambda run: run.after.judge.distance - run.before.judge.distance,
            "witness_change": lambda run: run.after.witness.distance - run.before.witness.distance,
            "landmark_change": lambda run: run.after.landmark_error - run.before.landmark_error,
            "adversarial": lambda run: float(bool(run.adversarial)),
        }
        table[way] = {name: interval([figure(run) for run in runs]) for name, figure in figures.items()}
        table[way]["witness_before"] = interval([run.before.witness.distance for run in runs])
        table[way]["landmarks_before"] = interval([run.before.landmark_error for run in runs])
    return table


def of_starts(pairs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Energy and witness of each start, and how far their ends lie apart; of all eight, where they were measured."""
    if "jaw fixed" not in pairs[0]["ways"]:
        return {}
    every = [[RunRecord.model_validate(run) for run in pair["ways"]["jaw fixed"]["runs"]] for pair in pairs]
    starts = {
        start: {
            "energy_before": interval([runs[row].before.energy for runs in every]),
            "energy_after": interval([runs[row].after.energy for runs in every]),
            "witness_before": interval([runs[row].before.witness.distance for runs in every]),
            "witness_after": interval([runs[row].after.witness.distance for runs in every]),
            "adversarial": interval([float(bool(runs[row].adversarial)) for runs in every]),
        }
        for row, start in enumerate(STARTS)
    }
    spreads = [pair["ways"]["jaw fixed"]["spread"] for pair in pairs]
    apart = {name: interval([spread[name] for spread in spreads]) for name in spreads[0]}
    return {"starts": starts, "spread": apart}


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean over the pairs, and the interval of resampled pairs."""
    numbers = np.asarray(values, np.float64)
    rows = np.random.default_rng(0).integers(len(numbers), size=(DRAWS, len(numbers)))
    low, high = interval_of(numbers[rows].mean(1))
    return {"value": float(numbers.mean()), "low": low, "high": high}


def main() -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--judge", default="open_emotion")
    parser.add_argument("--other", required=True, help="witness, and judge of the last way")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--ways", nargs="+", help="by default all")
    parser.add_argument("--weight", type=float, default=0.3, help="of the joint prior")
    args = parser.parse_args()
    torch.set_num_threads(1)
    method = load_method("open_fit", device="cpu")
    judges = [load_emotion_backbone(name) for name in (args.judge, args.other)]
    rows = list(csv.DictReader(args.pairs.read_text(encoding="utf-8").splitlines()))
    pairs = json.loads(args.out.read_text(encoding="utf-8"))["pairs"] if args.out.is_file() else []
    settings = {name: value for name, value in vars(args).items() if name not in ("pairs", "out")}
    for number, row in enumerate(rows[len(pairs) :], len(pairs)):
        try:
            source, target = (one_face(method, row[which]) for which in ("source", "target"))
        except EmocaError as error:
            raise SystemExit(f"pair {number}: {error}") from None
        pairs.append(
            {"pair": number, "expression": row.get("expression"), "ways": measure(method, source, target, judges, args)}
        )
        result = {"settings": settings, "summary": summary(pairs), **of_starts(pairs), "pairs": pairs}
        write_json(args.out, result)  # no names of photos: those of the study may not be published
        print(f"pair {number} done", flush=True)


if __name__ == "__main__":
    main()
