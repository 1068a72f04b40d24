"""The command line with the toy method, as a program of its own: to be stopped, and to run beside others.

``TOY_PAUSE`` is what a face takes, seconds; every photo that is worked on is noted in the file ``TOY_WORK``.
``TOY_RECIPE`` is the name of the method. ``TOY_LOOK`` is what a frame of a clip takes, and every one that is looked at
is noted in the file look.txt beside ``TOY_WORK``.
"""

import importlib.util
import os
import sys
import time
from pathlib import Path

import emoca_core.api
import emoca_core.export.overlay
import emoca_core.reconstruction.following
import emoca_core.reconstruction.observations
import emoca_core.reconstruction.quality
from emoca_core.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from toy_clips import ByNote, Reader

spec = importlib.util.spec_from_file_location("toy_method", Path(__file__).with_name("conftest.py"))
toys = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toys)


def note(crop):
    time.sleep(float(os.environ.get("TOY_PAUSE", 0)))
    with open(os.environ["TOY_WORK"], "a") as work:
        work.write("".join(f"{key}\n" for key in crop.keys))


class SlowReader(Reader):
    def detect(self, photo):
        time.sleep(float(os.environ["TOY_LOOK"]))
        with open(Path(os.environ["TOY_WORK"]).with_name("look.txt"), "a") as looked:
            looked.write("frame\n")
        return super().detect(photo)


def load(name, **options):
    method = toys.build(toys.Guess(trouble=note))
    if "TOY_LOOK" in os.environ:
        method.landmarker, method.tracker = SlowReader(), ByNote()
    method.name = os.environ.get("TOY_RECIPE", method.name)
    return method


emoca_core.api.load_method = load
emoca_core.export.overlay.PANEL = 60
emoca_core.reconstruction.observations.PART = 8
emoca_core.reconstruction.following._WARM_UP = 2
emoca_core.reconstruction.quality.LIMITS = ()  # as for all toys
sys.exit(main(sys.argv[1:]))
