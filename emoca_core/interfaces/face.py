"""What flows between the parts: a crop of a face, its parameters, its geometry."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.errors import unknown_name
from emoca_core.interfaces.camera import Camera

T = TypeVar("T")

Block = str
"""Name of a block of a face code: one of ``BLOCKS``, or one that a part brings along."""
BLOCKS: tuple[Block, ...] = (
    *("shape", "expression", "global_pose", "neck_pose", "jaw_pose", "eye_pose", "eyelids"),
    *("albedo", "lighting", "detail", "camera"),
)
"""Blocks that everybody knows. Others need no edit here: whoever fills them declares size (``blocks``) and unit."""

IDENTITY: tuple[Block, ...] = ("shape", "albedo", "detail")
"""Blocks that stay the same of one person, whatever the face does; wrinkles of an expression come from the detail code
and the expression together."""

Unit = Literal["sigma", "activation", "radians", "raw", "whitened", "spherical_harmonics", "latent", "camera"]
"""What a number in a block means: standard deviations of a statistical model, blendshape activation in [0, 1],
axis-angle radians, a network's un-normalised units, zero-mean unit-variance over the training set, ..."""

DEFAULT_UNITS: Mapping[Block, Unit] = {
    "shape": "sigma",
    "expression": "sigma",
    "global_pose": "radians",
    "neck_pose": "radians",
    "jaw_pose": "radians",
    "eye_pose": "radians",
    "eyelids": "activation",
    "albedo": "sigma",
    "lighting": "spherical_harmonics",
    "detail": "latent",
    "camera": "camera",
}


@dataclass(frozen=True)
class FaceCrop:
    """A batch of face crops and how they lie in their photos.

    Attributes:
        image: RGB in [0, 1].
        landmarks: Detected points by set name (``"mediapipe478"``, ``"ibug68"``), in the crop's NDC: x right, y down.
        blendshapes: 52 ARKit activations in [0, 1], in the order of ``emoca_core.vocabulary.arkit.ARKIT_NAMES``.
        crop_to_image: Homogeneous transform of pixel-centre coordinates, crop to photo.
        photo_size: Height and width of each photo, pixels.
        mask: 1 where the photo shows skin of this face, [0, 1] (a segmentation).
        identity: Faces with the same number are the same person; ``None`` when every face is somebody else.
        glance: What ``Encoder.glance`` took from the pixels.
        keys: Where each face is from, e.g. the path of its photo. Not a tensor: ``map`` leaves it as it is.
    """

    image: Float[Tensor, "B 3 H W"]
    landmarks: Mapping[str, Float[Tensor, "B _ 2"]] = field(default_factory=dict)
    blendshapes: Float[Tensor, "B 52"] | None = None
    crop_to_image: Float[Tensor, "B 3 3"] | None = None
    photo_size: Int[Tensor, "B 2"] | None = None
    mask: Float[Tensor, "B 1 H W"] | None = None
    identity: Int[Tensor, "B"] | None = None
    glance: Float[Tensor, "B G"] | None = None
    keys: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.image)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the crop, pixels."""
        return int(self.image.shape[-2]), int(self.image.shape[-1])

    def map(self, change: Callable[[Tensor], Tensor]) -> "FaceCrop":
        """The same crops with every tensor replaced by ``change(tensor)``."""
        return _map_fields(self, change)

    @classmethod
    def cat(cls, crops: Sequence["FaceCrop"]) -> "FaceCrop":
        """Several batches as one; an optional field survives if every batch has it.

        Raises:
            ValueError: Crops of different sizes.
        """
        sizes = {crop.size for crop in crops}
        if len(sizes) != 1:
            raise ValueError(f"crops of different sizes cannot form a batch: {sorted(sizes)}")
        sets = set.intersection(*(set(crop.landmarks) for crop in crops))
        optional = ("blendshapes", "crop_to_image", "photo_size", "mask", "identity", "glance")
        keys = [crop.keys for crop in crops if crop.keys is not None]
        return cls(
            image=torch.cat([crop.image for crop in crops]),
            landmarks={name: torch.cat([crop.landmarks[name] for crop in crops]) for name in sorted(sets)},
            keys=tuple(key for some in keys for key in some) if len(keys) == len(crops) else None,
            **{name: _cat_optional([getattr(crop, name) for crop in crops]) for name in optional},
        )


@dataclass(frozen=True)
class FaceParameters:
    """The code of a batch of faces: named blocks, each with a unit. Absent blocks are ``None``.

    Attributes:
        shape: Identity coefficients.
        expression: Expression coefficients.
        global_pose: Head rotation, axis-angle.
        neck_pose: Neck rotation, axis-angle.
        jaw_pose: Jaw rotation, axis-angle.
        eye_pose: Left eye then right eye, axis-angle each.
        eyelids: Left and right lid closure, [0, 1].
        albedo: Texture coefficients.
        lighting: Spherical harmonics of order 2 as 9 bands x RGB (order and constants: docs/conventions.md).
        detail: Latent code of the detail displacement.
        camera: Where the face is in its crop.
        others: Blocks that parts bring along, by name; ``units`` says what they mean.
        units: Deviations from ``DEFAULT_UNITS``.

    Raises:
        ValueError: Another block without a unit, or with the name of a known one.

    Example:
        >>> units = {"expression": "activation"}
        >>> code = FaceParameters(shape=torch.zeros(2, 100), expression=torch.zeros(2, 52), units=units)
        >>> len(code), code.unit_of("shape"), sorted(code.blocks())
        (2, 'sigma', ['expression', 'shape'])
    """

    shape: Float[Tensor, "B S"] | None = None
    expression: Float[Tensor, "B E"] | None = None
    global_pose: Float[Tensor, "B 3"] | None = None
    neck_pose: Float[Tensor, "B 3"] | None = None
    jaw_pose: Float[Tensor, "B 3"] | None = None
    eye_pose: Float[Tensor, "B 6"] | None = None
    eyelids: Float[Tensor, "B 2"] | None = None
    albedo: Float[Tensor, "B A"] | None = None
    lighting: Float[Tensor, "B 9 3"] | None = None
    detail: Float[Tensor, "B D"] | None = None
    camera: Camera | None = None
    others: Mapping[Block, Float[Tensor, "B _"]] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if odd := sorted(name for name in self.others if name in BLOCKS or name not in self.units):
            raise ValueError(
                f"blocks {', '.join(odd)}: a block of one's own has a name of its own and a unit in `units`"
            )

    def __len__(self) -> int:
        return int(self.count)

    @property
    def count(self) -> int:
        """Number of faces; where a network is traced for any batch, this stays a symbol and ``len`` is a number."""
        return next(block.shape[0] for block in self.blocks().values())

    def blocks(self) -> dict[Block, Tensor]:
        """The blocks that are present, each flattened to [B, D]; the camera as its code."""
        present: dict[Block, Tensor] = {}
        for name in BLOCKS:
            value = getattr(self, name)
            if value is not None:
                present[name] = value.code() if isinstance(value, Camera) else value.flatten(1)
        return present | dict(self.others)

    def get(self, block: Block) -> "Tensor | Camera | None":
        """A block in its own shape, by name."""
        return self.others[block] if block in self.others else getattr(self, block, None)

    def unit_of(self, block: Block) -> Unit:
        """What the numbers of a block mean."""
        return self.units[block] if block in self.units else DEFAULT_UNITS[block]

    def select(self, names: Iterable[str]) -> Float[Tensor, "B D"]:
        """Blocks by name, concatenated in the order asked for: the input of a probe.

        Raises:
            UnknownNameError: A block that this code does not have.
        """
        blocks, names = self.blocks(), list(names)
        for name in names:
            if name not in blocks:
                raise unknown_name("block in this face code", name, blocks)
        return torch.cat([blocks[name] for name in names], dim=1)

    def map(self, change: Callable[[Tensor], Tensor]) -> "FaceParameters":
        """The same code with every tensor replaced by ``change(tensor)``: devices, indexing, detaching."""
        return _map_fields(self, change)

    def replace(self, **blocks: "Tensor | Camera | Mapping[str, Unit] | None") -> "FaceParameters":
        """A copy with some blocks exchanged; ``None`` takes one away."""
        own = {name for name in blocks if name in BLOCKS or name in ("others", "units")}
        changed = {**self.others, **{name: value for name, value in blocks.items() if name not in own}}
        fields: dict[str, Any] = {"others": {name: value for name, value in changed.items() if value is not None}}
        return dataclasses.replace(self, **(fields | {name: blocks[name] for name in own}))

    @classmethod
    def cat(cls, codes: "Sequence[FaceParameters]") -> "FaceParameters":
        """Several batches with the same blocks as one."""
        columns = zip(*(code.tensors() for code in codes), strict=True)
        return codes[0].with_tensors([torch.cat(values) for values in columns])

    def tensors(self) -> list[Tensor]:
        """All tensors, those of the camera among them."""
        found: list[Tensor] = []

        def keep(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        self.map(keep)
        return found

    def with_tensors(self, tensors: Sequence[Tensor]) -> "FaceParameters":
        """The same blocks of other tensors, in the order of ``tensors()``."""
        others = iter(tensors)
        return self.map(lambda _: next(others))


@dataclass(frozen=True)
class FaceGeometry:
    """A posed mesh in model space: metres, +x to the subject's left, +y up, +z out of the face.

    Attributes:
        vertices: Posed by the parameters' rotations; not yet placed by the camera.
        landmarks: Points on the surface by set name; ``"ibug68"`` is always there (with the contour that the model's
            pose makes visible, where the model has a dynamic one).
    """

    vertices: Float[Tensor, "B V 3"]
    landmarks: Mapping[str, Float[Tensor, "B _ 3"]]

    def map(self, change: Callable[[Tensor], Tensor]) -> "FaceGeometry":
        """The same geometry with every tensor replaced by ``change(tensor)``."""
        return _map_fields(self, change)


@dataclass(frozen=True)
class Albedo:
    """Reflectance without light, RGB, nominally in [0, 1], not clamped: a UV texture, or one colour per vertex."""

    texture: Float[Tensor, "B 3 T T"] | None = None
    vertex_colors: Float[Tensor, "B V 3"] | None = None


def _map_fields(value: T, change: Callable[[Tensor], Tensor]) -> T:
    changed = {f.name: _map_one(getattr(value, f.name), change) for f in dataclasses.fields(value)}  # type: ignore[arg-type]
    return dataclasses.replace(value, **changed)  # type: ignore[type-var]


def _map_one(value: object, change: Callable[[Tensor], Tensor]) -> object:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Camera):
        return value.map(change)
    if isinstance(value, Mapping):
        return {key: _map_one(item, change) for key, item in value.items()}
    return value


def _cat_optional(values: Sequence[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.cat(present) if len(present) == len(values) else None
