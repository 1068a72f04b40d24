"""Descend the expression of one photo until the rendered face shows the emotion of the photo.

    python examples/optimise_emotion.py photo.jpg runs/emotion

``runs/emotion`` is a run of ``emoca train emotion``. The terms are those of recipes, used outside training.
"""

import sys
from pathlib import Path

import torch

from emoca_core import Method, Objective, load_method
from emoca_core.images.crops import crops_to_batch
from emoca_core.images.photos import read_photo
from emoca_core.interfaces import FaceCrop, FaceParameters
from emoca_core.reconstruction import Settings
from emoca_core.reconstruction.capture import find_faces

TERMS = {
    "emotion": {"uses": "emotion_consistency", "params": {"metric": "cosine"}},
    "landmarks": {"uses": "landmark_reprojection", "weight": 1.0},
    "prior": {"uses": "code_prior", "weight": 0.02, "params": {"block": "expression"}},
}


def crop_of(method: Method, photo: Path) -> FaceCrop:
    """The largest face of a photo, as the method cuts it."""
    face, *_ = find_faces(method, read_photo(photo), Settings()).faces
    crop = crops_to_batch([face.cropped], [face.detection], [face.photo.size])
    return crop.map(lambda tensor: tensor.to(method.device))


def optimise(method: Method, crop: FaceCrop, steps: int = 100) -> tuple[FaceParameters, list[dict[str, float]]]:
    """The code with the new expression, and the value of every term at every step."""
    objective, history = Objective.of(method, TERMS), []
    with torch.no_grad():
        start = method.encode(crop).map(torch.clone)
    expression = start.expression.clone().requires_grad_()
    optimizer = torch.optim.Adam([expression], lr=0.02)
    for _ in range(steps):
        losses = objective(method.decode(crop, start.replace(expression=expression)))
        history.append({name: value.item() for name, value in losses.parts.items()})
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        with torch.no_grad():
            expression.clamp_(0, 1)  # ARKit activations
    return start.replace(expression=expression.detach()), history


if __name__ == "__main__":
    method = load_method("open_fit", emotion=sys.argv[2])
    parameters, history = optimise(method, crop_of(method, Path(sys.argv[1])))
    print(*(f"{name}: {value:.4f} -> {history[-1][name]:.4f}" for name, value in history[0].items()), sep="\n")
