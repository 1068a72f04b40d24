"""What an encoder promises."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from emoca_core.interfaces import BLOCKS, IDENTITY, CropRule, Encoder, FaceCrop, FaceParameters
from emoca_core.interfaces.samples import sample_crop
from emoca_core.testing.common import SINGLE_TOLERANCE, Subject, check_module, tensors_of

ITERATIVE_TOLERANCE = 2e-2
"""Relative; a fit stops within its own tolerance, which rounding reaches along another path."""


def check(subject: Subject[Encoder]) -> None:
    """The declared blocks, from the declared inputs, with gradients to whatever can be trained."""
    encoder = subject.component
    subject.require(encoder.blocks, "must declare blocks, the sizes of what it predicts")
    subject.require(isinstance(encoder.crop_rule, CropRule), "crop_rule must be a CropRule")
    subject.require(encoder.crop_rule.size > 0 and encoder.crop_rule.name, "crop_rule needs a name and a size")
    optional = {field.name for field in dataclasses.fields(FaceCrop)} - {"image"}
    subject.require(encoder.needs <= optional, f"needs names unknown fields: {sorted(encoder.needs - optional)}")

    crop = subject.sample if subject.sample is not None else sample_crop(encoder.crop_rule.size)
    inverts = subject.parts is not None
    tolerance = ITERATIVE_TOLERANCE if inverts else SINGLE_TOLERANCE
    parameters = check_module(subject, lambda module, faces: module(faces), _only(crop, encoder), tolerance=tolerance)
    subject.require(isinstance(parameters, FaceParameters), "must return FaceParameters")
    unknown = encoder.blocks.keys() - BLOCKS - parameters.others.keys()
    subject.require(not unknown, f"blocks that do not exist: {sorted(unknown)}")
    found = {name: block.shape[1] for name, block in parameters.blocks().items()}
    subject.require(found == dict(encoder.blocks), f"predicts {found}, blocks declares {dict(encoder.blocks)}")
    with_everything = encoder(crop)
    subject.require_same(with_everything, parameters, 0.0, "what is not in `needs` must not change the result")
    _check_clips(subject, encoder, crop)
    _check_training(subject, encoder, with_everything)


def _check_clips(subject: Subject[Encoder], encoder: Encoder, crop: FaceCrop) -> None:
    with torch.no_grad():
        person = encoder.encode_person(crop)
        frames = encoder.encode_frames(crop, person)
    subject.require(
        all(len(block) == 1 for block in person.blocks().values()), "encode_person must give a batch of one"
    )
    for name in IDENTITY:
        known, block = person.get(name), frames.get(name)
        if isinstance(known, Tensor):
            same = isinstance(block, Tensor) and torch.equal(block, known.expand_as(block))
            subject.require(same, f"encode_frames must give every row the person's {name}")
    found = {name: block.shape[1] for name, block in frames.blocks().items()}
    subject.require(
        found == dict(encoder.blocks), f"encode_frames gives {found}, blocks declares {dict(encoder.blocks)}"
    )
    if encoder.person_landmarks:
        dark = dataclasses.replace(crop, image=torch.zeros_like(crop.image))
        with torch.no_grad():
            lit, unlit = (encoder.encode_person(crop, others) for others in (crop, dark))
        subject.require_same(unlit, lit, 0.0, "encode_person must not look at the pixels of other frames")
    if encoder.glance_size:
        with torch.no_grad():
            glance = encoder.glance(crop)
        wanted = (len(crop), encoder.glance_size)
        subject.require(glance.shape == wanted, f"glance gives {tuple(glance.shape)}, promised are {wanted}")
        crop = dataclasses.replace(crop, glance=glance)
    if not encoder.frames_have_pixels:
        with torch.no_grad():
            black = encoder.encode_frames(dataclasses.replace(crop, image=torch.zeros_like(crop.image)), person)
        subject.require_same(black, frames, 0.0, "without frames_have_pixels, encode_frames must not look at them")


def _only(crop: FaceCrop, encoder: Encoder) -> FaceCrop:
    """The crop with nothing but the picture and what the encoder says it needs."""
    empty: dict[str, object] = {
        "landmarks": {},
        **dict.fromkeys(("blendshapes", "crop_to_image", "photo_size", "identity", "glance")),
    }
    replace: Callable[..., FaceCrop] = dataclasses.replace
    return replace(crop, **{name: value for name, value in empty.items() if name not in encoder.needs})


def _check_training(subject: Subject[Encoder], encoder: Encoder, parameters: FaceParameters) -> None:
    trainable = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    if not trainable:
        return
    # squares, because the gradient of a sum vanishes behind a normalisation
    outputs = [tensor.square().sum() for tensor in tensors_of(parameters).values() if tensor.requires_grad]
    subject.require(outputs, "has trainable weights, but its result is cut off from the graph")
    gradients = torch.autograd.grad(torch.stack(outputs).sum(), trainable, allow_unused=True)
    reached = [gradient for gradient in gradients if gradient is not None]
    subject.require(reached, "has trainable weights that no gradient reaches: freeze them or use them")
    subject.require(all(gradient.isfinite().all() for gradient in reached), "gradients must be finite")
