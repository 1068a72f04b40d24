"""Inputs that once ended in a traceback, or did something silently: each is refused by one line that names it."""

import json
import os
import re

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from entrances import CATALOGUE, PLAN, RECIPE, ROWS, assets, clips, finished_sweep, manifest_csv, results, run_folder

SWEEP = ("sweep", "plan.yaml", "--out", "runs", "--table-only", "--no-faces")
EMOTION = ("train", "emotion", "--backbone", "TinyEmotion", "--data", "faces.csv", "--out", "out")
COARSE = ("train", "coarse", "--recipe", "open_pretrain", "--data", "synthetic_faces", "--out", "out")
RENDER = ("data", "render", "synthetic_faces", "--out", "out")
CHECK, AGAIN = ("data", "check", "faces.csv"), ("reconstruct", "photos", "--out", "out")


def text(file, content):
    return lambda place: (place / file).write_text(content, encoding="utf-8", errors="surrogatepass")


def catalogue(**change):
    return text("mine.yaml", yaml.safe_dump({**CATALOGUE, **change}))


def sweep(**change):
    return text("plan.yaml", yaml.safe_dump({**PLAN, **change}))


def column(name, values):
    def write(place):
        table = {**ROWS, name: values}
        pyarrow.parquet.write_table(pyarrow.table(table), place / "faces.parquet")

    return write


def nothing(place):
    pass


LIST = ("list", "--registry", "mine.yaml")
PARQUET = ("data", "check", "faces.parquet")
DEEP = "[" * 20_000
BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{n}: &{n} [{','.join(['*' + b] * 9)}]\n" for b, n in zip("abcdefg", "bcdefgh", strict=True)
)

CASES = {
    # registry.yaml
    "catalogue: sections of wrong types": (nothing, catalogue(recipes=3), LIST, "must hold 'version: 1'"),
    "catalogue: recipe is a list": (nothing, catalogue(recipes={"a": [1]}), LIST, "recipe 'a' must be a mapping"),
    "catalogue: part is a number": (nothing, catalogue(recipes={"a": {**RECIPE, "encoder": 3}}), LIST, "encoder"),
    "catalogue: preset is a text": (
        nothing,
        catalogue(components={"encoder": {"a": {"summary": "x", "license": "y", "presets": {"p": "q"}}}}),
        LIST,
        "presets.p",
    ),
    "catalogue: extends a list": (
        nothing,
        catalogue(recipes={"a": {"extends": ["b"]}}),
        LIST,
        "extends must be the name",
    ),
    "catalogue: extends 3,000 long": (
        nothing,
        catalogue(recipes={f"r{n}": {"extends": f"r{n + 1}"} for n in range(3000)}),
        LIST,
        "EMOCA_LIMIT_EXTENDS_DEPTH",
    ),
    "catalogue: extends in a circle": (
        nothing,
        catalogue(recipes={"a": {"extends": "b"}, "b": {"extends": "a"}}),
        LIST,
        "in a circle: a -> b -> a",
    ),
    "catalogue: key twice": (
        nothing,
        text("mine.yaml", "version: 1\nversion: 1\n"),
        LIST,
        "line 2 .* the key 'version' stands twice",
    ),
    "catalogue: alias bomb": (nothing, text("mine.yaml", BOMB), LIST, "EMOCA_LIMIT_TEXT_NODES"),
    "catalogue: alias cycle": (
        nothing,
        text("mine.yaml", "version: 1\nrecipes: &a {b: *a}\n"),
        LIST,
        "stands inside what it names",
    ),
    "catalogue: 20,000 deep": (nothing, text("mine.yaml", DEEP), LIST, "EMOCA_LIMIT_TEXT_DEPTH"),
    "catalogue: thousands of digits": (
        nothing,
        text("mine.yaml", "version: " + "9" * 5000),
        LIST,
        "a number of more than 100",
    ),
    "catalogue: a pipe": (nothing, lambda place: os.mkfifo(place / "mine.yaml"), LIST, "is a named pipe"),
    "catalogue: a device": (nothing, lambda place: (place / "mine.yaml").symlink_to("/dev/zero"), LIST, "is a device"),
    "catalogue: a folder": (nothing, lambda place: (place / "mine.yaml").mkdir(), LIST, "is a folder"),
    "catalogue: too large": (
        nothing,
        lambda place: os.truncate(text("mine.yaml", "v")(place) and place / "mine.yaml", 5 * 2**20),
        LIST,
        "EMOCA_LIMIT_CATALOGUE_BYTES",
    ),
    # --set
    "--set: a date": (
        manifest_csv,
        nothing,
        (*EMOTION, "--set", "seed=2001-99-99"),
        "seed: Input should be a valid integer",
    ),
    "--set: a cycle": (manifest_csv, nothing, (*EMOTION, "--set", "seed=&a [*a]"), "stands inside what it names"),
    "--set: a tag": (manifest_csv, nothing, (*EMOTION, "--set", "seed=!!set {a}"), "the tag '!!set' is not allowed"),
    "--set: list as key": (manifest_csv, nothing, (*EMOTION, "--set", "seed={[a]: 1}"), "cannot be a key"),
    "--set: thousands of digits": (
        manifest_csv,
        nothing,
        (*EMOTION, "--set", "seed=" + "9" * 5000),
        "a number of more than 100",
    ),
    "--set: 20,000 deep": (manifest_csv, nothing, (*EMOTION, "--set", "seed=" + DEEP), "EMOCA_LIMIT_TEXT_DEPTH"),
    "--set: zero byte": (manifest_csv, nothing, (*EMOTION, "--set", "seed=\0"), "holds a NUL character"),
    # numbers
    "betas above 1": (
        manifest_csv,
        nothing,
        (*EMOTION, "--set", "betas=[2, 3]"),
        "betas.0: Input should be less than 1",
    ),
    "learning rate infinite": (
        manifest_csv,
        nothing,
        (*EMOTION, "--set", "learning_rate=.inf"),
        "learning_rate: Input should be a finite number",
    ),
    "seed negative": (
        manifest_csv,
        nothing,
        (*EMOTION, "--set", "seed=-1"),
        "seed: Input should be greater than or equal to 0",
    ),
    "seed huge": (manifest_csv, nothing, (*EMOTION, "--set", f"seed={2**64}"), "seed: Input should be less than"),
    "batch_size huge": (
        manifest_csv,
        nothing,
        (*EMOTION, "--set", "batch_size=10000000000"),
        "batch_size: Input should be less than",
    ),
    "image_size huge": (
        manifest_csv,
        nothing,
        (*RENDER, "--set", "image_size=10000000"),
        "image_size: Input should be less than",
    ),
    "seed of the data is a word": (
        nothing,
        nothing,
        (*COARSE, "--data-set", "seed=many"),
        "seed: Input should be a valid integer",
    ),
    "length huge": (
        nothing,
        nothing,
        (*RENDER, "--set", "length=100000000000000"),
        "length: Input should be less than",
    ),
    "length zero": (nothing, nothing, (*RENDER, "--set", "length=0"), "length: Input should be greater than"),
    "--batch-size huge": (
        nothing,
        nothing,
        ("reconstruct", "a.jpg", "--batch-size", "9" * 30),
        "is no whole number from 1 to",
    ),
    "--batch-size of 5,000 digits": (
        nothing,
        nothing,
        ("reconstruct", "a.jpg", "--batch-size", "9" * 5000),
        "is no whole number from 1 to",
    ),
    "--jobs negative": (
        nothing,
        nothing,
        ("sweep", "a.yaml", "--out", "out", "--jobs", "-3"),
        "is no whole number from 1 to",
    ),
    "--size huge": (
        nothing,
        nothing,
        ("data", "preprocess", "a.csv", "--out", "out", "--size", "1000000"),
        "is no whole number from 1 to",
    ),
    # JSON records
    "assets.json: list": (
        assets,
        text("assets/assets.json", "[]"),
        ("assets",),
        "delete it and run 'emoca assets add'",
    ),
    "assets.json: entry is null": (
        assets,
        text("assets/assets.json", '{"version": 1, "assets": {"flame": null}}'),
        ("assets",),
        "assets.flame",
    ),
    "assets.json: 20,000 deep": (assets, text("assets/assets.json", DEEP), ("assets",), "recursion limit"),
    "best.json: of a sweep": (
        finished_sweep,
        text("runs/a/seed-0/best.json", '{"step": "x"}'),
        SWEEP,
        "best.json is damaged",
    ),
    "run.json: of a sweep": (finished_sweep, text("runs/a/seed-0/run.json", "[1]"), SWEEP, "run.json is damaged"),
    "the record of a sweep": (
        finished_sweep,
        text("runs/a/seed-0.json", '{"finished": {}}'),
        SWEEP,
        "seed-0.json is damaged",
    ),
    "metrics.jsonl: of a sweep": (
        lambda place: (finished_sweep(place), sweep(report="last")(place)),
        text("runs/a/seed-0/metrics.jsonl", "{}\n[\n"),
        SWEEP,
        "metrics.jsonl",
    ),
    "best.json: null": (run_folder, text("detail/best.json", "null"), ("show", "detail"), "best.json is damaged"),
    "best.json: recipe is a text": (
        run_folder,
        text("detail/best.json", '{"stage": "detail", "recipe": "x"}'),
        ("show", "detail"),
        "recipe: Input should be",
    ),
    "best.json: starts from itself": (
        run_folder,
        lambda place: _starts_from_itself(place),
        ("package", "coarse", "--out", "out/p"),
        "started from itself",
    ),
    "clips: frames is a list": (
        clips,
        text("clips/001/001.json", '{"frames": []}'),
        ("data", "import", "afew_va", "--root", "clips", "--out", "out/m.csv"),
        "001.json is damaged",
    ),
    # sweeps
    "sweep: variants is a list": (nothing, sweep(variants=[1]), SWEEP, "variants: Input should be"),
    "sweep: variants that share a folder": (
        nothing,
        sweep(variants={"a b": None, "a_b": None}),
        SWEEP,
        "'a_b' would share a folder with 'a b'",
    ),
    "sweep: variant named as the table": (
        nothing,
        sweep(variants={"table.md": None}),
        SWEEP,
        "would share a folder with a file of the sweep",
    ),
    "sweep: variant that acts on the terminal": (
        nothing,
        sweep(variants={"\x1b[2J": None}),
        SWEEP,
        r"'\\x1b\[2J' cannot be the name",
    ),
    "sweep: seeds of a set": (nothing, sweep(seeds=[2**40]), SWEEP, "seeds.0: Input should be less than"),
    "sweep: set is a text": (nothing, sweep(set="a"), SWEEP, "set: Input should be"),
    # manifests
    "manifest: heading of 131,072 characters": (
        manifest_csv,
        text("faces.csv", "a" * 140_000 + "\nx\n"),
        CHECK,
        "faces.csv",
    ),
    "manifest: empty path": (manifest_csv, text("faces.csv", "path,expression\n,happy\n"), CHECK, "path"),
    "manifest: path with a zero byte": (
        manifest_csv,
        text("faces.csv", "path,expression\na\0b.png,happy\n"),
        CHECK,
        "",
    ),
    "manifest: path is a list": (manifest_csv, column("path", [["a"], ["b"], ["c"]]), PARQUET, "path"),
    "manifest: valence is a structure": (manifest_csv, column("valence", [{"a": 1}] * 3), PARQUET, "valence"),
    "manifest: path is bytes": (manifest_csv, column("path", [b"\xff", b"\xfe", b"a"]), PARQUET, ""),
    # earlier results are not trusted, and made again
    "photo.json: list": (results, text("out/a/photo.json", "[]"), AGAIN, None),
    "photo.json: faces is a number": (
        results,
        text("out/a/photo.json", '{"faces": 3, "fingerprint": "x"}'),
        AGAIN,
        None,
    ),
    "photo.json: 20,000 deep": (results, text("out/a/photo.json", DEEP), AGAIN, None),
    "face.json: damaged": (results, text("out/a/face_0/face.json", '{"face": [}'), AGAIN, None),
}


def _starts_from_itself(place):
    from emoca_core.files import sha256_of

    weights = (place / "coarse" / "best.safetensors").resolve()
    card = json.loads((place / "coarse" / "best.json").read_text())
    card["start"] = {"file": str(weights), "sha256": sha256_of(weights)}
    (place / "coarse" / "best.json").write_text(json.dumps(card))


@pytest.mark.parametrize(("make", "change", "command", "said"), CASES.values(), ids=CASES.keys())
def test_bad_input_is_one_line(make, change, command, said, place, check):
    make(place)
    change(place)
    code, output = check(command)
    if said is None:
        assert code == 0, output
    else:
        assert code in (1, 2), output
        assert re.search(said, output), output
