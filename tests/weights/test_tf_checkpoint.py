"""TensorFlow V2 checkpoints: the golden bundle, bundles written here, and damaged ones."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import GOLDENS, snappy_literals, write_table, write_tf_bundle

from emoca_core.errors import AssetFormatError, UnknownNameError
from emoca_core.weights.crc32c import crc32c, masked_crc32c
from emoca_core.weights.tf_checkpoint import TensorFlowCheckpoint, snappy_decompress


@pytest.fixture
def variables() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    many = {f"net/block{i}/conv{i % 3}/weights": random.normal(size=(3, 3, 2, i + 1)).astype("f4") for i in range(40)}
    return {
        **many,
        "scalar": np.array(7, "<i8"),
        "empty": np.zeros((0, 3), "<f4"),
        "half": np.array([1.5, -2], "<f2"),
        "flags": np.array([True, False]),
        "double": random.normal(size=5),
        "bytes": np.arange(4, dtype="u1"),
    }


@pytest.fixture
def index(tmp_path: Path, variables: dict[str, np.ndarray]) -> Path:
    return write_tf_bundle(tmp_path / "model-1", variables)


def test_reads_what_tensorflow_wrote() -> None:
    folder = GOLDENS / "tf_ckpt_tiny"
    bundle = TensorFlowCheckpoint.open(folder / "model-1")
    with np.load(folder / "expected.npz") as expected:
        assert set(bundle) == {name.replace("|", "/") for name in expected.files}
        for name in expected.files:
            actual = bundle[name.replace("|", "/")]
            assert actual.dtype == expected[name].dtype
            np.testing.assert_array_equal(actual, expected[name], strict=True)


def test_reads_every_type_and_shared_key_prefixes(index: Path, variables: dict[str, np.ndarray]) -> None:
    bundle = TensorFlowCheckpoint.open(index)
    assert list(bundle) == sorted(variables)
    for name, value in variables.items():
        np.testing.assert_array_equal(bundle[name], value, strict=True)


@pytest.mark.parametrize("file", ["model-1", "model-1.index", "model-1.data-00000-of-00001", "model-1.meta"])
def test_any_file_of_the_bundle_names_it(index: Path, file: str) -> None:
    assert "scalar" in TensorFlowCheckpoint.open(index.parent / file)


def test_reads_a_compressed_index(index: Path) -> None:
    plain = TensorFlowCheckpoint.open(index)
    table = {b"": b"\x08\x01", b"x": b"\x08\x01\x12\x00\x28\x04"}
    index.write_bytes(write_table(table, compression=1))
    compressed = TensorFlowCheckpoint.open(index)
    assert list(compressed) == ["x"] and compressed.entries["x"].size == 4
    assert plain.entries["scalar"].size == 8


def test_unknown_variable_suggests_the_nearest(index: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'scalar'"):
        TensorFlowCheckpoint.open(index)["skalar"]


def test_damaged_data_is_found(index: Path) -> None:
    data = index.with_name("model-1.data-00000-of-00001")
    raw = bytearray(data.read_bytes())
    raw[TensorFlowCheckpoint.open(index).entries["double"].offset + 3] ^= 1
    data.write_bytes(raw)
    with pytest.raises(AssetFormatError, match=r"'double'.*checksum"):
        TensorFlowCheckpoint.open(index)["double"]
    data.write_bytes(raw[:10])
    with pytest.raises(AssetFormatError, match="truncated"):
        TensorFlowCheckpoint.open(index)["scalar"]
    data.unlink()
    with pytest.raises(AssetFormatError, match="data-00000-of-00001 cannot be read"):
        TensorFlowCheckpoint.open(index)["scalar"]


def _bundle_entry(dtype: int, size: int, extra: bytes = b"") -> bytes:
    checksum = bytes([6 << 3 | 5]) + struct.pack("<I", masked_crc32c(b"\0" * size))
    return bytes([8, dtype, 0x28, size]) + checksum + extra


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (_bundle_entry(7, 4), "TensorFlow type 7"),  # a string
        (_bundle_entry(1, 4, b"\x3a\x00"), "partitioned"),
        (_bundle_entry(1, 3), "3 bytes for shape"),
    ],
)
def test_what_is_not_supported_says_so(index: Path, entry: bytes, message: str) -> None:
    index.write_bytes(write_table({b"": b"\x08\x01", b"x": entry}))
    with pytest.raises(AssetFormatError, match=message):
        TensorFlowCheckpoint.open(index)["x"]


def test_big_endian_bundle_is_refused(index: Path) -> None:
    index.write_bytes(write_table({b"": b"\x08\x01\x10\x01"}))
    with pytest.raises(AssetFormatError, match="big-endian"):
        TensorFlowCheckpoint.open(index)


@pytest.mark.parametrize("content", [b"", b"x" * 47, b"y" * 500, write_table({b"a": b"\x08\x01"})])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.index").write_bytes(content)
    with pytest.raises(AssetFormatError, match=r"model\.index is not"):
        TensorFlowCheckpoint.open(tmp_path / "model")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetFormatError, match=r"absent\.index cannot be read"):
        TensorFlowCheckpoint.open(tmp_path / "absent")


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10_000), change=st.integers(1, 255), cut=st.booleans())
def test_no_damage_to_the_index_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, position: int, change: int, cut: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    index = write_tf_bundle(folder / "m", {f"v{i}": np.full(3, i, "<f4") for i in range(20)})
    raw = bytearray(index.read_bytes())
    position %= len(raw) - 48  # before the footer, whose padding means nothing
    if cut:
        raw = raw[:position]
    else:
        raw[position] ^= change
    index.write_bytes(raw)
    meta_index = range(len(raw) - 48 - 40, len(raw))  # an empty block that nobody reads may hold anything
    try:
        bundle = TensorFlowCheckpoint.open(index)
    except AssetFormatError:
        return
    assert (not cut and position in meta_index) or {n: bundle[n][0] for n in bundle} == {f"v{i}": i for i in range(20)}


def test_crc32c_matches_the_published_vectors() -> None:
    # RFC 3720, appendix B.4
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes([255] * 32)) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"") == 0


def test_snappy_literals_and_copies() -> None:
    text = bytes(range(200))
    assert snappy_decompress(snappy_literals(text)) == text
    # "abcd", a copy of 7 bytes from 4 back that overlaps itself, then a copy with a two-byte offset
    block = bytes([15, 3 << 2]) + b"abcd" + bytes([(7 - 4) << 2 | 1, 4]) + bytes([(4 - 1) << 2 | 2, 11, 0])
    assert snappy_decompress(block) == b"abcdabcdabcabcd"
    long = bytes([0xC8, 0x01, 60 << 2, 199]) + text  # a literal whose size follows in one byte
    assert snappy_decompress(long) == text


@pytest.mark.parametrize("block", [b"\x04\x0cab", bytes([4, 1, 9]), b"\xff\xff\xff\xff\xff\xff"])
def test_damaged_snappy_is_refused(block: bytes) -> None:
    with pytest.raises(ValueError, match="Snappy"):
        snappy_decompress(block)
