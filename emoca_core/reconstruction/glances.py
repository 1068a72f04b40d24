"""What a method takes from the pixels of single faces while a clip is followed, so that it is decoded only once."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from emoca_core.images.crops import choose_crop, crops_to_batch
from emoca_core.interfaces import (
    CroppedFace,
    CropRule,
    Detection,
    EmotionBackbone,
    EmotionPrediction,
    EmotionReading,
    FaceCrop,
)
from emoca_core.kernels.threads import one_thread
from emoca_core.method import Method
from emoca_core.reconstruction.observations import Observations, ObservedFrame

_AT_ONCE = 64
"""Faces that networks look at together at most."""
TOGETHER = 16
"""Frames that are glanced at together: networks are faster so. Parts of observations are a multiple."""

_Cut = tuple[CroppedFace, Detection, tuple[int, int]]
"""A crop, the face in it, and height and width of the frame."""


@dataclass(frozen=True)
class Glances:
    """A row of numbers for each face: those of the encoder, then logits, valence and arousal of the emotion backbone.

    Attributes:
        method: Its encoder and its emotion backbone look.
        rule: Crops are cut by it.
        backbone: The method's emotion backbone, if its weights were trained.
    """

    method: Method
    rule: CropRule
    backbone: EmotionBackbone | None

    @classmethod
    def of(cls, method: Method, policy: str) -> "Glances":
        """Of a method, with crops by a policy."""
        backbone = method.emotion_backbone
        trained = backbone if backbone is not None and backbone.asset_paths else None
        return cls(method, choose_crop(policy, method.encoder.crop_rule), trained)

    @property
    def size(self) -> int:
        """Numbers for each face; 0: there is nothing to look for."""
        read = 0 if self.backbone is None else len(self.backbone.labels) + 2
        return self.method.encoder.glance_size + read

    @property
    def come_first(self) -> bool:
        """Whether they are all that is wanted of the pixels of most frames."""
        return self.size > 0 and not self.method.encoder.frames_have_pixels

    @torch.no_grad()
    def at(self, crop: FaceCrop) -> Float[Tensor, "B G"]:
        """Look at crops, on the device of the method, some of them at a time."""
        starts = range(0, len(crop), _AT_ONCE)
        return torch.cat([self._at(crop.map(lambda t, at=at: t[at : at + _AT_ONCE])) for at in starts])  # type: ignore[misc]

    def _at(self, crop: FaceCrop) -> Float[Tensor, "B G"]:
        own = [self.method.encoder.glance(crop)] if self.method.encoder.glance_size else []
        read = [_columns(self.backbone, crop.image)] if self.backbone is not None else []
        return torch.cat([*own, *read], dim=1)

    def of_encoder(self, numbers: Float[Tensor, "B G"]) -> Float[Tensor, "B E"] | None:
        """Those that the encoder asked for, if it did."""
        size = self.method.encoder.glance_size
        return numbers[:, :size] if size else None

    def emotion(self, numbers: Float[Tensor, "B G"]) -> EmotionReading | None:
        """What the emotion backbone has read, else what the encoder was told by its own; ``None`` without either."""
        own = self.of_encoder(numbers)
        if self.backbone is None:
            return None if own is None else self.method.encoder.emotion_in(own)
        read = numbers[:, self.method.encoder.glance_size :]
        logits, valence, arousal = (_known(part) for part in (read[:, :-2], read[:, -2], read[:, -1]))
        named = self.method.recipe.parts().get("emotion_backbone")  # not of a backbone that came later
        name = type(self.backbone).__name__ if named is None else named.uses
        return EmotionReading(name, self.backbone.labels, EmotionPrediction({}, logits, valence, arousal))


def _columns(backbone: EmotionBackbone, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B A"]:
    """Logits, valence and arousal beside one another; not a number where the backbone does not tell them."""
    seen, count = backbone(image), len(backbone.labels)
    columns = image.new_full((len(image), count + 2), torch.nan)
    for place, told in ((slice(count), seen.logits), (-2, seen.valence), (-1, seen.arousal)):
        if told is not None:
            columns[:, place] = told
    return columns


def _known(values: Tensor) -> Tensor | None:
    return None if values.numel() == 0 or bool(values.isnan().all()) else values


class GlancedFrames:
    """Frames on their way to the observations: some of them are looked at together, beside those who bring more.

    Args:
        observations: Receive the frames, with what was seen in their faces.
        glances: Look at them, where that comes first.
    """

    def __init__(self, observations: Observations, glances: Glances) -> None:
        self._observations, self._glances = observations, glances
        self._frames: list[ObservedFrame] = []
        self._crops: list[_Cut] = []
        self._looking: tuple[list[ObservedFrame], Future[Float[ndarray, "F G"]]] | None = None
        self._last: list[ndarray] = []
        self._count = 0
        self._pool = ThreadPoolExecutor(1, "glance")

    def __enter__(self) -> "GlancedFrames":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def add(self, frame: ObservedFrame, pixels: UInt8[ndarray, "H W 3"]) -> None:
        """Take another frame.

        Raises:
            OSError: It cannot be written.
        """
        if not self._glances.come_first:
            return self._observations.add(frame)
        if not frame.repeats:
            size = pixels.shape[0], pixels.shape[1]
            self._crops += [(self._glances.rule(pixels, face), face, size) for face in frame.faces]
        self._frames.append(frame)
        self._count += 1
        fills_part = self._count % self._observations.part == 0
        if fills_part or len(self._frames) == TOGETHER:
            self._begin()
        if fills_part:  # which is written now
            self._hand_on()

    def finish(self) -> None:
        """Hand on all that is left.

        Raises:
            OSError: It cannot be written.
        """
        self._begin()
        self._hand_on()

    def _begin(self) -> None:
        """Have those looked at that have come, once those before are."""
        self._hand_on()
        self._looking = self._frames, self._pool.submit(self._look, self._crops)
        self._frames, self._crops = [], []

    def _hand_on(self) -> None:
        if self._looking is None:
            return
        frames, seen = self._looking
        told = iter(seen.result())
        for frame in frames:
            if not frame.repeats:
                self._last = list(islice(told, len(frame.faces)))
            self._observations.add(replace(frame, glances=self._last))
        self._looking = None

    def _look(self, cuts: list[_Cut]) -> Float[ndarray, "F G"]:
        """A row for each face that was cut out."""
        if not cuts:
            return np.zeros((0, 0), np.float32)
        crops, faces, sizes = zip(*cuts, strict=True)
        batch = crops_to_batch(crops, faces, sizes).map(lambda tensor: tensor.to(self._glances.method.device))
        with one_thread():  # the others find faces
            return self._glances.at(batch).cpu().numpy()
