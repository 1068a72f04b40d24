"""What each part of the objective does to the refinement of open_emoca_fit: a table of docs/open-weights.md.

    emoca sweep benchmarks/sweeps/refinement_ablation.yaml --out SWEEP
    python -m benchmarks.refinement_ablation FACES SWEEP

The sweep runs in a folder with ``refine.codes``, what ``emoca encode`` wrote of the faces that the card of
``refined_fit`` names, and ``some.codes``, a part of it with 512 of its faces to validate. FACES is that of
``benchmarks/face_measures.py``. Figures go to benchmarks/results/refinement_ablation.json, run by run; those that are
there are not measured again.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.face_measures import PAGE, ROOT
from benchmarks.measured_parts import figures_in, put_on_page
from benchmarks.refinement_runs import Refinements
from benchmarks.results_table import sweep_cells
from emoca_core.files import write_json
from emoca_core.measures.tables import markdown_table
from emoca_core.sweep.plan import read_plan, run_folder
from emoca_core.sweep.statistics import mean_of, paired_difference

PLAN = ROOT / "benchmarks" / "sweeps" / "refinement_ablation.yaml"
RESULT = ROOT / "benchmarks" / "results" / "refinement_ablation.json"
BEGIN, END = "<!-- measured ablations: benchmarks/refinement_ablation.py -->", "<!-- end of measured ablations -->"


def main() -> None:
    """Measure all runs, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("sweep", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    plan, runs = read_plan(PLAN), Refinements.of(args.faces, "open_emoca_fit")
    for seed in plan.seeds:
        for name in plan.variants:
            known = figures_in(RESULT)
            if str(seed) not in known.get(name, {}):
                figures = runs.figures_of(run_folder(name, seed, args.sweep))
                write_json(RESULT, known | {name: known.get(name, {}) | {str(seed): figures}})
    put_on_page(PAGE, table(figures_in(RESULT)), BEGIN, END)


def table(result: Mapping[str, Any]) -> str:
    """One row for each variant: the mean over the seeds, then the difference to the first one with its interval."""
    metrics = [name for name in next(iter(next(iter(result.values())).values())) if "smile" not in name]
    return markdown_table([["variant", *metrics], *rows(result, metrics)])


def rows(result: Mapping[str, Any], metrics: Sequence[str]) -> Iterator[list[str]]:
    """The cells of each variant."""
    values = {
        name: {metric: {int(seed): one[metric] for seed, one in runs.items()} for metric in metrics}
        for name, runs in result.items()
    }
    first = next(iter(values))
    for name, own in values.items():
        means = {metric: mean_of(list(own[metric].values())) for metric in metrics}
        gains = {metric: paired_difference(own[metric], values[first][metric]) for metric in metrics}
        yield [name, *sweep_cells(metrics, means, {} if name == first else gains)]


if __name__ == "__main__":
    main()
