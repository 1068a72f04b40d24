"""The overlay of a clip: every frame of it, the mesh where the camera sees it, nothing where nobody is."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest
import torch
from numpy import ndarray
from scipy.ndimage import binary_erosion

from emoca_core.export.overlay_clip import ClipWindow, overlay_frames
from emoca_core.geometry.normals import grid_faces
from emoca_core.interfaces import PhotoCamera
from emoca_core.interfaces.samples import SURFACE
from emoca_core.registry import get_registry
from emoca_core.testing.sample_sequence import SampleSequence, sample_sequence


class Seen(SampleSequence):
    """By a camera that moves, in frames of the clip's size."""

    @cached_property
    def cameras(self):
        height, width = self.clip.size
        lens = np.array([[1.2 * height, 0, (width - 1) / 2], [0, 1.2 * height, (height - 1) / 2], [0, 0, 1]])
        shifts = np.linspace(-0.1, 0.1, len(self))
        flip = np.diag([1.0, -1.0, -1.0])
        return [PhotoCamera("perspective", lens, flip, np.array([x, 0, 0.6]), self.clip.size) for x in shifts]


def seen(size):
    sample = sample_sequence()
    fields = {name: getattr(sample, name) for name in sample.__dataclass_fields__}
    everywhere = np.broadcast_to(np.linspace([0, 0], size[::-1], 68), (len(sample), 68, 2))
    return Seen(**fields | {"clip": replace(sample.clip, size=size), "landmarks": everywhere})


def drawn(sequence) -> dict[int, ndarray]:
    renderer = get_registry().build("renderer", "zbuffer")
    frames = overlay_frames(sequence, grid_faces(*SURFACE), renderer, torch.device("cpu"))
    return {frame.number: frame.pixels for frame in frames}


@pytest.mark.parametrize("size", [(101, 160), (900, 1600)])
def test_the_mesh_is_where_the_camera_sees_it(size):
    sequence = seen(size)
    pictures = drawn(sequence)
    assert list(pictures) == list(range(40))  # also those without the person
    ((height, width, _),) = {picture.shape for picture in pictures.values()}
    assert (height % 2, width % 2) == (0, 0)
    panel = (width - 8) // 3
    assert (
        panel / (height - 28) == pytest.approx(size[1] / size[0], rel=0.02) and panel * (height - 28) <= 512**2 * 1.01
    )
    scale = panel / size[1]
    posed = sequence.geometry(slice(None)).vertices.double().numpy()
    for row, number in enumerate(sequence.numbers.tolist()):
        alone = pictures[number][: height - 28, -panel:]
        rows, columns = np.nonzero((alone != (236, 237, 240)).any(axis=2))
        found = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
        points = (sequence.cameras[row].project(posed[row]) + 0.5) * scale - 0.5
        assert np.abs(found - np.concatenate([points.min(0), points.max(0)])).max() < 2


def test_small_faces_are_shown_large():
    """All but the first panel show the window in which the head moves; nothing of the head is cut off."""
    sequence = seen((900, 1600))
    posed = sequence.geometry(slice(None)).vertices.double().numpy()
    far = [replace(camera, translation=np.add(camera.translation, [0.3, 0.1, 3.0])) for camera in sequence.cameras]
    object.__setattr__(sequence, "cameras", far)
    points = np.stack([camera.project(one) for camera, one in zip(far, posed, strict=True)])
    object.__setattr__(sequence, "landmarks", points[:, :: len(posed[0]) // 67][:, :68])
    window = ClipWindow.around(sequence.landmarks, (900, 1600))
    assert window.width < 800 and window.width / window.height == pytest.approx(16 / 9, rel=0.01)
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    assert window.left < low[0] and window.top < low[1]
    assert window.left + window.width > high[0] and window.top + window.height > high[1]
    alone = drawn(sequence)[5][:-28, -682:]
    rows, columns = np.nonzero((alone != (236, 237, 240)).any(axis=2))
    shown = (points[2] - [window.left, window.top] + 0.5) * [682 / window.width, len(alone) / window.height] - 0.5
    assert np.abs([columns.min() - shown[:, 0].min(), rows.max() - shown[:, 1].max()]).max() < 1.5


def test_the_original_stays_and_shines_through():
    sequence = seen((100, 160))
    pictures = drawn(sequence)
    clip = {frame.number: frame.pixels for frame in sequence.clip.frames()}
    for number in (5, 20):
        np.testing.assert_array_equal(pictures[number][:100, :160], clip[number])
    nobody = pictures[20]
    np.testing.assert_array_equal(nobody[:100, 164:324], clip[20])
    assert (nobody[:100, 328:] == (236, 237, 240)).all()
    mixed, alone = (pictures[5][:100, x : x + 160].astype(int) for x in (164, 328))
    covered = (alone != (236, 237, 240)).any(axis=2)
    assert 0.05 < covered.mean() < 0.9
    inside = binary_erosion(covered, np.ones((5, 5)))  # the edge is soft
    np.testing.assert_allclose(mixed[inside], 0.2 * clip[5][inside] + 0.8 * alone[inside], atol=2)
    np.testing.assert_array_equal(mixed[~covered], clip[5][~covered])


def test_what_is_known_of_a_frame_is_written_below():
    pictures = drawn(seen((100, 600)))
    plain, bridged, nobody = (pictures[number][100:] for number in (4, 7, 20))
    assert (plain != bridged).any() and (plain != nobody).any() and (bridged != nobody).any()
    assert (plain[:, -100:] == 255).all()


def test_faces_beyond_the_frame_are_cut_off():
    near = seen((100, 160))
    lens = replace(near.cameras[0], translation=np.array([0.05, 0.0, 0.12]))
    object.__setattr__(near, "cameras", [lens] * len(near))
    picture = drawn(near)[5]
    assert (picture[:100, 328:] != (236, 237, 240)).any(axis=2).mean() > 0.6
