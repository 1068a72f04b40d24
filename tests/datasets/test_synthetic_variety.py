"""Synthetic faces as photos show them: every part on its own, what it hides, and nothing of it unless asked for."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from emoca_core import get_registry
from emoca_core.datasets.render import render_dataset
from emoca_core.errors import ImageError, ParamsError
from emoca_core.testing import check_component
from emoca_plugins.datasets.synthetic_draws import Draws, uniform_draws
from emoca_plugins.datasets.synthetic_shapes import capsules, coverage, gaussian_blur, rounded_boxes
from emoca_plugins.datasets.synthetic_variety import VarietyParams

SMALL = {"image_size": 64, "face_model": {"params": {"texture_size": 64}}, "length": 70, "faces_per_identity": 1}
WORN = ("hair", "hats", "glasses", "clothes", "occluders")
LIGHT = ("shadows", "shine")
LENS = ("casts", "grey", "defocus", "motion", "low_resolution", "jpeg")
CODE = {"strong_light": "lighting", "wide_pose": "global_pose"}
NOTHING = dict.fromkeys((*WORN, *LIGHT, *LENS, *CODE, "grain"), 0.0)
FACES = list(range(12))


def faces(**params):
    return get_registry().build("dataset", "synthetic_faces", {**SMALL, **params})


@pytest.fixture(scope="module")
def bare():
    """Heads of variety 1 with every share at 0."""
    return faces(variety=1.0, **NOTHING).__getitems__(FACES)


def with_one(name, amount=1.0):
    return faces(variety=1.0, **{**NOTHING, name: amount}).__getitems__(FACES)


def stacked(samples, field):
    return torch.stack([getattr(sample, field) for sample in samples])


def test_without_variety_the_faces_are_what_they_always_were():
    """Means of the colours before there was any variety; trainings that were measured name these faces."""
    known = torch.tensor(
        [
            [0.891503, 0.714657, 0.549550],
            [0.712413, 0.599421, 0.544153],
            [0.824428, 0.564082, 0.432930],
            [0.649298, 0.512002, 0.423010],
        ]
    )
    drawn = faces(faces_per_identity=4).__getitems__([0, 1, 5, 33])
    # the last bits of a matrix product differ between kinds of CPU; a changed draw moves these means by 1e-2
    torch.testing.assert_close(stacked(drawn, "image").mean((2, 3)), known, atol=1e-4, rtol=0)
    assert drawn[0].mask is None


def test_it_honours_the_contract_with_everything():
    check_component("dataset", "synthetic_faces", {**SMALL, "variety": 1.0})


def test_a_face_with_everything_does_not_depend_on_its_batch():
    everything = faces(variety=1.0)
    alone, together = everything[5], everything.__getitems__([1, 5, 9, 6])[1]
    torch.testing.assert_close(alone.image, together.image, atol=2e-3, rtol=0)
    assert torch.equal(alone.mask, together.mask)


@pytest.mark.parametrize("name", WORN)
def test_what_is_worn_or_held_hides_skin_and_leaves_the_code_alone(bare, name):
    dressed = with_one(name)
    before, after = stacked(bare, "mask"), stacked(dressed, "mask")
    lost = (before - after).clamp(min=0).mean((1, 2, 3))
    assert (lost > 0.001).float().mean() >= (0.4 if name in ("clothes", "occluders") else 0.9)
    changed = (stacked(bare, "image") - stacked(dressed, "image")).abs().amax(1)
    assert changed.where(before[:, 0] > after[:, 0], torch.nan).nanmean() > 0.05, "other colours where it hides"
    for ours, theirs in zip(bare, dressed, strict=True):
        assert torch.equal(ours.parameters.expression, theirs.parameters.expression)
        assert torch.equal(ours.parameters.shape, theirs.parameters.shape)
        assert torch.equal(ours.landmarks, theirs.landmarks)
        assert torch.equal(ours.geometry.vertices, theirs.geometry.vertices), "hair is no part of the true head"


@pytest.mark.parametrize("name", [*LIGHT, *LENS])
def test_light_and_lens_change_the_picture_alone(bare, name):
    seen = with_one(name)
    assert torch.equal(stacked(bare, "mask"), stacked(seen, "mask"))
    difference = (stacked(bare, "image") - stacked(seen, "image")).abs().mean((1, 2, 3))
    assert (difference > 5e-4).float().mean() >= 0.75, "amounts are drawn, and some are next to nothing"
    if name == "grey":
        assert (stacked(seen, "image").std(1) < 1e-6).all()
    if name in ("defocus", "low_resolution"):
        fine = [stacked(some, "image").diff(dim=3).square().mean() for some in (bare, seen)]
        assert fine[1] < 0.8 * fine[0]


def test_grain_is_noise_of_the_amount_that_was_asked_for(bare):
    noise = stacked(with_one("grain", 0.2), "image") - stacked(bare, "image")
    spread = noise.std((1, 2, 3))
    assert 0.01 < spread.max() < 0.2, "clamped to the range, so a little less"
    assert noise.mean().abs() < 0.01


@pytest.mark.parametrize(("name", "block"), CODE.items())
def test_light_and_pose_are_in_the_code(bare, name, block):
    changed = with_one(name)
    for ours, theirs in zip(bare, changed, strict=True):
        assert not torch.equal(ours.parameters.blocks()[block], theirs.parameters.blocks()[block])
        assert torch.equal(ours.parameters.expression, theirs.parameters.expression)
    if name == "wide_pose":
        yaw = torch.cat([s.parameters.global_pose for s in changed])[:, 1].rad2deg().abs()
        assert yaw.max() > 55
        assert yaw.max() <= 75


def test_half_the_variety_is_half_of_each_share():
    params = VarietyParams(variety=0.5, hats=0.2)
    assert params.share("hats") == 0.1


def test_hidden_landmarks_are_marked_where_that_is_asked_for():
    things = {**NOTHING, "occluders": 1.0, "variety": 1.0}
    known, marked = (faces(**things, hide_landmarks=hide).__getitems__(FACES) for hide in (False, True))
    points, seen = stacked(known, "landmarks"), stacked(marked, "landmarks")
    hidden = seen.isnan().any(-1)
    assert points.isfinite().all()
    assert 0.05 < hidden.float().mean() < 0.9
    assert torch.equal(seen[~hidden], points[~hidden])
    # independently: a point that is hidden has no skin where it is, unless it lies on the edge of something
    pixels = ((points + 1) * 32 - 0.5).round().long().clamp(0, 63)
    rows = torch.arange(len(FACES))[:, None]
    on_skin = stacked(known, "mask")[rows, 0, pixels[..., 1], pixels[..., 0]] > 0
    assert (hidden & on_skin).sum() < 0.1 * hidden.sum()


def test_hidden_landmarks_cannot_be_written_to_a_manifest(tmp_path):
    some = faces(**{**NOTHING, "occluders": 1.0, "variety": 1.0, "hide_landmarks": True})
    with pytest.raises(ParamsError, match="landmarks that are not seen"):
        render_dataset(some, tmp_path)
    assert not (tmp_path / "manifest.parquet").exists()


def test_hair_belongs_to_a_person_and_glasses_to_a_picture():
    drawn = faces(variety=1.0, faces_per_identity=4, length=16)
    photographer = drawn.photographer
    hair = [photographer.draws("hair", [index // 4]).uniform() for index in (0, 3, 4)]
    assert torch.equal(hair[0], hair[1])
    assert not torch.equal(hair[0], hair[2])


@pytest.fixture
def blue(tmp_path):
    Image.fromarray(np.full((40, 60, 3), (20, 40, 250), np.uint8)).save(tmp_path / "sky.png")
    return tmp_path


@pytest.mark.parametrize("variety", [0.0, 1.0])
def test_photos_of_the_user_stand_behind_the_faces(blue, variety):
    drawn = faces(variety=variety, backgrounds=blue, **NOTHING).__getitems__(FACES)
    corners = stacked(drawn, "image")[:, :, :6, 0]  # the head is never there
    assert (corners[:, 2] > corners[:, 0] + 0.3).float().mean() > 0.8


def test_a_folder_without_photos_is_refused(tmp_path):
    with pytest.raises(ImageError, match="no photos"):
        faces(backgrounds=tmp_path)


def test_shapes_have_the_area_that_geometry_says():
    size = 200
    half = torch.tensor([[[0.3, 0.2]]])
    middle, angle = torch.tensor([[[0.1, -0.2]]]), torch.tensor([[0.7]])
    box = coverage(rounded_boxes(middle, half, angle, torch.tensor([[0.0]]), size)).mean() * 4
    pill = coverage(rounded_boxes(middle, half, angle, torch.tensor([[1.0]]), size)).mean() * 4
    bar = coverage(capsules(torch.tensor([[[[0.0, 0.0], [0.4, 0.3]]]]), torch.tensor([[0.1]]), size)).mean() * 4
    round_ends = np.pi * 0.1**2
    # a pixel is 0.01 wide: edges of a length of 2 are wrong by a small share of that
    assert abs(box - 0.24) < 2e-3
    assert abs(pill - (0.24 - (4 - np.pi) * 0.2**2)) < 2e-3
    assert abs(bar - (2 * 0.1 * 0.5 + round_ends)) < 2e-3


def test_blur_is_a_gaussian_of_the_deviation_that_was_asked_for():
    point = torch.zeros(2, 1, 65, 65)
    point[:, :, 32, 32] = 1
    spread = gaussian_blur(point, torch.tensor([1.5, 4.0]))
    places = torch.arange(65) - 32.0
    deviation = (spread[:, 0].sum(1) * places**2).sum(1).sqrt()
    torch.testing.assert_close(deviation, torch.tensor([1.5, 4.0]), atol=0.02, rtol=0)
    flat = torch.full((1, 1, 20, 20), 0.3)
    torch.testing.assert_close(gaussian_blur(flat, torch.tensor([3.0])), flat)  # borders lose nothing


def test_draws_are_handed_out_once_and_uniform():
    draws = Draws(uniform_draws(3, 0, range(500)))
    first, second = draws.uniform(), draws.uniform()
    assert not torch.equal(first, second)
    assert abs(first.mean() - 0.5) < 0.05
    assert abs(draws.chance(0.3).float().mean() - 0.3) < 0.08
    some = first > 0.5
    rest = draws.only(some)
    assert torch.equal(rest.uniform(), draws.uniform()[some])
    with pytest.raises(AssertionError, match="no more numbers"):
        draws.uniform(0, 1, 2000)


def test_samples_with_variety_can_be_collated():
    from emoca_core.train.face_batches import collate_face_batch

    batch = collate_face_batch(faces(variety=1.0).__getitems__([0, 1]))
    assert batch.crop.mask is not None
    assert batch.truth is not None
    assert dataclasses.is_dataclass(batch)
