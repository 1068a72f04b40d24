"""What training changes in a face: by its generator alone, and as the settings say."""

import pytest
import torch

from emoca_core.interfaces import FaceSample
from emoca_core.interfaces.samples import sample_image
from emoca_core.train.augmentation import AugmentationSettings, FaceChanges, augment_face, change_face

STILL = {"scale": 0, "shift": 0, "mirror": False}
FACE = FaceSample(sample_image(32)[0], "a", expression=2, valence=0.1, arousal=0.2, logits=torch.ones(7))


def augmented(seed: int = 1, **settings) -> torch.Tensor:
    return augment_face(FACE, torch.Generator().manual_seed(seed), AugmentationSettings(**settings)).image


def test_augmentation_depends_on_its_generator_alone():
    everything = {"rotate": 20, "brightness": 0.2, "contrast": 0.3, "grey": 1, "blur": 1, "jpeg": 1, "erase": 1}
    torch.manual_seed(3)
    first = augmented(**everything)
    torch.manual_seed(4)
    assert torch.equal(first, augmented(**everything))
    assert not torch.equal(first, augmented(2, **everything))
    result = augment_face(FACE, torch.Generator().manual_seed(1), AugmentationSettings(**everything))
    assert (result.expression, result.valence, result.arousal) == (2, 0.1, 0.2)
    assert torch.equal(result.logits, FACE.logits)
    assert first.shape == FACE.image.shape and first.min() >= 0 and first.max() <= 1


def test_nothing_asked_for_changes_nothing():
    torch.testing.assert_close(augmented(**STILL), FACE.image, atol=1e-6, rtol=0)


def test_half_of_the_faces_are_mirrored():
    mirrored = [bool((augmented(s, scale=0, shift=0) - FACE.image.flip(-1)).abs().max() < 1e-5) for s in range(60)]
    assert 18 <= sum(mirrored) <= 42  # within 3 standard deviations of 30


def test_grey_has_one_channel_three_times():
    red, green, blue = augmented(**STILL, grey=1)
    assert torch.equal(red, green) and torch.equal(green, blue)
    expected = 0.299 * FACE.image[0] + 0.587 * FACE.image[1] + 0.114 * FACE.image[2]
    torch.testing.assert_close(red, expected, atol=1e-6, rtol=0)


def test_a_quarter_turn_is_one():
    """Of the outermost draw: 90 degrees times nearly one; a picture of one bright row becomes one column."""
    face = FaceSample(torch.zeros(3, 33, 33).index_fill_(1, torch.tensor([16]), 1.0), "row")
    turned = [
        augment_face(face, torch.Generator().manual_seed(s), AugmentationSettings(**STILL, rotate=90)).image[0]
        for s in range(200)
    ]
    assert max(float(image[:, 16].mean()) for image in turned) > 0.9
    assert any(float(image[16].mean()) > 0.9 for image in turned)


@pytest.mark.parametrize("name", ["blur", "jpeg"])
def test_what_lowers_quality_keeps_the_large_and_loses_the_small(name):
    noisy = FaceSample((FACE.image + 0.2 * torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))), "n")
    worse = [
        augment_face(noisy, torch.Generator().manual_seed(s), AugmentationSettings(**STILL, **{name: 1})).image
        for s in range(8)
    ]
    for image in worse:
        assert (image.mean() - noisy.image.clamp(0, 1).mean()).abs() < 0.03
    detail = [float((image - torch.nn.functional.avg_pool2d(image, 3, 1, 1)).std()) for image in worse]
    own = float((noisy.image - torch.nn.functional.avg_pool2d(noisy.image, 3, 1, 1)).std())
    assert min(detail) < 0.7 * own


def test_a_hole_is_of_one_grey_and_at_most_four_tenths_wide():
    for seed in range(20):
        changed = (augmented(seed, **STILL, erase=1) - FACE.image).abs().amax(0) > 1e-5
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        assert 0 < len(rows) <= 13 and 0 < len(columns) <= 13


def test_points_and_mask_move_with_the_face():
    """A bright pixel stays under its point, the mask goes along, and code and mesh stay but for the camera."""
    from emoca_core import get_registry

    drawn = get_registry().build("dataset", "synthetic_faces", {"length": 1, "image_size": 64})[0]
    row, column = 40, 22
    points = torch.tensor([[(2 * column + 1) / 64 - 1, (2 * row + 1) / 64 - 1]]).repeat(68, 1)
    image = torch.zeros(3, 64, 64)
    image[:, row - 1 : row + 2, column - 1 : column + 2] = 1
    face = FaceSample(
        image, "a", landmarks=points, mask=image[:1], parameters=drawn.parameters, geometry=drawn.geometry
    )
    for seed in range(5):
        moved = change_face(face, torch.Generator().manual_seed(seed), FaceChanges(scale=0.3, shift=0.2))
        bright = moved.image[0] / moved.image[0].sum()
        place = torch.stack([(bright.sum(0) * torch.arange(64)).sum(), (bright.sum(1) * torch.arange(64)).sum()])
        torch.testing.assert_close((2 * place + 1) / 64 - 1, moved.landmarks[0], atol=0.02, rtol=0)
        assert (moved.landmarks[0] - points[0]).abs().max() > 0.02
        torch.testing.assert_close(moved.mask, moved.image[:1])
        assert moved.parameters.camera is None and torch.equal(moved.parameters.shape, drawn.parameters.shape)
        assert moved.geometry is drawn.geometry
    still = change_face(face, torch.Generator().manual_seed(1), FaceChanges(grey=1))
    assert still.landmarks is points and still.parameters.camera is not None
