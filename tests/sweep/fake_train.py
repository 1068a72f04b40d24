"""Stands for ``emoca train``: writes a run folder at once, with metrics that depend on seed and learning rate.

``model=broken`` fails with a message, ``model=killed`` kills itself once, after a checkpoint.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from emoca_core.cli.cli_settings import settings_from

parser = argparse.ArgumentParser()
parser.add_argument("stage")
parser.add_argument("--out", type=Path)
parser.add_argument("--resume", action="store_true")
for option in ("--recipe", "--data", "--start", "--emotion", "--backbone", "--preset", "--classes"):
    parser.add_argument(option)
for option in ("--set", "--recipe-set", "--backbone-set", "--data-set"):
    parser.add_argument(option, action="append", default=[])
args = parser.parse_args()
settings, recipe = settings_from(args.set), settings_from(args.recipe_set)

args.out.mkdir(parents=True, exist_ok=args.resume)
with open(args.out / "attempts.txt", "a") as attempts:
    attempts.write("resumed\n" if args.resume else "begun\n")
print("training")
if recipe.get("model") == "broken":
    print("emoca: it cannot be trained:\n  the model is broken", file=sys.stderr)
    sys.exit(2)
if recipe.get("model") == "killed" and not args.resume:
    (args.out / "checkpoints").mkdir()
    (args.out / "checkpoints" / "last.json").write_text("{}")
    os.kill(os.getpid(), signal.SIGKILL)
error = settings["learning_rate"] * 10 + settings["seed"] ** 2
metrics = {"loss": 1.0, "landmark_error": error, "expression_error": 2 * error}
hardware = {"cores": 2, "machine": "x86_64", "gpus": []}
(args.out / "run.json").write_text(json.dumps({"settings": {}, "commit": "abc", "hardware": hardware}))
(args.out / "best.json").write_text(json.dumps({"step": 7, "metrics": metrics}))
last = {f"validation/{name}": value + 100 for name, value in metrics.items()}
(args.out / "metrics.jsonl").write_text(f"{json.dumps({'step': 9, **last})}\n{json.dumps({'step': 10})}\n")
