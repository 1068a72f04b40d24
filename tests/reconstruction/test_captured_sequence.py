"""What a captured sequence says of itself."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from emoca_core.errors import ImageError
from emoca_core.export.camera import crop_camera_to_photo
from emoca_core.interfaces import FaceParameters, PerspectiveCamera, WeakPerspectiveCamera
from emoca_core.reconstruction.captured_sequence import ReconstructedSequence
from emoca_core.testing.sample_sequence import sample_sequence


@pytest.fixture(params=["perspective", "weak"])
def sequence(method, request):
    sample = sample_sequence()
    count, random = len(sample), torch.Generator().manual_seed(1)
    ones = torch.ones(count)
    camera = PerspectiveCamera(
        9 + torch.rand(count, 2, generator=random), 0.1 * torch.rand(count, 2, generator=random),
        torch.tensor([0, 0.01, 1.0]) * ones[:, None],
    ) if request.param == "perspective" else WeakPerspectiveCamera(8 * ones, 0.01 * torch.rand(count, 2))  # fmt: skip
    code = FaceParameters(
        shape=torch.tensor([[0.5, 0.1]]).expand(count, -1),
        expression=0.5 * torch.rand(count, 52, generator=random),
        global_pose=sample.parameters.global_pose,
        camera=camera,
        units={"expression": "activation"},
    )
    tilted = np.array([[1.9, -0.3, 5.0], [0.3, 1.9, 7.0], [0, 0, 1]])
    fields = {name: getattr(sample, name) for name in sample.__dataclass_fields__ if name != "bare"}
    crops = np.stack([tilted + np.diag([0, 0, 0.0]) + [[0, 0, i], [0, 0, -i], [0, 0, 0]] for i in range(count)])
    return ReconstructedSequence(**fields | {"parameters": code, "crop_to_image": crops, "method": method})


def test_meshes_and_rig_are_those_of_the_method(sequence):
    posed = sequence.geometry(slice(3, 7))
    expected = sequence.method.face_model(sequence.parameters)
    torch.testing.assert_close(posed.vertices, expected.vertices[3:7])
    assert sequence.rig.weights.shape == (len(sequence), 52)
    np.testing.assert_array_equal(sequence.arkit, sequence.rig.weights)
    own = sequence.rig.mesh.vertices + np.tensordot(sequence.rig.weights, sequence.rig.mesh.rig.targets, axes=1)
    shown = own @ np.swapaxes(sequence.rig.heads[:, :3, :3], 1, 2) + sequence.rig.heads[:, None, :3, 3]
    distance = 1000 * np.linalg.norm(shown - expected.vertices.numpy(), axis=2)
    np.testing.assert_allclose(sequence.rig.residual_mm, distance.mean(axis=1), atol=1e-3)


def test_cameras_are_those_of_each_frame(sequence):
    assert len(sequence.cameras) == len(sequence)
    for row in (0, 11):
        camera = sequence.parameters.camera.map(lambda tensor, row=row: tensor[row : row + 1])
        alone = crop_camera_to_photo(camera, sequence.crop_size, sequence.crop_to_image[row], sequence.clip.size)
        np.testing.assert_array_equal(sequence.cameras[row].matrix, alone.matrix)


def test_pictures_are_one_for_each_row(sequence):
    frames = list(sequence.pictures(slice(2, 14)))
    assert [frame.number for frame in frames] == sequence.numbers[2:14].tolist()
    gone = replace(sequence, numbers=np.append(sequence.numbers[:-1], 400))
    with pytest.raises(ImageError, match="frame 400 cannot be read any more"):
        list(gone.pictures())


def test_the_record_is_json_and_tells_no_folder(sequence):
    record = json.loads(json.dumps(sequence.record()))
    assert record["clip"]["file"] == "sample ‘1’.mp4" and record["frames"] == len(sequence)
    assert record["person"]["shape"] == pytest.approx([0.5, 0.1])
