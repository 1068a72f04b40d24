"""The verdict on a captured face. Its limits are measured: ``benchmarks/quality.py``, docs/landmark-fit.md."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from emoca_core.export.codes import landmark_error
from emoca_core.geometry.rotations import rotation_vector_to_matrix
from emoca_core.interfaces import Detection, FaceParameters, Quality
from emoca_core.vocabulary.landmark_sets import IBUG68_OUTER_EYE_CORNERS


@dataclass(frozen=True)
class Limit:
    """From where on a figure is a reason for doubt.

    Attributes:
        figure: Its name in ``Quality.figures``.
        value: The last value that is fine.
        at_least: Whether smaller figures are doubtful, instead of larger ones.
        says: The reason.
        shown: How the figure is written.
        lost: The reason where the figure is not finite, if that is another one.
    """

    figure: str
    value: float
    at_least: bool
    says: str
    shown: str
    lost: str = ""

    def reason(self, figure: float | None) -> str | None:
        """Why a figure is doubtful; ``None`` if it is not, or not known."""
        if figure is None or (figure >= self.value if self.at_least else figure <= self.value):
            return None
        if not math.isfinite(figure):
            return self.lost or self.says
        bound = "from" if self.at_least else "up to"
        return f"{self.says} ({self.shown.format(figure)}; {bound} {self.value:g} is fine)"


LIMITS: Sequence[Limit] = (
    Limit("score", 0.75, True, "the detector is not sure that this is a face", "score {:.2f}"),
    Limit(
        figure="movement",
        value=0.05,
        at_least=False,
        says="a second look finds other landmarks",
        shown="{:.3f} of the eye distance away",
        lost="a second look finds no face",
    ),
    Limit(
        figure="second_opinion",
        value=0.0,
        at_least=True,
        says="other signs are against a whole human face: an animal, a drawing, a mask, a hand before it",
        shown="{:.1f}",
    ),
    Limit("outside", 0.09, False, "part of the face is outside of the photo", "{:.3f} of its points"),
    Limit("landmark_error", 0.08, False, "the fitted landmarks miss the detected ones", "{:.3f} of the eye distance"),
    Limit("eye_distance_px", 12.0, True, "the face is small", "{:.0f} pixels between the eyes"),
    Limit("turned_degrees", 50.0, False, "the head is turned far aside", "{:.0f} degrees"),
    Limit("largest_shape", 5.0, False, "the identity is outside of the model's range", "{:.1f} standard deviations"),
    Limit("arkit_residual_mm", 0.5, False, "the ARKit values do not give the captured mesh", "{:.2f} mm away"),
)
"""What is looked at, in the order of the reasons."""

_DENSE = 200
"""Landmarks that are a mesh of the face, and not its features alone."""


def judge(
    detection: Detection,
    fitted: Float[ndarray, "68 2"] | None,
    parameters: FaceParameters,
    photo_size: tuple[int, int] | None = None,
    arkit_residual_mm: float | None = None,
) -> Quality:
    """The verdict on one face, from whatever its method tells.

    Args:
        detection: What the landmarker found.
        fitted: The same landmarks of the mesh, photo pixels; ``None`` for methods without a camera.
        parameters: Its code, a batch of one.
        photo_size: Height and width of the photo, pixels.
        arkit_residual_mm: How far the weighted targets stay away from the mesh on average; ``None`` for other rigs.
    """
    detected = detection.landmarks["ibug68"]
    figures = {
        "score": float(detection.score),
        "movement": detection.movement,
        "second_opinion": detection.second_opinion,
        "outside": _outside(detection, photo_size),
        "landmark_error": None if fitted is None else landmark_error(fitted, detected),
        "eye_distance_px": float(np.linalg.norm(np.subtract(*detected[list(IBUG68_OUTER_EYE_CORNERS)]))),
        "turned_degrees": _turned(parameters),
        "largest_shape": _largest_shape(parameters),
        "arkit_residual_mm": arkit_residual_mm,
    }
    reasons = tuple(reason for limit in LIMITS if (reason := limit.reason(figures[limit.figure])) is not None)
    return Quality("doubtful" if reasons else "good", reasons, figures)


def doubtful_frames(
    scores: Float[ndarray, "N"], landmarks: Float[ndarray, "N 68 2"], parameters: FaceParameters
) -> Bool[ndarray, "N"]:
    """Frames of a clip that one look at them makes doubtful: by score, size and how far the head is turned.

    Args:
        scores: Of the landmarker.
        landmarks: As detected, pixels.
        parameters: Codes of the frames.
    """
    corners = landmarks[:, IBUG68_OUTER_EYE_CORNERS]
    figures: dict[str, ndarray | None] = {
        "score": scores,
        "eye_distance_px": np.linalg.norm(corners[:, 0] - corners[:, 1], axis=-1),
        "turned_degrees": _turned_degrees(parameters),
    }
    doubtful = np.zeros(len(scores), bool)
    for limit in LIMITS:
        if (figure := figures.get(limit.figure)) is not None:
            doubtful |= figure < limit.value if limit.at_least else figure > limit.value
    return doubtful


def _outside(detection: Detection, photo_size: tuple[int, int] | None) -> float | None:
    """Share of the landmarks that lie outside of the photo, where they cover the face densely."""
    points = max(detection.landmarks.values(), key=len)
    if photo_size is None or len(points) < _DENSE:
        return None
    last = np.array(photo_size[::-1]) - 0.5
    return float(np.mean(((points < -0.5) | (points > last)).any(axis=1)))


def _turned(parameters: FaceParameters) -> float | None:
    degrees = _turned_degrees(parameters)
    return None if degrees is None else float(degrees[0])


def _turned_degrees(parameters: FaceParameters) -> Float[ndarray, "B"] | None:
    """Angle between the face and the camera's axis about the vertical, degrees."""
    if parameters.global_pose is None:
        return None
    forwards = rotation_vector_to_matrix(parameters.global_pose.double())[..., 2].numpy()
    degrees: ndarray = np.degrees(np.arctan2(np.abs(forwards[:, 0]), forwards[:, 2]))
    return degrees


def _largest_shape(parameters: FaceParameters) -> float | None:
    """Largest identity coefficient, where they are measured in standard deviations."""
    if parameters.shape is None or parameters.unit_of("shape") != "sigma":
        return None
    return float(parameters.shape.abs().max())
