"""What one photo must not load with ``open_fit``: seconds of a cold start, as ``benchmarks/cold_start.py`` measures."""

import subprocess
import sys
from pathlib import Path

import pytest

NEEDLESS = ("torch._dynamo", "sympy", "timm", "torchvision", "accelerate", "tensorboard", "pyarrow", "trimesh")
PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "astronaut.jpg"


@pytest.mark.slow
def test_one_photo_loads_nothing_needless(tmp_path):
    code = (
        "import sys\n"
        "from emoca_core.cli import main\n"
        f"code = main(['reconstruct', {str(PHOTO)!r}, '--recipe', 'open_fit', '--out', {str(tmp_path)!r}])\n"
        f"print('loaded', code, [name for name in {NEEDLESS!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded 0 []"
    assert (tmp_path / "astronaut" / "face_0" / "face.json").is_file()
