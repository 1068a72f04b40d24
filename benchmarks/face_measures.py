"""What is measured of methods on faces that were encoded: probes, witnesses, landmarks, calm faces.

Used by the benchmarks of weights. FACES, their folder, holds manifests and codes of each part (``fer_train``,
``fer_validation``, ``web``, ``photos``, ``synthetic``): NAME.csv or NAME.parquet, and NAME.open_fit_codes and
NAME.mediapipe52 beside it, each made by ``emoca encode NAME.csv --recipe open_fit_codes --out NAME.open_fit_codes``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy import ndarray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.encoded_methods import Faces, common, refined, regressed_by
from benchmarks.measured_parts import Figures
from emoca_core import get_registry
from emoca_core.datasets import Manifest
from emoca_core.datasets.folds import Split
from emoca_core.images.resize import resized
from emoca_core.interfaces import BASIC_EXPRESSIONS, FaceParameters, Parts
from emoca_core.measures.intervals import interval_of
from emoca_core.measures.metrics import ccc
from emoca_core.probe.evaluate import Labels, ProbeSettings, probe_predictions
from emoca_core.probe.found_again import FoundAgainSource
from emoca_core.probe.sources import find_sources
from emoca_core.probe.visible import VisibleSource
from emoca_core.progress import progress_bar
from emoca_core.registry.catalogue import get_catalogue
from emoca_core.rendering.shape import render_shape
from emoca_core.runs.backbones import load_emotion_backbone
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "open-weights.md"
ENCODED = ("mediapipe52", "open_fit_codes")
METHODS = ("mediapipe52", "open_fit", "open_emoca_fit", "open_deca", "open_emoca")
JUDGES = {"face_api_expression": "witness", "fer_mini_xception": "second witness", "open_emotion": "its judge"}
OVER = {"smile": "mouthSmile", "frown": "mouthFrown", "wide eyes": "eyeWide"}
BASES = ("mediapipe52", "open_fit")
"""What the others are compared with."""
DRAWS, PICTURE, BATCH, AGAIN = 2000, 112, 64, 1024
Compared = dict[str, dict[str, list[float]]]
"""By method: ``mean`` and ``over BASE``, each a value and its 95 % interval."""


@dataclass(frozen=True)
class Measured:
    """The five methods on the same detections, and what is drawn and measured of them.

    Attributes:
        folder: FACES.
        parts: The head that all methods share, and what draws it.
        known: The faces of a part by method, once they have been asked for.
    """

    folder: Path
    parts: Parts
    known: dict[str, dict[str, Faces]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """With the head that all methods share."""
        registry = get_registry()
        head = registry.build("face_model", "open_head", {"texture_size": 64})
        return cls(folder, Parts(head, registry.build("renderer", "zbuffer")))

    def faces(self, name: str) -> dict[str, Faces]:
        """The faces of a part that all methods have a code for, by method."""
        if name not in self.known:
            plain, fitted = common([self.encoded(name, recipe) for recipe in ENCODED])
            moved = refined(fitted, self.encoder("open_emoca_fit"))
            regressed = regressed_by(self.encoder("open_deca"), fitted)
            both = refined(regressed, self.encoder("open_emoca"))
            self.known[name] = dict(zip(METHODS, (plain, fitted, moved, regressed, both), strict=True))
        return self.known[name]

    def encoded(self, name: str, recipe: str) -> Faces:
        """The faces of a part that were found, as ``emoca encode`` has encoded them."""
        file = next(f for end in ("csv", "parquet") if (f := self.folder / f"{name}.{end}").exists())
        return Faces.open(self.folder / f"{name}.{recipe}", Manifest.open(file))

    def encoder(self, recipe: str, weights: Path | None = None) -> torch.nn.Module:
        """That of a recipe, for the head; with other weights where they are given."""
        use = get_catalogue().recipe(recipe).parts()["encoder"]
        params = get_catalogue().params("encoder", use)
        params = params if weights is None else {**params, "weights": str(weights)}
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
        for method in codes["fer_train"]
    }
    lost = {method: int(np.isnan(found).any(1).sum()) for method, found in codes["fer_validation"].items()}
    return {"faces": int(last.sum()), "trained on": int(first.sum()), "not found": lost, "found again": compared(hits)}


@torch.no_grad()
def found_again(source: FoundAgainSource, faces: Faces) -> ndarray:
    """The code of each face as it is found in its portrait."""
    batches = progress_bar(list(batches_of(faces)), label="finding again", unit="batch")
    return torch.cat([source.found_in(source.portraits(code)) for code in batches]).numpy()


def web(measured: Measured, judges: Mapping[str, str] = JUDGES) -> Figures:
    """Witnesses on grey meshes, and landmark errors; the refinement was not trained on these people."""
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


def compared(values: Mapping[str, ndarray]) -> Compared:
    """Mean of each method, and how far it is above each one of BASES, with intervals; bootstrap over faces."""
    count = len(next(iter(values.values())))
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS) / count
    return compared_with(
        {m: float(own.mean()) for m, own in values.items()}, {m: draws @ own for m, own in values.items()}
    )


def compared_ccc(guesses: Mapping[str, ndarray], truth: ndarray, people: ndarray) -> Compared:
    """As ``compared``, of the concordance; bootstrap over people."""
    random, rows = np.random.default_rng(0), [np.flatnonzero(people == who) for who in range(people.max() + 1)]
    drawn: dict[str, list[float]] = {method: [] for method in guesses}
    for _ in range(DRAWS // 2):
        taken = np.concatenate([rows[who] for who in random.integers(0, len(rows), len(rows))])
        for method, guess in guesses.items():
            drawn[method].append(ccc(guess[taken], truth[taken]))
    values = {method: ccc(guess, truth) for method, guess in guesses.items()}
    return compared_with(values, {method: np.array(own) for method, own in drawn.items()})


def compared_with(values: Mapping[str, float], drawn: Mapping[str, ndarray]) -> Compared:
    """Of each method, and how far it is above each one of BASES; intervals are those of resamples."""
    return {
        method: {"mean": [value, *interval_of(drawn[method])]}
        | {
            f"over {base}": [value - values[base], *interval_of(drawn[method] - drawn[base])]
            for base in BASES
            if base in values and base != method
        }
        for method, value in values.items()
    }
