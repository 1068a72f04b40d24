"""The command line with the toy method, as a program of its own: to be stopped, and to run beside others.

``TOY_PAUSE`` is what a face takes, seconds; every photo that is worked on is noted in the file ``TOY_WORK``.
``TOY_RECIPE`` is the name of the method.
"""

import importlib.util
import os
import sys
import time
from pathlib import Path

import emoca_core.api
import emoca_core.export.overlay
import emoca_core.reconstruction.quality
from emoca_core.cli import main

spec = importlib.util.spec_from_file_location("toy_method", Path(__file__).with_name("conftest.py"))
toys = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toys)


def note(crop):
    time.sleep(float(os.environ.get("TOY_PAUSE", 0)))
    with open(os.environ["TOY_WORK"], "a") as work:
        work.write("".join(f"{key}\n" for key in crop.keys))


def load(name, **options):
    method = toys.build(toys.Guess(trouble=note))
    method.name = os.environ.get("TOY_RECIPE", method.name)
    return method


emoca_core.api.load_method = load
emoca_core.export.overlay.PANEL = 60
emoca_core.reconstruction.quality.LIMITS = ()  # as for all toys
sys.exit(main(sys.argv[1:]))
