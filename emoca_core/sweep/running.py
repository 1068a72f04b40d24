"""The trainings of a sweep, each a process of its own: what one of them breaks, the others do not feel."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel

from emoca_core.files import path_below, write_json
from emoca_core.parsing import read_record
from emoca_core.runs.cards import RUN_CARD
from emoca_core.sweep.plan import Run

TRAIN = (sys.executable, "-m", "emoca_core", "train")
"""The command that the arguments of a run follow."""


class Outcome(BaseModel, frozen=True):
    """How a training ended.

    Attributes:
        arguments: What was trained; other arguments are another training.
        finished: Whether it came to its end.
        reason: Why not.
        seconds: It took, without earlier attempts.
    """

    arguments: tuple[str, ...]
    finished: bool
    reason: str = ""
    seconds: float = 0.0


def run_all(
    runs: Sequence[Run],
    *,
    jobs: int = 1,
    say: Callable[[str], None] = print,
    command: Sequence[str] | None = None,
) -> dict[Run, Outcome]:
    """Do what is not done yet; failures are kept and the others go on.

    Args:
        runs: All trainings of the sweep.
        jobs: How many at a time; they share the cores.
        say: Told one line whenever a training ends.
        command: What starts a training; by default ``emoca train``.
    """
    before = {run: read_outcome(run) for run in runs}
    waiting = [run for run in runs if not is_done(run, before[run])]
    if finished := len(runs) - len(waiting):
        say(f"{finished} of {len(runs)} runs finished before")
    begun = time.monotonic()
    ended = 0
    children: list[subprocess.Popen[bytes]] = []

    def work(run: Run) -> Outcome:
        nonlocal ended
        outcome = run_one(run, command or TRAIN, jobs, children)
        ended += 1
        left = (time.monotonic() - begun) / ended * (len(waiting) - ended)
        verdict = f"{outcome.seconds:.0f} s" if outcome.finished else f"FAILED: {outcome.reason}"
        rest = f"; about {left / 60:.0f} min left" if ended < len(waiting) else ""
        say(f"[{finished + ended}/{len(runs)}] {run.label}: {verdict}{rest}")
        return outcome

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            now = dict(zip(waiting, pool.map(work, waiting), strict=True))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in children:
                child.terminate()  # Ctrl-C in a terminal reaches them too, SIGTERM does not
            raise
    return {run: outcome for run, outcome in before.items() if outcome is not None} | now


def run_one(
    run: Run, command: Sequence[str] = TRAIN, jobs: int = 1, children: list[subprocess.Popen[bytes]] | None = None
) -> Outcome:
    """Start a training, or go on with one that was killed, and wait for its end.

    Args:
        run: The training.
        command: What starts it.
        jobs: How many there are at a time.
        children: Gets the process, so that others can end it.
    """
    previous = read_outcome(run)
    if previous is not None and previous.arguments != run.arguments:
        reason = f"{run.folder} was trained with other settings: remove it, or choose another --out"
        return Outcome(arguments=run.arguments, finished=False, reason=reason)
    for file in (run.log, run.record):
        path_below(run.folder.parent, file.name)
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    resume = ["--resume"] if run.folder.exists() else []  # from the start, where it was killed before a checkpoint
    write_outcome(run, Outcome(arguments=run.arguments, finished=False, reason="was stopped"))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    environment = {"OMP_NUM_THREADS": str(threads)} if jobs > 1 else {}
    begun = time.monotonic()
    with open(run.log, "a" if resume else "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*command, *run.arguments, *resume], stdout=log, stderr=subprocess.STDOUT, env={**environment, **os.environ}
        )
        if children is not None:
            children.append(process)
        code = process.wait()
    reason = "" if code == 0 else last_words(run.log, code)
    outcome = Outcome(
        arguments=run.arguments, finished=code == 0, reason=reason, seconds=round(time.monotonic() - begun, 1)
    )
    write_outcome(run, outcome)
    return outcome


def is_done(run: Run, outcome: Outcome | None) -> bool:
    """Whether a training has come to its end, with these settings."""
    return (
        outcome is not None
        and outcome.finished
        and outcome.arguments == run.arguments
        and (run.folder / RUN_CARD).is_file()
    )


def read_outcome(run: Run) -> Outcome | None:
    """How a training ended; ``None`` if it never began."""
    return read_record(run.record, Outcome) if run.record.exists() else None


def write_outcome(run: Run, outcome: Outcome) -> None:
    """Keep how a training ended."""
    write_json(run.record, outcome.model_dump())


def last_words(log: Path, code: int) -> str:
    """Why a training failed: its own error message, else the last line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if code < 0:
        return f"killed by signal {-code}; see {log}"
    said = [number for number, line in enumerate(lines) if line.startswith("emoca: ")]
    if said:  # its continuation lines name the reasons
        return " ".join(lines[said[-1] :]).removeprefix("emoca: ")
    return lines[-1] if lines else f"exit code {code}"
