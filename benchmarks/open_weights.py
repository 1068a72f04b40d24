"""What the weights that come with the project gain over open_fit, and what they cost: a table of docs/open-weights.md.

    python -m benchmarks.open_weights FACES [--parts fer,web,...] [--ship open_deca=RUN ...]

FACES is that of ``benchmarks/face_measures.py``. Figures go to benchmarks/results/open_weights.json, part by part, the
table to the page. ``--ship`` writes the network of a run of ``emoca train coarse`` into the package first; of a run
that trained a part of it, that part.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.face_measures import (
    METHODS,
    OVER,
    PAGE,
    ROOT,
    Compared,
    Measured,
    again,
    fer,
    neutral,
    paper,
    photos,
    synthetic,
    web,
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
from emoca_core import load_method
from emoca_core.datasets import Manifest
from emoca_core.datasets.rows import iterate_rows
from emoca_core.interfaces import FaceCrop
from emoca_core.measures.tables import markdown_table
from emoca_core.reconstruction.capture import crops_of
from emoca_plugins.encoders.point_regressor import WEIGHTS as NETWORK
from emoca_plugins.encoders.refined_fit import RefinedFit

RESULT = ROOT / "benchmarks" / "results" / "open_weights.json"
BEGIN, END = "<!-- measured faces: benchmarks/open_weights.py -->", "<!-- end of measured faces -->"
SHIPPED = {
    "open_emoca_fit": (RefinedFit.shipped, "encoder.network."),
    "open_deca": (NETWORK, "encoder."),
}
"""Recipe: its file, and what stands before the names of its network in a run."""
TIMED = ("open_fit", "open_fit_codes", "open_emoca_fit", "open_emoca_fit_codes", "open_deca", "open_emoca")
ALONE = 8
"""Faces that are encoded one by one."""
AT_ONCE = {"all faces at once": None, "one face at a time": 1}
GAINING = ("open_emoca_fit", "open_emoca")


def main() -> None:
    """Measure parts, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--ship", nargs="+", default=[], metavar="RECIPE=RUN", help=f"of {', '.join(SHIPPED)}")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for recipe, run in (one.split("=", 1) for one in args.ship):
        file, prefix = SHIPPED[recipe]
        kept = dict(load_file(file)) if file.exists() else {}  # of what the training left as it was
        ship(file, kept | trained_network(Path(run), prefix))
    measure(PARTS, args.parts, Measured.of(args.faces), RESULT)
    put_on_page(PAGE, table(figures_in(RESULT)), BEGIN, END)


def speed(measured: Measured) -> Figures:
    """Faces of the photos per second of CPU time of one core, detection left out; the best of three."""
    manifest = Manifest.open(measured.folder / "photos.csv")
    crop = crops_of(load_method("open_fit", device="cpu"), [manifest.image_path(row) for row in iterate_rows(manifest)])
    result: Figures = {"faces": len(crop)}
    for title, count in AT_ONCE.items():
        groups = [crop] if count is None else [crop.map(lambda t, at=at: t[at : at + 1]) for at in range(ALONE)]
        result[title] = {recipe: rate(measured.encoder(recipe), groups) for recipe in TIMED}
    return result


@torch.no_grad()
def rate(encoder: torch.nn.Module, groups: list[FaceCrop]) -> float:
    """Faces per second of CPU time."""
    times = []
    for _ in range(4):
        start = time.process_time()
        for group in groups:
            encoder(group)
        times.append(time.process_time() - start)
    return sum(map(len, groups)) / min(times[1:])


PARTS: Mapping[str, Callable[[Measured], Figures]] = {
    part.__name__: part for part in (fer, web, photos, synthetic, neutral, paper, again, speed)
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
    rows = [["measure", *(f"`{method}`" for method in METHODS), *(f"`{m}` over `open_fit`" for m in GAINING)]]
    rows += [[title, *measured_cells(figures, digits)] for title, figures, digits in known_rows(ROWS, result)]
    for title, rates in result.get("speed", {}).items():
        if isinstance(rates, Mapping):
            rows.append([f"faces per second of a core, {title}", *speed_cells(rates)])
    return markdown_table(rows, texts=1)


def measured_cells(figures: Compared, digits: int) -> Iterator[str]:
    """Means, then gains; empty for a method that was not measured."""
    yield from (f"{figures[m]['mean'][0]:.{digits}f}" if m in figures else "" for m in METHODS)
    yield from (with_interval(figures[m]["over open_fit"], digits) if m in figures else "" for m in GAINING)


def speed_cells(rates: Mapping[str, float]) -> Iterator[str]:
    """Rates, that of ``open_emoca_fit`` and its codes alone; then how many times those of ``open_fit`` they are."""
    yield from ("", f"{rates['open_fit']:.0f}", f"{rates['open_emoca_fit']:.0f} ({rates['open_emoca_fit_codes']:.0f})")
    yield from (f"{rates[method]:.0f}" for method in ("open_deca", "open_emoca"))
    yield from (f"{rates[method] / rates['open_fit']:.1f} times" for method in ("open_emoca_fit_codes", "open_emoca"))


if __name__ == "__main__":
    main()
