"""What benchmarks of weights share: figures part by part in a file, their table on a page, networks for the package."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from benchmarks.results_table import replaced
from emoca_core.files import sha256_of, write_json, write_text
from emoca_core.weights.checkpoints import read_checkpoint
from emoca_core.weights.write_tensors import write_tensors

Subject = TypeVar("Subject")
Figures = dict[str, object]
Row = tuple[str, str, str, int]
"""Title, part, name of the figures in it, decimals."""


def figures_in(file: Path) -> dict[str, Figures]:
    """What was measured before; nothing without the file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def measure(parts: Mapping[str, Callable[[Subject], Figures]], names: str, subject: Subject, file: Path) -> None:
    """Measure the named parts; each goes to the file when it is done."""
    for name in filter(None, names.split(",")):
        found = parts[name](subject)
        write_json(file, figures_in(file) | {name: found})  # another run may have written parts since


def put_on_page(page: Path, content: str, begin: str, end: str) -> None:
    """Write a table between its markers.

    Raises:
        ValueError: The page has no markers.
    """
    write_text(page, replaced(page.read_text(encoding="utf-8"), f"\n{content}\n", begin, end))


def known_rows(rows: Sequence[Row], result: Mapping[str, Mapping[str, object]]) -> list[tuple[str, dict, int]]:
    """Title, figures by method and decimals of each row that is measured."""
    found = [(title, result.get(part, {}).get(name), digits) for title, part, name, digits in rows]
    return [(title, figures, digits) for title, figures, digits in found if isinstance(figures, Mapping)]


def with_interval(values: Sequence[float], digits: int) -> str:
    """A difference and its interval, e.g. ``+0.064 [0.050, 0.078]``."""
    middle, low, high = values
    return f"{middle:+.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def ship(file: Path, state: Mapping[str, Tensor]) -> None:
    """Write tensors in half precision, and say what their card needs."""
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in half.values()):
        raise SystemExit("a weight is too large for half precision")
    write_tensors(file, half)
    print(f"{file}: {file.stat().st_size:,} bytes, sha256 {sha256_of(file)}")


def trained_network(run: Path, prefix: str) -> dict[str, Tensor]:
    """The network of a run of ``emoca train coarse``, without the prefix of its names."""
    return {name.removeprefix(prefix): value for name, value in read_checkpoint(run / "best.safetensors").items()}
