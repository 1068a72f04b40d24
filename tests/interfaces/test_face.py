"""Crops, face codes and geometry: selecting, mapping, joining, exchanging."""

import dataclasses

import pytest
import torch

from emoca_core.errors import UnknownNameError
from emoca_core.interfaces import (
    BLOCKS,
    DEFAULT_UNITS,
    FaceCrop,
    FaceGeometry,
    FaceParameters,
    PerspectiveCamera,
    WeakPerspectiveCamera,
)
from emoca_core.vocabulary.emotions import EXPRESSIONS


def code(batch: int = 2) -> FaceParameters:
    return FaceParameters(
        shape=torch.arange(batch * 4.0).view(batch, 4),
        expression=torch.arange(batch * 2.0).view(batch, 2) + 100,
        lighting=torch.arange(batch * 27.0).view(batch, 9, 3),
        camera=WeakPerspectiveCamera.from_code(torch.arange(batch * 3.0).view(batch, 3) + 1000),
    )


def crop(batch: int = 2, size: int = 8, **optional) -> FaceCrop:
    return FaceCrop(image=torch.arange(batch * 3.0 * size * size).view(batch, 3, size, size), **optional)


def test_blocks_are_flat_and_in_one_order():
    blocks = code().blocks()
    assert list(blocks) == ["shape", "expression", "lighting", "camera"]
    assert [name for name in BLOCKS if name in blocks] == list(blocks)
    assert {name: tuple(block.shape) for name, block in blocks.items()} == {
        "shape": (2, 4),
        "expression": (2, 2),
        "lighting": (2, 27),
        "camera": (2, 3),
    }


def test_lighting_is_flattened_band_by_band():
    lighting = torch.zeros(1, 9, 3)
    lighting[0, 2, 1] = 1  # third band, green
    assert FaceParameters(lighting=lighting).blocks()["lighting"].nonzero().tolist() == [[0, 2 * 3 + 1]]


def test_length_is_the_batch():
    assert len(code(5)) == 5
    assert len(crop(4)) == 4


def test_select_joins_in_the_order_asked_for():
    selected = code().select(["camera", "shape"])
    torch.testing.assert_close(selected[1], torch.tensor([1003.0, 1004.0, 1005.0, 4.0, 5.0, 6.0, 7.0]))
    assert torch.equal(code().select(iter(["shape"])), code().shape)


def test_select_of_an_absent_block_says_what_there_is():
    with pytest.raises(
        UnknownNameError, match=r"named 'jaw_pose'[\s\S]*available: camera, expression, lighting, shape"
    ):
        code().select(["shape", "jaw_pose"])


def test_map_reaches_every_tensor_and_keeps_the_rest():
    mapped = dataclasses.replace(code(), units={"shape": "raw"}).map(lambda tensor: tensor[1:].double())
    assert len(mapped) == 1
    assert {tensor.dtype for tensor in mapped.blocks().values()} == {torch.float64}
    torch.testing.assert_close(mapped.camera.code(), code().camera.code()[1:].double())
    assert mapped.unit_of("shape") == "raw"
    assert mapped.jaw_pose is None


def test_map_keeps_the_kind_of_camera():
    camera = PerspectiveCamera(torch.ones(2, 2), torch.zeros(2, 2), torch.ones(2, 3))
    mapped = FaceParameters(camera=camera).map(lambda tensor: tensor * 2)
    assert isinstance(mapped.camera, PerspectiveCamera)
    assert torch.equal(mapped.camera.focal, torch.full((2, 2), 2.0))


def test_replace_exchanges_blocks_in_a_copy():
    before = code()
    after = before.replace(shape=None, jaw_pose=torch.zeros(2, 3))
    assert before.shape is not None and before.jaw_pose is None
    assert set(after.blocks()) == {"expression", "jaw_pose", "lighting", "camera"}


def test_units():
    assert set(DEFAULT_UNITS) == set(BLOCKS)
    assert code().unit_of("global_pose") == "radians"
    assert code().replace(units={"expression": "activation"}).unit_of("expression") == "activation"


def test_codes_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        code().shape = torch.zeros(2, 4)


def test_crops_are_joined():
    full = {
        "landmarks": {"ibug68": torch.zeros(2, 68, 2), "mediapipe478": torch.zeros(2, 478, 2)},
        "crop_to_image": torch.eye(3).repeat(2, 1, 1),
        "identity": torch.tensor([0, 1]),
    }
    joined = FaceCrop.cat([crop(**full), crop(**(full | {"landmarks": {"ibug68": torch.ones(2, 68, 2)}}))])
    assert len(joined) == 4
    assert torch.equal(joined.image[2:], crop().image)
    assert list(joined.landmarks) == ["ibug68"]  # the set that every batch has
    assert joined.landmarks["ibug68"][:, 0, 0].tolist() == [0, 0, 1, 1]
    assert joined.identity.tolist() == [0, 1, 0, 1]


def test_an_optional_field_survives_only_if_every_batch_has_it():
    joined = FaceCrop.cat([crop(identity=torch.tensor([0, 1])), crop()])
    assert joined.identity is None
    assert joined.blendshapes is None


def test_joining_and_indexing_are_inverse():
    whole = crop(4, landmarks={"ibug68": torch.rand(4, 68, 2)})
    halves = [whole.map(lambda tensor, part=part: tensor[part]) for part in (slice(0, 1), slice(1, 4))]
    again = FaceCrop.cat(halves)
    assert torch.equal(again.image, whole.image)
    assert torch.equal(again.landmarks["ibug68"], whole.landmarks["ibug68"])


def test_crops_of_different_sizes_cannot_be_joined():
    with pytest.raises(ValueError, match=r"different sizes cannot form a batch: \[\(8, 8\), \(16, 16\)\]"):
        FaceCrop.cat([crop(), crop(size=16)])


def test_size_is_height_and_width():
    assert FaceCrop(torch.zeros(1, 3, 10, 20)).size == (10, 20)


def test_geometry_maps_vertices_and_landmarks():
    geometry = FaceGeometry(torch.ones(2, 5, 3), {"ibug68": torch.ones(2, 68, 3)}).map(lambda tensor: 2 * tensor[:1])
    assert geometry.vertices.sum() == 30
    assert geometry.landmarks["ibug68"].shape == (1, 68, 3)


def test_expression_classes_are_affectnets():
    assert EXPRESSIONS == ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
