"""Programs in several processes, which are counted from inside."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

WORKER = Path(__file__).with_name("worker.py")
TORCHRUN = ("torch.distributed.run", "--nproc_per_node", "{processes}", "--rdzv_backend", "c10d")
TORCHRUN = (*TORCHRUN, "--rdzv_endpoint", "localhost:0")
"""A free port, so that tests do not meet."""


def run_workers(
    program: str,
    *arguments: str,
    processes: int = 2,
    launcher: Sequence[str] = TORCHRUN,
    timeout: float = 300,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a script or a module in several processes, and fail unless every one of them saw all of them.

    Args:
        program: Path of a script, or name of a module.
        arguments: Its arguments.
        processes: How many.
        launcher: Module and options that start them; ``{processes}`` stands for their number.
        timeout: Seconds.
        environment: Variables on top of those of this process.
    """
    start = [word.format(processes=processes) for word in launcher]
    with tempfile.TemporaryDirectory() as record:
        command = [sys.executable, "-m", *start, "--", str(WORKER), str(processes), record, program, *arguments]
        variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=variables, check=False)
        seen = {int(file.name): file.read_text() for file in Path(record).iterdir()}
    expected = dict.fromkeys(range(processes), f"{processes} {processes}")
    assert seen == expected, f"{' '.join(command)}\nis not {processes} processes: {seen}\n{done.stderr[:3000]}"
    return done
