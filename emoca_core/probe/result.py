"""What a benchmark found: one JSON file, from which every table and page is made."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from emoca_core.files import write_json
from emoca_core.parsing import read_record
from emoca_core.runs.run_folder import Provenance

FILE = "result.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _defined(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


Figure = Annotated[float | None, AfterValidator(_defined)]
"""``None`` is undefined, as NaN becomes."""


class Score(_Strict):
    """One metric of one method."""

    value: Figure
    """On all held-out predictions together."""
    low: Figure
    """2.5 percentile of the bootstrap over groups."""
    high: Figure
    """97.5 percentile."""
    fold_sd: Figure
    """Standard deviation over the folds' own values."""


class Difference(_Strict):
    """A method less the first one, on the same resamples."""

    value: Figure
    low: Figure
    high: Figure
    p_value: Figure
    """Two-sided, of the paired bootstrap."""
    p_holm: Figure
    """Corrected for the number of methods that are compared in this metric."""


class MethodResult(_Strict):
    """One row of the table."""

    name: str
    inputs: tuple[str, ...]
    """What the probe reads."""
    crop: str
    """Crop rule."""
    dimensions: int
    """Length of the code."""
    scores: dict[str, Score]
    """By metric."""
    differences: dict[str, Difference]
    """To the first method; empty for itself."""
    confusion: list[list[int]]
    """Row = true class, column = predicted class; empty without classes."""


class MissingMethod(_Strict):
    """A method that was asked for and did not run."""

    name: str
    reason: str


class Data(_Strict):
    """Where the faces came from, and how many were left."""

    manifest: str
    images_hash: str
    images: int
    labelled: int
    unreadable: int
    without_face: int
    """Labelled and readable, but no face was found."""
    without_code: dict[str, int]
    """Labelled faces that a method has no code for, by method."""
    used: int
    labels: tuple[str, ...]
    class_counts: list[int]
    left_out: dict[str, int] = {}
    """Rows of classes that are not among the labels, by class."""
    valence_arousal: int
    """Used faces with valence and arousal."""


class SplitRecord(_Strict):
    """How faces were split."""

    kind: Literal["folds", "manifest"]
    group_by: str
    groups: int
    """In the faces used."""
    seed: int
    hash: str
    """Two results with the same hash tested the same faces in the same folds."""
    sizes: list[dict[str, int]]
    """Of training, validation and test, by fold."""


class Example(_Strict):
    """A face of the test set, as the first method sees it."""

    path: str
    truth: str
    prediction: str
    good: bool
    thumbnail: str | None = None
    """JPEG, base64."""


class BenchmarkResult(_Strict):
    """Everything."""

    format: Literal["emoca-benchmark-1"] = "emoca-benchmark-1"
    data: Data
    split: SplitRecord
    preset: str
    settings: dict[str, object]
    """Of the probe."""
    draws: int
    """Bootstrap resamples."""
    tested: int
    """Held-out faces behind every number."""
    methods: list[MethodResult]
    missing: list[MissingMethod]
    published: bool
    """Whether the paper's rows are shown."""
    provenance: Provenance
    examples: list[Example] = []


def write_result(result: BenchmarkResult, path: Path) -> None:
    """Write as JSON, without the pictures, atomically."""
    without = {"examples": {"__all__": {"thumbnail"}}}
    write_json(path, result.model_dump(mode="json", exclude=without))


def read_result(path: Path) -> BenchmarkResult:
    """Read what ``write_result`` wrote.

    Raises:
        AssetFormatError: Missing, or not a benchmark's result.
    """
    return read_record(path, BenchmarkResult)
