"""What a detail model promises."""

import dataclasses

from torch import Tensor

from emoca_core.interfaces import BLOCKS, DetailModel, FaceCrop, FaceParameters
from emoca_core.interfaces.samples import sample_crop, sample_parameters
from emoca_core.testing.common import Subject, check_module, gradient_of

LARGEST_DISPLACEMENT = 0.05
"""Metres. Wrinkles are millimetres; more than this is a model that works in other units."""


def check(subject: Subject[DetailModel]) -> None:
    """A code of the declared size, a map of the declared size in metres, gradients from the map to the code."""
    model = subject.component
    for attribute in ("code_size", "map_size"):
        size = getattr(model, attribute, 0)
        subject.require(isinstance(size, int) and size > 0, f"{attribute} must be a positive number")
    unknown = set(model.conditions) - set(BLOCKS)
    subject.require(not unknown, f"conditions that do not exist: {sorted(unknown)}")
    crop = sample_crop(224) if subject.sample is None else subject.sample
    parameters = sample_parameters({"global_pose": 3, **model.conditions}, len(crop))
    encoded, displacement = check_module(subject, _run, (crop, parameters))
    count = len(crop)
    subject.require(encoded.detail is not None, "must fill the detail block")
    assert encoded.detail is not None
    subject.require(
        encoded.detail.shape == (count, model.code_size),
        f"the code has shape {tuple(encoded.detail.shape)}, code_size declares {model.code_size}",
    )
    side = model.map_size
    subject.require(
        displacement.shape == (count, 1, side, side),
        f"the map has shape {tuple(displacement.shape)}, map_size declares {side}",
    )
    subject.require(
        displacement.abs().max() < LARGEST_DISPLACEMENT, "displacements must be in metres, along the normal"
    )
    code = encoded.detail.detach().requires_grad_()
    gradient_of(subject, model.decode(dataclasses.replace(encoded, detail=code)), code, "the map depends on the code")


def _run(model: DetailModel, batch: tuple[FaceCrop, FaceParameters]) -> tuple[FaceParameters, Tensor]:
    encoded = model(*batch)
    return encoded, model.decode(encoded)
