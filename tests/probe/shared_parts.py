"""Parts of a data set, shared out by two processes as ``emoca benchmark`` does; who computed what is in the files."""

import sys
from pathlib import Path

from emoca_core.probe.processes import fill_parts, parts_of
from emoca_core.train.world import go_on_alone, processes

if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), processes().process_index
    parts = parts_of(10, folder, 3)
    fill_parts(parts, lambda rows: f"{rank} {list(rows)}", lambda part, text: Path(part.file).write_text(text), "parts")
    assert all(part.file.exists() for part in parts)  # in every process
    if go_on_alone():
        assert processes().num_processes == 1
