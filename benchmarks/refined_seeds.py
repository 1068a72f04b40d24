"""How much of what the refinements gain is chance of their training: tables of docs/open-weights.md.

    python -m benchmarks.refined_seeds FACES open_emoca_fit|open_emoca|open_emoca_fit_free RUN RUN RUN

RUNs differ in their seed alone; one can be a folder that holds the shipped weights as ``best.safetensors``. FACES is
that of ``benchmarks/face_measures.py``. Figures go to benchmarks/results/refined_seeds.json.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.face_measures import PAGE, ROOT
from benchmarks.measured_parts import figures_in, put_on_page
from benchmarks.refinement_runs import Refinements
from emoca_core.files import write_json
from emoca_core.measures.tables import markdown_table
from emoca_core.sweep.statistics import mean_of

RESULT = ROOT / "benchmarks" / "results" / "refined_seeds.json"
TABLES = {
    "seeds": ("open_emoca_fit", "open_emoca"),
    "free seeds": ("open_emoca_fit_free",),
}
"""Recipes by the name of their table."""
BEGIN, END = "<!-- measured {}: benchmarks/refined_seeds.py -->", "<!-- end of measured {} -->"


def main() -> None:
    """Measure all runs, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("recipe", choices=[name for recipes in TABLES.values() for name in recipes])
    parser.add_argument("runs", type=Path, nargs="+")
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = Refinements.of(args.faces, args.recipe)
    fitted, found = runs.figures_of_open_fit(), [runs.figures_of(run) for run in args.runs]
    gains = {name: [one[name] - value for one in found] for name, value in fitted.items()}
    result = figures_in(RESULT) | {args.recipe: gains}
    write_json(RESULT, result)
    for name, recipes in TABLES.items():
        if known := {recipe: result[recipe] for recipe in recipes if recipe in result}:
            put_on_page(PAGE, table(known), BEGIN.format(name), END.format(name))


def table(result: Mapping[str, Mapping[str, list[float]]]) -> str:
    """One row for each measure: the mean of the seeds with its 95 % t interval, then each."""
    rows = [["measure", *(title for recipe in result for title in (f"`{recipe}`", "each seed"))]]
    for name in dict.fromkeys(name for gains in result.values() for name in gains):
        digits = 4 if "landmark" in name else 3
        cells = (cell for gains in result.values() for cell in _cells(gains.get(name, []), digits))
        rows.append([name, *cells])
    return markdown_table(rows, texts=1)


def _cells(gains: list[float], digits: int) -> tuple[str, str]:
    if not gains:
        return "", ""
    mean = mean_of(gains)
    each = ", ".join(f"{one:+.{digits}f}" for one in gains)
    return f"{mean.value:+.{digits}f} [{mean.low:+.{digits}f}, {mean.high:+.{digits}f}]", each


if __name__ == "__main__":
    main()
