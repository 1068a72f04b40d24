"""What emotion backbones get right on real and synthetic faces, and the shipped weights of one of them.

    python benchmarks/open_emotion.py --faces FER.parquet --synthetic SYNTHETIC.parquet --backbones open_emotion,RUN
    python benchmarks/open_emotion.py --ship RUN

measures accuracy and calibration on the split ``validation`` of the first manifest, valence and arousal on that of the
second, with 95 % bootstrap intervals over faces, for ``benchmarks/results/open_emotion.json`` and the table of
docs/open-weights.md; backbones that were measured before stay in both. ``--ship`` writes the weights of a run as
float16 into the package, and what they say of seven synthetic faces to the goldens.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from torch import Tensor

from emoca_core import get_registry
from emoca_core.files import sha256_of, write_json, write_text
from emoca_core.interfaces import BASIC_EXPRESSIONS, EmotionBackbone
from emoca_core.measures.metrics import ccc
from emoca_core.progress import progress_bar
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.weights.write_tensors import write_tensors
from emoca_plugins.emotion.open_emotion import WEIGHTS, OpenEmotion

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "open_emotion.json"
PAGE = ROOT / "docs" / "open-weights.md"
GOLDEN = ROOT / "tests" / "goldens" / "open_emotion.npz"
BEGIN, END = "<!-- measured backbones: benchmarks/open_emotion.py -->", "<!-- end of measured backbones -->"
COLUMNS = {
    "accuracy": "FER2013 validation, accuracy of 7 classes",
    "balanced_accuracy": "the same, mean over classes",
    "calibration_error": "calibration error",
    "calibration_error_with_temperature": "with a temperature",
    "valence_ccc": "synthetic people, valence CCC",
    "arousal_ccc": "arousal CCC",
}
BATCH = 128
BINS = 15
DRAWS = 1000


def main() -> None:
    """Measure, or ship."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, help="manifest with expressions")
    parser.add_argument("--synthetic", type=Path, help="manifest with valence and arousal")
    parser.add_argument("--backbones", default="open_emotion,face_api_expression,fer_mini_xception")
    parser.add_argument("--ship", metavar="RUN", help="run folder of emoca train emotion")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if args.ship:
        ship(args.ship)
        return
    if not (args.faces and args.synthetic):
        parser.error("--faces and --synthetic are needed to measure")
    result = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    result |= {name: measured(name, args.faces, args.synthetic) for name in args.backbones.split(",")}
    write_json(args.out, result)
    if args.out == RESULT:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        write_text(PAGE, f"{before}{BEGIN}\n\n{table(result)}\n\n{END}{rest.partition(END)[2]}")


def ship(run: str) -> None:
    """Write the weights of a run in half precision, and say what the card needs."""
    backbone = load_emotion_backbone(run)
    own, shipped = backbone.get_submodule("normalise"), OpenEmotion(OpenEmotion.Params(weights="random")).normalise
    if not all(torch.equal(a, b) for a, b in zip(own.buffers(), shipped.buffers(), strict=True)):
        raise SystemExit("the run has another mean and deviation than open_emotion.py: change its `options` first")
    state = backbone.state_dict()
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in half.values()):
        raise SystemExit("a weight is too large for half precision")
    write_tensors(WEIGHTS, half)
    seen = load_emotion_backbone("open_emotion")(golden_faces())
    golden = {"features": seen.features["pooled"][:, ::16], "logits": seen.logits}
    golden |= {"valence": seen.valence, "arousal": seen.arousal}
    np.savez(GOLDEN, **{name: tensor.numpy() for name, tensor in golden.items()})
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size:,} bytes, sha256 {sha256_of(WEIGHTS)}")


def golden_faces() -> Tensor:
    """One synthetic face of every class."""
    faces = get_registry().build("dataset", "synthetic_faces", {"length": 7, "seed": 3, "image_size": 96})
    return torch.stack([sample.image for sample in faces.__getitems__(range(7))])


def table(result: Mapping[str, Mapping[str, object]]) -> str:
    """One row for each backbone."""
    rows = [["backbone", *COLUMNS.values()], ["---", *["---:"] * len(COLUMNS)]]
    rows += [[f"`{name}`", *(cell(figures.get(column)) for column in COLUMNS)] for name, figures in result.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def cell(value: object) -> str:
    """A number, its interval behind it where it has one."""
    if isinstance(value, Sequence):
        middle, low, high = value
        return f"{middle:.3f} [{low:.3f}, {high:.3f}]"
    return "" if value is None else f"{value:.3f}"


def measured(name: str, faces: Path, synthetic: Path) -> dict[str, object]:
    """All figures of one backbone, some as [value, low, high]; what it does not predict is left out."""
    backbone = load_emotion_backbone(name)
    real = predictions(backbone, faces)
    logits, truth = real["logits"], real["true_expression"]
    hits = logits.argmax(1) == truth
    of_class = {name: hits[truth == label] for label, name in enumerate(BASIC_EXPRESSIONS) if (truth == label).any()}
    result: dict[str, object] = {
        "faces": len(truth),
        "accuracy": interval(lambda rows: float(hits[rows].mean()), len(truth)),
        "balanced_accuracy": float(np.mean([own.mean() for own in of_class.values()])),
        "accuracy_of_class": {label: float(own.mean()) for label, own in of_class.items()},
        "calibration_error": calibration_error(softmax(logits, 1), truth),
        "calibration_error_with_temperature": crossed_calibration_error(logits, truth),
    }
    made_up = predictions(backbone, synthetic)
    for level in ("valence", "arousal"):
        if level in made_up:
            guess, known = made_up[level], made_up[f"true_{level}"]
            result[f"{level}_ccc"] = interval(
                lambda rows, guess=guess, known=known: ccc(guess[rows], known[rows]), len(known)
            )
    result["synthetic_faces"] = len(made_up["true_valence"])
    return result


@torch.no_grad()
def predictions(backbone: EmotionBackbone, manifest: Path) -> dict[str, ndarray]:
    """What it says of the faces of the validation split, in the project's order of classes, and what is true."""
    size = {"image_size": getattr(backbone.params, "image_size", None) or 112}
    params = {"file": manifest, "split": "validation", "labels": BASIC_EXPRESSIONS, **size}
    faces = get_registry().build("dataset", "manifest", params)
    columns = [backbone.labels.index(label) for label in BASIC_EXPRESSIONS]
    rows: dict[str, list[ndarray]] = {}
    for start in progress_bar(range(0, len(faces), BATCH), label="looking at faces", unit="batch"):
        samples = [faces[index] for index in range(start, min(start + BATCH, len(faces)))]
        seen = backbone(torch.stack([sample.image for sample in samples]))
        found = {"logits": seen.logits[:, columns], "valence": seen.valence, "arousal": seen.arousal}
        for key, values in found.items():
            if values is not None:
                rows.setdefault(key, []).append(values.double().numpy())
        rows.setdefault("true_expression", []).append(np.array([s.expression for s in samples]))
        for level in ("valence", "arousal"):
            known = [np.nan if getattr(s, level) is None else getattr(s, level) for s in samples]
            rows.setdefault(f"true_{level}", []).append(np.array(known))
    return {key: np.concatenate(parts) for key, parts in rows.items()}


def interval(measure: Callable[[ndarray], float], count: int) -> Sequence[float]:
    """A value over all faces, and the 95 % percentile interval of a bootstrap over faces."""
    random = np.random.default_rng(0)
    drawn = [measure(random.integers(0, count, count)) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return measure(np.arange(count)), float(low), float(high)


def best_temperature(logits: ndarray, truth: ndarray) -> float:
    """What the logits are divided by for the largest likelihood of the true classes.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), 1)[np.arange(len(truth)), truth].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))


def calibration_error(probabilities: ndarray, truth: ndarray) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over 15 equal bins of confidence."""
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == truth
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == b].sum() - hits[bins == b].sum()) for b in range(BINS)]
    return float(sum(gaps) / len(truth))


def crossed_calibration_error(logits: ndarray, truth: ndarray) -> float:
    """The same with the temperature of the other half of the faces."""
    halves = np.arange(len(truth)) % 2
    calibrated = np.empty_like(logits)
    for half in (0, 1):
        other = halves != half
        calibrated[halves == half] = logits[halves == half] / best_temperature(logits[other], truth[other])
    return calibration_error(softmax(calibrated, 1), truth)


if __name__ == "__main__":
    main()
