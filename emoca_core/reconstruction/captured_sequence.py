"""One person through a clip: what a method's parts say of it, without ever holding all meshes or pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import torch

from emoca_core.errors import ImageError
from emoca_core.export.camera import PhotoCameras, crop_cameras_to_photo
from emoca_core.export.overlay_clip import overlay_frames
from emoca_core.export.sequence_rig import sequence_rig
from emoca_core.interfaces import (
    CapturedSequence,
    Clip,
    ClipFrame,
    FaceGeometry,
    PhotoCamera,
    SequenceRig,
)
from emoca_core.method import Method
from emoca_core.reconstruction.captured import describe_assets, describe_recipe, versions
from emoca_core.reconstruction.saving import DEFAULT_SEQUENCE_WRITE, build_exporters, save_sequence

FORMAT = "emoca-sequence-1"
_SLICE = 256


@dataclass(frozen=True, kw_only=True, repr=False)
class ReconstructedSequence(CapturedSequence):
    """A captured sequence whose meshes, rig and cameras are made by the method that reconstructed it.

    Attributes:
        method: What reconstructed it.
        crop_rule: Name of the rule by which the crops were cut.
    """

    method: Method
    crop_rule: str = ""

    def __repr__(self) -> str:
        return f"CapturedSequence({self.clip.path.name!r}, track {self.track}, {len(self)} frames)"

    @property
    def recipe(self) -> str:
        """Name of the method."""
        return self.method.name

    @cached_property
    def cameras(self) -> Sequence[PhotoCamera] | None:
        """Camera of the whole frame, for every row; ``None`` for methods without one."""
        camera = self.parameters.camera
        if camera is None:
            return None
        pieces = (slice(start, start + _SLICE) for start in range(0, len(self), _SLICE))
        cameras = (
            crop_cameras_to_photo(
                camera.map(lambda tensor, rows=rows: tensor[rows]),  # type: ignore[misc]
                self.crop_size,
                self.crop_to_image[rows],
                self.clip.size,
            )
            for rows in pieces
        )
        return PhotoCameras.of(chain.from_iterable(cameras), len(self))

    @cached_property
    def rig(self) -> SequenceRig:
        """The person's head, its targets, and their weights in every frame."""
        return sequence_rig(self.method.face_model, self.parameters, self.geometry)

    def geometry(self, rows: slice) -> FaceGeometry:
        """The posed meshes of some rows, on the CPU."""
        device = self.method.device
        with torch.no_grad():
            posed: FaceGeometry = self.method.face_model(self.parameters.map(lambda tensor: tensor[rows].to(device)))
        return posed.map(torch.Tensor.cpu)

    def pictures(self, rows: slice = slice(None)) -> Iterator[ClipFrame]:
        """The clip's frames of some rows, decoded again, in order: one for each row.

        Raises:
            ImageError: The clip is gone, or has other frames than before.
        """
        return frames_of(self.clip, self.numbers[rows].tolist())

    def overlay(self) -> Iterator[ClipFrame] | None:
        """Original, mesh over it and mesh alone, for every frame of the clip; ``None`` without a camera."""
        if self.cameras is None:
            return None
        method = self.method
        return overlay_frames(self, method.face_model.faces, method.renderer, method.device)

    def record(self) -> dict[str, object]:
        """Method, versions, assets, clip, person and settings, JSON-ready."""
        person = {name: block[0].tolist() for name, block in self.codes.items() if name in ("shape", "albedo")}
        return {
            "format": FORMAT,
            "recipe": {"name": self.recipe, "parts": describe_recipe(self.method)},
            "versions": versions(),
            "assets": describe_assets(self.method),
            "clip": describe_clip(self.clip),
            "track": self.track,
            "frames": len(self),
            "smoothing": self.smoothing,
            "crop": {"rule": self.crop_rule, "size": {"width": self.crop_size[1], "height": self.crop_size[0]}},
            "person": person,
        }

    def save(self, folder: Path | str, write: Sequence[str] = DEFAULT_SEQUENCE_WRITE) -> list[Path]:
        """Write files; those of an earlier save are replaced, and ``sequence.json`` comes last.

        Args:
            folder: Made where it does not exist.
            write: Names of exporters, see ``emoca list exporter``; ``json`` is always among them.

        Raises:
            UnknownNameError: There is no such exporter.
            EmocaError: A format holds no movement.
            OSError: The folder cannot be written, or the disk is full.
        """
        return save_sequence(self, Path(folder), build_exporters(write))


def frames_of(clip: Clip, numbers: Sequence[int]) -> Iterator[ClipFrame]:
    """Some frames of a clip by their numbers, which grow.

    Raises:
        ImageError: One of them is not there.
    """
    frames = clip.at(numbers)
    for number in numbers:
        frame = next(frames, None)
        if frame is None or frame.number != number:
            raise ImageError(f"{clip.path}: frame {number} cannot be read any more: has the clip changed?")
        yield frame


def describe_clip(clip: Clip) -> dict[str, object]:
    """Name, content and size of a clip, JSON-ready. The folder is left out: results travel."""
    height, width = clip.size
    return {
        "file": Path(clip.path).name,
        "sha256": clip.sha256,
        "width": width,
        "height": height,
        "frame_rate": clip.frame_rate,
        "has_sound": clip.has_sound,
        "notes": list(clip.notes),
    }
