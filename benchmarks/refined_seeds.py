"""How much of what open_emoca_fit gains is chance of its training: a table of docs/open-weights.md.

    python -m benchmarks.refined_seeds FACES RUN RUN RUN

RUNs differ in their seed alone. FACES is that of ``benchmarks/open_weights.py``. Figures go to
benchmarks/results/refined_seeds.json.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from benchmarks.encoded_methods import Faces
from benchmarks.measured_parts import put_on_page
from benchmarks.open_weights import BATCH, OVER, PAGE, ROOT, Measured, classes_of, linear
from emoca_core.files import write_json
from emoca_core.interfaces import BASIC_EXPRESSIONS
from emoca_core.measures.tables import markdown_table
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.vocabulary.arkit import ARKIT_NAMES

RESULT = ROOT / "benchmarks" / "results" / "refined_seeds.json"
BEGIN, END = "<!-- measured seeds: benchmarks/refined_seeds.py -->", "<!-- end of measured seeds -->"
WITNESS = "face_api_expression"


def main() -> None:
    """Measure all runs, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = [Measured.of(args.faces, run / "best.safetensors") for run in args.runs]
    fitted = figures_of(found[0], "open_fit")
    gains = [{name: value - fitted[name] for name, value in figures_of(one, "open_emoca_fit").items()} for one in found]
    result = {name: summary(np.array([one[name] for one in gains])) for name in gains[0]}
    write_json(RESULT, result)
    put_on_page(PAGE, table(result), BEGIN, END)


def figures_of(measured: Measured, method: str) -> dict[str, float]:
    """What a method reaches."""
    training, tested, web = (measured.faces(name)[method] for name in ("fer_train", "fer_validation", "web"))
    labels, truth = classes_of(training), classes_of(tested)
    shown = linear(measured.shown(training), labels, measured.shown(tested), truth)
    known = web[np.flatnonzero(classes_of(web) >= 0)]
    return {
        "linear probe": float(linear(training.vectors, labels, tested.vectors, truth).mean()),
        "the same on what the face shows": float(shown.mean()),
        f"FER2013, grey mesh recognised by `{WITNESS}`": recognised(measured, tested),
        f"web faces, grey mesh recognised by `{WITNESS}`": recognised(measured, known),
        "landmark error, web faces": float(measured.landmark_errors(web).mean()),
        **{f"neutral faces of FER2013: {name}": calm(tested, start) for name, start in OVER.items()},
    }


@torch.no_grad()
def recognised(measured: Measured, faces: Faces) -> float:
    """Share of the grey meshes whose class the witness names."""
    judge = load_emotion_backbone(WITNESS)
    columns = [judge.labels.index(label) for label in BASIC_EXPRESSIONS]
    logits = torch.cat([judge(part).logits[:, columns] for part in torch.split(measured.grey(faces), BATCH)])
    return float((logits.argmax(1).numpy() == classes_of(faces)).mean())


def calm(faces: Faces, start: str) -> float:
    """Mean activation on faces that are labelled neutral."""
    rows = np.flatnonzero(classes_of(faces) == BASIC_EXPRESSIONS.index("neutral"))
    columns = [i for i, name in enumerate(ARKIT_NAMES) if name.startswith(start)]
    assert faces.code.expression is not None
    return float(faces.code.expression[rows][:, columns].mean())


def summary(values: np.ndarray) -> dict[str, object]:
    """Mean over the seeds with its 95 % t interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return {
        "mean": [float(values.mean()), float(values.mean() - half), float(values.mean() + half)],
        "seeds": [*values],
    }


def table(result: dict[str, dict[str, object]]) -> str:
    """One row for each measure."""
    rows = [["gain over `open_fit`", "mean of the seeds", "each"]]
    for name, figures in result.items():
        digits = 4 if "landmark" in name else 3
        middle, low, high = figures["mean"]
        each = ", ".join(f"{one:+.{digits}f}" for one in figures["seeds"])
        rows.append([name, f"{middle:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]", each])
    return markdown_table(rows, texts=1)


if __name__ == "__main__":
    main()
