"""The page of a face, in a real browser."""

import shutil

import numpy as np
from browser import browser_page
from PIL import Image

from emoca_core.interfaces import ExportedFile
from emoca_core.registry import get_registry
from emoca_core.testing.sample_face import sample_face
from emoca_core.testing.sample_sequence import sample_sequence


def write_page(folder, face, files=()):
    folder.mkdir()
    get_registry().build("exporter", "page").export(face, folder, files)
    return folder / "index.html"


def shown(page, path):
    page.locator("model-viewer").screenshot(path=path)
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.int16)


def test_sliders_move_the_head_and_nothing_is_loaded_from_elsewhere(tmp_path):
    written = write_page(tmp_path / "out", sample_face())
    alone = shutil.move(written, tmp_path / "moved.html")  # the page needs no other file
    name, weight = next(iter(sample_face().mesh.rig.weights.items()))
    with browser_page(viewport={"width": 900, "height": 900}) as page:
        page.goto(alone.as_uri())
        page.wait_for_selector("body[data-ready=yes]")
        assert page.locator("input[type=range]").count() == len(sample_face().mesh.rig.weights)
        assert float(page.locator(f"input[name={name}]").input_value()) == round(weight, 2)
        before = shown(page, tmp_path / "before.png")
        assert len(np.unique(before.reshape(-1, 3), axis=0)) > 20, "there is no head in the picture"
        page.get_by_role("button", name="neutral").click()
        assert float(page.locator(f"input[name={name}]").input_value()) == 0
        page.locator(f"input[name={name}]").evaluate(
            "slider => { slider.value = 1; slider.dispatchEvent(new Event('input')); }"
        )
        page.wait_for_timeout(500)
        assert np.abs(shown(page, tmp_path / "after.png") - before).max() > 20, "the slider moves nothing"


def test_the_page_shows_the_picture_that_was_written_and_names_doubts(tmp_path):
    picture = ExportedFile(tmp_path / "odd name <&>.png", "picture", "picture")
    text = write_page(tmp_path / "out", sample_face(), [picture]).read_text()
    assert 'src="odd%20name%20%3C%26%3E.png"' in text
    assert "</script" not in text.partition('id="data">')[2].partition("</script>")[0]


def test_equal_faces_give_equal_pages(tmp_path):
    first, second = (write_page(tmp_path / name, sample_face()) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_click_in_a_curve_moves_clip_and_head(tmp_path):
    sequence = sample_sequence()
    files = get_registry().build("exporter", "overlay").export_sequence(sequence, tmp_path)
    assert files[0].path.name == "overlay.mp4"
    get_registry().build("exporter", "page").export_sequence(sequence, tmp_path, files)
    with browser_page(viewport={"width": 1000, "height": 1200}) as page:
        page.goto((tmp_path / "index.html").as_uri())
        page.wait_for_selector("body[data-ready=yes]")
        curve = page.locator(".curve svg").first
        box = curve.bounding_box()
        page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
        expected = 0.9 * float(sequence.times[-1])
        assert abs(float(page.locator("input[name=time]").input_value()) - expected) < 0.02
        times = page.evaluate(
            "[document.querySelector('model-viewer').currentTime, document.querySelector('video').currentTime]"
        )
        assert np.abs(np.array(times) - expected).max() < 0.02, times
        before = shown(page, tmp_path / "before.png")
        page.mouse.click(box["x"] + 0.15 * box["width"], box["y"] + box["height"] / 2)
        page.wait_for_timeout(500)
        assert np.abs(shown(page, tmp_path / "after.png") - before).max() > 20, "the head does not move"
        play = page.get_by_role("button", name="play")
        play.click()
        page.wait_for_function("document.querySelector('video').currentTime > 0.05")
