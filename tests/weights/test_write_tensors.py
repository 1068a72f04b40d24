"""Safetensors files: equal content is equal bytes, and views, types and metadata come back."""

import json
import tracemalloc

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from full_disk import room_for

from emoca_core.weights.write_tensors import write_tensors

METADATA = {name: name.upper() for name in ("format", "units", "camera", "of", "any", "order")}


def test_equal_content_is_equal_bytes(tmp_path):
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2, dtype=torch.int64)}
    assert len({safetensors.torch.save(tensors, METADATA) for _ in range(20)}) > 1, "the library alone shuffles"
    written = set()
    for number in range(20):
        write_tensors(tmp_path / str(number), tensors, METADATA)
        written.add((tmp_path / str(number)).read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_everything_comes_back(tmp_path, dtype):
    tensor = torch.arange(12).reshape(3, 4).to(dtype)
    tensors = {"whole": tensor, "view": tensor[:2], "turned": tensor.T, "empty": tensor[:0], 'ü"': tensor[0, 0]}
    write_tensors(tmp_path / "file", tensors, METADATA)
    with safetensors.safe_open(tmp_path / "file", framework="pt") as file:
        assert file.metadata() == METADATA and set(file.keys()) == set(tensors)
        for name, expected in tensors.items():
            assert torch.equal(file.get_tensor(name), expected), name


def test_arrays_are_tensors_too(tmp_path):
    array = np.arange(6, dtype=np.float64).reshape(2, 3).T
    array.flags.writeable = False
    write_tensors(tmp_path / "file", {"a": array})
    assert np.array_equal(safetensors.torch.load_file(tmp_path / "file")["a"].numpy(), array)


def test_it_is_the_librarys_file_but_made_tensor_by_tensor(tmp_path):
    """An hour of a face is 200 MB: neither a copy of all tensors nor the whole file in memory."""
    tensors = {
        "b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(3, dtype=torch.float64), "n": torch.tensor(7),
        "h": torch.ones(2, 2, dtype=torch.bfloat16), "m": torch.tensor([True, False]),
        "t": torch.arange(12).reshape(3, 4).T,
        "e": torch.ones(5, 1).expand(5, 7), "z": torch.empty(0, 3), "u": torch.ones(4, dtype=torch.uint8),
        "c": torch.ones(2, dtype=torch.complex64).conj(),
    }  # fmt: skip
    write_tensors(tmp_path / "file", tensors, METADATA)
    plain = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    ours, theirs = (tmp_path / "file").read_bytes(), safetensors.torch.save(plain, METADATA)
    starts = [8 + int.from_bytes(data[:8], "little") for data in (ours, theirs)]
    assert json.loads(ours[8 : starts[0]]) == json.loads(theirs[8 : starts[1]])
    assert ours[starts[0] :] == theirs[starts[1] :]
    large = {name: np.zeros(2_000_000) for name in "abcd"}
    tracemalloc.start()
    write_tensors(tmp_path / "large", large)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "large").stat().st_size > 64e6 and most < 20e6


def test_a_full_disk_is_noticed(tmp_path):
    with room_for(1000), pytest.raises(OSError):
        write_tensors(tmp_path / "file", {"a": torch.zeros(1000)})
    assert list(tmp_path.iterdir()) == []
