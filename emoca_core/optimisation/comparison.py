"""One optimisation for each judge, side by side: the layout of the paper's figure 3."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from emoca_core.errors import EmocaError
from emoca_core.files import path_below, plain_name, writing_to
from emoca_core.interfaces import CapturedFace
from emoca_core.method import Method
from emoca_core.optimisation.page import write_comparison
from emoca_core.optimisation.pictures import draw_sheet
from emoca_core.optimisation.record import ResultRecord
from emoca_core.optimisation.to_folder import PAGE, SHEET, Plan, optimise_to_folder, refuse_others, rows_of


def compare_backbones(
    method: Method,
    source: CapturedFace,
    target: CapturedFace,
    plan: Plan,
    judges: Sequence[str],
    out: Path,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, ResultRecord]:
    """Optimise for every judge into a folder of its name; finished ones are taken as they are.

    Args:
        method: What captured both faces.
        source: Whose face it is.
        target: Whose expression it is.
        plan: What all have in common; its judge is not looked at.
        judges: Names of emotion backbones.
        out: The folder.
        overwrite: Do finished ones again.
        say: Told what is not done again.

    Returns:
        What they came to, by folder.

    Raises:
        EmocaError: What ``optimise`` raises, or two judges whose folders would have one name.
        OutputError: The folder cannot be written, or holds somebody else's files of these names.
    """
    folders = {plain_name(Path(judge).name): judge for judge in judges}
    if len(folders) < len(judges):
        raise EmocaError(f"two of the backbones {', '.join(judges)} have one name: their folders would be the same")
    refuse_others(out, (PAGE, SHEET))
    records = {
        name: optimise_to_folder(
            method, source, target, replace(plan, judge=judge), path_below(out, name), overwrite=overwrite, say=say
        )
        for name, judge in folders.items()
    }
    rows = [row for name, record in records.items() for row in rows_of(out / name, record, [name])]
    with writing_to(out):
        draw_sheet(method, source, target, rows, out / SHEET)
        write_comparison(out / PAGE, records)
    return records
