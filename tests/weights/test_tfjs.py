"""The reader of TensorFlow.js' weights against numbers written down by hand and by NumPy."""

import gzip
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from emoca_core.errors import AssetFormatError, EmocaError
from emoca_core.formats import open_content
from emoca_core.weights.tfjs import read_tfjs, read_tfjs_archive

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from tfjs_files import as_json, manifest_of, write_npm


def entry(name: str, shape: list[int], dtype: str = "float32", **quantization: object) -> dict:
    return {"name": name, "shape": shape, "dtype": dtype} | ({"quantization": quantization} if quantization else {})


# every type, with its bytes spelt out (little-endian) and the values that TensorFlow.js gives
KINDS = [
    (entry("plain", [2]), bytes.fromhex("0000003f 000000c0"), [0.5, -2.0]),
    (entry("whole", [2], "int32"), bytes.fromhex("01000000 feffffff"), [1, -2]),
    (entry("small", [3], "uint8"), bytes([0, 7, 255]), [0, 7, 255]),
    (entry("truth", [2], "bool"), bytes([0, 1]), [False, True]),
    (entry("eight", [3], **{"min": -1.0, "scale": 0.5}) | {}, bytes([0, 2, 255]), [-1.0, 0.0, 126.5]),
    (entry("sixteen", [2], **{"min": 1.0, "scale": 0.25}), bytes.fromhex("0000 0401"), [1.0, 66.0]),
    (entry("half", [2]), bytes.fromhex("003c 00c0"), [1.0, -2.0]),
    (entry("rounded", [2], "int32", **{"min": -10.0, "scale": 0.4}), bytes([1, 4]), [-10, -8]),
]
for index, width in ((4, "uint8"), (5, "uint16"), (6, "float16"), (7, "uint8")):
    KINDS[index][0].setdefault("quantization", {})["dtype"] = width


def write(folder: Path, groups: object, **shards: bytes) -> Path:
    for name, content in shards.items():
        (folder / name).write_bytes(content)
    path = folder / "model.json"
    path.write_bytes(as_json(groups))
    return path


def test_every_type_across_shards_and_groups(tmp_path: Path) -> None:
    """Tensors that lie in two shards of three, and groups with shards of their own."""
    content = b"".join(data for _, data, _ in KINDS)
    groups = [
        {"paths": ["a", "b", "c"], "weights": [kind for kind, _, _ in KINDS]},
        {"paths": ["d"], "weights": [entry("last", [1])]},
    ]
    shards = {"a": content[:5], "b": content[5:6], "c": content[6:], "d": bytes.fromhex("00004040")}
    network = read_tfjs(write(tmp_path, groups, **shards))
    assert list(network.shapes) == [kind["name"] for kind, _, _ in KINDS] + ["last"]
    for kind, _, values in KINDS:
        np.testing.assert_array_equal(network[kind["name"]], values)
        assert network[kind["name"]].dtype == kind["dtype"]
    assert network["last"].tolist() == [3.0]
    assert network.shapes["eight"] == (3,)
    assert network.stored_as.startswith("float32 ")


@pytest.mark.parametrize("wrap", [list, lambda groups: {"format": "graph-model", "weightsManifest": groups}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_archive_and_folder_give_the_same(tmp_path: Path, wrap, dtype: str) -> None:
    random = np.random.default_rng(0)
    arrays = {"conv/filters": random.normal(size=(3, 3, 2, 4)), "conv/bias": random.normal(size=4)}
    groups, content, expected = manifest_of(arrays, "model.bin", dtype)
    other, more, _ = manifest_of({"conv/filters": np.ones((1, 2))}, "other.bin")
    path = write(tmp_path, wrap(groups), **{"model.bin": content})
    archive = write_npm(
        tmp_path / "package.tgz",
        {"package.json": b"{}", "deep/model.json": path.read_bytes(), "deep/model.bin": content}
        | {"deep/other.json": as_json(other), "deep/other.bin": more},
    )
    networks = read_tfjs_archive(archive)
    assert len(networks) == 2
    for network in (read_tfjs(path), networks[0]):
        assert set(network.shapes) == set(arrays)
        for name, values in expected.items():
            # one multiplication and one addition in float32, of numbers below 10
            np.testing.assert_allclose(network[name], values, rtol=0, atol=2e-6)
    assert [dict(c.shapes) for c in open_content(archive).networks] == [n.shapes for n in networks]


DAMAGED = {
    "short": (lambda g: g, {"s": b"1234567"}, "hold 7 bytes, the manifest names 8"),
    "long": (lambda g: g, {"s": b"123456789"}, "hold 9 bytes"),
    "absent": (lambda g: g, {}, "'s', which is not beside it"),
    "outside": (lambda g: [g[0] | {"paths": ["../s"]}], {}, "shard"),
    "absolute": (lambda g: [g[0] | {"paths": ["/etc/passwd"]}], {}, "shard"),
    "text": (lambda g: [g[0] | {"weights": [entry("w", [2], "string")]}], {"s": b""}, "dtype"),
    "twice": (lambda g: [g[0] | {"weights": g[0]["weights"] * 2}], {"s": b"12345678"}, "twice"),
    "negative": (lambda g: [g[0] | {"weights": [entry("w", [-2])]}], {"s": b""}, "shape"),
    "huge": (lambda g: [g[0] | {"weights": [entry("w", [2**40])]}], {"s": b""}, "limit"),
    "empty": (lambda g: [g[0] | {"weights": []}], {"s": b""}, "no tensors"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_networks_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    change, shards, message = DAMAGED[name]
    groups = [{"paths": ["s"], "weights": [entry("w", [2])]}]
    with pytest.raises(EmocaError, match=message) as caught:
        content = open_content(write(tmp_path, change(groups), **shards))
        content.array("w")
    assert "\n" not in str(caught.value)
    archive = write_npm(tmp_path / "x.tgz", {"model.json": as_json(change(groups))} | {n: c for n, c in shards.items()})
    with pytest.raises(EmocaError):
        open_content(archive).networks[0].array("w")


def test_other_json_and_other_archives_are_no_networks(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"weights": "random"}')
    assert open_content(tmp_path / "settings.json").container == "other"
    archive = write_npm(tmp_path / "x.tgz", {"package.json": b"{}"})
    with pytest.raises(AssetFormatError, match="holds no network"):
        open_content(archive)


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_truncated_archives_are_refused(tmp_path: Path, cut: float) -> None:
    groups, content, _ = manifest_of({"w": np.random.default_rng(0).normal(size=(50, 50))}, "model.bin")
    archive = write_npm(tmp_path / "x.tgz", {"model.json": as_json(groups), "model.bin": content})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(AssetFormatError, match=r"not an intact \.tgz"):
        [network.array("w") for network in open_content(archive).networks]
    archive.write_bytes(gzip.compress(b"no tar"))
    with pytest.raises(AssetFormatError, match=r"not an intact \.tgz"):
        open_content(archive)


def test_bombs_are_refused_before_they_grow(tmp_path: Path) -> None:
    """A member, and a header, of 100 MB of zeros in a file of 100 kB."""
    archive = write_npm(tmp_path / "x.tgz", {"zeros.bin": bytes(100 * 2**20), "model.json": b"{}"})
    assert archive.stat().st_size < 2**18
    with pytest.raises(AssetFormatError, match="unpacked_ratio"):
        open_content(archive)
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 40 * 2**20
    archive.write_bytes(gzip.compress(header.tobuf() + bytes(40 * 2**20)))
    with pytest.raises(AssetFormatError, match="header_bytes"):
        open_content(archive)
