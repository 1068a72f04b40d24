"""Whether the shape of a face is that of the person: a table of docs/open-weights.md.

    python -m benchmarks.person_consistency FACES [--also NAME=RUN ...]

FACES holds ``web.csv``, people on several pictures, and beside it ``web.open_fit_codes`` and ``web.open_fit``, both
made by ``emoca encode`` with the recipe of that name. RUNs are other trainings of the network of ``open_deca``; they
are columns of their own. Figures go to benchmarks/results/person_consistency.json, the table to the page.

1. Shapes: vertices of the neutral face with each shape, root mean square distance of two pictures, in millimetres.
   Verification: how often two pictures of one person are nearer than two of different people (area under the curve).
2. Landmark errors with the shape of the picture itself, with that of another picture of the person, and with the middle
   of the person's other pictures (the median, number by number), each once more where the encoder is told the shape.
3. Looks: cosine of what ``faceres`` sees in the photo and in the drawn face, with its albedo and light, over the photo.

Every person counts the same; intervals are those of a bootstrap over people.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy import ndarray
from torch import Tensor

from benchmarks.encoded_methods import CROP, Faces, common, regressed_by
from benchmarks.face_measures import BATCH, DRAWS, PAGE, ROOT, Compared, Measured, batches_of, compared_with
from benchmarks.measured_parts import Figures, figures_in, measure, put_on_page, with_interval
from emoca_core import load_method
from emoca_core.interfaces import Encoder, FaceCrop, FaceParameters
from emoca_core.measures.tables import markdown_table
from emoca_core.method import Method
from emoca_core.rendering.masks import Composition
from emoca_plugins.losses.identity import overlay
from emoca_plugins.losses.recognition import Recognition, recognition

RESULT = ROOT / "benchmarks" / "results" / "person_consistency.json"
BEGIN, END = "<!-- measured people: benchmarks/person_consistency.py -->", "<!-- end of measured people -->"
FITTED, NETWORK = "open_fit", "open_deca"
MOST = 6
"""Pictures of one person, drawn at random."""
RECOGNITION = "faceres"


@dataclass(frozen=True)
class People:
    """Pictures of people who are on two or more.

    Attributes:
        measured: The head, and what draws it.
        methods: The pictures as each method sees them.
        encoders: Of those that are networks.
        looks: With albedo and light, by method.
        rows: The pictures of each person.
    """

    measured: Measured
    methods: Mapping[str, Faces]
    encoders: Mapping[str, Encoder]
    looks: Mapping[str, Faces]
    rows: list[ndarray]

    @classmethod
    def of(cls, folder: Path, also: Mapping[str, Path]) -> "People":
        """Those of FACES that both recipes have found."""
        measured = Measured.of(folder)
        fitted, whole = common([measured.encoded("web", recipe) for recipe in ("open_fit_codes", "open_fit")])
        drawn = _drawn([str(name) for name in fitted.texts("identity")])
        chosen = np.concatenate(drawn)
        fitted, whole = fitted[chosen], whole[chosen]
        ends = np.cumsum([len(rows) for rows in drawn])
        encoders = {NETWORK: measured.encoder(NETWORK)}
        encoders |= {name: measured.encoder(NETWORK, run / "best.safetensors") for name, run in also.items()}
        seen = {name: regressed_by(encoder, fitted) for name, encoder in encoders.items()}
        rows = np.split(np.arange(len(chosen)), ends[:-1])
        return cls(measured, {FITTED: fitted, **seen}, encoders, {FITTED: whole, **seen}, rows)  # type: ignore[arg-type]

    def of_each(self, values: ndarray) -> ndarray:
        """The mean of each person's pictures."""
        return np.array([values[rows].mean() for rows in self.rows])


def main() -> None:
    """Measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--also", nargs="+", default=[], metavar="NAME=RUN")
    args = parser.parse_args()
    torch.set_num_threads(1)
    also = {name: Path(run) for name, run in (one.split("=", 1) for one in args.also)}
    people = People.of(args.faces, also)
    measure({part.__name__: part for part in (shapes, landmarks, looks)}, "shapes,landmarks,looks", people, RESULT)
    put_on_page(PAGE, table(figures_in(RESULT)), BEGIN, END)


def shapes(people: People) -> Figures:
    """How far shapes of one person are from each other, and from those of other people."""
    within, between, nearer = {}, {}, {}
    for method, faces in people.methods.items():
        apart = _distances(people.measured, faces)
        same = [_pairs(apart[np.ix_(rows, rows)]) for rows in people.rows]
        others = [np.delete(apart[rows], rows, axis=1).flatten() for rows in people.rows]
        within[method] = np.array([own.mean() for own in same])
        between[method] = np.array([own.mean() for own in others])
        nearer[method] = _nearer(same, others)
    weights = _weights(len(people.rows))
    ratio = {m: weights @ own / (weights @ between[m]) for m, own in within.items()}
    told = {m: np.einsum("di,ij,dj->d", weights, own, weights) for m, own in nearer.items()}
    return {
        "people": len(people.rows),
        "faces": int(sum(map(len, people.rows))),
        "within": _compared(within),
        "between": _compared(between),
        "ratio": _compared_draws(ratio),
        "verification": _compared_draws(told),
    }


def landmarks(people: People) -> Figures:
    """Landmark errors with a picture's own shape, and with shapes of the person's other pictures."""
    errors: dict[str, dict[str, ndarray]] = {}
    for method, faces in people.methods.items():
        shape = faces.code.shape
        assert shape is not None
        other, middle = _others(shape, people.rows)
        cases = {
            "own shape": faces.code,
            "another's shape": faces.code.replace(shape=other),
            "middle shape": faces.code.replace(shape=middle),
        }
        if method in people.encoders:
            known = partial(_with_shape, people.encoders[method], faces)
            cases |= {"another's shape, told": known(other), "middle shape, told": known(middle)}
        for case, code in cases.items():
            wrong = people.measured.landmark_errors(faces.with_code(code))
            errors.setdefault(case, {})[method] = people.of_each(wrong)
    return {case: _compared(own) for case, own in errors.items()}


def looks(people: People) -> Figures:
    """What a network that tells people apart makes of the drawn faces."""
    network, result = recognition(RECOGNITION, None), {}
    method = load_method(NETWORK, device="cpu")
    photos = _seen(network, people.methods[FITTED])
    for name, faces in people.looks.items():
        drawn = torch.cat([network(_drawn_over(method, faces, at)) for at in range(0, len(faces), BATCH)])
        result[name] = people.of_each(F.cosine_similarity(drawn, photos).numpy())
    near = F.normalize(photos) @ F.normalize(photos).T
    same = np.array([_pairs(near.numpy()[np.ix_(rows, rows)]).mean() for rows in people.rows])
    others = np.array([np.delete(near.numpy()[rows], rows, axis=1).mean() for rows in people.rows])
    return {
        "cosine": _compared(result),
        "two photos of one person": float(same.mean()),
        "photos of two people": float(others.mean()),
    }


def table(result: Mapping[str, Mapping[str, object]]) -> str:
    """One row for each measure."""
    methods = list(result["shapes"]["within"])  # type: ignore[call-overload]
    rows = [["measure", *(f"`{m}`" if m in (FITTED, NETWORK) else m for m in methods)]]
    for title, part, name, digits in ROWS:
        figures = result[part][name]
        assert isinstance(figures, Mapping)
        rows.append([title, *(_cell(figures, method, digits) for method in methods)])
    return markdown_table(rows, texts=1)


ROWS = (
    ("shapes of one person apart, mm", "shapes", "within", 2),
    ("shapes of different people apart, mm", "shapes", "between", 2),
    ("ratio of the two", "shapes", "ratio", 3),
    ("verification by shape, area under the curve", "shapes", "verification", 3),
    ("landmark error, own shape", "landmarks", "own shape", 4),
    ("with the shape of another picture", "landmarks", "another's shape", 4),
    ("the same, what follows it moved", "landmarks", "another's shape, told", 4),
    ("with the middle shape of all other pictures", "landmarks", "middle shape", 4),
    ("the same, what follows it moved", "landmarks", "middle shape, told", 4),
    ("cosine of `faceres`, drawn face and photo", "looks", "cosine", 3),
)


def _cell(figures: Compared, method: str, digits: int) -> str:
    if method not in figures:
        return ""
    value, low, high = figures[method]["mean"]
    mean = f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    over = figures[method].get(f"over {FITTED}")
    return mean if over is None else f"{mean}, {with_interval(over, digits)}"


def _drawn(names: list[str]) -> list[ndarray]:
    """Pictures of those who are on two or more, at most ``MOST`` of each."""
    random, people = np.random.default_rng(0), np.array(names)
    every = [np.flatnonzero(people == name) for name in sorted(set(names))]
    return [np.sort(random.permutation(rows)[:MOST]) for rows in every if len(rows) > 1]


@torch.no_grad()
def _distances(measured: Measured, faces: Faces) -> ndarray:
    """Root mean square distance of the vertices of the neutral face, mm, of every two pictures."""
    head = measured.parts.face_model
    region = head.vertex_masks["face"]
    neutral = [1000 * head(FaceParameters(shape=code.shape)).vertices[:, region] for code in batches_of(faces)]
    vertices = torch.cat(neutral).flatten(1).double()
    apart: ndarray = torch.cdist(vertices, vertices, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    return apart / int(region.sum()) ** 0.5


def _pairs(square: ndarray) -> ndarray:
    """Each pair once."""
    values: ndarray = square[np.triu_indices(len(square), 1)]
    return values


def _nearer(same: list[ndarray], others: list[ndarray]) -> ndarray:
    """How often pairs of one person are nearer than pairs with another one in them; [people, people]."""
    found = [[np.searchsorted(far, own, side="right") / len(far) for far in map(np.sort, others)] for own in same]
    return 1 - np.array([[own.mean() for own in row] for row in found])


def _others(shape: Tensor, rows: list[ndarray]) -> tuple[Tensor, Tensor]:
    """The shape of the person's next picture, and the middle of all the person's other ones."""
    other, middle = shape.clone(), shape.clone()
    for own in rows:
        other[own] = shape[np.roll(own, 1)]
        for row in own:
            middle[row] = shape[own[own != row]].median(0).values
    return other, middle


@torch.no_grad()
def _with_shape(encoder: Encoder, faces: Faces, shape: Tensor) -> FaceParameters:
    codes = []
    for start in range(0, len(faces), BATCH):
        rows = slice(start, start + BATCH)
        crop = FaceCrop(faces.crops(range(*rows.indices(len(faces)))), {"ibug68": faces.points[rows]})
        own = faces.code.map(lambda tensor, rows=rows: tensor[rows])
        codes.append(encoder.with_shape(crop, own, shape[rows]))
    return FaceParameters.cat(codes)


@torch.no_grad()
def _seen(network: Recognition, faces: Faces) -> Tensor:
    starts = range(0, len(faces), BATCH)
    return torch.cat([network(faces.crops(range(at, min(at + BATCH, len(faces))))) for at in starts])


@torch.no_grad()
def _drawn_over(method: Method, faces: Faces, start: int) -> Tensor:
    """Some of the faces with albedo and light, over their photos."""
    rows = range(start, min(start + BATCH, len(faces)))
    code = faces.code.map(lambda tensor: tensor[rows.start : rows.stop])
    crop = FaceCrop(faces.crops(rows), {"ibug68": faces.points[rows.start : rows.stop]})
    assert crop.size == (CROP, CROP)
    return overlay(method.decode(crop, code, Composition("rendered", "input"), {"rendering", "mask"}))


def _weights(people: int) -> ndarray:
    """How often each person is drawn, of all; the first row is that of the people as they are."""
    drawn = np.random.default_rng(0).multinomial(people, np.full(people, 1 / people), DRAWS) / people
    return np.concatenate([np.full((1, people), 1 / people), drawn])


def _compared(values: Mapping[str, ndarray]) -> Compared:
    weights = _weights(len(next(iter(values.values()))))
    return _compared_draws({method: weights @ own for method, own in values.items()})


def _compared_draws(drawn: Mapping[str, ndarray]) -> Compared:
    return compared_with({m: float(own[0]) for m, own in drawn.items()}, {m: own[1:] for m, own in drawn.items()})


if __name__ == "__main__":
    main()
