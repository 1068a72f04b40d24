"""``emoca data render``: a data set becomes files that read back as the same faces."""

from pathlib import Path

import torch

from emoca_core import get_registry
from emoca_core.cli import main
from emoca_core.datasets import Manifest

SETTINGS = {
    "length": 35,
    "image_size": 48,
    "face_model": {"params": {"texture_size": 32}},
    "seed": 3,
}  # more than one batch


def test_files_read_back_as_the_same_faces(tmp_path: Path) -> None:
    options = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    arguments = ["data", "render", "synthetic_faces", "--out", str(tmp_path), *options]
    assert main([*arguments, "--split", "train=0.7", "validation=0.3", "--by", "identity"]) == 0
    registry = get_registry()
    drawn = registry.build("dataset", "synthetic_faces", SETTINGS)
    read = registry.build("dataset", "manifest", {"file": tmp_path / "manifest.parquet", "image_size": 48})
    assert len(read) == len(drawn)
    for index in (0, 34):
        ours, theirs = read[index], drawn[index]
        # eight bits
        assert (ours.image - theirs.image.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6
        assert (ours.expression, ours.identity) == (theirs.expression, theirs.identity)
        assert abs(ours.valence - theirs.valence) < 1e-6
        torch.testing.assert_close(ours.landmarks, theirs.landmarks, atol=1e-5, rtol=0)  # through float32 pixels
    manifest = Manifest.open(tmp_path / "manifest.parquet")
    people = list(zip(manifest.texts("identity"), manifest.texts("split"), strict=True))
    assert len({name for name, _ in people}) == len(set(people))  # nobody is in two splits


def test_an_unknown_data_set_is_one_line(tmp_path: Path, capsys: object) -> None:
    assert main(["data", "render", "synthetic_face", "--out", str(tmp_path)]) == 2
    assert "synthetic_faces" in capsys.readouterr().err  # type: ignore[attr-defined]
