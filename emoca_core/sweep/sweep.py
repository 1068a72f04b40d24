"""A sweep from its file to table and picture. Running and reading are apart: reading again costs seconds."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from emoca_core.files import write_json, write_text
from emoca_core.sweep import table
from emoca_core.sweep.plan import Plan, Run, runs_of
from emoca_core.sweep.result import SweepResult, read_results
from emoca_core.sweep.running import run_all

if TYPE_CHECKING:
    from emoca_core.interfaces import FaceDataset

FACES = 8
"""Faces of the validation set in the picture."""


def run_sweep(
    plan: Plan,
    out: Path,
    *,
    jobs: int = 1,
    table_only: bool = False,
    say: Callable[[str], None] = print,
    command: Sequence[str] | None = None,
) -> SweepResult:
    """Train what is not trained yet, gather the metrics and write ``result.json``, ``table.md`` and ``table.csv``.

    Args:
        plan: What to train.
        out: Folder of the sweep; a run is in ``VARIANT/seed-N``.
        jobs: Trainings at a time.
        table_only: Train nothing.
        say: Told how it goes, line by line.
        command: What starts a training; by default ``emoca train``.

    Raises:
        EmocaError: No run is finished.
        OSError: The folder cannot be written.
    """
    runs = runs_of(plan, out)
    if not table_only:
        run_all(runs, jobs=jobs, say=say, command=command)
    result = read_results(plan, runs)
    write_json(out / "result.json", TypeAdapter(SweepResult).dump_python(result, mode="json", by_alias=True))
    write_text(out / "table.md", table.markdown(result))
    write_text(out / "table.csv", table.comma_separated(result))
    return result


def draw_faces(
    plan: Plan, result: SweepResult, out: Path, *, faces: int = FACES, photos: Sequence[str] = (), device: str = "auto"
) -> Path:
    """Draw ``faces.png`` with the first finished run of every variant.

    Args:
        plan: Of the sweep.
        result: Says which runs are finished.
        out: Folder of the sweep.
        faces: How many faces of the validation set.
        photos: Photos to show instead.
        device: Where the methods run.
    """
    from emoca_core.api import load_method
    from emoca_core.registry import get_registry
    from emoca_core.sweep.faces import photo_faces, validation_faces, write_faces

    finished = {(v.name, v.runs[0].seed) for v in result.variants if v.runs}
    runs = sorted(
        (run for run in runs_of(plan, out) if (run.variant, run.seed) in finished),
        key=lambda run: list(plan.variants).index(run.variant),
    )
    rows = {run.variant: partial(load_method, str(run.folder), device=device) for run in runs}
    if photos:
        crop = photo_faces(photos, get_registry().build("landmarker", "mediapipe"))
    else:
        crop = validation_faces(_validation_set(plan, runs[0]), faces)
    write_faces(crop, rows, out / "faces.png")
    return out / "faces.png"


def _validation_set(plan: Plan, run: Run) -> "FaceDataset":
    """What the first variant was validated on."""
    from emoca_core.registry import get_registry
    from emoca_core.registry.spec import validated
    from emoca_core.runs.run_folder import RunFolder
    from emoca_core.train.run_stage import open_faces
    from emoca_core.train.stage_settings import StageSettings

    recorded = RunFolder(run.folder).record().settings.train
    settings = validated(StageSettings, recorded, str(run.folder))
    data = plan.variants[run.variant].data or plan.data or ""
    return open_faces(data, settings, get_registry())[1]
