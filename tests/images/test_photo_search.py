"""Which files are photos, and what is said of pictures that are none of them."""

import os
import re
import shutil
from pathlib import Path

import pytest

from emoca_core.errors import ImageError
from emoca_core.images.photo_search import find_photos, natural_key, photos_in, walk_files

JPEG, PNG = b"\xff\xd8\xff\xe0 and so on", b"\x89PNG\r\n\x1a\n and so on"


def make(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return paths


def test_find_photos_in_natural_order(tmp_path: Path) -> None:
    make(tmp_path, "10.jpg", "2.jpg", "1.JPG", "notes.txt", ".hidden.jpg", ".cache/a.jpg", "sub/3.webp", "2b.jpg")
    names = [str(path.relative_to(tmp_path)) for path in find_photos(tmp_path, lambda path, why: None)]
    assert names == ["1.JPG", "2.jpg", "2b.jpg", "10.jpg", os.path.join("sub", "3.webp")]


def test_find_photos_keeps_the_order_of_inputs_and_names_each_once(tmp_path: Path) -> None:
    b, a, text = make(tmp_path, "b.jpg", "a.jpg", "letter.txt")
    assert find_photos([b, tmp_path, a]) == [b, a]
    assert find_photos(text) == [text], "a file named directly is kept: reading it says what is wrong"
    assert find_photos(str(tmp_path / "[ab].jpg")) == [a, b]
    (odd,) = make(tmp_path, "odd[1].jpg")
    assert find_photos(str(odd)) == [odd], "an existing file wins over a pattern"


def test_find_photos_recursive_glob_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = make(tmp_path, "x/y/1.jpg", "x/2.png", "x/3.txt")[:2]
    assert set(find_photos(str(tmp_path / "**" / "*"))) == set(deep)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_photos("~/x/2.png") == [deep[1]]


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere", "no such file or folder"), ("*.jpg", "no photo matches"), ("", "no photos in")]
)
def test_find_photos_finds_nothing(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        find_photos(tmp_path / name)


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ImageError, match=r"cannot be listed \(Permission denied\)"):
        find_photos(tmp_path)


def test_natural_key() -> None:
    names = ["a10.jpg", "a9.jpg", "a.jpg", "B1.jpg", "a09x.jpg"]
    assert sorted(names, key=natural_key) == ["a.jpg", "a9.jpg", "a09x.jpg", "a10.jpg", "B1.jpg"]


# what looks like a picture and is not taken


LEFT = {
    "IMG_1.CR2": (b"II*\0", "camera raw"),
    "IMG_2.nef": (b"", "camera raw"),
    "drawing.psd": (b"", "export it as JPEG or PNG"),
    "drawing.SVG": (b"", "export it as JPEG or PNG"),
    "export": (JPEG, "its name does not end like a picture's"),
    "a.jpg_large": (JPEG, "its name does not end like a picture's"),
    "b.png.download": (PNG, "its name does not end like a picture's"),
    ".hidden.jpg": (JPEG, "hidden"),
    "..jpg.jpg": (JPEG, "hidden"),
    "sub/deep/IMG_3.arw": (b"", "camera raw"),
    ".thumbnails": (None, "a hidden folder (pictures in it: 2)"),
}
OTHERS = {
    "notes.txt": b"text",
    "labels.csv": JPEG,
    "README": b"text",
    ".DS_Store": b"\0",
    "._photo.jpg": b"\0\x05\x16\x07",
    "film.mp4": b"\0\0\0\x18ftypisom",
    ".git/config": b"text",
}


def fill(folder: Path) -> None:
    for name, (content, _) in LEFT.items():
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    for name, content in OTHERS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    make(folder, "photo.jpg", "phone.HEIC", ".thumbnails/1.jpg", ".thumbnails/deep/2.png")


def test_every_picture_is_taken_or_named(tmp_path: Path) -> None:
    fill(tmp_path)
    left: dict[str, str] = {}
    found = find_photos(tmp_path, lambda path, why: left.update({path.relative_to(tmp_path).as_posix(): why}))
    assert [path.name for path in found] == ["phone.HEIC", "photo.jpg"]
    assert left.keys() == LEFT.keys()
    assert all(reason in left[name] for name, (_, reason) in LEFT.items())


def test_who_does_not_listen_is_warned(tmp_path: Path) -> None:
    (photo,) = make(tmp_path, "a.jpg")
    assert find_photos(tmp_path) == [photo], "no warning of nothing"
    make(tmp_path, "b.dng", "c.dng")
    with pytest.warns(UserWarning, match=r"pictures not taken \(2\): .*b\.dng \(a camera raw file.*c\.dng"):
        find_photos(tmp_path)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(
        ImageError, match=rf"^{re.escape(str(tmp_path))}: no photos in this folder .*not taken: b.dng, c.dng"
    ):
        find_photos(tmp_path, lambda path, why: None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_looking_never_waits(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert len(find_photos(tmp_path)) == 1


# links


def test_linked_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    photos, other = tmp_path / "photos", tmp_path / "other"
    make(photos, "a/1.jpg", "z/2.jpg")
    make(other, "3.jpg", "deep/4.jpg")
    (photos / "a" / "up").symlink_to(photos, target_is_directory=True)
    (photos / "b").symlink_to(other, target_is_directory=True)
    (photos / "c").symlink_to(photos / "z", target_is_directory=True)
    (other / "back").symlink_to(photos, target_is_directory=True)
    (other / "self").symlink_to(other / "self")
    names = [path.relative_to(photos).as_posix() for path in find_photos(photos)]
    assert names == ["a/1.jpg", "b/3.jpg", "b/deep/4.jpg", "z/2.jpg"], "real folders by their own names"


def test_many_links_do_not_multiply(tmp_path: Path) -> None:
    """Two links to the next of 40 folders are a trillion ways to the last one."""
    for number in range(40):
        make(tmp_path / "folders", f"{number}/{number}.jpg")
        for name in ("x", "y"):
            (tmp_path / "folders" / str(number) / name).symlink_to(tmp_path / "folders" / str(number + 1))
    assert len(find_photos(tmp_path / "folders" / "0")) == 40


# one bad path costs itself alone


def test_a_folder_that_cannot_be_listed_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.jpg", "locked/b.jpg", "open/c.jpg")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root, who runs tests in containers, may list everything
    left: list[str] = []
    assert [p.name for p in photos_in(tmp_path, lambda path, why: left.append(f"{path.name} {why}"))] == [
        "a.jpg",
        "c.jpg",
    ]
    assert left == ["locked cannot be listed: Permission denied"]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/*.jpg", "a\0b", "~nobody-here/a.jpg", "y/" * 3000])
def test_a_path_that_is_none_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        find_photos(name if name.startswith("~") else str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_tree_deeper_than_paths_may_be_long(tmp_path: Path) -> None:
    """4,096 bytes are the limit of a path on Linux: what lies deeper is named, what lies above is found."""
    make(tmp_path, "a.jpg")
    inside, start = "d" * 200, os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(25):
            os.mkdir(inside)
            os.chdir(inside)
    finally:
        os.chdir(start)
    left: list[str] = []
    assert [path.name for path in walk_files(tmp_path, lambda path, why: left.append(why))] == ["a.jpg"]
    assert left == ["cannot be listed: File name too long"]
    shutil.rmtree(tmp_path / inside)
