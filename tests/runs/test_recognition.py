"""Recognition networks by name: who is here is found, and nobody takes the place of one who is not."""

import pytest
import torch
from faceres_files import published_arrays, write

from emoca_core.errors import MissingAssetError, UnknownNameError
from emoca_core.formats.add import add_files
from emoca_core.runs.recognition import find_recognition, load_recognition, recognitions


def test_who_is_here_is_found_and_named(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    assert [*recognitions()] == ["identity", "faceres"]
    assert find_recognition() is None
    assert [added.problem for added in add_files([write(tmp_path / "models.tgz", published_arrays())])] == [None]
    found = find_recognition()
    assert found is not None
    name, loss = found
    assert name == "faceres" and [*loss.asset_paths] == ["faceres"]
    assert not loss.training and not any(weight.requires_grad for weight in loss.parameters())
    assert all(map(torch.equal, loss.state_dict().values(), load_recognition("faceres").state_dict().values()))


def test_one_that_is_not_here_has_no_substitute(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOCA_ASSETS", str(tmp_path / "assets"))
    assert [added.problem for added in add_files([write(tmp_path / "models.tgz", published_arrays())])] == [None]
    with pytest.raises(MissingAssetError, match="vggface2_resnet50"):
        load_recognition("identity")
    with pytest.raises(UnknownNameError, match="Did you mean 'faceres'"):
        load_recognition("facers")
