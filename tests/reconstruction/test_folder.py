"""Many photos to a folder: names, resuming, bad photos, stops in the middle, a full disk."""

import errno
import json
from pathlib import Path

import pytest

from emoca_core.cli.reconstruct import summary
from emoca_core.errors import OutputError, RecipeError
from emoca_core.reconstruction import Settings, reconstruct_to_folder


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr("emoca_core.export.overlay.PANEL", 60)


@pytest.fixture
def run(method, tmp_path):
    """Reconstruct into ``out``; the report, and what was said."""

    def reconstruct(*inputs, method=method, **options):
        lines: list[str] = []
        report = reconstruct_to_folder(method, inputs, tmp_path / "out", say=lines.append, **options)
        return report, lines

    return reconstruct


def faces_in(folder: Path) -> set[str]:
    return {str(path.parent.relative_to(folder)) for path in folder.rglob("face.json")}


def no_half_files(folder: Path) -> bool:
    return not [path for path in folder.rglob(".*")]


def test_folders_hold_every_face_of_every_photo(run, take_photo, tmp_path):
    take_photo(tmp_path / "in/1")
    take_photo(tmp_path / "in/anna/1", faces=2)
    take_photo(tmp_path / "in/empty", faces=0)
    report, lines = run(tmp_path / "in")
    assert (report.photos, report.faces, report.skipped, report.failed) == (2, 3, 0, [])
    assert report.without_face == [tmp_path / "in/empty.png"]
    assert lines == [f"{tmp_path / 'in/empty.png'}: no face found"]
    assert faces_in(tmp_path / "out") == {"1/face_0", "anna__1/face_0", "anna__1/face_1"}
    record = json.loads((tmp_path / "out/empty/photo.json").read_text())
    assert record["faces"] == []
    page = (tmp_path / "out/index.html").read_text()
    assert page.count("<article>") == 4 and "anna__1/face_1/thumbnail.jpg" in page and "no face" in page


def test_same_names_get_stable_folders(run, take_photo, tmp_path):
    first, second = take_photo(tmp_path / "a/1"), take_photo(tmp_path / "b/1", shade=120)
    run(first, second)
    folders = {path.name: path for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert len(folders) == 2 and "1" in folders
    assert all(name == "1" or name.startswith("1-") for name in folders)
    report, _ = run(second, first)  # another order must not exchange them
    assert report.skipped == 2 and report.faces == 0


def test_finished_work_is_skipped(run, take_photo, tmp_path, method):
    photo = take_photo(tmp_path / "one")
    empty = take_photo(tmp_path / "none", faces=0)
    run(photo, empty)
    before = (tmp_path / "out/one/face_0/face.json").stat().st_mtime_ns
    method.landmarker.seen = 0
    report, lines = run(photo, empty)
    assert (report.skipped, report.faces, method.landmarker.seen, lines) == (1, 0, 0, [])
    assert report.without_face == [empty]
    assert (tmp_path / "out/one/face_0/face.json").stat().st_mtime_ns == before
    report, _ = run(photo, overwrite=True)
    assert report.faces == 1


@pytest.mark.parametrize("what", ["photo", "crop", "face file", "version"])
def test_what_a_result_depends_on_is_noticed(run, take_photo, tmp_path, what, monkeypatch):
    photo = take_photo(tmp_path / "one", faces=2)
    run(photo)
    settings = Settings()
    if what == "photo":
        take_photo(tmp_path / "one", faces=2, shade=130)
    if what == "crop":
        settings = Settings(crop="shared")
    if what == "face file":
        (tmp_path / "out/one/face_1/face.json").unlink()
    if what == "version":
        monkeypatch.setattr("emoca_core.reconstruction.results.VERSION", "99")
    report, _ = run(photo, settings=settings)
    assert (report.faces, report.skipped) == (2, 0)


def test_faces_that_are_gone_are_removed(run, take_photo, tmp_path):
    photo = take_photo(tmp_path / "one", faces=3)
    run(photo)
    take_photo(tmp_path / "one", faces=1)
    run(photo)
    assert faces_in(tmp_path / "out") == {"one/face_0"}


def test_bad_inputs_are_one_line_each(run, take_photo, tmp_path):
    good = take_photo(tmp_path / "in/good")
    (tmp_path / "in/text.jpg").write_text("not a picture")
    (tmp_path / "in/empty.png").touch()
    (tmp_path / "in/cut.png").write_bytes(good.read_bytes()[:200])
    report, lines = run(tmp_path / "in", tmp_path / "missing.jpg", tmp_path / "*.nothing")
    assert report.faces == 1
    assert len(lines) == len(report.failed) == 5
    assert all("\n" not in line and reason in line for line, (_, reason) in zip(lines, report.failed, strict=True))
    assert not any(line.count(name) > 1 for line, (name, _) in zip(lines, report.failed, strict=True))
    page = (tmp_path / "out/index.html").read_text()
    assert "faces: 1, failed: 5" in page and "text.jpg" in page


def test_output_is_never_input(run, take_photo, tmp_path):
    take_photo(tmp_path / "in")
    run(tmp_path)
    report, _ = run(tmp_path)
    assert (report.skipped, report.faces) == (1, 0)
    report, lines = run(tmp_path / "out")
    assert report.failed and len(lines) == 1


def test_encoder_sees_batches(run, take_photo, tmp_path, method):
    for number in range(5):
        take_photo(tmp_path / f"in/{number}", faces=1)
    run(tmp_path / "in", settings=Settings(batch_size=2))
    assert method.encoder.batches == [2, 2, 1]


def test_one_face_does_not_take_its_batch_along(run, take_photo, tmp_path, build_method, guess):
    for number in range(3):
        take_photo(tmp_path / f"in/{number}", shade=100 + number * 40)

    def trouble(crop):
        if (crop.image[:, 0].amax((1, 2)) > 0.65).any():
            raise RuntimeError("did not\nconverge")

    report, lines = run(tmp_path / "in", method=build_method(guess(trouble=trouble)))
    assert report.faces == 2
    assert lines == [f"{tmp_path / 'in/2.png'}: did not converge"]
    assert faces_in(tmp_path / "out") == {"0/face_0", "1/face_0"}


def test_same_person_shares_one_identity(run, take_photo, tmp_path, method):
    for number in range(3):
        take_photo(tmp_path / f"in/{number}", faces=2)
    shared = Settings(same_person=True, batch_size=2)
    report, _ = run(tmp_path / "in", settings=shared)
    assert method.encoder.batches == [3]  # the largest face of each, together
    assert method.encoder.identities[0].tolist() == [0, 0, 0]
    assert report.faces == 3
    report, _ = run(tmp_path / "in", settings=shared)
    assert report.skipped == 3
    take_photo(tmp_path / "in/3")  # another photo changes what is known of the person
    report, _ = run(tmp_path / "in", settings=shared)
    assert (report.faces, report.skipped) == (4, 0)


def test_ctrl_c_leaves_only_whole_files(run, take_photo, tmp_path, monkeypatch):
    for number in range(3):
        take_photo(tmp_path / f"in/{number}")
    calls = []

    def stop(path, mesh):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return [path]

    monkeypatch.setattr("emoca_plugins.exporters.obj.write_obj", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "in")
    finished = faces_in(tmp_path / "out")
    assert "0/face_0" in finished and "1/face_0" not in finished  # the third may have been on its way
    assert {path.parent.name for path in (tmp_path / "out").glob("*/photo.json")} == {"0"}
    assert no_half_files(tmp_path / "out")
    monkeypatch.undo()
    report, _ = run(tmp_path / "in")
    assert (report.skipped, report.faces) == (1, 2)


def test_full_disk_is_one_clear_error(run, take_photo, tmp_path, monkeypatch):
    take_photo(tmp_path / "in/0")
    take_photo(tmp_path / "in/1")
    run(tmp_path / "in/0.png")
    write = Path.write_bytes

    def full(path, data):
        write(path, data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        run(tmp_path / "in")
    assert str(tmp_path / "out") in str(caught.value) and "\n" not in str(caught.value)
    assert faces_in(tmp_path / "out") == {"0/face_0"}
    assert no_half_files(tmp_path / "out")
    monkeypatch.undo()
    report, _ = run(tmp_path / "in")
    assert (report.skipped, report.faces) == (1, 1)


def test_output_that_cannot_be_a_folder(run, take_photo, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="cannot write to"):
        run(take_photo(tmp_path / "in/0"))


def test_damaged_records_are_done_again(run, take_photo, tmp_path):
    photo = take_photo(tmp_path / "one")
    run(photo)
    (tmp_path / "out/one/photo.json").write_text("{")
    report, _ = run(photo)
    assert report.faces == 1


def test_method_without_landmarker_is_refused(run, take_photo, tmp_path, method):
    method.landmarker = None
    with pytest.raises(RecipeError, match="no landmarker"):
        run(take_photo(tmp_path / "one"))


@pytest.mark.parametrize(("recipe", "how"), [("other", ""), ("toy", " with other settings, files or another version")])
def test_what_is_replaced_is_said_once_and_counted(run, take_photo, tmp_path, method, recipe, how):
    photos = [take_photo(tmp_path / f"in/{number}", faces=number) for number in range(3)]
    assert run(*photos)[0].replaced == 0
    method.name, options = recipe, {"settings": Settings(min_score=0.01)}
    report, lines = run(*photos, **options)
    assert lines[0] == f"{photos[0]}: no face found", "nothing was there to be replaced"
    assert lines[1:] == [
        f"{tmp_path / 'out'}: faces of recipe 'toy'{how} are there, and are replaced by those of recipe '{recipe}'"
    ]
    assert (report.replaced, report.photos) == (2, 2) and ", 2 results replaced" in summary(report)
    report, lines = run(*photos, **options, overwrite=True)
    assert (report.replaced, report.photos, len(lines)) == (0, 2, 1)
    take_photo(tmp_path / "in/1", shade=130)
    assert run(*photos, **options)[0].replaced == 0, "another photo"
