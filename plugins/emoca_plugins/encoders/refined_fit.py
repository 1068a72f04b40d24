"""A fit to landmarks, and a small network that changes its expression by what an emotion backbone sees in the photo."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from emoca_core.errors import RecipeError
from emoca_core.interfaces import (
    Block,
    CropRule,
    EmotionBackbone,
    EmotionPrediction,
    EmotionReading,
    Encoder,
    FaceCrop,
    FaceParameters,
    Parts,
)
from emoca_core.registry.spec import ComponentParams, UsedComponent, uses
from emoca_core.vocabulary.arkit import ARKIT_NAMES
from emoca_core.weights.checkpoints import KeyMap, asset_name, find_weights, load_into, read_checkpoint

WEIGHTS = Path(__file__).parent / "data" / "open_emoca_fit.safetensors"
Share = Annotated[float, Field(ge=0, le=1)]
_LIMITS = {
    **dict.fromkeys(("eyeLook", "jaw", "tongueOut", "cheekPuff", "mouthPucker", "mouthLeft", "mouthRight"), 0.0),
    "mouthFrown": 0.14,
}
_BATCH = 64
"""Faces that the backbone sees at once."""


class RefinedFit(Encoder):
    """The code of another encoder, with ARKit activations that a trained network moves.

    Each activation moves by at most the share ``bound`` of its way to 1, or to 0, left and right by the same share: a
    face is as asymmetric as its landmarks are. The more the photo may show a neutral face, the less they move. All else
    is the other encoder's. The network reads the features and answers of a frozen emotion backbone, and the
    activations; untrained, it changes nothing.

    Source: this project; the term that trains it is that of EMOCA (Danecek et al., CVPR 2022).
    """

    class Params(ComponentParams):
        fit: UsedComponent = uses("encoder", "landmark_fit")
        """What is refined: an encoder that predicts the 52 ARKit activations."""
        judge: UsedComponent = uses("emotion_backbone", "open_emotion")
        """The emotion backbone that looks at the crops."""
        weights: str = "untrained"
        """``untrained`` refuses to work. ``open_emoca_fit``: those that come with the project. ``random``: no change
        yet, for training. Else the network's own file, e.g. ``best.safetensors`` of a run of ``emoca train coarse``."""
        bound: float = Field(default=0.5, gt=0, le=1)
        """Largest share of its way that an activation moves."""
        limits: dict[str, Share] = Field(default=_LIMITS)
        """Other bounds, by the beginnings of names; 0 leaves an activation as it is. Gaze and jaw are joints; puffed
        cheeks and pursed lips pass for a smile with a judge, a mouth pulled to both sides at once for much else; and
        calm faces are easily taken for sad ones."""
        reduced: int = Field(default=32, ge=1)
        """Numbers that the backbone's features are reduced to."""
        hidden: int = Field(default=128, ge=1)
        """Units of the two hidden layers."""
        dropout: float = Field(default=0.1, ge=0, lt=1)
        """Share of the reduced features that a training step does not see."""

    params: Params
    shipped: ClassVar[Path] = WEIGHTS
    """Of the weights that come with the project; what they are called is its stem."""
    asset: ClassVar[str] = "refined_fit"
    """What other weights are called."""
    blocks: Mapping[Block, int] = {}

    def __init__(self, params: Params | None, fit: Encoder, judge: EmotionBackbone) -> None:
        super().__init__(params)
        p = self.params
        self.fit, self.judge = fit.requires_grad_(False), judge.requires_grad_(False).eval()
        self.crop_rule: CropRule = fit.crop_rule
        self.needs = fit.needs
        self.person_landmarks = fit.person_landmarks
        self.frames_have_pixels = fit.frames_have_pixels
        self.glance_size = p.reduced + len(judge.labels) + 2
        self.blocks = fit.blocks
        self.asset_paths = {**fit.asset_paths, **judge.asset_paths}
        if "neutral" not in judge.labels:
            raise RecipeError("refined_fit needs a judge that knows neutral faces")
        self._neutral = judge.labels.index("neutral")
        self.register_buffer(
            "bounds", torch.tensor([_bound(n, p.bound, p.limits) for n in ARKIT_NAMES]), persistent=False
        )
        self.register_buffer("partner", torch.tensor([_partner(name) for name in ARKIT_NAMES]), persistent=False)
        width = next(iter(judge.feature_dims.values()))
        self.network = Refinement(width, len(judge.labels) + 2, len(ARKIT_NAMES), p.reduced, p.hidden, p.dropout)
        self._load()

    bounds: Float[Tensor, "52"]
    partner: Int[Tensor, "52"]

    def attach(self, parts: Parts) -> None:
        self.fit.attach(parts)
        self.blocks = self.fit.blocks
        if parts.face_model.expression_names != ARKIT_NAMES:
            raise RecipeError(f"refined_fit needs ARKit activations, which {type(parts.face_model).__name__} has not")

    def train(self, mode: bool = True) -> "RefinedFit":
        """Set the mode of the network; what is frozen stays in evaluation."""
        super().train(mode)
        self.fit.eval()
        self.judge.eval()
        return self

    def forward(self, crop: FaceCrop) -> FaceParameters:
        with torch.no_grad():
            code = self.fit(crop)
        return self._refined(code, crop)

    def with_shape(self, crop: FaceCrop, code: FaceParameters, shape: Float[Tensor, "B S"]) -> FaceParameters:
        """What the other encoder says of that shape, moved as before."""
        with torch.no_grad():
            fitted = self.fit.with_shape(crop, self.fit(crop), shape)
        return self._refined(fitted, crop)

    def encode_person(self, crop: FaceCrop, others: FaceCrop | None = None) -> FaceParameters:
        return self.fit.encode_person(crop, others)

    def encode_frames(self, crop: FaceCrop, person: FaceParameters) -> FaceParameters:
        glance = self.glance(crop) if crop.glance is None else crop.glance
        return self._moved(self.fit.encode_frames(crop, person), *self._parts_of(glance))

    @torch.no_grad()
    def glance(self, crop: FaceCrop) -> Float[Tensor, "B G"]:
        features, answers = self.seen(crop.image)
        return torch.cat([self.network.reduced(features), answers], dim=1)

    def emotion_in(self, glance: Float[Tensor, "B G"]) -> EmotionReading:
        answers = self._parts_of(glance)[1]
        seen = EmotionPrediction({}, answers[:, :-2], valence=answers[:, -2], arousal=answers[:, -1])
        return EmotionReading(self.params.judge.uses, self.judge.labels, seen)

    def refined(self, code: FaceParameters, image: Float[Tensor, "B 3 H W"]) -> FaceParameters:
        """The code with its activations moved by what the backbone sees.

        Raises:
            RecipeError: The code has no 52 activations.
        """
        return self.moved(code, *self.seen(image))

    def _refined(self, code: FaceParameters, crop: FaceCrop) -> FaceParameters:
        """The same, by what a glance has told, if there was one."""
        told = crop.glance
        return self.refined(code, crop.image) if told is None else self._moved(code, *self._parts_of(told))

    @torch.no_grad()
    def seen(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B A"]]:
        """Default features of the backbone; its class scores, valence and arousal."""
        parts = [image] if torch.compiler.is_compiling() else torch.split(image, _BATCH)  # exported, its batch is free
        seen = [_answers(self.judge(part)) for part in parts]
        features, answers = (torch.cat(told) for told in zip(*seen, strict=True))
        return features, answers

    def moved(
        self, code: FaceParameters, features: Float[Tensor, "B D"], answers: Float[Tensor, "B A"]
    ) -> FaceParameters:
        """The code with its activations moved by what the backbone has ``seen``.

        Raises:
            RecipeError: The code has no 52 activations.
        """
        return self._moved(code, self.network.reduced(features), answers)

    def _moved(
        self, code: FaceParameters, reduced: Float[Tensor, "B R"], answers: Float[Tensor, "B A"]
    ) -> FaceParameters:
        activations = code.expression
        if activations is None or activations.shape[1] != len(ARKIT_NAMES):
            raise RecipeError("refined_fit needs a fit that predicts the 52 ARKit activations")
        raw = self.network(reduced, answers, activations)
        sure = 1 - answers[:, : len(self.judge.labels)].softmax(1)[:, self._neutral, None]
        share = self.bounds * sure * torch.tanh((raw + raw[:, self.partner]) / 2)
        return code.replace(expression=activations + share * torch.where(share > 0, 1 - activations, activations))

    def _parts_of(self, glance: Float[Tensor, "B G"]) -> tuple[Float[Tensor, "B R"], Float[Tensor, "B A"]]:
        """The judge's features as the network reduces them, and its answers."""
        reduced = self.params.reduced
        return glance[:, :reduced], glance[:, reduced:]

    def _load(self) -> None:
        """Read the network's weights; those of a run have the names that they have in a method."""
        weights = self.params.weights
        path = self.shipped if weights == self.shipped.stem else find_weights(self.asset, weights)
        if path is not None:
            load_into(self.network, read_checkpoint(path), KeyMap(strip=("encoder.", "network.")))
            self.asset_paths = {**self.asset_paths, asset_name(self.asset, weights): path}


class Refinement(nn.Module):
    """What moves the activations, before it is bounded; untrained, it is zero."""

    def __init__(
        self, features: int, answers: int, activations: int, reduced: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.reduce = nn.Linear(features, reduced)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(
            nn.Linear(reduced + answers + activations, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, activations),
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def reduced(self, features: Float[Tensor, "B D"]) -> Float[Tensor, "B R"]:
        """The few numbers that it knows features by, whatever their scale."""
        return self.reduce(F.layer_norm(features, features.shape[1:]))

    def forward(
        self, reduced: Float[Tensor, "B R"], answers: Float[Tensor, "B A"], activations: Float[Tensor, "B E"]
    ) -> Float[Tensor, "B E"]:
        """How far each activation moves, before that is bounded."""
        return self.layers(torch.cat([self.dropout(reduced), answers, activations], dim=1))


def _bound(name: str, bound: float, limits: Mapping[str, float]) -> float:
    return next((limit for start, limit in limits.items() if name.startswith(start)), bound)


def _partner(name: str) -> int:
    """Number of the activation that does the same on the other side; its own, where there is none."""
    side, other = ("Left", "Right") if name.endswith("Left") else ("Right", "Left")
    return ARKIT_NAMES.index(name.removesuffix(side) + other if name.endswith(side) else name)


def _answers(seen: EmotionPrediction) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B A"]]:
    features = next(iter(seen.features.values())).flatten(1)
    if seen.logits is None or seen.valence is None or seen.arousal is None:
        raise RecipeError("refined_fit needs a judge that tells classes, valence and arousal")
    return features, torch.cat([seen.logits, seen.valence[:, None], seen.arousal[:, None]], dim=1)
