"""What every crop rule promises, and the rules that are the project's own."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy import ndarray

from emoca_core import Registry, get_registry, hookimpl
from emoca_core.errors import ComponentImportError, DuplicateComponentError, UnknownNameError
from emoca_core.images.crops import (
    SHARED_CROP,
    BoxCrop,
    choose_crop,
    crop_names,
    crops_to_batch,
    find_crop,
    transform_points,
)
from emoca_core.images.warp import rotation
from emoca_core.interfaces import CroppedFace, CropRule, Detection
from emoca_plugins.encoders.box_crops import EmocaCrop, ExpnetCrop, TddfaCrop
from emoca_plugins.encoders.point_crops import Deep3DFaceCrop, MgcnetCrop, UprightCrop, roll_of

REGISTRY = get_registry()
RULES = [
    *(find_crop(name, REGISTRY) for name in crop_names(REGISTRY) if name != "expnet"),
    EmocaCrop(box="bbox", order=3),
    TddfaCrop(source="landmarks"),
    ExpnetCrop(through_jpeg=False),
]
MIDDLE = np.array([200.0, 150.0])


def face_points() -> ndarray:
    """68 points laid out like a face, about 100 pixels wide, its middle at (0, 0)."""
    contour = [(50 * np.cos(a), 60 * np.sin(a)) for a in np.linspace(np.pi, 0, 17)]
    brows = [(x, -32) for x in (-42, -36, -30, -24, -16, 16, 24, 30, 36, 42)]
    nose = [(0, y) for y in (-20, -10, 0, 8)] + [(x, 14) for x in (-10, -5, 0, 5, 10)]
    eyes = [(c + dx, -20 + dy) for c in (-25, 25) for dx, dy in ((-9, 0), (-4, -3), (4, -3), (9, 0), (4, 3), (-4, 3))]
    lips = [(20 * np.cos(a), 34 + 8 * np.sin(a)) for a in np.pi + np.arange(12) * np.pi / 6]
    inner = [(14 * np.cos(a), 34 + 3 * np.sin(a)) for a in np.pi + np.arange(8) * np.pi / 4]
    return np.array([*contour, *brows, *nose, *eyes, *lips, *inner], dtype=np.float64)


def detection(points: ndarray) -> Detection:
    return Detection(box=np.concatenate([points.min(0), points.max(0)]), score=1.0, landmarks={"ibug68": points})


def ramp(height: int = 300, width: int = 400) -> ndarray:
    """A photo whose red and green tell where a pixel is."""
    rows, columns = np.indices((height, width))
    return np.stack([columns * 255 / width, rows * 255 / height, np.zeros_like(rows)], -1).astype(np.uint8)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("place", [(200, 150), (20, 280)], ids=["inside", "over the edge"])
def test_crop_to_image_is_where_the_pixels_came_from(rule: CropRule, place: tuple[int, int]) -> None:
    photo = ramp()
    crop = rule(photo, detection(face_points() + place))
    assert crop.image.shape == (rule.size, rule.size, 3) and crop.image.dtype == np.uint8
    assert np.array_equal(rule.place(detection(face_points() + place), photo.shape[:2]), crop.crop_to_image)
    grid = np.stack(np.meshgrid(np.arange(rule.size), np.arange(rule.size)), -1).reshape(-1, 2).astype(float)
    source = transform_points(crop.crop_to_image, grid)
    inside = ((source > 4) & (source < (395, 295))).all(1)
    assert inside.sum() > 1000
    levels = crop.image.reshape(-1, 3)[inside, :2]
    # the ramp was truncated to whole levels (0.64 and 0.85 a pixel), and the crop again
    assert np.abs(levels - source[inside] * 255 / (400, 300)).max() < 2.1
    assert np.abs((levels - source[inside] * 255 / (400, 300)).mean(0) + 0.5).max() < 0.6


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules_are_plain_data(rule: CropRule) -> None:
    assert dataclasses.replace(rule) == rule and hash(rule) == hash(dataclasses.replace(rule))
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.size = 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_face_is_in_the_crop(rule: CropRule) -> None:
    points = face_points() * 0.7 + (180, 140)
    crop = rule(ramp(), detection(points))
    inside = transform_points(crop.image_to_crop, points)
    assert (inside > 0).all() and (inside < rule.size).all()


def test_emoca_square_by_hand() -> None:
    points = face_points() + MIDDLE  # x: 150...250, y: 118...210
    centre, side = EmocaCrop().square(detection(points))
    np.testing.assert_allclose(centre, (200, 164))
    assert side == int(1.25 * 1.1 * (100 + 92) / 2) == 132
    crop = EmocaCrop()(ramp(), detection(points))
    corners = transform_points(crop.crop_to_image, np.array([[0.0, 0.0], [0.0, 223.0], [223.0, 0.0]]))
    np.testing.assert_allclose(corners, [(134, 98), (134, 230), (266, 98)])

    centre, side = EmocaCrop(box="bbox").square(detection(points))
    np.testing.assert_allclose(centre, (200, 164 + 0.12 * 96))
    assert side == int(1.25 * 96)


@pytest.mark.parametrize("degrees", [0, 30, -75, 90, 180, -150])
def test_upright_crop_undoes_the_turn(degrees: float) -> None:
    turn = rotation(np.deg2rad(degrees))
    points = face_points() @ turn.T + (200, 150)
    crop = UprightCrop()(ramp(), detection(points))
    upright = UprightCrop()(ramp(), detection(face_points() + MIDDLE))
    np.testing.assert_allclose(
        transform_points(crop.image_to_crop, points),
        transform_points(upright.image_to_crop, face_points() + MIDDLE),
        atol=1e-6,
    )


def test_roll_of_a_profile() -> None:
    """The eyes of a profile lie behind one another: mouth and eyes tell what is up."""
    profile = face_points() * (0.02, 1)
    assert abs(np.rad2deg(roll_of(profile @ rotation(np.deg2rad(20)).T)) - 20) < 1


def test_small_face_in_a_large_photo_is_not_enlarged_as_a_whole() -> None:
    """Deep3DFace resizes the whole photo; done literally, this one would become 30,000 pixels wide."""
    photo = np.zeros((3000, 4000, 3), np.uint8)
    crop = Deep3DFaceCrop()(photo, detection(face_points() * 0.15 + (2000, 1500)))
    assert crop.image.shape == (224, 224, 3)


def test_policies() -> None:
    native = MgcnetCrop()
    assert choose_crop("native", native) is native
    assert choose_crop("shared", native) is SHARED_CROP
    with pytest.raises(UnknownNameError, match="Did you mean"):
        choose_crop("nativ", native)


def test_the_shared_rule_is_the_frameworks_own_and_emocas_is_the_same_square() -> None:
    assert type(SHARED_CROP) is BoxCrop
    assert find_crop("shared", Registry()) is SHARED_CROP and crop_names(Registry()) == ["shared"]
    found = detection(face_points() + MIDDLE)
    np.testing.assert_array_equal(SHARED_CROP(ramp(), found).image, EmocaCrop()(ramp(), found).image)


def crops_plugin(offered: object) -> type:
    class Plugin:
        @staticmethod
        @hookimpl
        def emoca_crops() -> object:
            return offered

    return Plugin


def test_a_plugins_rule_is_found_by_its_name() -> None:
    registry = Registry()
    registry.add_plugin(crops_plugin({"mine": f"{__name__}:MyCrop"}), "theirs")
    assert crop_names(registry) == ["shared", "mine"]
    assert isinstance(find_crop("mine", registry), MyCrop)
    with pytest.raises(UnknownNameError, match="Did you mean 'mine'"):
        find_crop("mime", registry)
    with pytest.raises(DuplicateComponentError, match="'mine' is offered by 'theirs' and by 'other'"):
        registry.add_plugin(crops_plugin({"mine": f"{__name__}:MyCrop"}), "other")


@pytest.mark.parametrize("target", ["nowhere:MyCrop", f"{__name__}:Nothing", f"{__name__}:ramp", "dataclasses:Field"])
def test_a_broken_rule_is_named_with_its_plugin(target: str) -> None:
    registry = Registry()
    registry.add_plugin(crops_plugin({"broken": target}), "theirs")
    with pytest.raises(ComponentImportError, match=r"'broken' \(plugin 'theirs'\)"):
        find_crop("broken", registry)


@pytest.mark.parametrize("offered", [{"mine": 3}, {"mine": "no_colon"}, {"mine": ":x"}])
def test_what_is_no_target_is_refused_when_the_plugin_is_loaded(offered: object) -> None:
    registry = Registry()
    with pytest.raises(TypeError, match=r"a target is 'package\.module:name'"):
        registry.add_plugin(crops_plugin(offered), "theirs")
    assert crop_names(registry) == ["shared"]


@dataclasses.dataclass(frozen=True)
class MyCrop(BoxCrop):
    """A rule of a third party."""

    name: str = "mine"


def test_crops_to_batch_moves_landmarks_into_the_crop() -> None:
    rule, photo = UprightCrop(size=64), ramp()
    found = [detection(face_points() + MIDDLE), detection(face_points() @ rotation(0.5).T + (100, 100))]
    crops = [rule(photo, one) for one in found]
    batch = crops_to_batch(crops, found, [(300, 400)] * 2)
    assert batch.image.shape == (2, 3, 64, 64) and batch.image.dtype == torch.float32
    assert float(batch.image.max()) <= 1.0 and len(batch) == 2 and batch.blendshapes is None
    torch.testing.assert_close(batch.photo_size, torch.tensor([[300, 400]] * 2))
    pixels = (batch.landmarks["ibug68"].double().numpy() + 1) * 64 / 2 - 0.5
    for crop, one, inside in zip(crops, found, pixels, strict=True):
        # float32 NDC of a 64-pixel crop: 1e-5 pixels, times the 2 photo pixels of each
        np.testing.assert_allclose(transform_points(crop.crop_to_image, inside), one.landmarks["ibug68"], atol=1e-4)


def test_crops_to_batch_refuses_what_is_no_batch() -> None:
    one = detection(face_points() + MIDDLE)
    small = CroppedFace(np.zeros((8, 8, 3), np.uint8), np.eye(3))
    large = CroppedFace(np.zeros((9, 9, 3), np.uint8), np.eye(3))
    with pytest.raises(ValueError, match="different sizes"):
        crops_to_batch([small, large], [one, one], [(9, 9)] * 2)
    with pytest.raises(ValueError, match="0 crops"):
        crops_to_batch([], [], [])
    with pytest.raises(ValueError, match="2 detections"):
        crops_to_batch([small], [one, one], [(9, 9)])
