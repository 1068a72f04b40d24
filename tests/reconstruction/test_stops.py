"""Stops, and several processes at one output folder: nothing is lost, half done or done twice, and nothing is left."""

import errno
import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from safetensors.numpy import load_file

from emoca_core.claims import LOCK, Claim
from emoca_core.images.photos import Photo
from emoca_core.reconstruction import Settings, reconstruct_to_folder
from emoca_core.reconstruction.saving import save_face

SCRIPT = Path(__file__).with_name("toy_emoca.py")


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr("emoca_core.export.overlay.PANEL", 60)


@pytest.fixture
def photos(take_photo, tmp_path):
    for number in range(6):
        take_photo(tmp_path / f"in/{number}", faces=1 + number % 2, shade=100 + 10 * number)
    return tmp_path / "in"


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def assert_whole(build_method):
    """As if one process had done everything at once: the same files with the same codes, and not one more."""

    def compare(out: Path, photos: Path, settings: Settings | None = None) -> None:
        expected = out.with_name("expected")
        reconstruct_to_folder(build_method(), [photos], expected, settings=settings, say=pytest.fail)
        found, wanted = content(out), content(expected)
        assert found.keys() == wanted.keys()
        codes = [name for name in wanted if name.endswith(".safetensors")]
        assert len(codes) >= 6 and {"shape", "camera"} <= set(load_file(out / codes[0]))
        assert all(found[name] == wanted[name] for name in codes), "equal faces are equal files"

    return compare


def start(photos: Path, out: Path, *options: str, pause: float = 0.0) -> subprocess.Popen:
    environment = os.environ | {"TOY_WORK": str(out.with_name("work.txt")), "TOY_PAUSE": str(pause)}
    command = [sys.executable, SCRIPT, "reconstruct", photos, "--out", out, "--batch-size", "2", *options]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(condition) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 120
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--same-person",)], ids=["each alone", "one person"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_stopped_and_gone_on_with(photos, tmp_path, number, options, assert_whole):
    out = tmp_path / "out"
    first = start(photos, out, *options, pause=0.5)
    wait_for(lambda: (out / "1" / LOCK).exists() and (not options or (out / "0/face_0/face.obj").exists()))
    first.send_signal(number)
    said = first.communicate(timeout=60)[1]
    if number == signal.SIGKILL:
        assert first.returncode == -9
    else:
        assert first.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], said
        assert said.splitlines()[-1] == "emoca: stopped" and "Traceback" not in said
    assert not list(out.glob("index.html")), "it was stopped in the middle"
    again = start(photos, out, *options)
    said = again.communicate(timeout=120)[1]
    assert again.returncode == 0, said
    assert_whole(out, photos, Settings(same_person=bool(options)))


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--same-person",)], ids=["each alone", "one person"])
def test_two_processes_share_the_work(photos, tmp_path, options, assert_whole):
    out = tmp_path / "out"
    both = [start(photos, out, *options, pause=0.3) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    work = Counter((tmp_path / "work.txt").read_text().split())
    assert work == {str(photos / f"{n}.png"): 1 if options else 1 + n % 2 for n in range(6)}, "every face once"
    assert_whole(out, photos, Settings(same_person=bool(options)))


def test_threads_share_the_work(photos, tmp_path, build_method, guess, assert_whole):
    started, work = threading.Barrier(2, timeout=60), Counter()

    def trouble(crop):
        if started.n_waiting or not work:
            started.wait()  # both have claimed photos
        work.update(crop.keys)

    methods = [build_method(guess(trouble=trouble)) for _ in range(2)]
    said, reports = [], []

    def run(method):
        settings = Settings(batch_size=1)
        reports.append(reconstruct_to_folder(method, [photos], tmp_path / "out", settings=settings, say=said.append))

    threads = [threading.Thread(target=run, args=(method,)) for method in methods]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert work == {str(photos / f"{n}.png"): 1 + n % 2 for n in range(6)}, "every face once"
    assert sum(report.photos for report in reports) == 6 and all(r.photos + r.skipped == 6 for r in reports)
    assert all(line.startswith("waiting for another process, which works on") for line in said)
    assert_whole(tmp_path / "out", photos)


def test_two_recipes_in_one_folder_leave_whole_results_of_either(photos, tmp_path, build_method):
    methods = [build_method(), build_method()]
    methods[1].name = "other"
    threads = [
        threading.Thread(target=reconstruct_to_folder, args=(method, [photos], tmp_path / "out")) for method in methods
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    records = sorted((tmp_path / "out").glob("*/photo.json"))
    assert len(records) == 6 and not list((tmp_path / "out").rglob(".*"))
    for record in map(Path.read_text, records):
        recipe, faces = json.loads(record)["recipe"], json.loads(record)["faces"]
        folder = tmp_path / "out" / json.loads(record)["photo"]["file"].removesuffix(".png")
        assert [json.loads((folder / face / "face.json").read_text())["recipe"]["name"] for face in faces] == [
            recipe
        ] * len(faces)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--same-person",)], ids=["each alone", "one person"])
def test_two_recipes_at_once_leave_whole_results_of_either_and_say_so(photos, tmp_path, monkeypatch, options):
    out, both = tmp_path / "out", []
    for name in ("first", "second"):
        monkeypatch.setenv("TOY_RECIPE", name)
        both.append(start(photos, out, *options, pause=0.3))
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    records = [json.loads(record.read_text()) for record in sorted(out.glob("*/photo.json"))]
    assert len(records) == 6 and not list(out.rglob(".*"))
    for record in records:
        faces = [out / record["photo"]["file"].removesuffix(".png") / face / "face.json" for face in record["faces"]]
        assert {json.loads(face.read_text())["recipe"]["name"] for face in faces} == {record["recipe"]}
    replaced = [sum(map(int, re.findall(r"(\d+) results? replaced", text))) for text in said]
    lasts = Counter(record["recipe"] for record in records)
    assert replaced == [lasts["first"], lasts["second"]], "who finished a photo last has replaced the other's"
    for text, count, other in zip(said, replaced, ("second", "first"), strict=True):
        assert text.count(f"faces of recipe '{other}' are there, and are replaced") == (count > 0)


def test_photos_of_one_name_in_two_processes_get_folders_of_their_own(take_photo, tmp_path, method, build_method):
    """The other process has claimed the folder, and writes whose it is only at its end."""
    mine, other = take_photo(tmp_path / "a/1"), take_photo(tmp_path / "b/1", shade=140)
    (tmp_path / "out/1").mkdir(parents=True)
    claim = Claim.take(tmp_path / "out/1")

    def finish(line: str) -> None:
        claim.release()
        reconstruct_to_folder(build_method(), [other], tmp_path / "out")

    report = reconstruct_to_folder(method, [mine], tmp_path / "out", say=finish)
    assert report.photos == 1
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert len(folders) == 2 and "1" in folders
    assert reconstruct_to_folder(method, [mine, other], tmp_path / "out").skipped == 2


@pytest.mark.parametrize("at", [1, 2, 4])
def test_one_person_interrupted_is_done_again_as_a_whole(photos, tmp_path, build_method, monkeypatch, at, assert_whole):
    calls = []

    def stop(face, folder, exporters):
        calls.append(folder)
        if len(calls) == at:
            raise KeyboardInterrupt
        return save_face(face, folder, exporters)

    monkeypatch.setattr("emoca_core.reconstruction.to_folder.save_face", stop)
    settings = Settings(same_person=True)
    with pytest.raises(KeyboardInterrupt):
        reconstruct_to_folder(build_method(), [photos], tmp_path / "out", settings=settings)
    assert not list((tmp_path / "out").rglob(".*"))
    monkeypatch.undo()
    monkeypatch.setattr("emoca_core.export.overlay.PANEL", 60)
    method = build_method()
    report = reconstruct_to_folder(method, [photos], tmp_path / "out", settings=settings)
    assert (report.photos, method.encoder.batches) == (6, [6])
    assert_whole(tmp_path / "out", photos, settings)


def test_a_finished_folder_on_a_read_only_disk_is_done(photos, tmp_path, method, monkeypatch):
    reconstruct_to_folder(method, [photos], tmp_path / "out")
    before = content(tmp_path / "out")
    opened = os.open

    def read_only(path, flags, *rest, **options):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", read_only)
    report = reconstruct_to_folder(method, [photos], tmp_path / "out")
    assert report.skipped == 6 and content(tmp_path / "out") == before
    with pytest.raises(OSError, match="Read-only"):
        reconstruct_to_folder(method, [photos], tmp_path / "out", overwrite=True)


def test_names_that_are_not_utf8_cost_nothing(take_photo, tmp_path, method):
    plain = take_photo(tmp_path / "in/plain").read_bytes()
    with open(os.path.join(os.fsencode(tmp_path / "in"), b"caf\xe9.png"), "wb") as file:
        file.write(plain)
    report = reconstruct_to_folder(method, [tmp_path / "in"], tmp_path / "out")
    assert (report.photos, report.failed) == (2, [])
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert "caf?.png" in page and "caf%EF%BF%BD/face_0/face.glb" in page
    for record in (tmp_path / "out").rglob("*.json"):
        assert "\\ud" not in json.dumps(json.loads(record.read_text())), "readers of JSON refuse lone surrogates"
    assert reconstruct_to_folder(method, [tmp_path / "in"], tmp_path / "out").skipped == 2


HOSTILE = [
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'; drop table faces; --", "&amp;", "a&b"),
    *("a b", " leading", "trailing ", "tab\there", "new\nline", "\x1b[31mred", "\u202eltr", "back\\slash"),
    *("up\\..\\..\\up", "%2e%2e%2f", "#fragment", "?query=1", "javascript:alert(1)", "ünï", "CON", "x" * 240),
    *("-rf", "$(touch x)", "`touch x`"),
]


def test_hostile_names_are_text_and_links_of_the_page(take_photo, tmp_path, method):
    plain = take_photo(tmp_path / "plain").read_bytes()
    (tmp_path / "in").mkdir()
    for number, name in enumerate(HOSTILE):
        path = tmp_path / "in" / f"{name}.png"
        if len(os.fsencode(path.name)) > 255 or "/" in name:
            path = tmp_path / "in" / f"{number}.png"
        path.write_bytes(plain)
    photos = len(list((tmp_path / "in").iterdir()))
    report = reconstruct_to_folder(method, [tmp_path / "in"], tmp_path / "out")
    assert (report.photos, report.failed) == (photos, []) and photos == len(HOSTILE)
    page = Links()
    page.feed((tmp_path / "out/index.html").read_text(encoding="utf-8"))
    assert page.scripts == 0 and len(page.links) >= 4 * photos
    for link in page.links:
        target = tmp_path / "out" / unquote(urlsplit(link).path)
        assert not urlsplit(link).scheme and target.is_file() and target.is_relative_to(tmp_path / "out"), link


class Links(HTMLParser):
    """As a browser sees the page."""

    def __init__(self):
        super().__init__()
        self.links, self.scripts = [], 0

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script" or any(name.startswith("on") for name, _ in attributes)
        self.links += [value for name, value in attributes if name in ("href", "src")]


def test_memory_does_not_grow_with_the_number_of_photos(take_photo, tmp_path, build_method, guess):
    for number in range(48):
        take_photo(tmp_path / f"in/{number:02}")
    alive = []

    def count(crop):
        alive.append(sum(type(thing) is Photo for thing in gc.get_objects()))

    settings = Settings(batch_size=4)
    reconstruct_to_folder(build_method(guess(trouble=count)), [tmp_path / "in"], tmp_path / "out", settings=settings)
    assert len(alive) == 12 and 4 <= max(alive) <= 5 * settings.batch_size, "batches in hand, and those being saved"
