"""All ways into the program: a command, the files that it reads, and which of them a stranger may have written."""

import json
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from square_study import answer_all, make_squares
from tiny_flame import tiny_arrays, write_all

from emoca_core import get_registry
from emoca_core.datasets import Manifest
from emoca_core.files import sha256_of

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import toy_stage


@dataclass(frozen=True)
class Entrance:
    """One way in.

    Attributes:
        name: For people.
        make: Writes what the command needs into a folder.
        command: The command line that reads it, in that folder. What it writes goes to ``out``.
        files: Patterns of the files that are damaged; all of them are read by the command.
    """

    name: str
    make: Callable[[Path], None]
    command: tuple[str, ...]
    files: tuple[str, ...]

    def victim(self, folder: Path, draw: random.Random) -> Path:
        """The file that is damaged this time."""
        found = sorted(path for pattern in self.files for path in folder.glob(pattern) if path.is_file())
        assert found, f"{self.name} has no file like {self.files}"
        return draw.choice(found)


RECIPE = {
    **{"summary": "Mine.", "landmarker": {"uses": "mediapipe"}, "encoder": {"uses": "landmark_fit"}},
    **{"face_model": {"uses": "open_head", "params": {"texture_size": 64}}, "renderer": {"uses": "zbuffer"}},
    **{"losses": {"a": {"uses": "photometric", "weight": 0.5, "stage": "coarse"}}, "probe": ["shape"]},
    "training": {"coarse": {"batch_size": 4}},
}
CATALOGUE = {
    "version": 1,
    "components": {
        "renderer": {"mine": {"summary": "A.", "license": "MIT", "presets": {"a": {"b": 1}}, "assets": ["x"]}}
    },
    "assets": {"x": {"summary": "A file.", "files": ["x.bin"], "license": "MIT", "obtain": "Here."}},
    "recipes": {"mine": RECIPE, "child": {"extends": "mine", "detail": None}},
}
PLAN = {
    **{"stage": "coarse", "recipe": "open_fit", "data": "synthetic_faces", "seeds": [0, 1], "set": {"max_steps": 5}},
    "variants": {"a": None, "b c": {"recipe-set": {"losses.emotion.weight": 0}, "set": {"betas": [0.9, 0.99]}}},
}


def catalogue(folder: Path) -> None:
    (folder / "mine.yaml").write_text(yaml.safe_dump(CATALOGUE))


def plan(folder: Path) -> None:
    (folder / "plan.yaml").write_text(yaml.safe_dump(PLAN))


def finished_sweep(folder: Path) -> None:
    """What a sweep finds when its trainings are over."""
    from emoca_core.sweep.plan import read_plan, runs_of

    plan(folder)
    for run in runs_of(read_plan(folder / "plan.yaml"), Path("runs")):
        place = folder / run.folder
        place.mkdir(parents=True)
        (folder / run.record).write_text(json.dumps({"arguments": run.arguments, "finished": True, "seconds": 3.5}))
        (place / "best.json").write_text(json.dumps({"step": 5, "metrics": {"landmark_error": 0.5, "loss": None}}))
        (place / "run.json").write_text(
            json.dumps({"settings": {"train": {}}, "commit": "a", "hardware": {"cores": 2}})
        )
        (place / "metrics.jsonl").write_text('{"step": 5, "epoch": 0, "validation/landmark_error": 0.5}\n')


def photos(folder: Path) -> None:
    (folder / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (48, 40, 3), np.uint8)
    for name in ("a.png", "b.jpg", "c.tif", "d.bmp", "e.webp", "f.gif"):
        Image.fromarray(pixels).save(folder / "photos" / name)
    Image.fromarray(np.full((48, 40), 40_000, np.uint16)).save(folder / "photos" / "g.png")


ROWS = {
    **{"path": ["photos/a.png", "photos/b.jpg", "photos/c.tif"], "split": ["train", "train", "validation"]},
    **{"expression": ["happy", "sad", "happy"], "valence": [0.5, -0.25, None], "arousal": [0.1, 0.2, 0.3]},
    **{"identity": ["p", "q", "q"], "clip": ["k", "l", "m"], "frame": [0, 1, 2]},
}


def manifest_csv(folder: Path) -> None:
    photos(folder)
    lines = [",".join("" if v is None else str(v) for v in row) for row in zip(*ROWS.values(), strict=True)]
    (folder / "faces.csv").write_text("\n".join([",".join(ROWS), *lines]) + "\n")


def manifest_parquet(folder: Path) -> None:
    photos(folder)
    pyarrow.parquet.write_table(pyarrow.table(ROWS), folder / "faces.parquet")


def clips(folder: Path) -> None:
    frame = {"valence": 3, "arousal": -2, "landmarks": [[float(x), 2.0 * x] for x in range(68)]}
    (folder / "clips" / "001").mkdir(parents=True)
    clip = {"frames": {"00000": frame, "00001": frame}, "video_id": "001", "actor": "a"}
    (folder / "clips" / "001" / "001.json").write_text(json.dumps(clip))


def assets(folder: Path) -> None:
    entry = {"file": "x.npz", "sha256": "0" * 64, "format": "flame", "origin": "a.pkl", "origin_sha256": "1" * 64}
    (folder / "assets").mkdir()
    (folder / "assets" / "x.npz").touch()
    index = {"version": 1, "assets": {"flame": {**entry, "added": "2026-01-01"}}}
    (folder / "assets" / "assets.json").write_text(json.dumps(index))


def published(folder: Path) -> None:
    """Files in every container that ``emoca assets add`` opens."""
    write_all(folder / "published", tiny_arrays(6, 8))
    save_file({"encoder.weight": torch.zeros(3, 4), "b": torch.ones(2)}, folder / "published" / "weights.safetensors")
    torch.save({"state_dict": {"a.weight": torch.zeros(3)}, "epoch": 3}, folder / "published" / "weights.pth")
    np.savez(folder / "published" / "more.npz", a=np.arange(5), b=np.array(["x"]))


def run_folder(folder: Path) -> None:
    """A run of ``emoca train coarse``, and one of the detail stage on top of it."""
    parts = {
        "encoder": toy_stage.TinyRegressor(toy_stage.TinyRegressor.Params(frozen=False)),
        "detail": toy_stage.TinyDetail(),
    }
    recipe = {**toy_stage.RECIPE, "encoder": {"uses": "TinyRegressor", "params": {"frozen": False}}}
    before = None
    for stage, kind in (("coarse", "encoder"), ("detail", "detail")):
        place = folder / stage
        place.mkdir()
        save_file({f"{kind}.{n}": t for n, t in parts[kind].state_dict().items()}, place / "best.safetensors")
        kept = {k: v for k, v in recipe.items() if stage == "detail" or k != "detail"}
        card = {"name": "toy", "recipe": kept, "stage": stage, "frozen": {}, "step": 3, "metrics": {"loss": 0.5}}
        if before:
            card["start"] = {"file": str(before), "sha256": sha256_of(before)}
            card["frozen"] = {}
        (place / "best.json").write_text(json.dumps(card))
        (place / "run.json").write_text(json.dumps({"settings": {"train": {"seed": 3}}, "versions": {"torch": "2"}}))
        before = (place / "best.safetensors").resolve()


def package(folder: Path) -> None:
    from emoca_core.registry.catalogue import get_catalogue
    from emoca_core.runs.package import package_run

    run_folder(folder)
    package_run(folder / "detail", folder / "package", get_catalogue(), get_registry())


def few_photos(folder: Path) -> None:
    photos(folder)
    for name in "cdeg":
        next((folder / "photos").glob(f"{name}.*")).unlink()


def photo_folder(folder: Path) -> None:
    (folder / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(1, 255, (120, 140, 3), np.uint8)
    pixels[0, 0, 0] = 1  # faces, as the toy landmarker counts them
    Image.fromarray(pixels).save(folder / "photos" / "a.png")


def results(folder: Path) -> None:
    """What an earlier run of ``emoca reconstruct`` left."""
    from emoca_core.cli import main

    photo_folder(folder)
    assert main(["reconstruct", "photos", "--out", "out"]) == 0


def study(folder: Path) -> None:
    """A study that two people have taken part in."""
    from emoca_core.study.store import Store

    made = make_squares(folder / "study")
    with Store.open(folder / "study", made) as store:
        for name in ("anna", "bert"):
            answer_all(store, name, lambda trial: None)


def index(folder: Path) -> None:
    from emoca_core.probe.codes import BackboneSource
    from emoca_core.retrieval.index import Counts, write_index

    manifest_csv(folder)
    source = BackboneSource("tiny", toy_stage.TinyEmotion().eval(), {})
    listed = Manifest.open(folder / "faces.csv")
    rows = [replace(listed[number % 3], identity=f"p{number}", clip=None) for number in range(24)]
    counts = Counts(images=24, faces=24, unreadable=0, without_face=0, without_code=0)
    features = np.random.default_rng(0).normal(size=(24, 8))
    write_index(folder / "faces.index", "emotion:TinyEmotion", source, "mediapipe", counts, features, rows)


def drivers(folder: Path) -> None:
    """Movement as Live Link Face writes it, as this project does, and a head with targets."""
    from emoca_core.cli import main
    from emoca_core.vocabulary.arkit import ARKIT_NAMES

    photo_folder(folder)
    names = [name[0].upper() + name[1:] for name in ARKIT_NAMES]
    lines = [f"00:00:0{second}:00.000,61,{','.join(['0.25'] * len(names))}" for second in range(3)]
    (folder / "drive.csv").write_text("\n".join([f"Timecode,BlendShapeCount,{','.join(names)}", *lines]) + "\n")
    assert main(["reconstruct", "photos", "--out", "made", "--write", "glb,codes"]) == 0
    (face,) = folder.glob("made/*/face_0")
    for name in ("face.glb", "face.safetensors", "face.json"):
        (folder / name).write_bytes((face / name).read_bytes())
    shutil.rmtree(folder / "made")


RETARGET = ("retarget", "photos/a.png", "--out", "out", "--write", "arkit_csv,codes", "--witness", "none")

ENTRANCES = (
    Entrance("catalogue list", catalogue, ("list", "--registry", "mine.yaml"), ("mine.yaml",)),
    Entrance("catalogue show", catalogue, ("show", "child", "--registry", "mine.yaml"), ("mine.yaml",)),
    Entrance("catalogue assets", catalogue, ("assets", "--recipe", "child", "--registry", "mine.yaml"), ("mine.yaml",)),
    Entrance("sweep", plan, ("sweep", "plan.yaml", "--out", "out", "--table-only", "--no-faces"), ("plan.yaml",)),
    Entrance(
        "sweep of finished runs",
        finished_sweep,
        ("sweep", "plan.yaml", "--out", "runs", "--table-only", "--no-faces"),
        ("runs/*/*.json", "runs/*/seed-*/*.json*"),
    ),
    Entrance("data check", manifest_csv, ("data", "check", "faces.csv"), ("faces.csv",)),
    Entrance("data check, pictures", manifest_csv, ("data", "check", "faces.csv"), ("photos/[abc].*",)),
    Entrance("data check, Parquet", manifest_parquet, ("data", "check", "faces.parquet"), ("faces.parquet",)),
    Entrance(
        "data split",
        manifest_csv,
        ("data", "split", "faces.csv", "--out", "out/m.csv", "--split", "a=0.5", "b=0.5"),
        ("faces.csv",),
    ),
    Entrance("data join", manifest_csv, ("data", "join", "faces.csv", "--out", "out/m.csv"), ("faces.csv",)),
    Entrance(
        "data import, table",
        manifest_csv,
        ("data", "import", "table", "--root", ".", "--csv", "faces.csv", "--out", "out/m.csv"),
        ("faces.csv",),
    ),
    Entrance(
        "data import, clips",
        clips,
        ("data", "import", "afew_va", "--root", "clips", "--out", "out/m.csv"),
        ("clips/001/001.json",),
    ),
    Entrance("assets", assets, ("assets",), ("assets/assets.json",)),
    Entrance("assets add", published, ("assets", "add", "published"), ("published/*",)),
    Entrance(
        "train emotion",
        manifest_csv,
        (
            *("train", "emotion", "--backbone", "TinyEmotion", "--data", "faces.csv", "--out", "out"),
            *("--set", "batch_size=2", "--set", "epochs=1"),
        ),
        ("faces.csv",),
    ),
    Entrance("show run", run_folder, ("show", "detail"), ("detail/best.json", "coarse/best.json")),
    Entrance("show package", package, ("show", "package"), ("package/card.json",)),
    Entrance("package", run_folder, ("package", "detail", "--out", "out/p"), ("*/best.*", "*/run.json")),
    Entrance("check package", package, ("check", "package", "--registry", "package/registry.yaml"), ("package/*",)),
    Entrance("reconstruct", few_photos, ("reconstruct", "photos", "--out", "out"), ("photos/*",)),
    Entrance(
        "reconstruct again",
        results,
        ("reconstruct", "photos", "--out", "out"),
        ("out/*/*.json", "out/*/face_0/face.json"),
    ),
    Entrance("study results", study, ("study", "results", "study", "--out", "out/r"), ("study/*.*",)),
    Entrance("retrieve", index, ("retrieve", "--index", "faces.index", "--evaluate", "--out", "out"), ("*.index/*",)),
    Entrance("retarget, table", drivers, (*RETARGET, "drive.csv"), ("drive.csv",)),
    Entrance("retarget, code", drivers, (*RETARGET, "face.safetensors"), ("face.safetensors", "face.json")),
    Entrance("retarget onto a head", drivers, (*RETARGET, "drive.csv", "--onto", "face.glb"), ("face.glb",)),
)
ARGUMENTS = (
    (catalogue, ("list", "recipe", "--registry", "mine.yaml")),
    (catalogue, ("show", "recipe", "child", "--registry", "mine.yaml")),
    (assets, ("assets", "--recipe", "open_fit")),
    (published, ("assets", "add", "published/head_template.obj")),
    (manifest_csv, ("data", "check", "faces.csv")),
    (manifest_csv, ("data", "split", "faces.csv", "--out", "out/m.csv", "--split", "a=0.5", "b=0.5", "--seed", "3")),
    (manifest_csv, ("data", "join", "faces.csv", "faces.csv", "--out", "out/m.csv")),
    (
        manifest_csv,
        ("data", "import", "table", "--root", ".", "--csv", "faces.csv", "--out", "out/m.csv", "--va-range", "-1", "1"),
    ),
    (manifest_csv, ("data", "preprocess", "gone.csv", "--out", "out", "--size", "64", "--workers", "1")),
    (manifest_csv, ("data", "render", "gone", "--out", "out", "--set", "length=1")),
    (plan, ("sweep", "plan.yaml", "--out", "out", "--table-only", "--no-faces", "--jobs", "2")),
    (run_folder, ("package", "gone", "--out", "out/p")),
    (run_folder, ("check", "gone")),
    (photo_folder, ("reconstruct", "photos", "--out", "out", "--batch-size", "2", "--set", "encoder.iterations=3")),
    (
        manifest_csv,
        ("train", "emotion", "--backbone", "TinyEmotion", "--data", "gone.csv", "--out", "out", "--set", "epochs=1"),
    ),
    (catalogue, ("train", "coarse", "--recipe", "gone", "--data", "gone.csv", "--out", "out", "--recipe-set", "a.b=1")),
    (
        manifest_csv,
        ("benchmark", "--methods", "gone", "--data", "faces.csv", "--out", "out", "--set", "width=8", "--folds", "2"),
    ),
    (study, ("study", "results", "study", "--out", "out/r")),
    (index, ("retrieve", "--index", "faces.index", "--evaluate", "--out", "out", "--metric", "cosine")),
    (manifest_csv, ("index", "faces.csv", "--by", "emotion:gone", "--out", "out/i", "--split", "train")),
    (manifest_csv, ("encode", "faces.csv", "--recipe", "gone", "--out", "out/c", "--shard", "8")),
    (drivers, (*RETARGET, "emotion:happy", "--curve", "0:0,1:1", "--gain", "brows=1.2")),
    (catalogue, ("export", "onnx", "gone", "--out", "out/o")),
    (photo_folder, ("new", "plugin", "mine", "--kind", "loss", "--into", "out")),
)
"""Commands that do little, whatever is changed in them."""
