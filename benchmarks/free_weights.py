"""What the refinement for commercial use gains over open_fit, and what it costs: a table of docs/open-weights.md.

    python -m benchmarks.free_weights FACES [--parts fer,web,...] [--ship RUN] [--ship-judge RUN...]

FACES holds manifests and codes of each part (``fer_train``, ``fer_validation``, ``web``, ``synthetic``), as for
``benchmarks/face_measures.py``, but not MediaPipe's own scores; ``new.parquet`` are synthetic faces for the judge.
Figures go to benchmarks/results/free_weights.json, part by part, the table to the page. ``--ship`` writes the network
of a run of ``emoca train coarse`` into the package, ``--ship-judge`` the mean of those of runs of ``emoca train
emotion`` (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022: what a network knew of photos survives).
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks import face_measures
from benchmarks.encoded_methods import Faces, refined
from benchmarks.face_measures import (
    OVER,
    PAGE,
    ROOT,
    Measured,
    classes_of,
    compared,
    paper,
    synthetic,
)
from benchmarks.measured_parts import (
    Figures,
    figures_in,
    known_rows,
    measure,
    put_on_page,
    ship,
    trained_network,
    with_interval,
)
from benchmarks.open_emotion import golden_faces
from benchmarks.open_emotion import measured as backbone_figures
from emoca_core.interfaces import BASIC_EXPRESSIONS
from emoca_core.measures.tables import markdown_table
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.emotion.open_emotion_free import WEIGHTS as JUDGE
from emoca_plugins.encoders.refined_fit_free import RefinedFitFree

RESULT = ROOT / "benchmarks" / "results" / "free_weights.json"
GOLDEN = ROOT / "tests" / "goldens" / "open_emotion_free.npz"
BEGIN, END = "<!-- measured for commercial use: benchmarks/free_weights.py -->", "<!-- end of commercial use -->"
RECIPE = "open_emoca_fit_free"
WEIGHTS = RefinedFitFree.shipped
METHODS = ("open_fit", RECIPE)
JUDGES = {
    "fer_mini_xception": "witness",
    "open_emotion": "second witness",
    "open_emotion_free": "its judge",
}


class Free(Measured):
    """Faces as ``open_fit`` and as the refinement sees them."""

    def faces(self, name: str) -> dict[str, Faces]:
        """The faces of a part with a face found, by method."""
        if name not in self.known:
            self.known[name] = self.refined(self.fitted(name))
        return self.known[name]

    def fitted(self, name: str) -> Faces:
        """The faces of a part as ``open_fit`` sees them."""
        return self.encoded(name, "open_fit_codes")

    def refined(self, fitted: Faces) -> dict[str, Faces]:
        """The same faces by method."""
        return dict(zip(METHODS, (fitted, refined(fitted, self.encoder(RECIPE))), strict=True))


def main() -> None:
    """Measure parts, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--ship", type=Path, metavar="RUN", help="run folder of emoca train coarse")
    parser.add_argument("--ship-judge", nargs="+", metavar="RUN", help="run folders of emoca train emotion")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.ship_judge:
        ship_judge(args.ship_judge)
    if args.ship:
        ship(WEIGHTS, trained_network(args.ship, "encoder.network."))
    measure(PARTS, args.parts, Free.of(args.faces), RESULT)
    put_on_page(PAGE, table(figures_in(RESULT)), BEGIN, END)


def ship_judge(runs: Sequence[str]) -> None:
    """Write the mean of the runs' weights, and what it says of seven synthetic faces to the goldens."""
    states = [load_emotion_backbone(run).state_dict() for run in runs]
    ship(JUDGE, {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    seen = load_emotion_backbone("open_emotion_free")(golden_faces())
    golden = {"features": seen.features["pooled"][:, ::16], "logits": seen.logits}
    golden |= {"valence": seen.valence, "arousal": seen.arousal}
    np.savez(GOLDEN, **{name: tensor.numpy() for name, tensor in golden.items()})


def fer(measured: Measured) -> Figures:
    """As of ``open_emoca_fit``, with other witnesses; landmarks."""
    faces = measured.faces("fer_validation")
    errors = compared({method: measured.landmark_errors(own) for method, own in faces.items()})
    return face_measures.fer(measured, JUDGES) | {"landmark error": errors}


def web(measured: Measured) -> Figures:
    """As of ``open_emoca_fit``, with other witnesses."""
    return face_measures.web(measured, JUDGES)


def neutral(measured: Free) -> Figures:
    """Mean activations of faces that are labelled neutral."""
    result: Figures = {}
    for part in ("fer_validation", "web"):
        fitted = measured.fitted(part)
        calm = np.flatnonzero(classes_of(fitted) == BASIC_EXPRESSIONS.index("neutral"))
        faces = measured.refined(fitted[calm])
        for name, start in OVER.items():
            columns = [i for i, known in enumerate(ARKIT_NAMES) if known.startswith(start)]
            strength = {m: own.code.expression[:, columns].mean(1).numpy() for m, own in faces.items()}
            result[f"{part} {name}"] = compared(strength)
        result[f"{part} faces"] = len(calm)
    return result


def judge(measured: Measured) -> Figures:
    """Accuracy, calibration, valence and arousal of the judge, as of ``benchmarks/open_emotion.py``."""
    return backbone_figures(
        "open_emotion_free", measured.folder / "fer_validation.csv", measured.folder / "new.parquet"
    )


PARTS: Mapping[str, Callable[[Free], Figures]] = {
    part.__name__: part for part in (fer, web, synthetic, neutral, judge, paper)
}
ROWS = (
    ("linear probe on expression, jaw, gaze: accuracy of 7 classes", "fer", "linear probe", 3),
    ("the same on what the face shows (`--visible`)", "fer", "visible", 3),
    ("the paper's probe on expression, jaw, gaze", "paper", "paper's probe", 3),
    *(
        (f"{faces}, grey mesh recognised by `{judge}`", part, role, 3)
        for part, faces in (("fer", "FER2013"), ("web", "web faces"))
        for judge, role in JUDGES.items()
    ),
    ("synthetic people: CCC of valence", "synthetic", "valence", 3),
    ("CCC of arousal", "synthetic", "arousal", 3),
    ("landmark error, FER2013", "fer", "landmark error", 4),
    ("landmark error, web faces", "web", "landmark error", 4),
    *((f"neutral faces of FER2013: {name}", "neutral", f"fer_validation {name}", 3) for name in OVER),
    *((f"neutral web faces: {name}", "neutral", f"web {name}", 3) for name in OVER),
)


def table(result: Mapping[str, Mapping[str, object]]) -> str:
    """One row for each measure that is known."""
    rows = [["measure", *(f"`{method}`" for method in METHODS), "gain"]]
    for title, figures, digits in known_rows(ROWS, result):
        means = [f"{figures[method]['mean'][0]:.{digits}f}" for method in METHODS]
        rows.append([title, *means, with_interval(figures[RECIPE]["over open_fit"], digits)])
    return markdown_table(rows, texts=1)


if __name__ == "__main__":
    main()
