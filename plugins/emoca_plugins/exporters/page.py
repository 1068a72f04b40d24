"""A page that shows the captured head in any browser, without a network and without other files."""

import base64
import gzip
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from emoca_core.export.model_viewer import model_viewer_script
from emoca_core.files import json_text, write_text
from emoca_core.interfaces import CapturedFace, ExportedFile, Exporter
from emoca_core.pages import html_page
from emoca_plugins.exporters.glb import Glb

T = TypeVar("T")
FILE = "index.html"


class Page(Exporter):
    """``index.html``: the head to turn around, with a slider for every expression of the person.

    Everything lies in the page: the viewer (Google's <model-viewer>, Apache-2.0, as the package dash-model-viewer
    carries it), the head, and the values. The picture beside it is the one that another exporter wrote, if any.

    Source: this project.
    """

    def export(self, face: CapturedFace, folder: Path, files: Sequence[ExportedFile] = ()) -> Sequence[ExportedFile]:
        verdict = face.quality
        picture = next((file.path.name for file in files if file.shows == "picture"), None)
        rig = face.mesh.rig
        text = _viewer(
            _head(files) or _written(Glb().export, face),
            {"weights": {} if rig is None else dict(rig.weights)},
            title=f"{face.photo.path.name}, face {face.index}",
            subtitle=face.recipe,
            warning=f"doubtful: {'; '.join(verdict.reasons)}" if verdict.is_doubtful else "",
            picture=None if picture is None else Path(picture),
            video=None,
        )
        write_text(folder / FILE, text)
        return [ExportedFile(folder / FILE, "3D view")]


def _head(files: Sequence[ExportedFile]) -> bytes | None:
    """The GLB file that was written before."""
    return next((file.path.read_bytes() for file in files if file.path.suffix == ".glb"), None)


def _written(export: Callable[[T, Path], Sequence[ExportedFile]], captured: T) -> bytes:
    """What an exporter writes, without leaving a file."""
    with TemporaryDirectory() as temporary:
        return export(captured, Path(temporary))[0].path.read_bytes()


def _viewer(glb: bytes, data: Mapping[str, object], **shown: object) -> str:
    """The page around a head.

    Args:
        glb: The head.
        data: What the page's script reads; strict JSON.
        **shown: What the template shows.
    """
    values = json_text(data, indent=None, strict=True).replace("<", "\\u003c")  # nothing in it ends the script element
    return html_page(
        "viewer",
        package="emoca_plugins.exporters",
        data=values,
        model=_base64(glb),
        engine=_engine(),
        **shown,
    )


@cache
def _engine() -> str:
    """The viewer's script as base64 of gzip."""
    return _base64(gzip.compress(model_viewer_script(), mtime=0))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
