"""Inputs with what is known of their emotion, one by one and mixed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from emoca_core.interfaces import FaceSample
from emoca_core.interfaces.global_batch import gather_batch, rows_of_process, world_size
from emoca_core.train.sampling import sample_generator
from emoca_core.train.task import Step


@dataclass(frozen=True)
class EmotionBatch:
    """Inputs with their labels.

    Attributes:
        input: Images [B, 3, H, W] or codes [B, D].
        expression: Class index, -1 where unknown; or probabilities of mixed faces, all 0 where unknown.
        valence: [-1, 1]; NaN where unknown.
        arousal: [-1, 1]; NaN where unknown.
        taught: Logits of a teacher, NaN where it has not seen the face; ``None`` without a teacher.
    """

    input: Float[Tensor, "B ..."]
    expression: Int[Tensor, "B"] | Float[Tensor, "B C"]
    valence: Float[Tensor, "B"]
    arousal: Float[Tensor, "B"]
    taught: Float[Tensor, "B C"] | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "EmotionBatch":
        """The same batch with every tensor replaced by ``change(tensor)``."""
        labels = change(self.expression), change(self.valence), change(self.arousal)
        return EmotionBatch(change(self.input), *labels, None if self.taught is None else change(self.taught))


def collate_faces(samples: Sequence[FaceSample]) -> EmotionBatch:
    """Samples of one size as a batch; a label that is unknown becomes -1 or NaN."""
    taught = [sample.logits for sample in samples if sample.logits is not None]
    return EmotionBatch(
        torch.stack([sample.image for sample in samples]),
        torch.tensor([-1 if s.expression is None else s.expression for s in samples]),
        torch.tensor([math.nan if s.valence is None else s.valence for s in samples]),
        torch.tensor([math.nan if s.arousal is None else s.arousal for s in samples]),
        torch.stack(taught) if taught else None,
    )


def mixed(batch: EmotionBatch, classes: int, strength: float, step: Step) -> EmotionBatch:
    """Every face mixed with another one of the batch of all processes, and its classes as probabilities.

    Faces are mixed only with faces of which the same is known. Who is mixed with whom, and how much, depends on the
    step alone.

    Args:
        batch: Of this process.
        classes: Their number.
        strength: Parameter of the beta distribution of the share of the other face, which is at most one half.
        step: The position of the pass.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """
    everyone = batch.map(gather_batch)
    known = [everyone.expression >= 0, (everyone.valence + everyone.arousal).isfinite()]
    if everyone.taught is not None:
        known.append(everyone.taught.isfinite().all(1))
    kind = torch.stack([one.long() << bit for bit, one in enumerate(known)]).sum(0)
    order, share = (drawn.to(kind.device) for drawn in _drawn(len(everyone.input), strength, step))
    other = torch.empty_like(order)
    other[kind.argsort(stable=True)] = order[kind[order].argsort(stable=True)]
    soft = replace(
        everyone,
        expression=F.one_hot(everyone.expression.clamp(min=0), classes).float() * known[0][:, None],
        taught=None if everyone.taught is None else everyone.taught.softmax(1),
    )
    own = rows_of_process(len(batch.input))

    def mix(values: Tensor) -> Tensor:
        return values.lerp(values[other], share.to(values).view(-1, *[1] * (values.ndim - 1)))[own]

    result = soft.map(mix)
    return result if result.taught is None else replace(result, taught=result.taught.clamp(min=1e-8).log())


def _drawn(count: int, strength: float, step: Step) -> tuple[Int[Tensor, "{count}"], Float[Tensor, "{count}"]]:
    """An order, and the share of the other face for each: the same on all processes."""
    passes, number = step.parts // world_size(), step.part // world_size()
    place = step.index * passes + number
    random = np.random.default_rng(sample_generator(step.seed, place, 0x313).initial_seed())
    share = random.beta(strength, strength, count)
    return torch.from_numpy(random.permutation(count)), torch.from_numpy(np.minimum(share, 1 - share)).float()
