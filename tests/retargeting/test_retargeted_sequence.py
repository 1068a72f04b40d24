"""What is written of a retargeting: by all exporters, with the driver's times and sound, with wrinkles."""

import av
import numpy as np
import pytest
import torch

from emoca_core.export.overlay import EMPTY
from emoca_core.export.overlay_clip import ClipWindow, Layout
from emoca_core.interfaces.photo import PhotoCamera
from emoca_core.reconstruction.sequence_settings import SequenceSettings
from emoca_core.registry import get_registry
from emoca_core.retargeting import Curve, RetargetSettings, retarget
from emoca_core.retargeting.facts import _lips
from emoca_core.retargeting.measures import Measures, _drawn, measured
from emoca_core.retargeting.pictures import PanelCamera, drawn_heads, fitted

SHORT = RetargetSettings(curve=Curve.parse("0:0,0.2:1"), rate=10.0)


def test_all_formats_of_movement_write_it(method, photo, clip, tmp_path):
    moved = retarget(method, photo(), clip(np.linspace(200, 60, 6), sound=True))
    files = {
        path.name for path in moved.save(tmp_path / "out", ["glb", "arkit_csv", "codes", "parquet", "overlay", "page"])
    }
    assert files >= {"face.glb", "arkit.csv", "sequence.safetensors", "sequence.json", "overlay.mp4", "index.html"}
    assert "<title>me.png by talk.mkv</title>" in (tmp_path / "out" / "index.html").read_text()
    with av.open(str(tmp_path / "out" / "overlay.mp4")) as film:
        assert len(film.streams.audio) == 1 and sum(1 for _ in film.decode(video=0)) == 6


def test_the_film_has_the_driver_first_and_nobody_where_they_are_away(method, photo, tmp_path):
    from toy_clips import frame, toy_clip

    shades = (200, 190, 180, 170, 160, 140, 120, 100, 80, 60, 90, 110)
    frames = [frame([(1, 80, 60)] if number < 9 else [], shade) for number, shade in enumerate(shades)]
    moved = retarget(method, photo(), toy_clip(tmp_path / "talk", frames))
    film, layout = list(moved.overlay()), Layout.of(moved)
    assert len(moved) == 9 and len(film) == 12 and film[-1].number == 11
    for number, shown in enumerate(film):
        driver, retargeted, shape, source = layout.panels(shown.pixels)
        assert abs(float(driver[..., 0].mean()) - shades[number]) < 12
        assert (retargeted != EMPTY).any() == (shape != EMPTY).any() == (number < 9)
        np.testing.assert_array_equal(source, fitted(moved.source.photo.pixels, layout.window, layout.panel))


def test_the_head_is_drawn_where_the_sources_camera_sees_it(method, photo):
    moved = retarget(method, photo(), "emotion:happy", SHORT)
    layout = Layout.of(moved)
    ((_, shape),) = drawn_heads(moved, moved.source.camera, [0], layout.window, layout.panel)
    points = moved.source.camera.project(moved.geometry(slice(0, 1)).vertices[0].double().numpy())
    seen = layout.scale * (points - [layout.window.left, layout.window.top] + 0.5) - 0.5
    drawn = np.argwhere((shape != EMPTY).any(axis=2))[:, ::-1]
    low, high = np.clip(seen.min(0), 0, None), np.minimum(seen.max(0), np.array(layout.panel[::-1]) - 1)
    np.testing.assert_allclose(drawn.min(0), low, atol=1.5)
    np.testing.assert_allclose(drawn.max(0), high, atol=1.5)


def test_a_panel_camera_is_the_photos_through_a_window():
    lens = np.array([[90.0, 0, 31], [0, 95, 22], [0, 0, 1]])
    camera = PhotoCamera("perspective", lens, np.diag([1.0, -1, -1]), np.array([0.02, -0.03, 0.9]), (48, 64))
    window, points = ClipWindow(8, 4, 32, 24), np.random.default_rng(1).normal(scale=0.1, size=(40, 3))
    panel = PanelCamera.of(camera, window).map(torch.Tensor.double)
    ndc = panel.project(torch.from_numpy(points)[None])[0].numpy()
    expected = (camera.project(points) - [8, 4] + 0.5) / [32, 24] * 2 - 1
    np.testing.assert_allclose(ndc[:, :2], expected, atol=1e-6)
    np.testing.assert_allclose(ndc[:, 2], camera.depth(points), atol=1e-6)
    matrix = panel.matrix((48, 64))[0].numpy()
    pixels = np.column_stack([points, np.ones(40)]) @ matrix.T
    np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], (ndc[:, :2] + 1) / 2 * [64, 48] - 0.5, atol=1e-5)


def test_wrinkles_are_of_the_sources_code_and_the_drivers_jaw(detailed, photo):
    moved = retarget(detailed, photo(), photo("wide.png", shade=30), SHORT)
    own = moved.source.parameters.detail
    assert torch.equal(moved.parameters.detail, own.expand(3, -1)) and own.item() > 1
    maps = detailed.detail.decode(moved.parameters)
    assert maps[0].abs().max() == 0 and maps[2].abs().max() > 1e-3  # with the driver's jaw, not the source's
    assert moved.source.parameters.jaw_pose[0, 0] > 0.05
    smooth, rough = (
        drawn_heads(moved, moved.source.camera, [row], ClipWindow(0, 0, 160, 120), (240, 320))[0][0] for row in (0, 2)
    )
    assert np.abs(np.diff(rough.astype(float), axis=0)).mean() > np.abs(np.diff(smooth.astype(float), axis=0)).mean()
    assert "detail code" in moved.wrinkles


def test_without_a_detail_part_that_is_said(method, photo):
    assert retarget(method, photo(), "emotion:sad", SHORT).wrinkles == "none: 'toy' has no detail part"


def test_a_face_that_drives_itself_keeps_its_lips_and_its_looks(method, photo):
    path = photo(shade=60)
    moved, measures = measured(
        retarget(method, path, path, SHORT), None, ("light", get_registry().build("loss", "photometric", {}))
    )
    assert measures.lips["error_mm"] == pytest.approx(0, abs=1e-3) and measures.lips["closed"] >= 1
    assert moved.driving.lips[-1] > 0.05, "the mouth must open for that to mean something"
    assert measures.identity["recognition"] == "light"
    still = _drawn(moved, moved.source.parameters).image
    last = _drawn(moved, moved.parameters.map(lambda tensor: tensor[-1:])).image
    assert (still - last).abs().max() < 1e-3  # the whole expression is the source's own again
    assert "emotion" in measures.missing


def test_relative_movement_is_compared_with_the_difference(method, photo, clip):
    path = clip(np.linspace(160, 60, 8))
    for settings in (RetargetSettings(), RetargetSettings(relative=True), RetargetSettings(relative=True, rest=0.04)):
        moved = retarget(method, photo(), path, settings)
        assert measured(moved, None, None)[1].lips["error_mm"] < 1.5
    assert np.ptp(moved.driving.lips) > 0.1, "the mouth must move for that to mean something"


def test_a_driver_that_was_smoothed_is_said_to_be(method, photo, clip):
    moved = retarget(method, photo(), clip())
    assert moved.smoothing == moved.driving.smoothing == SequenceSettings().smooth > 0


@pytest.mark.parametrize(("gap", "said"), [(-1.3, "1.3 mm nearer"), (0.4, "0.4 mm farther apart"), (None, "")])
def test_lips_are_never_a_negative_number_apart(gap, said):
    measures = Measures(None, None, {"error_mm": 1.0, "open_where_closed_mm": gap}, {})
    (line,) = _lips(measures)
    assert said in line and "-" not in line and ("shut" in line) == (gap is not None)
