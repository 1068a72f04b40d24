"""Runs a program as one of several processes, and ends it unless its siblings are really there.

``python worker.py PROCESSES RECORD PROGRAM ARGUMENTS...``: PROGRAM is a script or a module. Every process leaves in the
folder RECORD, under its number, how many of them it sees.
"""

import os
import runpy
import sys
from pathlib import Path

import torch.distributed
from accelerate import PartialState

WRONG_WORLD = 97
"""Exit code of a process that does not see as many as there should be."""


def check_the_world(expected: int, record: Path) -> None:
    """Look when Accelerate finds out how many processes there are; later ones may be alone on purpose."""
    look = PartialState.__init__

    def look_once(self: PartialState, *args: object, **options: object) -> None:
        look(self, *args, **options)
        PartialState.__init__ = look
        grouped = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        (record / str(self.process_index)).write_text(f"{self.num_processes} {grouped}")
        if not self.num_processes == grouped == expected:
            os._exit(WRONG_WORLD)

    PartialState.__init__ = look_once


if __name__ == "__main__":
    processes, record, program, *arguments = sys.argv[1:]
    check_the_world(int(processes), Path(record))
    sys.argv = [program, *arguments]
    if program.endswith(".py"):
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
