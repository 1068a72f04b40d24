"""Faces of a folder of ``emoca encode``: which rows, which pixels, which code; what is refused."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from encoded_folder import CROP, SIZE, write_encoded
from PIL import Image

from emoca_core import get_registry
from emoca_core.errors import AssetFormatError, EmocaError
from emoca_core.interfaces import FaceCrop
from emoca_core.testing import check_component


@pytest.fixture(scope="module")
def codes(tmp_path_factory):
    return write_encoded(tmp_path_factory.mktemp("encoded"))


def faces(codes, **params):
    size = {"crop_size": SIZE, "image_size": SIZE}
    return get_registry().build("dataset", "encoded_faces", {"folder": codes, **size, **params})


def truth():
    return get_registry().build("dataset", "synthetic_faces", {"length": 6, "seed": 5, "image_size": SIZE})


def test_the_contract_holds(codes):
    check_component("dataset", "encoded_faces", {"folder": str(codes), "crop_size": SIZE, "image_size": 32})


def test_faces_without_a_code_or_of_doubtful_quality_are_left_out(codes):
    assert [sample.key for sample in faces(codes)] == ["0.png", "1.png", "3.png", "5.png"]
    assert [sample.key for sample in faces(codes, split="train")] == ["0.png", "1.png", "5.png"]
    assert faces(codes).identities().tolist() == [0, 0, 0, 1]


def test_code_mesh_and_landmarks_are_those_of_the_crop(codes):
    """The points are those of the synthetic face, which its own camera sees at the same places of the crop."""
    found, known = faces(codes), truth()
    for sample, row in zip(found, (0, 1, 3, 5), strict=True):
        true = known[row]
        torch.testing.assert_close(sample.landmarks, true.landmarks, atol=1e-4, rtol=0)
        for name, block in sample.parameters.blocks().items():
            torch.testing.assert_close(block, true.parameters.blocks()[name])
        torch.testing.assert_close(sample.geometry.vertices, true.geometry.vertices, atol=1e-6, rtol=0)
        seen = sample.parameters.camera.project(sample.geometry.landmarks["ibug68"])[0, :, :2]
        torch.testing.assert_close(seen, sample.landmarks, atol=1e-4, rtol=0)


@pytest.mark.parametrize("keep", [False, True])
def test_the_image_is_the_part_of_the_photo_that_was_encoded(codes, keep, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = faces(codes, image_size=SIZE // 2, keep=keep)[2].image
    picture = np.asarray(Image.open(codes.parent / "3.png"), np.float32) / 255
    x, y = CROP[:2, 2].astype(int)
    step = torch.from_numpy(picture[y : y + SIZE // 2, x : x + SIZE // 2]).permute(2, 0, 1)
    # a crop pixel of half the size lies a quarter of a photo pixel aside
    assert (image - step).abs().mean() < 0.03 and (image - step.flip(-1)).abs().mean() > 0.06


def test_folders_are_joined(codes, tmp_path):
    second = write_encoded(tmp_path)
    both, one = faces([codes, second], split="train"), faces(codes, split="train")
    assert len(both) == 2 * len(one)
    assert [sample.key for sample in both] == 2 * [sample.key for sample in one]
    assert torch.equal(both[4].image, one[1].image) and torch.equal(both[4].parameters.shape, one[1].parameters.shape)
    (tmp_path / "1.png").unlink()  # the second folder's pictures are its own
    with pytest.raises(EmocaError, match=r"1\.png"):
        both[4]


def test_folders_of_different_codes_are_not_joined(codes, tmp_path):
    second = write_encoded(tmp_path)
    part = second / "part-0.parquet"
    table = pq.read_table(part)
    pq.write_table(table.drop_columns(["code.eye_pose"]), part)
    with pytest.raises(AssetFormatError, match="other blocks"):
        faces([codes, second])


def test_a_mirrored_face_is_the_mirror_image(codes):
    """Pixels, points, and the mesh of the mirrored code: half a millimetre, for a mirrored shape is the nearest one."""
    found, head = faces(codes, mirrored=True), get_registry().build("face_model", "open_head", {"texture_size": 64})
    assert len(found) == 8 and found.identities().tolist() == [0, 0, 0, 1, 2, 2, 2, 3]
    flip = torch.tensor([-1.0, 1.0, 1.0])
    for index in range(4):
        one, other = found[index], found[index + 4]
        assert other.key == one.key + "#mirrored" and other.identity == one.identity + "#mirrored"
        assert torch.equal(other.image, one.image.flip(-1))
        mirrored = one.geometry.vertices[:, head.mirror] * flip
        assert (other.geometry.vertices - mirrored).norm(dim=-1).mean() < 5e-4
        assert (other.geometry.vertices - one.geometry.vertices).norm(dim=-1).mean() > 2e-3
        seen = other.parameters.camera.project(other.geometry.landmarks["ibug68"])[0, :, :2]
        assert (seen - other.landmarks).norm(dim=-1).mean() < 0.01
        assert other.parameters.unit_of("expression") == "activation"


def test_what_is_not_there_is_named(codes, tmp_path):
    with pytest.raises(AssetFormatError, match="no good face of the split test"):
        faces(codes, split="test")
    with pytest.raises(AssetFormatError):
        faces(tmp_path)


def test_an_encoder_looks_the_same_codes_up(codes):
    encoder, found = get_registry().build("encoder", "encoded_codes", {"folder": codes}), faces(codes)
    samples = [found[2], found[0]]
    crop = FaceCrop(torch.stack([s.image for s in samples]), keys=tuple(s.key for s in samples))
    code = encoder(crop)
    assert encoder.needs == {"keys"} and code.unit_of("expression") == "activation"
    assert {name: block.shape[1] for name, block in code.blocks().items()} == dict(encoder.blocks)
    for row, sample in enumerate(samples):
        for name, block in sample.parameters.blocks().items():
            assert torch.equal(code.blocks()[name][row : row + 1], block), name


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (None, "needs to know the image"),
        (("0.png",), "needs to know the image"),
        (("0.png", "9.png"), "no code of 9.png"),
        (("0.png", "2.png"), "no code of 2.png"),
    ],
)
def test_a_face_without_a_code_is_refused(codes, keys, message):
    encoder = get_registry().build("encoder", "encoded_codes", {"folder": codes})
    with pytest.raises(EmocaError, match=message):
        encoder(FaceCrop(torch.zeros(2, 3, 8, 8), keys=keys))
