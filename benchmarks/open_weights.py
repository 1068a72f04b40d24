"""What the trained refinement of open_fit gains, and what it costs: the second table of docs/open-weights.md.

    python -m benchmarks.open_weights FACES [--parts fer,paper,again,web,photos,synthetic,neutral,speed] [--ship RUN]

FACES holds manifests and codes of each part (``fer_train``, ``fer_validation``, ``web``, ``photos``, ``synthetic``):
NAME.csv or NAME.parquet, and NAME.open_fit_codes and NAME.mediapipe52 beside it, each made by ``emoca encode NAME.csv
--recipe open_fit_codes --out NAME.open_fit_codes``. Figures go to benchmarks/results/open_weights.json, part by part,
the tables to the page. ``--ship`` writes the network of a run into the package first.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.encoded_methods import Faces, common, refined
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
from emoca_core import get_registry, load_method
from emoca_core.datasets import Manifest
from emoca_core.datasets.folds import Split
from emoca_core.datasets.rows import iterate_rows
from emoca_core.images.resize import resized
from emoca_core.interfaces import BASIC_EXPRESSIONS, FaceParameters, Parts
from emoca_core.measures.intervals import interval_of
from emoca_core.measures.metrics import ccc
from emoca_core.measures.tables import markdown_table
from emoca_core.probe.evaluate import Labels, ProbeSettings, probe_predictions
from emoca_core.probe.found_again import FoundAgainSource
from emoca_core.probe.sources import find_sources
from emoca_core.probe.visible import VisibleSource
from emoca_core.progress import progress_bar
from emoca_core.reconstruction.capture import crops_of
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.rendering.shape import render_shape
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS
from emoca_plugins.encoders.refined_fit import WEIGHTS

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "open_weights.json"
PAGE = ROOT / "docs" / "open-weights.md"
BEGIN, END = "<!-- measured faces: benchmarks/open_weights.py -->", "<!-- end of measured faces -->"
ENCODED = ("mediapipe52", "open_fit_codes")
METHODS = ("mediapipe52", "open_fit", "open_emoca_fit")
JUDGES = {"face_api_expression": "witness", "fer_mini_xception": "second witness", "open_emotion": "its judge"}
OVER = {"smile": "mouthSmile", "frown": "mouthFrown", "wide eyes": "eyeWide"}
DRAWS, PICTURE, BATCH, AGAIN = 2000, 112, 64, 1024


@dataclass(frozen=True)
class Measured:
    """What all parts of the benchmark work with."""

    folder: Path
    parts: Parts
    known: dict[str, dict[str, Faces]]
    weights: Path | None = None
    """Of the refinement; those of the package by default."""

    @classmethod
    def of(cls, folder: Path, weights: Path | None = None) -> "Measured":
        """With the head that all methods share."""
        registry = get_registry()
        head = registry.build("face_model", "open_head", {"texture_size": 64})
        return cls(folder, Parts(head, registry.build("renderer", "zbuffer")), {}, weights)

    def faces(self, name: str) -> dict[str, Faces]:
        """The faces of a part that all methods have a code for, by method."""
        if name not in self.known:
            file = next(f for end in ("csv", "parquet") if (f := self.folder / f"{name}.{end}").exists())
            manifest = Manifest.open(file)
            found = [Faces.open(self.folder / f"{name}.{recipe}", manifest) for recipe in ENCODED]
            encoded, fitted = common(found)
            moved = refined(fitted, self.encoder("open_emoca_fit"))
            self.known[name] = dict(zip(METHODS, (encoded, fitted, moved), strict=True))
        return self.known[name]

    def encoder(self, recipe: str) -> torch.nn.Module:
        """That of a recipe, for the head."""
        use = get_catalogue().recipe(recipe).parts()["encoder"]
        params = get_catalogue().params("encoder", use)
        params = params if self.weights is None else {**params, "weights": str(self.weights)}
        encoder = get_registry().build("encoder", use.uses, params, self.parts)
        encoder.attach(self.parts)
        return encoder.eval()

    @torch.no_grad()
    def shown(self, faces: Faces) -> ndarray:
        """Displacements of the regions of the face, mm, with the noise of ``emoca benchmark --visible``."""
        source = VisibleSource(None, self.parts.face_model)  # type: ignore[arg-type]
        found = [source.displacements(code).flatten(1) for code in batches_of(faces)]
        return source.as_seen(torch.cat(found).numpy())

    @torch.no_grad()
    def grey(self, faces: Faces) -> Tensor:
        """The bare meshes as their own cameras see them, over black."""
        head, renderer = self.parts.face_model, self.parts.renderer
        posed = ((head(code), code.camera) for code in batches_of(faces))
        return torch.cat([render_shape(renderer, head, mesh, camera, (PICTURE, PICTURE)) for mesh, camera in posed])

    @torch.no_grad()
    def landmark_errors(self, faces: Faces) -> ndarray:
        """Mean distance of the 68 points from the detected ones, of the distance of the outer eye corners."""
        seen = [c.camera.project(self.parts.face_model(c).landmarks["ibug68"])[..., :2] for c in batches_of(faces)]
        right, left = IBUG68_OUTER_EYE_CORNERS
        eyes = (faces.points[:, right] - faces.points[:, left]).norm(dim=-1)
        return ((torch.cat(seen) - faces.points).norm(dim=-1).mean(1) / eyes).numpy()


def batches_of(faces: Faces) -> Iterator[FaceParameters]:
    """Codes, some faces at a time."""
    return (faces.code.map(lambda t, at=at: t[at : at + BATCH]) for at in range(0, len(faces), BATCH))


def main() -> None:
    """Measure parts, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--ship", type=Path, metavar="RUN", help="run folder of emoca train coarse")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.ship:
        ship(WEIGHTS, trained_network(args.ship, "encoder.network."))
    measure(PARTS, args.parts, Measured.of(args.faces), RESULT)
    put_on_page(PAGE, table(figures_in(RESULT)), BEGIN, END)


def fer(measured: Measured, judges: Mapping[str, str] = JUDGES) -> Figures:
    """Probes on code and on what it shows, trained on faces of the training part; witnesses on grey meshes."""
    training, tested = measured.faces("fer_train"), measured.faces("fer_validation")
    labels, truth = classes_of(training["open_fit"]), classes_of(tested["open_fit"])
    of_code = {m: linear(own.vectors, labels, tested[m].vectors, truth) for m, own in training.items()}
    of_face = {m: linear(measured.shown(own), labels, measured.shown(tested[m]), truth) for m, own in training.items()}
    probes = {"linear probe": compared(of_code), "visible": compared(of_face)}
    return {"faces": len(truth), "trained on": len(labels)} | probes | witnessed(measured, tested, judges)


def paper(measured: Measured) -> Figures:
    """The paper's probe on the same faces."""
    training, tested = measured.faces("fer_train"), measured.faces("fer_validation")
    labels, truth = classes_of(training["open_fit"]), classes_of(tested["open_fit"])
    hits = {m: papers_probe(own.vectors, labels, tested[m].vectors, truth) for m, own in training.items()}
    return {"faces": len(truth), "trained on": len(labels), "paper's probe": compared(hits)}


def again(measured: Measured) -> Figures:
    """Linear probe on the codes that ``open_fit_codes`` finds in portraits; of some faces, as it is slow."""
    _, source = find_sources(["open_fit_codes"], finder="open_fit_codes")[0]
    assert isinstance(source, FoundAgainSource)
    codes, labels = {}, {}
    for name in ("fer_train", "fer_validation"):
        every = measured.faces(name)
        drawn = np.random.default_rng(0).permutation(len(every["open_fit"]))[:AGAIN]  # the manifest goes by class
        some = {method: own[drawn] for method, own in every.items()}
        labels[name] = classes_of(some["open_fit"])
        codes[name] = {method: found_again(source, own) for method, own in some.items()}
    seen = {name: np.all([np.isfinite(c).all(1) for c in found.values()], axis=0) for name, found in codes.items()}
    first, last = seen["fer_train"], seen["fer_validation"]
    hits = {
        method: linear(
            codes["fer_train"][method][first],
            labels["fer_train"][first],
            codes["fer_validation"][method][last],
            labels["fer_validation"][last],
        )
        for method in METHODS
    }
    lost = {method: int(np.isnan(found).any(1).sum()) for method, found in codes["fer_validation"].items()}
    return {"faces": int(last.sum()), "trained on": int(first.sum()), "not found": lost, "found again": compared(hits)}


@torch.no_grad()
def found_again(source: FoundAgainSource, faces: Faces) -> ndarray:
    """The code of each face as it is found in its portrait."""
    batches = progress_bar(list(batches_of(faces)), label="finding again", unit="batch")
    return torch.cat([source.found_in(source.portraits(code)) for code in batches]).numpy()


def web(measured: Measured, judges: Mapping[str, str] = JUDGES) -> Figures:
    """Witnesses on grey meshes, and landmark errors, of people who took no part in the training."""
    faces = measured.faces("web")
    labelled = np.flatnonzero(classes_of(faces["open_fit"]) >= 0)
    seen = witnessed(measured, {method: own[labelled] for method, own in faces.items()}, judges)
    errors = compared({method: measured.landmark_errors(own) for method, own in faces.items()})
    people = len({who for who in faces["open_fit"].texts("identity")})
    return {"faces": len(labelled), **seen, "landmark error": errors, "people": people}


def photos(measured: Measured) -> Figures:
    """Landmark errors of photos."""
    faces = measured.faces("photos")
    errors = {method: measured.landmark_errors(own) for method, own in faces.items()}
    return {"faces": len(faces["open_fit"]), "landmark error": compared(errors)}


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
            model.fit(own.vectors[split == "train"], truth[split == "train"])
            guesses[method] = model.predict(own.vectors[split == "test"])
        result[level] = compared_ccc(guesses, truth[split == "test"], people)
    return {"faces": int((split == "test").sum()), "people": int(people.max() + 1), **result}


def neutral(measured: Measured) -> Figures:
    """Mean activations of faces that are labelled neutral."""
    result: Figures = {}
    for part in ("fer_validation", "web"):
        faces = measured.faces(part)
        calm = np.flatnonzero(classes_of(faces["open_fit"]) == BASIC_EXPRESSIONS.index("neutral"))
        for name, start in OVER.items():
            columns = [i for i, known in enumerate(ARKIT_NAMES) if known.startswith(start)]
            strength = {m: own.code.expression[calm][:, columns].mean(1).numpy() for m, own in faces.items()}
            result[f"{part} {name}"] = compared(strength)
        result[f"{part} faces"] = len(calm)
    return result


def speed(measured: Measured) -> Figures:
    """Faces of the photos per second of CPU time of one core, detection left out; the best of three."""
    manifest = Manifest.open(measured.folder / "photos.csv")
    crop = crops_of(load_method("open_fit", device="cpu"), [manifest.image_path(row) for row in iterate_rows(manifest)])
    result: Figures = {"faces": len(crop)}
    for recipe in ("open_fit", "open_fit_codes", "open_emoca_fit_codes", "open_emoca_fit"):
        encoder, times = measured.encoder(recipe), []
        for _ in range(4):
            start = time.process_time()
            with torch.no_grad():
                encoder(crop)
            times.append(time.process_time() - start)
        result[recipe] = len(crop) / min(times[1:])
    return result


PARTS: Mapping[str, Callable[[Measured], Figures]] = {
    part.__name__: part for part in (fer, web, photos, synthetic, neutral, speed, paper, again)
}


def classes_of(faces: Faces) -> ndarray:
    """Index of each face's class, -1 without one."""
    return faces.manifest.classes(BASIC_EXPRESSIONS)[faces.rows]


def linear(codes: ndarray, labels: ndarray, tested: ndarray, truth: ndarray) -> ndarray:
    """Whether a linear probe is right, for each face; its penalty is chosen on the last tenth of the training."""
    last = len(codes) * 9 // 10

    def fitted(penalty: float, rows: slice) -> Pipeline:
        model = LogisticRegression(C=penalty, max_iter=400)
        return make_pipeline(StandardScaler(), model).fit(codes[rows], labels[rows])

    best = max((0.01, 0.1, 1.0), key=lambda c: fitted(c, slice(0, last)).score(codes[last:], labels[last:]))
    return (fitted(best, slice(None)).predict(tested) == truth).astype(float)


def papers_probe(codes: ndarray, labels: ndarray, tested: ndarray, truth: ndarray) -> ndarray:
    """Whether the paper's probe (four layers of 2048) is right."""
    everything, nothing = np.concatenate([codes, tested]), np.full(len(codes) + len(tested), np.nan, np.float32)
    last, count = len(codes) * 9 // 10, len(codes)
    split = Split(np.arange(last), np.arange(last, count), np.arange(count, len(everything)))
    known = Labels(BASIC_EXPRESSIONS, np.concatenate([labels, truth]), nothing, nothing)
    predictions = probe_predictions(everything, known, [split], ProbeSettings())
    assert predictions.logits is not None
    return (predictions.logits.argmax(1) == truth).astype(float)


@torch.no_grad()
def witnessed(measured: Measured, faces: Mapping[str, Faces], judges: Mapping[str, str] = JUDGES) -> Figures:
    """How often networks that know expressions recognise the grey meshes, and how often the photos."""
    fitted, result = faces["open_fit"], {}
    truth, pictures = classes_of(fitted), {method: measured.grey(own) for method, own in faces.items()}
    starts = range(0, len(fitted), BATCH)
    photos = torch.cat([resized(fitted.crops(range(at, min(at + BATCH, len(fitted)))), PICTURE) for at in starts])
    for name, role in judges.items():
        judge = load_emotion_backbone(name)
        columns = [judge.labels.index(label) for label in BASIC_EXPRESSIONS]
        hits = {}
        for method, images in {**pictures, "photos": photos}.items():
            logits = torch.cat([judge(part).logits[:, columns] for part in torch.split(images, BATCH)])
            hits[method] = (logits.argmax(1).numpy() == truth).astype(float)
        result[f"{role} on photos"] = float(hits.pop("photos").mean())
        result[role] = compared(hits)
    return result


def compared(values: Mapping[str, ndarray]) -> dict[str, dict[str, Sequence[float]]]:
    """Mean of each method with its interval, and differences of the last one to the others; bootstrap over faces."""
    count = len(next(iter(values.values())))
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS) / count
    drawn = {method: draws @ own for method, own in values.items()}
    last = list(values)[-1]
    return {
        method: {
            "mean": [float(own.mean()), *interval_of(drawn[method])],
            "gain": [float((values[last] - own).mean()), *interval_of(drawn[last] - drawn[method])],
        }
        for method, own in values.items()
    }


def compared_ccc(guesses: Mapping[str, ndarray], truth: ndarray, people: ndarray) -> dict[str, dict[str, list[float]]]:
    """As ``compared``, of the concordance; bootstrap over people."""
    random, rows = np.random.default_rng(0), [np.flatnonzero(people == who) for who in range(people.max() + 1)]
    drawn: dict[str, list[float]] = {method: [] for method in guesses}
    for _ in range(DRAWS // 2):
        taken = np.concatenate([rows[who] for who in random.integers(0, len(rows), len(rows))])
        for method, guess in guesses.items():
            drawn[method].append(ccc(guess[taken], truth[taken]))
    values, last = {m: ccc(guess, truth) for m, guess in guesses.items()}, list(guesses)[-1]
    return {
        method: {
            "mean": [values[method], *interval_of(np.array(drawn[method]))],
            "gain": [
                values[last] - values[method],
                *interval_of(np.array(drawn[last]) - np.array(drawn[method])),
            ],
        }
        for method in guesses
    }


ROWS = (
    ("linear probe on expression, jaw, gaze: accuracy of 7 classes", "fer", "linear probe", 3),
    ("the same on what the face shows (`--visible`)", "fer", "visible", 3),
    ("the same on codes found again in portraits", "again", "found again", 3),
    ("the paper's probe on expression, jaw, gaze", "paper", "paper's probe", 3),
    ("FER2013, grey mesh recognised by `face_api_expression`", "fer", "witness", 3),
    ("by `fer_mini_xception`", "fer", "second witness", 3),
    ("by `open_emotion`, the judge of the training", "fer", "its judge", 3),
    ("web faces, grey mesh recognised by `face_api_expression`", "web", "witness", 3),
    ("by `fer_mini_xception`", "web", "second witness", 3),
    ("synthetic people: CCC of valence", "synthetic", "valence", 3),
    ("CCC of arousal", "synthetic", "arousal", 3),
    ("landmark error, photos", "photos", "landmark error", 4),
    ("landmark error, web faces", "web", "landmark error", 4),
    *((f"neutral faces of FER2013: {name}", "neutral", f"fer_validation {name}", 3) for name in OVER),
    *((f"neutral web faces: {name}", "neutral", f"web {name}", 3) for name in OVER),
)


def table(result: Mapping[str, Mapping[str, object]]) -> str:
    """One row for each measure that is known."""
    rows = [["measure", *(f"`{method}`" for method in METHODS), "gain over `open_fit`"]]
    for title, figures, digits in known_rows(ROWS, result):
        means = [f"{figures[method]['mean'][0]:.{digits}f}" for method in METHODS]
        rows.append([title, *means, with_interval(figures["open_fit"]["gain"], digits)])
    return markdown_table(rows, texts=1)


if __name__ == "__main__":
    main()
