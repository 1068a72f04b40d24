"""What a trained backbone says of the faces of a data set: computed once, kept, and learnt from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from emoca_core.errors import ParamsError
from emoca_core.interfaces import EmotionBackbone, FaceDataset, FaceSample
from emoca_core.progress import progress_bar
from emoca_core.runs.trained_part import sha256_of_tensors
from emoca_core.weights.write_tensors import write_tensors

BATCH = 64
_PROBES = 64
"""Faces whose pixels tell one data set from another."""


@dataclass(frozen=True)
class TaughtFaces:
    """A data set whose samples carry the logits of a teacher.

    Attributes:
        faces: The data set.
        logits: Of every face.
    """

    faces: FaceDataset
    logits: Float[Tensor, "N C"]

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> FaceSample:
        return replace(self.faces[index], logits=self.logits[index])


def taught_by(teacher: EmotionBackbone, faces: FaceDataset, labels: Sequence[str]) -> TaughtFaces:
    """The faces with what a teacher says of them, unchanged by augmentation; from the cache where it was said before.

    Args:
        teacher: Trained, in evaluation mode.
        faces: Images of one size.
        labels: Names of the classes to learn; the teacher has to know them all.

    Raises:
        ParamsError: It does not.

    Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
    """
    if missing := [label for label in labels if label not in teacher.labels]:
        raise ParamsError(
            f"the teacher does not know {', '.join(missing)}; it recognises {', '.join(teacher.labels) or 'nothing'}"
        )
    path = Path(platformdirs.user_cache_dir("emoca")) / "teachers" / f"{_key(teacher, faces)}.safetensors"
    if not path.exists():
        write_tensors(path, {"logits": _logits(teacher, faces)})
    columns = [teacher.labels.index(label) for label in labels]
    return TaughtFaces(faces, load_file(path)["logits"][:, columns])


@torch.no_grad()
def _logits(teacher: EmotionBackbone, faces: FaceDataset) -> Float[Tensor, "N C"]:
    rows, device = [], next(teacher.parameters()).device
    for start in progress_bar(range(0, len(faces), BATCH), label="asking the teacher", unit="batch"):
        images = torch.stack([faces[i].image for i in range(start, min(start + BATCH, len(faces)))])
        logits = teacher(images.to(device)).logits
        assert logits is not None  # it has classes
        rows.append(logits.float().cpu())
    return torch.cat(rows)


def _key(teacher: EmotionBackbone, faces: FaceDataset) -> str:
    """Another teacher, or other faces, give another one."""
    digest = hashlib.sha256(f"{type(teacher).__name__} {teacher.params!r}".encode())
    digest.update(sha256_of_tensors(teacher.state_dict()).encode())
    digest.update(f"{len(faces)} {faces.params!r}".encode())
    for index in torch.linspace(0, len(faces) - 1, _PROBES).long().tolist():
        sample = faces[index]
        digest.update(sample.key.encode() + sample.image.numpy().tobytes())
    return digest.hexdigest()
