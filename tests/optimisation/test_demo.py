"""What ``emoca demo`` shows of it, with the backbone that comes with the project."""

import json

from patch_backbones import PHOTOS

from emoca_core.cli import demo_run


def test_the_demo_optimises_with_what_is_shipped(method, source, target, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_run, "_STEPS", 2)
    photos = [PHOTOS / "astronaut.jpg", PHOTOS / "grace_hopper.jpg"]
    monkeypatch.setattr(demo_run, "one_face", lambda _, photo: target if photo == photos[0] else source)
    assert demo_run.optimise_emotion(method, photos[:1], tmp_path, overwrite=False) == []
    assert demo_run.optimise_emotion(method, photos, tmp_path, overwrite=False) == [tmp_path / "index.html"]
    record = json.loads((tmp_path / "result.json").read_text())
    assert (record["judge"], record["source"]) == ("open_emotion", "grace_hopper.jpg")
    assert record["runs"][0]["after"]["energy"] < record["runs"][0]["before"]["energy"]
    assert (tmp_path / "film.mp4").is_file()
