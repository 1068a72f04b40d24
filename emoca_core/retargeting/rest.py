"""The driver's rest: the moment that their movement is told apart from how their face looks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from emoca_core.errors import ParamsError
from emoca_core.export.arkit import at_rest
from emoca_core.interfaces import FaceParameters
from emoca_core.method import Method
from emoca_core.retargeting.driving import Driving
from emoca_core.retargeting.lips import lip_openings
from emoca_core.retargeting.regions import region_of
from emoca_core.vocabulary.arkit import ARKIT_NAMES

_BLINK = "eyeBlink"
_PASSING = (_BLINK, "eyeLook")
"""ARKit values that say nothing of how neutral a face is."""
_FRONTAL = 20.0
"""Degrees; heads that turn no more than this away from the viewer are seen well."""
_OPEN = 0.2
"""Mean ``eyeBlink`` up to which eyes count as open."""
_SHUT = 0.02
"""Lips that are no more than this farther apart than at rest touch, as landmarks tell; units of the outer eye corners'
distance."""
_FEW = 0.1
"""Share of the frames that is looked at where none fulfils a condition: those that come nearest to it."""
_STEPS = 20
"""Shares of a mouth that are tried."""


@dataclass(frozen=True)
class Rest:
    """When, and how, the driver's face is at rest.

    Attributes:
        row: Of the driver.
        mouth: Share of this row's mouth that counts as rest, in [0, 1]: less than 1 where its lips are apart.
        lips: How much farther than in a neutral face they still are, in units of the outer eye corners' distance.
    """

    row: int
    mouth: float
    lips: float


def find_rest(
    driving: Driving, moving: FaceParameters, method: Method, person: FaceParameters, asked: float | None
) -> tuple[Rest, FaceParameters]:
    """The driver's rest: the row nearest to a moment, or the most neutral one; and what of it is taken away.

    Frames without doubt that face the viewer with open eyes come into question; where there are none, the tenth that
    comes nearest. Lips that are apart at rest would be so much nearer in every frame, and touch where they do not: so
    of the mouth only the largest share with which they are shut counts as rest. A moment that is asked for counts as a
    whole.

    Args:
        driving: What drives.
        moving: Its blocks that move the face, as codes of the method's face model.
        method: Its face model poses the lips.
        person: Whose face moves, a batch of one.
        asked: The moment, seconds.

    Raises:
        ParamsError: The moment lies outside of what drives.
    """
    names = method.face_model.expression_names
    row = neutral_row(driving, moving, names) if asked is None else _row_at(driving, asked)
    still = moving.map(lambda tensor: tensor[row : row + 1])
    shares = [1.0] if asked is not None else [step / _STEPS for step in range(_STEPS, -1, -1)]
    tried = FaceParameters.cat([_with_mouth(still, share, names) for share in shares])
    faces = at_rest(person).map(lambda tensor: tensor.cpu().expand(len(shares), *tensor.shape[1:]))
    lips = lip_openings(method, faces.replace(**{name: tried.get(name) for name in tried.blocks()}))
    chosen = int(np.argmax([*(lips[:-1] <= _SHUT), True]))
    return Rest(row, shares[chosen], float(lips[chosen])), tried.map(lambda tensor: tensor[chosen : chosen + 1])


def neutral_row(driving: Driving, moving: FaceParameters, names: Sequence[str]) -> int:
    """The most neutral row of those that come into question; see ``find_rest``."""
    values, columns = _values(driving, moving, names)
    fit = np.array([not flags & {"bridged", "doubtful"} for flags in driving.flags])
    fit = fit if fit.any() else ~fit
    if driving.heads is not None:
        fit = _least(np.degrees(np.arccos(driving.heads[:, 2, 2].clip(-1, 1))), _FRONTAL, fit)
    if blinks := [column for column, name in enumerate(columns) if name.startswith(_BLINK)]:
        fit = _least(values[:, blinks].mean(axis=1), _OPEN, fit)
    kept = [column for column, name in enumerate(columns) if not name.startswith(_PASSING)]
    return int(np.where(fit, np.square(values[:, kept]).sum(axis=1), np.inf).argmin())


def _with_mouth(still: FaceParameters, share: float, names: Sequence[str]) -> FaceParameters:
    """A code of which a share of the mouth is left, jaw included; of all where coefficients have no names."""
    changed = {name: block * share for name in ("jaw_pose",) if isinstance(block := still.get(name), Tensor)}
    if still.expression is not None:
        size = still.expression.shape[1]
        of_mouth = [share if region_of(name) == "mouth" else 1.0 for name in names[:size]] or [share] * size
        changed["expression"] = still.expression * torch.tensor([*of_mouth, *[1.0] * (size - len(of_mouth))])
    return still.replace(**changed)


def _row_at(driving: Driving, asked: float) -> int:
    slack = 1 / driving.rate
    if not driving.times[0] - slack <= asked <= driving.times[-1] + slack:
        raise ParamsError(
            f"the rest {asked:g} s lies outside of {driving.name}, which lasts from {driving.times[0]:.2f} to "
            f"{driving.times[-1]:.2f} s"
        )
    return int(np.abs(driving.times - asked).argmin())


def _values(driving: Driving, moving: FaceParameters, names: Sequence[str]) -> tuple[Float[ndarray, "N C"], list[str]]:
    """Numbers that are 0 in a neutral face, and their names, which may be empty."""
    if driving.arkit is not None:
        return driving.arkit, list(ARKIT_NAMES)
    blocks = [block.numpy() for name in ("expression", "jaw_pose") if isinstance(block := moving.get(name), Tensor)]
    known = [] if moving.expression is None else list(names)[: moving.expression.shape[1]]
    values = np.concatenate(blocks, axis=1)
    return values, known + [""] * (values.shape[1] - len(known))


def _least(values: Float[ndarray, "N"], limit: float, among: Bool[ndarray, "N"]) -> Bool[ndarray, "N"]:
    """Those of some rows whose value is within a limit, or else the least."""
    within = among & (values <= limit)
    return np.asarray(within if within.any() else among & (values <= np.quantile(values[among], _FEW)))
