"""The patches of a picture look like patches of the photo, each like another one."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from emoca_core import ComponentParams
from emoca_core.interfaces import Capture, Loss
from emoca_core.weights.checkpoints import KeyMap, load_published
from emoca_core.weights.timm_trunk import Normalisation, create_trunk
from emoca_plugins.losses.reduction import Reduction, reduce_faces
from emoca_plugins.losses.uv_patches import PatchWeights, masked_patch

NETWORK = "vgg19.tv_in1k"
LAYERS: Mapping[str, int] = MappingProxyType(
    {
        **{"relu1_1": 1, "relu1_2": 3},
        **{"relu2_1": 6, "relu2_2": 8},
        **{"relu3_1": 11, "relu3_2": 13, "relu3_3": 15, "relu3_4": 17},
        **{"relu4_1": 20, "relu4_2": 22, "relu4_3": 24, "relu4_4": 26},
        **{"relu5_1": 29, "relu5_2": 31, "relu5_3": 33, "relu5_4": 35},
    }
)
"""Name of a layer in the papers -> its place among the features of timm's (and torchvision's) VGG-19."""
EPSILON = 1e-5
BANDWIDTH = 0.5
"""Constants of Wang et al. (NeurIPS 2018) and of their public code."""
Layer = Literal[
    "relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu3_4",
    "relu4_1", "relu4_2", "relu4_3", "relu4_4", "relu5_1", "relu5_2", "relu5_3", "relu5_4",
]  # fmt: skip


class IdMrf(Loss):
    """Implicit diversified Markov random field: weighted sum over layers of VGG-19 of ``mrf_distance``.

    Both sides are masked. The photo's side has no gradient.

    Source: Wang et al., Image Inpainting via Generative Multi-column Convolutional Neural Networks, NeurIPS 2018, as
    DECA (Feng et al., SIGGRAPH 2021, section 4.2) uses it, with patches of one feature vector.
    The public code sums over the batch and weighs the face patch by 5 (preset ``upstream``).
    """

    class Params(ComponentParams):
        weights: str = "pretrained"
        """``pretrained``: torchvision's ImageNet weights as timm publishes them, from its cache or its hub. ``random``:
        untrained, for tests. Else a file with timm's or torchvision's VGG-19."""
        what: Literal["detail_maps", "picture"] = "detail_maps"
        """``detail_maps``: texture and observed texture where visible (published). ``picture``: picture and photo
        inside the mask, in their own size."""
        layers: dict[Layer, Annotated[float, Field(gt=0)]] = Field(
            default={"relu3_2": 1.0, "relu4_2": 2.0}, min_length=1
        )
        """Weight of each layer. The published loss counts ``relu4_2`` twice, for style and for content."""
        patches: PatchWeights = Field(default={"face": 1.0})
        """Weight of each patch of the detail maps, as for ``detail_photometric``."""
        size: int = Field(default=256, ge=32)
        """Side to which every patch is resized, texels."""
        reduction: Reduction = "mean"
        """Over the faces of a batch. ``sum`` (published) grows with the batch of a forward pass, of all processes."""
        pixels_at_once: int = Field(default=256, ge=1)
        """Feature vectors of the picture that are compared with all of the photo's at a time. Bounds the memory, does
        not change the value."""

    params: Params
    requires: ClassVar[frozenset[str]] = frozenset()  # whatever the parameters are; an instance knows what it reads

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        fields = {"detail_maps": {"detail_maps"}, "picture": {"picture", "mask"}}[self.params.what]
        self.requires = frozenset(fields)  # type: ignore[misc]
        trunk = create_trunk(NETWORK, self.params.weights == "pretrained")
        deepest = max(LAYERS[layer] for layer in self.params.layers)
        self.features = nn.Sequential(*list(trunk.get_submodule("features").children())[: deepest + 1])
        self.normalise = Normalisation.of(trunk)
        if self.params.weights != "pretrained":
            load_published(self, "vgg19", self.params.weights, _keys(deepest))
        self.requires_grad_(False).eval()

    def forward(self, capture: Capture) -> Float[Tensor, ""]:
        terms = [weight * self._distance(seen, wanted) for weight, seen, wanted in self._pairs(capture)]
        return torch.stack(terms).sum()

    def _pairs(self, capture: Capture) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Weight, estimate and target of each comparison."""
        if self.params.what == "picture":
            mask = self.need(capture.mask, "a mask")
            yield 1.0, mask * self.need(capture.picture, "a picture"), mask * capture.crop.image
            return
        maps = self.need(capture.detail_maps, "detail maps")
        for patch, weight in self.params.patches.items():
            yield weight, *masked_patch(maps, patch, self.params.size)

    def _distance(self, seen: Float[Tensor, "B 3 H W"], wanted: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
        with torch.no_grad():
            targets = self.layers_of(wanted)
        features, terms = self.layers_of(seen), []
        for layer, weight in self.params.layers.items():
            distance = mrf_distance(features[layer].flatten(2), targets[layer].flatten(2), self.params.pixels_at_once)
            terms.append(weight * reduce_faces(distance, self.params.reduction))
        return torch.stack(terms).sum()

    def layers_of(self, image: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B C h w"]]:
        """The wanted layers of RGB in [0, 1]."""
        names = {LAYERS[layer]: layer for layer in self.params.layers}
        found: dict[str, Tensor] = {}
        x = self.normalise(image)
        for place, module in enumerate(self.features):
            x = module(x)
            if place in names:
                found[names[place]] = x
        return found


def _keys(deepest: int) -> KeyMap:
    deeper = "|".join(str(place) for place in range(deepest + 1, max(LAYERS.values()) + 1))
    return KeyMap(
        drop={
            r"(classifier|pre_logits|head)\.": "the classifier",
            rf"features\.({deeper})\.": "deeper than the layers that are compared",
        }
    )


def mrf_distance(
    seen: Float[Tensor, "B C N"], wanted: Float[Tensor, "B C N"], pixels_at_once: int
) -> Float[Tensor, "B"]:
    """-log of how well, on average, each feature vector of the target is matched by its best one of the estimate.

    A vector of the estimate shares itself out among those of the target by softmax of their distances relative to the
    nearest one, so that it can serve few of them and the estimate has to be as diverse as the target.

    Args:
        seen: Features of the estimate, one vector per pixel.
        wanted: Of the target.
        pixels_at_once: Vectors of ``seen`` that are held against all of ``wanted`` at a time. What lies in between is
            computed again for the gradient instead of kept.

    Source: Wang et al., NeurIPS 2018, section 3.2.
    """
    mean = wanted.mean(1, keepdim=True)
    seen, wanted = (torch.nn.functional.normalize(features - mean, dim=1) for features in (seen, wanted))
    parts = [
        checkpoint(_best_shares, part, wanted, use_reentrant=False, preserve_rng_state=False)
        for part in torch.split(seen, pixels_at_once, dim=2)
    ]
    return -torch.stack(parts).amax(0).mean(1).log()


def _best_shares(seen: Float[Tensor, "B C n"], wanted: Float[Tensor, "B C N"]) -> Float[Tensor, "B N"]:
    distance = (1 - wanted.mT @ seen) / 2
    relative = distance / (distance.amin(1, keepdim=True) + EPSILON)
    return ((1 - relative) / BANDWIDTH).softmax(1).amax(2)
