"""The kit tells an exporter which promise it breaks."""

import itertools

import pytest
from local_plugins import component_registry

from emoca_core.interfaces import ExportedFile, Exporter
from emoca_core.testing import check_component

COUNT = itertools.count()


class Good(Exporter):
    """Writes two files. Source: this test."""

    def export(self, face, folder, files=()):
        (folder / "a.txt").write_text(face.recipe)
        (folder / "b.txt").write_text("b")
        return [ExportedFile(folder / "a.txt", "A"), ExportedFile(folder / "b.txt")]


class Unnamed(Good):
    """Source: this test."""

    def export(self, face, folder, files=()):
        return super().export(face, folder, files)[:1]


class Missing(Good):
    """Source: this test."""

    def export(self, face, folder, files=()):
        return [ExportedFile(folder / "c.txt")]


class Elsewhere(Good):
    """Source: this test."""

    def export(self, face, folder, files=()):
        (folder.parent / "a.txt").write_text("a")
        return [ExportedFile(folder.parent / "a.txt")]


class Changing(Good):
    """Source: this test."""

    def export(self, face, folder, files=()):
        files = super().export(face, folder, files)
        (folder / "b.txt").write_text(str(next(COUNT)))
        return files


class Overwriting(Good):
    """Source: this test."""

    def export(self, face, folder, files=()):
        files[0].path.write_text("mine now")
        return super().export(face, folder, files)


class Telling(Good):
    """Source: this test."""

    def export(self, face, folder, files=()):
        (folder / "a.txt").write_text(str(folder))
        return [ExportedFile(folder / "a.txt")]


class Twice(Good):
    """Source: this test."""

    def export(self, face, folder, files=()):
        return [ExportedFile(file.path, shows="picture") for file in super().export(face, folder, files)]


class Silent(Good):
    """Source: this test."""

    def export(self, face, folder, files=()):
        return []


BROKEN = {
    Unnamed: "must name all files that it writes, not only some: b.txt",
    Missing: "c.txt is not there",
    Elsewhere: "a.txt must be in the folder that it was given",
    Changing: "equal faces must give equal bytes",
    Overwriting: "must not touch files of other exporters",
    Telling: "must not write this machine's paths",
    Twice: "a face has one picture",
    Silent: "must write something",
}


def check(cls):
    with component_registry("exporter", under_test=cls) as registry:
        check_component("exporter", "under_test", None, registry)


def test_a_good_exporter_passes():
    check(Good)


@pytest.mark.parametrize(("cls", "said"), BROKEN.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_a_broken_exporter_is_told_which_promise_it_breaks(cls, said):
    with pytest.raises(AssertionError, match=said):
        check(cls)
