"""Modules that a library imports, and that are read only when it uses them."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from emoca_core.late_imports import imported_when_used


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``late_library`` binds ``late_helper`` and ``late_helper.inner`` in the ways that Python has for it."""
    (tmp_path / "late_helper").mkdir()
    (tmp_path / "late_helper" / "__init__.py").write_text("SIZE = 3\n")
    (tmp_path / "late_helper" / "inner.py").write_text("def twice(x):\n    return 2 * x\n")
    lines = ("import late_helper", "import late_helper.inner as inner", "import late_absent")
    (tmp_path / "late_library.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.startswith("late_")]:
        del sys.modules[name]


@pytest.mark.usefixtures("library")
def test_nothing_is_read_before_it_is_used() -> None:
    names = ("late_helper", "late_helper.inner", "late_absent")
    with imported_when_used(*names):
        late_library = import_module("late_library")
    assert not sys.modules.keys() & set(names), "nobody else meets a stand-in"
    assert late_library.inner.twice(2) == 4
    assert late_library.late_helper.SIZE == 3
    assert late_library.inner.twice is sys.modules["late_helper.inner"].twice
    with pytest.raises(ModuleNotFoundError, match="late_absent"):
        late_library.late_absent.anything  # noqa: B018
    with pytest.raises(AttributeError, match="none"):
        late_library.inner.none  # noqa: B018


@pytest.mark.usefixtures("library")
def test_it_may_be_used_inside_of_the_block_and_be_there_before() -> None:
    with imported_when_used("late_helper", "late_helper.inner"):
        twice = import_module("late_helper.inner").twice
        assert twice(import_module("late_helper").SIZE) == 6
    before = sys.modules["late_helper"]
    with imported_when_used("late_helper"):
        assert import_module("late_helper") is before
    assert sys.modules["late_helper"] is before


def test_finding_a_face_needs_no_drawing() -> None:
    """In a process of its own; what MediaPipe draws with works all the same."""
    code = """
import sys
import numpy as np
from emoca_plugins.landmarkers.mediapipe import MediaPipeLandmarker
assert MediaPipeLandmarker().detect(np.zeros((64, 64, 3), np.uint8)) == []
assert not {"matplotlib", "sounddevice"} & sys.modules.keys()
from mediapipe.tasks.python.vision import drawing_utils
picture = np.zeros((8, 8, 3), np.uint8)
drawing_utils.cv2.circle(picture, (4, 4), 2, (255, 0, 0))
assert picture.any()
assert drawing_utils.plt.figure is sys.modules["matplotlib.pyplot"].figure
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
