"""Pickles of published models: everything they hold is read, everything else is refused without being run."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emoca_core.errors import AssetFormatError
from emoca_core.weights.pickled_arrays import to_array
from emoca_core.weights.restricted_pickle import load_pickle

PROTOCOLS = range(6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u4", "?", "U3"])
def test_arrays_of_every_protocol(protocol: int, dtype: str) -> None:
    array = np.asfortranarray(np.arange(12).reshape(3, 4).astype(dtype))
    value = load_pickle(pickle.dumps({"a": array, "n": 3, "s": np.float32(2.5)}, protocol))
    assert np.array_equal(to_array(value["a"]), array)
    assert value["a"].dtype == array.dtype
    assert (value["n"], value["s"]) == (3, 2.5)


@pytest.mark.parametrize("make", [scipy.sparse.csc_matrix, scipy.sparse.csr_matrix, scipy.sparse.coo_matrix])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_sparse_matrices(make: type, protocol: int) -> None:
    dense = np.array([[0, 1.5, 0], [2, 0, 0]])
    empty = np.zeros((2, 3))
    assert np.array_equal(to_array(load_pickle(pickle.dumps(make(empty), protocol))), empty)
    assert np.array_equal(to_array(load_pickle(pickle.dumps(make(dense), protocol))), dense)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_tensors_pickled_without_torch_save(dtype: torch.dtype) -> None:
    tensor = torch.arange(24).reshape(4, 6).to(dtype)
    for view in (tensor, tensor[1:, ::2], tensor.T):
        loaded = to_array(load_pickle(pickle.dumps({"t": view}))["t"])
        assert np.array_equal(loaded, view.numpy())


def test_object_arrays_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "dictionary.npy"
    np.save(path, np.array({"a": np.ones(3)}, dtype=object), allow_pickle=True)
    with open(path, "rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        assert load_pickle(file).item()["a"].tolist() == [1, 1, 1]


class Command:
    """Runs a command when unpickled."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_commands_are_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    for attack in (
        Command(os.system, f"touch {mark}"),
        Command(eval, f"open({str(mark)!r}, 'w')"),
        Command(mark.touch),
        Command(getattr, "text", "format"),
        Command(torch.load, str(mark)),
        Command(np.load, str(mark), None, True),
        Command(pickle.loads, b""),
    ):
        data = pickle.dumps({"v_template": np.ones(3), "f": attack}, protocol)
        with pytest.raises(AssetFormatError, match="refuses to build"):
            load_pickle(data, "model.pkl")
    assert not mark.exists()


def test_refusal_names_file_and_culprit() -> None:
    with pytest.raises(AssetFormatError, match=r"model\.pkl: refuses to build '(posix|nt)\.system'"):
        load_pickle(pickle.dumps(Command(os.system, "true")), "model.pkl")


@pytest.mark.parametrize(
    "data",
    [
        b"ccopy_reg\n_reconstructor\n(c__builtin__\nobject\nc__builtin__\nobject\nNtR.",  # a class of nobody
        b"cnumpy.core.multiarray\n_reconstruct\n(c__builtin__\nobject\n(I0\ntS'b'\ntR.",  # an array of another class
        b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",  # another codec
        b"cnumpy\ndtype\n(S'O8'\ntRp0\n0cnumpy.core.multiarray\nscalar\n(g0\nS'abc'\ntR.",  # a pointer as a number
        b"\x80\x02X\x01\x00\x00\x00aQ.",  # a persistent id
    ],
)
def test_builders_do_not_take_what_they_should_not(data: bytes) -> None:
    with pytest.raises(AssetFormatError):
        load_pickle(data)


def test_legacy_tensor_bytes_go_through_the_safe_reader(tmp_path: Path) -> None:
    """A tensor's storage is a PyTorch file of its own, which could hold a command."""
    mark = tmp_path / "ran"
    inner = io.BytesIO()
    torch.save(Command(os.system, f"touch {mark}"), inner, _use_new_zipfile_serialization=False)
    data = pickle.dumps(Command(torch.storage._load_from_bytes, inner.getvalue()))
    with pytest.raises(AssetFormatError):
        load_pickle(data)
    assert not mark.exists()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 100))
def test_damage_is_an_error_and_never_a_crash(noise: bytes, at: int) -> None:
    good = pickle.dumps({"a": np.arange(4.0)}, 2)
    at %= len(good)
    for data in (noise, good[:at], good[:at] + noise + good[at + len(noise) :]):
        try:
            load_pickle(data)
        except AssetFormatError:
            continue
