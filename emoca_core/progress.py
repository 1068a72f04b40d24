"""Progress of long work: a bar on a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

INTERVAL = 30.0
"""Seconds between two lines of a log; work that is done sooner adds none."""

_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed} passed, {remaining} left, {rate_fmt}{postfix}"


def progress_bar(
    iterable: Iterable[Any] | None = None,
    *,
    label: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    hidden: bool = False,
) -> "tqdm[Any]":
    """A bar on stderr, or plain lines where stderr is no terminal.

    Args:
        iterable: What is gone through; without it, call ``update`` and ``close``, or use the bar as a context manager.
        label: What is done.
        unit: Of what there is ``total``, in the singular.
        total: By default the length of ``iterable``.
        initial: How many were done before.
        hidden: Show nothing, as in all processes but one.

    Example:
        >>> sum(progress_bar([1, 2, 3], label="adding", unit="number"))
        6
    """
    from tqdm import tqdm

    in_log: dict[str, Any] = {}
    if not sys.stderr.isatty():
        every = {"delay": INTERVAL, "mininterval": INTERVAL, "maxinterval": INTERVAL, "miniters": 1}
        in_log = {"file": _Lines(), "bar_format": _LINE, **every}
    return tqdm(iterable, desc=label, unit=unit, total=total, initial=initial, disable=hidden, **in_log)


class _Lines:
    """Takes the texts with which tqdm overwrites its line, and writes each new one as a line of its own."""

    def __init__(self) -> None:
        self._last = ""

    def write(self, text: str) -> None:
        """Write a text unless it only clears the line, or stands there already."""
        if (line := " ".join(text.split())) and line != self._last:
            sys.stderr.write(f"{line}\n")
            self._last = line

    def flush(self) -> None:
        """At once, so that whoever follows the log sees it."""
        sys.stderr.flush()
