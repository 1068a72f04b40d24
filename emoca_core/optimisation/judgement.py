"""Whether an optimised face came closer to the target: for its judge, for a witness, and by its landmarks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emoca_core.export.codes import landmark_error
from emoca_core.interfaces import Capture, EmotionBackbone, EmotionPrediction


@dataclass(frozen=True)
class Reading:
    """What an emotion backbone sees in a picture of a face.

    Attributes:
        distance: Euclidean distance of its first feature from that in the photo, as a fraction of the latter's length.
        expression: The class with the highest score; ``None`` without a classifier.
        valence: Unpleasant -1 to pleasant 1; ``None`` where it is not predicted.
        arousal: Calm -1 to excited 1; ``None`` where it is not predicted.
    """

    distance: float
    expression: str | None = None
    valence: float | None = None
    arousal: float | None = None


@dataclass(frozen=True)
class Judgement:
    """What is thought of one face.

    Attributes:
        judge: What the backbone of the energy sees.
        witness: What a backbone sees that took no part; ``None`` where none is at hand.
        landmark_error: Mean distance of the 68 landmarks from the target's, as a fraction of the distance of the outer
            corners of its eyes; ``None`` where the photo has no such landmarks.
    """

    judge: Reading
    witness: Reading | None
    landmark_error: float | None


def is_adversarial(before: Judgement, after: Judgement) -> bool | None:
    """Whether a face pleases its judge more than before, but not the witness; ``None`` without a witness."""
    if before.witness is None or after.witness is None:
        return None
    pleases = after.judge.distance < before.judge.distance
    return pleases and after.witness.distance >= before.witness.distance


def readings(backbone: EmotionBackbone, seen: EmotionPrediction, photo: EmotionPrediction) -> list[Reading]:
    """What a backbone sees in each picture of a batch, beside what it sees in the photo."""
    distances = feature_distance(seen, photo).tolist()
    classes = seen.logits.argmax(1).tolist() if seen.logits is not None and backbone.labels else None
    names = [None] * len(distances) if classes is None else [backbone.labels[index] for index in classes]
    valence, arousal = (_values(value, len(distances)) for value in (seen.valence, seen.arousal))
    return [Reading(*row) for row in zip(distances, names, valence, arousal, strict=True)]


def feature_distance(seen: EmotionPrediction, photo: EmotionPrediction) -> Float[Tensor, "B"]:
    """Of the first feature: Euclidean, as a fraction of its length in the photo."""
    name = next(iter(seen.features))
    a, b = seen.features[name].flatten(1), photo.features[name].flatten(1)
    return (a - b).norm(dim=1) / b.norm(dim=1).clamp_min(1e-12)


def landmark_errors(capture: Capture) -> list[float | None]:
    """Of each face of a batch; see ``Judgement``."""
    if "ibug68" not in capture.crop.landmarks:
        return [None] * len(capture.parameters)
    fitted, detected = (points.detach().cpu().double().numpy() for points in _points(capture))
    return [landmark_error(a, b) for a, b in zip(fitted, detected, strict=True)]


def _points(capture: Capture) -> tuple[Tensor, Tensor]:
    return capture.projected_landmarks("ibug68"), capture.crop.landmarks["ibug68"]


def _values(value: Float[Tensor, "B"] | None, count: int) -> list[float | None]:
    return [None] * count if value is None else [float(one) for one in value]


@torch.no_grad()
def judgements(
    capture: Capture, judge: EmotionBackbone, witness: EmotionBackbone | None
) -> tuple[list[Judgement], Judgement]:
    """What is thought of each face of a batch, and of the photo itself."""
    of_judge, photo = _opinions(judge, capture)
    of_witness, seen = ([None] * len(of_judge), None) if witness is None else _opinions(witness, capture)
    faces = zip(of_judge, of_witness, landmark_errors(capture), strict=True)
    return [Judgement(*face) for face in faces], Judgement(photo, seen, None)


def _opinions(backbone: EmotionBackbone, capture: Capture) -> tuple[list[Reading], Reading]:
    """Of the pictures and of the photo, which all backbones get in the same form."""
    assert capture.picture is not None
    photo = backbone(capture.crop.image[:1])
    return readings(backbone, backbone(capture.picture), photo), readings(backbone, photo, photo)[0]
