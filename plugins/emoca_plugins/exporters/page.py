"""A page that shows the captured head in any browser, without a network and without other files."""

import base64
import gzip
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from emoca_core.export.model_viewer import model_viewer_script
from emoca_core.export.overlay_clip import Layout
from emoca_core.export.sequence_codes import emotion_curves
from emoca_core.files import json_text, write_text
from emoca_core.interfaces import CapturedFace, CapturedSequence, ExportedFile, Exporter
from emoca_core.pages import html_page
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_plugins.exporters.glb import Glb

T = TypeVar("T")
FILE = "index.html"
_CURVES = 8
"""Activations that have a curve."""
_MOST_POINTS = 4000
"""Of a curve; more is not seen."""
_WORTH_SAYING = 0.05
"""Share of doubtful frames."""


class Page(Exporter):
    """``index.html``: the head to turn around, with a slider for every expression of the person.

    Everything lies in the page: the viewer (Google's <model-viewer>, Apache-2.0, as the package dash-model-viewer
    carries it), the head, and the values. The picture beside it is the one that another exporter wrote, if any.

    Of a clip, the head moves in step with it, above curves of emotion and of the activations that move most; a click
    in a curve goes to that moment. The clip itself stays the file of another exporter (``overlay``).

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
            subtitle=face.recipe if face.emotion is None else f"{face.recipe} · {face.emotion}",
            warning=f"doubtful: {'; '.join(verdict.reasons)}" if verdict.is_doubtful else "",
            picture=None if picture is None else Path(picture),
            video=None,
        )
        write_text(folder / FILE, text)
        return [ExportedFile(folder / FILE, "3D view")]

    def export_sequence(
        self, sequence: CapturedSequence, folder: Path, files: Sequence[ExportedFile] = ()
    ) -> Sequence[ExportedFile]:
        video = next((file.path for file in files if file.shows == "picture"), None)
        doubtful = sequence.flagged("doubtful").mean()
        text = _viewer(
            _head(files) or _written(Glb().export_sequence, sequence),
            _curves(sequence),
            title=sequence.title,
            subtitle=f"{sequence.recipe}, {len(sequence)} frames, smoothing {sequence.smoothing:g}",
            warning=f"doubtful in {doubtful:.0%} of the frames" if doubtful > _WORTH_SAYING else "",
            picture=None,
            video=None if video is None else {"file": Path(video.name), **_panels(sequence)},
        )
        write_text(folder / FILE, text)
        return [ExportedFile(folder / FILE, "3D view")]


def _panels(sequence: CapturedSequence) -> dict[str, str]:
    """How the page shows one panel of the overlay: its shape, the picture's width, the second one's place and label."""
    layout = Layout.of(sequence)
    height, width = layout.panel
    return {
        "shape": f"{width} / {height}",
        "width": f"{100 * layout.size[1] / width:.4f}%",
        "second": f"{-100 * layout.pitch / width:.4f}%",
        "label": layout.labels[1],
    }


def _curves(sequence: CapturedSequence) -> dict[str, object]:
    """Emotion and the activations that move most, at ``_MOST_POINTS`` moments or fewer; where the person is away."""
    known = emotion_curves(sequence)
    names = ARKIT_NAMES if sequence.arkit is not None else sequence.rig.names
    values = sequence.arkit if sequence.arkit is not None else sequence.rig.weights
    moving = np.argsort(values.min(axis=0) - values.max(axis=0), kind="stable")[:_CURVES]
    known |= {names[place]: values[:, place] for place in moving}
    step = -(-len(sequence) // _MOST_POINTS)
    back = np.flatnonzero(sequence.is_back)
    return {
        "times": sequence.times[::step].round(4).tolist(),
        "away": np.stack([sequence.times[back - 1], sequence.times[back]], axis=1).round(4).tolist(),
        "curves": [_curve(name, curve[::step]) for name, curve in known.items()],
    }


def _curve(name: str, values: Float[ndarray, "N"]) -> dict[str, object]:
    low = -1.0 if name in ("valence", "arousal") else min(0.0, float(values.min()))
    return {"name": name, "values": values.round(4).tolist(), "low": low, "high": max(1.0, float(values.max()))}


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
