"""What a retargeting kept: the driver's emotion to a witness, the source's identity, and how far the lips are apart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from emoca_core.export.arkit import EXPRESSIVE
from emoca_core.images.warp import warp
from emoca_core.interfaces import (
    Capture,
    EmotionBackbone,
    FaceCrop,
    FaceParameters,
    Loss,
    Rendering,
    SequenceEmotion,
)
from emoca_core.progress import progress_bar
from emoca_core.reconstruction.captured_sequence import frames_of
from emoca_core.retargeting.lips import lip_openings
from emoca_core.retargeting.retargeted_sequence import RetargetedSequence
from emoca_core.vocabulary.emotions import expression_name
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS

_BATCH = 16
_SEEN = 16
"""Frames in which identity is looked at."""
_CLOSED = 0.01
"""Lips that are no more than this farther apart than at rest are closed; units of the outer eye corners' distance."""
_SHOWN = 0.5
"""Intensity from which on a named emotion should be recognised."""


@dataclass(frozen=True)
class EmotionKept:
    """What a witness reads in the driver and in the retargeted face.

    Attributes:
        witness: Name of the backbone.
        labels: Its classes.
        retargeted: Probability of each class in each frame of the rendering.
        driver: The same of the driver's frames; ``None`` where nobody can be seen.
        unmoved: The same of the source's face at rest, once.
        retargeted_levels: Valence and arousal of the rendering, as far as the witness knows them.
        driver_levels: The same of the driver.
    """

    witness: str
    labels: tuple[str, ...]
    retargeted: Float[ndarray, "N C"]
    driver: Float[ndarray, "N C"] | None
    unmoved: Float[ndarray, "C"]
    retargeted_levels: Mapping[str, Float[ndarray, "N"]] = field(default_factory=dict)
    driver_levels: Mapping[str, Float[ndarray, "N"]] = field(default_factory=dict)

    def figures(self, asked: str | None, intensity: Float[ndarray, "N"] | None) -> dict[str, object]:
        """Numbers about all frames, JSON-ready.

        ``distance`` is the total variation of the class probabilities, 0 (the same) to 1, to those of the driver;
        ``distance_unmoved`` that of the source's face at rest, which a retargeting has to beat. ``agreement`` is the
        share of frames with the same strongest class. For a named emotion: the mean probability of its class, and the
        share of frames in which it is the strongest, where the intensity is at least 0.5.
        """
        found: dict[str, object] = {"witness": self.witness, "classes": list(self.labels)}
        found["mean"] = {
            name: _rounded(value) for name, value in zip(self.labels, self.retargeted.mean(0), strict=True)
        }
        if self.driver is not None:
            found["distance"] = _rounded(np.abs(self.retargeted - self.driver).sum(axis=1).mean() / 2)
            found["distance_unmoved"] = _rounded(np.abs(self.unmoved - self.driver).sum(axis=1).mean() / 2)
            found["agreement"] = _rounded((self.retargeted.argmax(1) == self.driver.argmax(1)).mean())
            for name, values in self.driver_levels.items():
                found[f"{name}_difference"] = _rounded(np.abs(values - self.retargeted_levels[name]).mean())
        names = [expression_name(label) for label in self.labels]
        if asked in names and intensity is not None and (strong := intensity >= _SHOWN).any():
            column = names.index(asked)
            found["asked"] = {
                "emotion": asked,
                "probability": _rounded(self.retargeted[strong, column].mean()),
                "probability_unmoved": _rounded(self.unmoved[column]),
                "recognised": _rounded((self.retargeted[strong].argmax(1) == column).mean()),
            }
        return found

    def curves(self) -> SequenceEmotion:
        """For the pages and tables of a sequence."""
        scores = {name: self.retargeted[:, column] for column, name in enumerate(self.labels)}
        levels = self.retargeted_levels
        return SequenceEmotion(self.witness, scores, levels.get("valence"), levels.get("arousal"))


@dataclass(frozen=True)
class Measures:
    """Everything that is measured of a retargeting; what could not be has its reason.

    Attributes:
        emotion: To a witness.
        identity: Distance (1 - cosine) of the retargeted renderings to the source's own, to a recognition network.
        lips: See ``lip_figures``.
        missing: Reason for each that is ``None``, by name.
    """

    emotion: dict[str, object] | None
    identity: Mapping[str, str | float] | None
    lips: dict[str, object] | None
    missing: Mapping[str, str]

    def describe(self) -> dict[str, object]:
        """JSON-ready."""
        known = {"emotion": self.emotion, "identity": self.identity, "lips": self.lips}
        return {**known, "missing": dict(self.missing)}


def measured(
    sequence: RetargetedSequence,
    witness: tuple[str, EmotionBackbone] | None,
    recognition: tuple[str, Loss] | None,
) -> tuple[RetargetedSequence, Measures]:
    """Measure a retargeting.

    Args:
        sequence: The retargeting.
        witness: Name of a trained emotion backbone that took no part, and itself; ``None`` where there is none.
        recognition: Name of a loss that compares identities, and itself, see ``load_recognition``; ``None`` where there
            is none.

    Returns:
        The sequence with what the witness reads in it, and the figures.
    """
    missing: dict[str, str] = {}
    emotion = figures = None
    if sequence.cameras is None:
        missing |= dict.fromkeys(("emotion", "identity"), f"'{sequence.recipe}' has no camera, so nothing is drawn")
    elif witness is None:
        missing["emotion"] = "no emotion backbone was there to witness"
    else:
        emotion = emotion_kept(sequence, *witness)
        figures = emotion.figures(sequence.driving.emotion, sequence.driving.intensity)
    identity = None
    if recognition is None:
        missing.setdefault("identity", "no recognition network was there to compare")
    elif sequence.parameters.lighting is None:
        missing.setdefault("identity", f"'{sequence.recipe}' estimates no light, under which faces could be compared")
    elif sequence.cameras is not None:
        identity = identity_kept(sequence, *recognition)
    lips = lip_figures(sequence)
    if lips is None:
        missing["lips"] = "numbers do not tell how far the driver's lips are apart"
    shown = sequence if emotion is None else replace(sequence, emotion=emotion.curves())
    return shown, Measures(figures, identity, lips, missing)


# emotion


def emotion_kept(sequence: RetargetedSequence, name: str, backbone: EmotionBackbone) -> EmotionKept:
    """What an emotion backbone reads in every frame of the driver and of the retargeted rendering."""
    retargeted = _readings(backbone, _renderings(sequence, range(len(sequence))), len(sequence))
    still = _read(backbone, _drawn(sequence, _at_rest(sequence)).image)
    driver = None
    if sequence.driving.pictures is not None:
        driver = _readings(backbone, _driver_crops(sequence), len(sequence))
    return EmotionKept(
        witness=name,
        labels=backbone.labels,
        retargeted=retargeted["classes"],
        driver=None if driver is None else driver["classes"],
        unmoved=still["classes"][0],
        retargeted_levels=_levels(retargeted),
        driver_levels={} if driver is None else _levels(driver),
    )


Readings = dict[str, Float[ndarray, "N ..."]]


def _readings(backbone: EmotionBackbone, batches: Iterator[Float[Tensor, "B 3 H W"]], total: int) -> Readings:
    parts: list[Readings] = []
    with progress_bar(total=total, label="witness", unit="frame") as bar:
        for images in batches:
            parts.append(_read(backbone, images))
            bar.update(len(images))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _read(backbone: EmotionBackbone, images: Float[Tensor, "B 3 H W"]) -> Readings:
    with torch.no_grad():
        seen = backbone(images.clamp(0, 1).to(next(backbone.parameters()).device))
    known = {"valence": seen.valence, "arousal": seen.arousal}
    found = {name: values.clamp(-1, 1).cpu().numpy() for name, values in known.items() if values is not None}
    classes = torch.zeros(len(images), 0) if seen.logits is None else seen.logits.softmax(dim=1).cpu()
    return {"classes": classes.numpy(), **found}


def _levels(readings: Readings) -> Readings:
    return {name: values for name, values in readings.items() if name != "classes"}


def _renderings(sequence: RetargetedSequence, rows: Sequence[int]) -> Iterator[Float[Tensor, "B 3 H W"]]:
    for start in range(0, len(rows), _BATCH):
        index = torch.tensor(rows[start : start + _BATCH])
        code = sequence.parameters.map(lambda tensor, index=index: tensor[index])  # type: ignore[misc]
        yield _drawn(sequence, code).image


def _at_rest(sequence: RetargetedSequence) -> FaceParameters:
    """The source's own code without expression."""
    code = sequence.source.parameters
    return code.replace(**{name: torch.zeros_like(b) for name in EXPRESSIVE if isinstance(b := code.get(name), Tensor)})


def _drawn(sequence: RetargetedSequence, code: FaceParameters) -> Rendering:
    """Faces in the source's crop, as the method draws them."""
    method = sequence.method
    code = code.map(lambda tensor: tensor.to(method.device))
    with torch.no_grad():
        geometry = method.face_model(code)
        picture = method.render(geometry, code, sequence.crop_size)
        assert picture is not None
        if method.detail is not None:
            fine = method.render_detail(picture, geometry, code, method.detail.decode(code))
            picture = picture if fine is None else fine
    return picture


def _driver_crops(sequence: RetargetedSequence) -> Iterator[Float[Tensor, "B 3 H W"]]:
    pictures = sequence.driving.pictures
    assert pictures is not None
    frames = frames_of(pictures.clip, sequence.numbers.tolist())
    for start in range(0, len(sequence), _BATCH):
        places = pictures.crop_to_image[start : start + _BATCH]
        cut = [
            warp(frame.pixels, place, pictures.crop_size, antialias=True)
            for place, frame in zip(places, frames, strict=False)
        ]
        yield torch.from_numpy(np.stack(cut) / np.float32(255)).permute(0, 3, 1, 2)


# identity


def identity_kept(sequence: RetargetedSequence, name: str, loss: Loss) -> dict[str, str | float]:
    """How far the retargeted renderings are from the source's own, to a recognition network."""
    still = _drawn(sequence, sequence.source.parameters).image
    rows: Int[ndarray, K] = np.unique(np.linspace(0, len(sequence) - 1, _SEEN).round().astype(np.int64))
    codes = [sequence.parameters.map(lambda tensor, row=row: tensor[row : row + 1]) for row in rows.tolist()]  # type: ignore[misc]
    distances = [identity_distance(sequence, code, still, loss) for code in codes]
    return {"recognition": name, "mean": _rounded(np.mean(distances)), "largest": _rounded(np.max(distances))}


def identity_distance(
    sequence: RetargetedSequence, code: FaceParameters, image: Float[Tensor, "1 3 H W"], loss: Loss
) -> float:
    """How far a code, drawn by the method of a sequence, is from a picture, to a recognition network.

    Args:
        sequence: Says how codes are drawn.
        code: A batch of one.
        image: RGB of 0 to 1, of the size of the sequence's crops.
        loss: Of ``load_recognition``.
    """
    code = code.map(lambda tensor: tensor.to(sequence.method.device))
    picture = _drawn(sequence, code)
    with torch.no_grad():
        geometry = sequence.method.face_model(code)
        seen = Capture(crop=FaceCrop(image.clamp(0, 1)), parameters=code, geometry=geometry, rendering=picture)
        return float(loss(replace(seen, mask=torch.ones_like(picture.mask), picture=picture.image)))


# lips


def lip_figures(sequence: RetargetedSequence) -> dict[str, object] | None:
    """How far the lips are apart, retargeted against the driver's; ``None`` where the driver's are not known.

    How much farther than at rest the inner lips are apart, on the meshes, is compared in units of the distance of the
    outer eye corners, and told in millimetres of the source's face. ``closed`` are the frames in which the driver's
    mouth is shut: there, ``open_where_closed_mm`` is how far the retargeted one is open.
    """
    driver = sequence.driving.lips
    if driver is None:
        return None
    if sequence.movement.rest is not None:
        driver = driver - sequence.movement.rest.lips
    own = lip_openings(sequence.method, sequence.parameters)
    points = sequence.geometry(slice(0, 1)).landmarks["ibug68"][0].double().numpy()
    right, left = (points[corner] for corner in IBUG68_OUTER_EYE_CORNERS)
    size = 1000 * float(np.linalg.norm(right - left))
    closed = driver < _CLOSED
    return {
        "error_mm": _rounded(size * np.abs(own - driver).mean()),
        "largest_error_mm": _rounded(size * np.abs(own - driver).max()),
        "closed": int(closed.sum()),
        "open_where_closed_mm": _rounded(size * own[closed].mean()) if closed.any() else None,
    }


def _rounded(value: object) -> float:
    return round(float(np.asarray(value)), 4)
