"""Codes on disk: what is not one is refused; the JSON is for people and programs alike."""

import json
import pickle

import pytest
import safetensors.torch
import torch

from emoca_core.errors import AssetFormatError
from emoca_core.export.codes import read_codes, write_codes, write_record
from emoca_core.interfaces import FaceParameters, WeakPerspectiveCamera
from emoca_core.interfaces.samples import SIZES, sample_parameters


def test_every_block_and_unit_comes_back(tmp_path):
    code = sample_parameters(SIZES).replace(units={"expression": "whitened"})
    write_codes(tmp_path / "code.safetensors", code)
    again = read_codes(tmp_path / "code.safetensors")
    assert again.lighting.shape == (len(code), 9, 3)
    assert isinstance(again.camera, WeakPerspectiveCamera)
    assert again.unit_of("expression") == "whitened" and again.unit_of("detail") == "latent"
    for name, block in code.blocks().items():
        assert torch.equal(again.blocks()[name], block)


def test_without_camera(tmp_path):
    write_codes(tmp_path / "code.safetensors", FaceParameters(shape=torch.ones(2, 3)))
    assert read_codes(tmp_path / "code.safetensors").camera is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        pickle.dumps({"shape": [1.0]}),
        safetensors.torch.save({"shape": torch.ones(1, 3)}),
        safetensors.torch.save({"weights": torch.ones(1, 3)}, {"format": "emoca-codes-1", "units": "{}"}),
    ],
    ids=["empty", "text", "pickle", "no format", "other tensors"],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "code.safetensors"
    path.write_bytes(content)
    with pytest.raises(AssetFormatError, match="code"):
        read_codes(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_codes(tmp_path / "code.safetensors")


def test_records_are_exact_json_with_short_lists_on_one_line(tmp_path):
    record = {"a [\n b": [1, 2.5, None], "rows": [[1e-17, 2], [3, 4]], "texts": ["x [ y", 'q"'], "empty": [], "é": {}}
    write_record(tmp_path / "r.json", record)
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert json.loads(text) == record
    assert "[1, 2.5, null]" in text and "[1e-17, 2]" in text and "é" in text


def test_records_do_not_hide_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_record(tmp_path / "r.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())
