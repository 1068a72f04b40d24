"""How well features and face codes put alike expressions together: the tables of docs/retrieval.md.

    python -m benchmarks.retrieval FER WEB WORK          # index, measure, write results and tables
    python -m benchmarks.retrieval --tables              # the tables from the results

FER is FER2013 with ``manifest.csv`` (path, split, expression), of which the validation part is taken; WEB are web faces
with ``manifest.csv`` (path, expression, identity), of which at most 400 of each class are; WORK gets indexes, and faces
that ``synthetic_faces`` draws. Real faces are for research only and stay where they are. Every source is measured on
the faces for which all have a feature.
"""

import argparse
import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel

from emoca_core import get_registry
from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.render import render_dataset
from emoca_core.datasets.rows import relocated
from emoca_core.files import write_json, write_text
from emoca_core.interfaces import BASIC_EXPRESSIONS
from emoca_core.measures.tables import markdown_table
from emoca_core.parsing import read_record
from emoca_core.registry.catalogue import ENVIRONMENT_VARIABLE
from emoca_core.retrieval import Index, build_index, measure, open_index
from emoca_core.retrieval.figures import Figure, RetrievalFigures
from emoca_core.runs.run_folder import Provenance, provenance
from tools.probe_faces import groups_of_copies, thumbnail

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "retrieval"
PAGE = ROOT / "docs" / "retrieval.md"
BEGIN, END = "<!-- {}: benchmarks/retrieval.py -->", "<!-- end of {} -->"
SOURCES = {
    "open_emotion": "emotion:open_emotion",
    "face_api_expression": "emotion:face_api_expression",
    "fer_mini_xception": "emotion:fer_mini_xception",
    "open_fit": "codes:open_fit_code",
    "mediapipe52": "codes:mediapipe52",
    "random network": "emotion:small",
}
"""Name in the tables, and what is indexed."""
CATALOGUE = """\
version: 1
recipes:
  open_fit_code:
    extends: open_fit
    summary: The same expression, jaw and gaze as open_fit; light and albedo, which come after them, are not fitted.
    encoder: {params: {appearance: false}}
"""
DATA = {"fer": "FER2013 validation", "web": "web faces", "synthetic": "synthetic faces"}
METRICS = ("l2", "cosine", "seuclidean")
OF_A_CLASS = 400
SYNTHETIC = 700


class Result(BaseModel):
    """One data set."""

    data: str
    images: int
    faces: int
    """For which all sources have a feature."""
    measured: dict[str, dict[str, RetrievalFigures]]
    """By source and metric."""
    provenance: Provenance


@dataclass(frozen=True)
class Faces:
    """A data set."""

    name: str
    manifest: Path


def main() -> None:
    """Measure, or make the tables alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="FER, WEB, WORK")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--only", nargs="+", choices=SOURCES, default=[*SOURCES], help="sources that are here")
    parser.add_argument("--data", nargs="+", choices=DATA, default=[*DATA], help="data sets to measure")
    args = parser.parse_args()
    if not args.tables:
        fer, web, work = (folder.resolve() for folder in args.folders)
        work.mkdir(parents=True, exist_ok=True)
        write_text(work / "catalogue.yaml", CATALOGUE)
        os.environ[ENVIRONMENT_VARIABLE] = str(work / "catalogue.yaml")
        made = {
            "fer": lambda: validation_faces(fer, work),
            "web": lambda: web_faces(web, work),
            "synthetic": lambda: synthetic(work),
        }
        for name in args.data:
            result = measured(made[name](), args.only, work)
            write_json(RESULTS / f"{name}.json", result.model_dump(mode="json"))
    write_text(PAGE, with_tables(PAGE.read_text(encoding="utf-8")))


def validation_faces(folder: Path, work: Path) -> Faces:
    """FER2013 names nobody: pictures that look alike count as one person, so that no face finds its own copy."""
    entries = [entry for entry in _entries(folder) if entry["split"] == "validation"]
    groups = groups_of_copies(np.stack([thumbnail(folder / entry["path"]) for entry in entries]))
    rows = (
        ManifestRow(entry["path"], expression=entry["expression"], identity=f"fer-{group}")
        for entry, group in zip(entries, groups, strict=True)
    )
    return _written("fer", rows, folder, work)


def web_faces(folder: Path, work: Path) -> Faces:
    """At most ``OF_A_CLASS`` of each class that has twenty faces."""
    entries = list(_entries(folder))
    rng, chosen = np.random.default_rng(0), list[int]()
    for name in sorted({entry["expression"] for entry in entries}):
        own = [row for row, entry in enumerate(entries) if entry["expression"] == name]
        if name and len(own) >= 20:
            chosen += rng.permutation(own)[:OF_A_CLASS].tolist()
    rows = (
        ManifestRow(entry["path"], expression=entry["expression"], identity=entry["identity"])
        for entry in (entries[row] for row in sorted(chosen))
    )
    return _written("web", rows, folder, work)


def synthetic(work: Path) -> Faces:
    """Faces with valence and arousal, two of each person."""
    out = work / "synthetic"
    if not (out / "manifest.parquet").exists():
        changes = {"length": SYNTHETIC, "seed": 4242, "faces_per_identity": 2}
        render_dataset(get_registry().build("dataset", "synthetic_faces", changes), out, BASIC_EXPRESSIONS)
    return Faces("synthetic", out / "manifest.parquet")


def measured(faces: Faces, names: Sequence[str], work: Path) -> Result:
    """Every source by every metric, on the faces that all have."""
    indexes = {name: _index(faces, SOURCES[name], work) for name in names}
    common = set.intersection(*({*index.faces.texts("path")} for index in indexes.values()))
    shared = {name: _only(index, common) for name, index in indexes.items()}
    figures = {name: {metric: measure(index, metric) for metric in METRICS} for name, index in shared.items()}
    images = max(index.card.counts.images for index in indexes.values())
    return Result(data=DATA[faces.name], images=images, faces=len(common), measured=figures, provenance=provenance())


def data_table(result: Result) -> str:
    """One data set: a row for each source."""
    some = next(iter(result.measured.values()))
    figures = _columns(some)
    rows = [["source", "numbers", *figures]]
    for name in SOURCES:
        if name in result.measured:
            found = result.measured[name]
            cells = [f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]" for figure in _columns(found).values()]
            rows.append([name, str(found["l2"].dimensions), *cells])
    return markdown_table([*rows, ["chance, exact", "", *(f"{one.chance:.3f}" for one in figures.values())]], texts=1)


def with_tables(page: str) -> str:
    """The page with its tables."""
    for name, result in read_results().items():
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"no lines {begin!r} and {end!r}")
        page = f"{before}{begin}\n{data_table(result)}\n{end}{after}"
    return page


def read_results() -> dict[str, Result]:
    """The committed results, by data set."""
    return {name: read_record(file, Result) for name in DATA if (file := RESULTS / f"{name}.json").exists()}


def _columns(found: Mapping[str, RetrievalFigures]) -> dict[str, Figure]:
    """What the tables show of one source, by title."""
    l2 = found["l2"]
    return {
        "@1": l2.precision[1],
        "@10": l2.precision[10],
        "@10, mean of classes": l2.balanced[10],
        **{f"@10, {metric}": found[metric].precision[10] for metric in METRICS[1:]},
        **{f"{level} apart": differences[10] for level, differences in l2.differences.items()},
    }


def _index(faces: Faces, by: str, work: Path) -> Index:
    out = work / f"{faces.name}-{by.replace(':', '-')}.index"
    if out.exists():
        return open_index(out)
    torch.manual_seed(0)  # the random network
    index = build_index(faces.manifest, by, out).index
    assert index is not None  # one process
    return index


def _only(index: Index, paths: set[str | None]) -> Index:
    rows = np.flatnonzero([path in paths for path in index.faces.texts("path")])
    faces = Manifest(index.faces.table.take(rows), index.faces.folder)
    return replace(index, features=index.features[rows], faces=faces)


def _entries(folder: Path) -> Iterator[dict[str, str]]:
    with open(folder / "manifest.csv", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _written(name: str, rows: Iterator[ManifestRow], folder: Path, work: Path) -> Faces:
    file = work / f"{name}.csv"
    write_manifest(relocated(rows, folder, work), file)
    return Faces(name, file)


if __name__ == "__main__":
    main()
