"""Every entrance at which a name from outside could lead out of the folder in hand, or a folder could be deleted.

Beside each room lies a folder that belongs to somebody else, dressed up as whatever an entrance might take for its own.
Whatever happens at the entrance, that folder has to be as it was.
"""

import ast
import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emoca_core import files
from emoca_core.cli import main
from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.preprocess import PreprocessSettings, preprocess
from emoca_core.datasets.render import render_dataset
from emoca_core.errors import EmocaError
from emoca_core.images.crops import SHARED_CROP
from emoca_core.interfaces import FaceDataset, FaceSample
from emoca_core.probe.detections import detect_faces
from emoca_core.reconstruction import reconstruct_to_folder
from emoca_core.registry.assets import find_asset, has_asset
from emoca_core.runs.hub import download
from emoca_core.runs.run_folder import Progress, RunFolder
from emoca_core.sweep.plan import Plan, runs_of
from emoca_core.sweep.running import run_all

sys.path.insert(0, str(Path(__file__).parent / "train"))
import toy_run


def _toys():
    spec = importlib.util.spec_from_file_location("toy_method", Path(__file__).parent / "reconstruction/conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toys = _toys()

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def private_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "room"))
    monkeypatch.setattr("emoca_core.export.overlay.PANEL", 60)


@pytest.fixture
def outside(tmp_path):
    """Somebody else's folder: it looks like photos, faces, checkpoints and runs, and has marks of this program."""
    folder = tmp_path / "outside"
    (folder / "step-00000002").mkdir(parents=True)
    for name in ("canary", "photo.json", "metrics.jsonl", "seed-0.log", "step-00000002/progress.json"):
        (folder / name).write_text("{}\n")
    (folder / "face_7").mkdir()
    (folder / "face_7/face.json").write_text('{"format": "emoca-codes-1", "files": ["canary"]}')
    (folder / "face_7/canary").write_text("alive")
    for made in (folder, folder / "step-00000002"):
        (made / files.MARKER).write_text('{"format": "emoca-folder-1", "files": null}')
    return folder


@pytest.fixture
def room(tmp_path):
    (tmp_path / "room").mkdir()
    return tmp_path / "room"


def content(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


Entrance = Callable[[Path, Path], object]
ENTRANCES: dict[str, Entrance] = {}


def entrance(*cases: str):
    """Register a function for one case, or for several that it gets as ``case``."""

    def register(function):
        for case in cases or ("",):
            name = f"{function.__name__} {case}".strip()
            ENTRANCES[name] = (lambda room, out, case=case: function(room, out, case)) if case else function
        return function

    return register


# training

POINTERS = {
    "absolute": lambda room, outside: str(outside / "step-00000002"),
    "upwards": lambda room, outside: "../../outside/step-00000002",
    "itself": lambda room, outside: ".",
    "parent": lambda room, outside: "..",
    "empty": lambda room, outside: "",
    "number": lambda room, outside: 3,
    "link": lambda room, outside: "step-00000001",
}


@entrance(*POINTERS, *(f"{name} resumed" for name in POINTERS))
def last_checkpoint(room, outside, case):
    name, _, resumed = case.partition(" ")
    checkpoints = room / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "step-00000001").symlink_to(outside / "step-00000002")
    (checkpoints / "last.json").write_text(json.dumps({"folder": POINTERS[name](room, outside)}))
    if resumed:
        settings = {"train": toy_settings(), "task": toy_run.ToyTask().card()}
        (room / "run.json").write_text(json.dumps({"settings": settings}))
    toy_run.run(room, resume=bool(resumed), settings={"epochs": 1})


def toy_settings():
    from emoca_core.train import TrainSettings

    chosen = dict(epochs=1, batch_size=16, learning_rate=1e-2, seed=5, validate_every=0.5, log_every=1)
    return TrainSettings(**chosen, checkpoint_every=2, tracker="none").model_dump(mode="json")


@entrance()
def checkpoint_of_the_same_name(room, outside):
    (room / "checkpoints").mkdir()
    for name in (".step-00000004", "step-00000004"):
        (room / "checkpoints" / name).symlink_to(outside)
    toy_run.run(room, settings={"epochs": 1})


@entrance("checkpoints", "pictures", "metrics.jsonl", "run.json", "best.json", "best.safetensors")
def linked_parts_of_a_run(room, outside, case):
    (room / case).symlink_to(outside if "." not in case else outside / "metrics.jsonl")
    toy_run.run(room, settings={"epochs": 1})


@entrance("../../outside/face_7/x", "/x", "..")
def picture_of_a_task(room, outside, case):
    RunFolder(room).write_picture(case, 1, np.zeros((4, 4, 3), np.uint8))


@entrance(*POINTERS)
def checkpoint_before(room, outside, case):
    """What a commit deletes is the checkpoint before; the pointer to it may have been changed during the run."""
    folder = RunFolder(room)
    made = folder.begin_checkpoint(2)
    (room / "checkpoints" / "step-00000001").symlink_to(outside / "step-00000002")
    (room / "checkpoints" / "last.json").write_text(json.dumps({"folder": POINTERS[case](room, outside)}))
    folder.commit_checkpoint(made, Progress())


# photos


def photo(path: Path, faces: int = 1) -> Path:
    pixels = np.full((120, 160, 3), 100, np.uint8)
    pixels[0, 0] = faces, 0, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


@entrance("...jpg", "..jpg.jpg", "....jpg", "outside.jpg")
def photo_name(room, outside, case):
    """``outside`` is a folder beside the output folder: where the name is only dots, the faces would go there."""
    out = outside / "out"
    try:
        reconstruct_to_folder(toys.build(), [photo(room / case)], out, say=lambda line: None)
        assert out.is_dir()
    finally:
        for path in sorted(out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        out.rmdir()


@entrance("photo", "face_0", "face_1", "face_7")
def linked_results(room, outside, case):
    out = room / "out"
    target = out / "one" if case == "photo" else out / "one" / case
    target.parent.mkdir(parents=True)
    target.symlink_to(outside if case == "photo" else outside / "face_7")
    reconstruct_to_folder(toys.build(), [photo(room / "one.png", faces=2)], out, say=lambda line: None)


@entrance("../../outside/face_7", "..", "absolute")
def faces_of_a_record(room, outside, case):
    one = photo(room / "in" / "one.png")
    reconstruct_to_folder(toys.build(), [one], room / "out", say=lambda line: None)
    record = json.loads((room / "out/one/photo.json").read_text())
    record["faces"] = [str(outside / "face_7") if case == "absolute" else case]
    (room / "out/one/photo.json").write_text(json.dumps(record))
    reconstruct_to_folder(toys.build(), [one], room / "out", say=lambda line: None)
    assert str(outside) not in (room / "out/index.html").read_text()


# data sets


class Whole(toys.Marked):
    def detect(self, pixels):
        return super().detect(np.ones_like(pixels))


@entrance("faces", "faces/00000", "masks", "progress", "name")
def crops(room, outside, case):
    source, out = room / "source", room / "out"
    name = "../../outside/...png" if case == "name" else photo(source / "a.png").name
    photo(source / name)
    photo(source / "mask.png")
    write_manifest([ManifestRow(path=name, mask="mask.png")], source / "manifest.csv")
    if case != "name":
        (out / case).parent.mkdir(parents=True)
        (out / case).symlink_to(outside)
    try:
        preprocess(Manifest.open(source / "manifest.csv"), out, Whole(), PreprocessSettings(SHARED_CROP))
    finally:
        (outside / "...png").unlink(missing_ok=True)  # the photo itself


class Black(FaceDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return FaceSample(torch.zeros(3, 8, 8), "a")


@entrance()
def rendered_data(room, outside):
    (room / "images").symlink_to(outside)
    render_dataset(Black(), room)


@entrance("../../outside/canary", "/etc/x", "..")
def name_of_a_landmarker_in_the_cache(room, outside, case):
    photo(room / "a.png")
    write_manifest([ManifestRow(path="a.png")], room / "manifest.csv")
    detect_faces(Manifest.open(room / "manifest.csv"), Whole(), case)


# assets, plugins, packages, sweeps


@entrance("../outside/canary", "absolute", "link")
def file_of_an_asset(room, outside, case):
    (room / "link").symlink_to(outside / "canary")
    record = dict(file=str(outside / "canary") if case == "absolute" else case, sha256="", format="flame_model")
    entry = record | dict(origin="", origin_sha256="", added="")
    (room / "assets.json").write_text(json.dumps({"version": 1, "assets": {"flame": entry}}))
    for look in (has_asset, find_asset):
        with pytest.raises(EmocaError, match=r"is not the plain name|leads out"):
            look("flame")


@entrance("../outside/canary", "..", "/x", "a/../../outside", "link")
def name_of_a_plugin(room, outside, case):
    (room / "emoca-link").symlink_to(outside)
    assert main(["new", "plugin", case, "--kind", "loss", "--into", str(room)]) == 2


@entrance("hf://../outside", "hf://outside/..", "hf://./canary")
def repository(room, outside, case):
    download(case)


@entrance("..", "../outside", "a/../../outside", "link", "absolute")
def variant(room, outside, case):
    (room / "link").symlink_to(outside)
    name = str(outside) if case == "absolute" else case
    base = {"recipe": "open_deca", "data": "synthetic_faces", "seeds": [0]}
    try:
        plan = Plan.model_validate(base | {"variants": {name: {}}})
    except ValueError:  # the file is refused; what runs it must be safe without that
        plan = Plan.model_construct(**Plan.model_validate(base | {"variants": {"a": {}}}).__dict__)
        plan.variants[name] = plan.variants.pop("a")
    run_all(runs_of(plan, room), say=lambda line: None, command=[sys.executable, "-c", "pass"])


@entrance("seed-0.log", "seed-0.json")
def files_of_a_sweep(room, outside, case):
    (room / "a").mkdir()
    (room / "a" / case).symlink_to(outside / case)
    raw = {"recipe": "open_deca", "data": "synthetic_faces", "seeds": [0], "variants": {"a": {}}}
    run_all(runs_of(Plan.model_validate(raw), room), say=lambda line: None, command=[sys.executable, "-c", "pass"])


@pytest.mark.parametrize("name", ENTRANCES)
def test_what_others_made_stays_as_it_is(name, room, outside):
    before = content(outside)
    try:
        ENTRANCES[name](room, outside)
    except (EmocaError, OSError) as error:
        assert "\n" not in str(error), "one line"
    assert content(outside) == before
    assert len(before) == 11, "there was something to lose"


TRAPS = [
    *("checkpoint_before upwards", "checkpoint_before absolute", "linked_parts_of_a_run metrics.jsonl"),
    *("picture_of_a_task ../../outside/face_7/x", "photo_name ...jpg", "linked_results photo", "crops faces"),
    *("rendered_data", "variant ../outside", "files_of_a_sweep seed-0.log"),
]


@pytest.mark.parametrize("name", TRAPS)
def test_the_traps_would_catch(name, room, outside, monkeypatch):
    """Without the one function that proves names, each kind of trap does its damage: the test above can fail."""
    monkeypatch.setattr(files, "is_plain_name", lambda name: True)
    monkeypatch.setattr(files, "leads_out", lambda folder, path: False)
    monkeypatch.setattr("emoca_core.reconstruction.results.plain_name", lambda text: text)
    before = content(outside)
    with contextlib.suppress(EmocaError, OSError):
        ENTRANCES[name](room, outside)
    assert content(outside) != before


# one home

HOME = ROOT / "emoca_core/files.py"
OWN = {  # functions that touch files in a way of their own, and where else they may stand
    "rmtree": [],
    "rmdir": [],
    "removedirs": [],
    "unlink": [
        "claims.py",
        "saving.py",
        "results.py",
        "exporter.py",
        "to_folder.py",
        "make.py",
    ],  # the lock file, and the marks that say "complete"
    "rename": [],
    "remove": [],
    "replace": ["run_folder.py", "saving.py"],  # a checkpoint gets its name, a record becomes a marker
    "move": [],
    "mkdtemp": [],
    "mkstemp": [],
    "TemporaryDirectory": [
        "evaluate.py",
        "exporter.py",
        "int8.py",
    ],  # probes and the testing kit work in the system's own folder
    "symlink_to": [],
    "umask": [],
    "dump": [],
    "model_dump_json": ["common.py", "design.py", "texts.py", "server.py"],  # hashes, and what is sent
    # hashes, texts inside of other formats, and comparisons; never a file
    "JSONEncoder": [],
    "dumps": [
        *("results.py", "detections.py", "codes.py", "write_tensors.py", "preprocess.py"),
        *("index.py", "rows.py", "run.py", "gltf_rig.py", "store.py", "code_gaussian.py"),
    ],
}
MODULES = {"os", "shutil", "tempfile", "json"}


def calls(path: Path):
    """Module or object, and name, of every call of an attribute."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            yield node.lineno, owner, node.func.attr


def test_files_are_deleted_renamed_and_written_as_json_in_one_place():
    sources = [*(ROOT / "emoca_core").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    ours = {"rmtree", "rmdir", "unlink", "replace", "JSONEncoder"}
    assert HOME in sources and {name for _, _, name in calls(HOME)} >= ours
    found = [
        f"{path.relative_to(ROOT)}:{line}: {owner}.{name}"
        for path in sources
        for line, owner, name in calls(path)
        if path != HOME and name in OWN and path.name not in OWN[name]
        # texts, data and lists have methods of the same names
        if not (name in ("replace", "rename", "remove", "move", "dump", "dumps") and owner not in MODULES)
    ]
    assert not found, "use emoca_core.files"
