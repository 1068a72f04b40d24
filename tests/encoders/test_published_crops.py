"""Every published crop rule against what the published code produced (``goldens/align.npz``)."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy import ndarray
from published import GOLDENS

from emoca_core.images.similarity import scaled_orthographic
from emoca_core.interfaces import Detection
from emoca_plugins.emotion.emonet_crop import EmonetCrop
from emoca_plugins.encoders.box_crops import ExpnetCrop, SmirkCrop, TddfaCrop
from emoca_plugins.encoders.point_crops import Deep3DFaceCrop, MgcnetCrop

FACES = range(4)


@pytest.fixture(scope="module")
def golden() -> Mapping[str, ndarray]:
    return np.load(GOLDENS / "align.npz")


@pytest.fixture(scope="module")
def photo(golden: Mapping[str, ndarray]) -> ndarray:
    cv2 = pytest.importorskip("cv2", reason="the golden photo was blurred by OpenCV, whose rounding is its own")
    noise = np.random.RandomState(int(golden["img_seed"])).rand(600, 800, 3)
    return cv2.GaussianBlur((noise * 255).astype(np.uint8), (0, 0), 6)


def detection(golden: Mapping[str, ndarray], face: int) -> Detection:
    return Detection(box=golden["boxes"][face], score=1.0, landmarks={"ibug68": golden["lm68"][face]})


def block_means(image: ndarray, blocks: int) -> ndarray:
    """The goldens are area-averaged to a few pixels."""
    step = len(image) // blocks
    return image.reshape(blocks, step, blocks, step, 3).astype(float).mean((1, 3))


def assert_same_picture(image: ndarray, small: ndarray) -> None:
    # The reference resamples with coordinates in 1/32 pixels, weights in 1/2048 and rounds twice: one level at most.
    assert np.abs(block_means(image, len(small)) - small).max() <= 1.0


@pytest.mark.parametrize("face", FACES)
def test_mgcnet(golden: Mapping[str, ndarray], photo: ndarray, face: int) -> None:
    crop = MgcnetCrop()(photo, detection(golden, face))
    np.testing.assert_allclose(crop.image_to_crop, golden["mgc_M"][face], rtol=1e-6, atol=1e-9)
    assert_same_picture(crop.image, golden["mgc_crop_28"][face])


@pytest.mark.parametrize("face", FACES)
def test_smirk(golden: Mapping[str, ndarray], photo: ndarray, face: int) -> None:
    crop = SmirkCrop()(photo, detection(golden, face))
    np.testing.assert_allclose(crop.image_to_crop, golden["smirk_T"][face], rtol=1e-6, atol=1e-9)
    assert_same_picture(crop.image, golden["smirk_crop_28"][face])


@pytest.mark.parametrize("face", FACES)
def test_3ddfa(golden: Mapping[str, ndarray], photo: ndarray, face: int) -> None:
    one = detection(golden, face)
    np.testing.assert_allclose(TddfaCrop().region(one), golden["tddfa_roi_box"][face], rtol=1e-9)
    np.testing.assert_allclose(TddfaCrop(source="landmarks").region(one), golden["tddfa_roi_lm"][face], rtol=1e-9)
    assert_same_picture(TddfaCrop()(photo, one).image, golden["tddfa_crop_30"][face])


@pytest.mark.parametrize("face", FACES)
def test_emonet(golden: Mapping[str, ndarray], photo: ndarray, face: int) -> None:
    crop = EmonetCrop()(photo, detection(golden, face))
    np.testing.assert_allclose(crop.image_to_crop[:2], golden["emonet_M"][face], rtol=1e-6, atol=1e-9)
    assert_same_picture(crop.image, golden["emonet_crop_32"][face])


@pytest.mark.parametrize("face", FACES)
def test_deep3dface(golden: Mapping[str, ndarray], photo: ndarray, face: int) -> None:
    points, (_, _, resize, *place) = golden["d3d_lm5"][face], golden["d3d_trans_params"][face]
    scale, shift = scaled_orthographic(golden["d3d_lm3d5"], points * (1, -1) + (0, 599))
    np.testing.assert_allclose([102 / scale, *shift], [resize, *place], rtol=1e-6)

    crop = Deep3DFaceCrop().from_points(np.ascontiguousarray(photo[..., ::-1]), points)  # the other goldens are BGR
    assert_same_picture(crop.image, golden["d3d_crop_28_rgb"][face])
    # Where the published code says that the points are in the crop, y up. It does not count the rounding of the resized
    # photo and of the cut to whole pixels, and mixes pixel centres and edges: less than 1.5 pixels in all.
    moved = (np.c_[points, np.ones(5)] @ crop.image_to_crop.T)[:, :2]
    np.testing.assert_allclose(moved * (1, -1) + (0, 223), golden["d3d_lm5_new"][face], atol=1.5)


def test_expnet(golden: Mapping[str, ndarray]) -> None:
    corner, side = np.split(golden["expnet_csv_boxes"], 2, axis=1)
    for box, expanded in zip(np.hstack([corner, corner + side]), golden["expnet_expanded_boxes"], strict=True):
        region = ExpnetCrop().region(Detection(box=box, score=1.0, landmarks={}))
        np.testing.assert_allclose(region, expanded, rtol=1e-6, atol=1e-4)  # the golden is float32
