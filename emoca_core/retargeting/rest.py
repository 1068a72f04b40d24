"""The driver's rest: the moment that their movement is told apart from how their face looks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from emoca_core.errors import ParamsError
from emoca_core.interfaces import FaceParameters
from emoca_core.retargeting.driving import Driving
from emoca_core.retargeting.regions import region_of
from emoca_core.vocabulary.arkit import ARKIT_NAMES

_FRONTAL = 20.0
"""Degrees; heads that turn no more than this away from the viewer are seen well."""
_OPEN = 2 * 0.2**2
"""Sum of the squares of both ``eyeBlink`` up to which eyes count as open."""
_SHUT = 0.02
"""Lips that are no more than this farther apart than at rest touch, as landmarks tell; units of the outer eye corners'
distance."""
_FEW = 0.1
"""Share of the frames that is looked at where none fulfils a condition: those that come nearest to it."""


@dataclass(frozen=True)
class Rest:
    """When the driver's face is at rest.

    Attributes:
        row: Of the driver.
        mouth: Row in which the mouth is: people rarely close it while their eyes are open and nothing else moves.
    """

    row: int
    mouth: int


def find_rest(driving: Driving, moving: FaceParameters, names: Sequence[str], asked: float | None) -> Rest:
    """The driver's rest: the row nearest to a moment, or the rows with the most neutral face and mouth.

    Frames without doubt that face the viewer come into question; for the face those with open eyes, for the mouth those
    with shut lips; where there are none, the tenth that comes nearest. The most neutral of these is the rest. An open
    mouth at rest would be taken away from every frame, and lips that touch would not do so any more. Coefficients
    without names do not tell what the mouth is: there, one row with open eyes and shut lips is the rest of both.

    Args:
        driving: What drives.
        moving: Its blocks that move the face.
        names: Of the expression coefficients, as far as they have any.
        asked: The moment, seconds.

    Raises:
        ParamsError: The moment lies outside of what drives.
    """
    if asked is not None:
        row = _row_at(driving, asked)
        return Rest(row, row)
    values, columns = _values(driving, moving, names)
    fit = np.array([not flags & {"bridged", "doubtful"} for flags in driving.flags])
    fit = fit if fit.any() else ~fit
    if driving.heads is not None:
        fit = _least(np.degrees(np.arccos(driving.heads[:, 2, 2].clip(-1, 1))), _FRONTAL, fit)
    shut = fit if driving.lips is None else _least(driving.lips, _SHUT, fit)
    strength = {
        part: np.square(values[:, [of == part for of in columns]]).sum(axis=1) for part in ("mouth", "face", "lids")
    }
    awake = _least(strength["lids"], _OPEN, fit)
    if "mouth" in columns:
        mouth = np.where(shut, strength["mouth"], np.inf)
        return Rest(int(np.where(awake, strength["face"], np.inf).argmin()), int(mouth.argmin()))
    both = _least(strength["lids"], _OPEN, shut)
    row = int(np.where(both, strength["face"], np.inf).argmin())
    return Rest(row, row)


def is_of_mouth(name: str) -> bool:
    """Whether an ARKit name belongs to mouth and jaw."""
    return region_of(name) == "mouth"


def _row_at(driving: Driving, asked: float) -> int:
    slack = 1 / driving.rate
    if not driving.times[0] - slack <= asked <= driving.times[-1] + slack:
        raise ParamsError(
            f"the rest {asked:g} s lies outside of {driving.name}, which lasts from {driving.times[0]:.2f} to "
            f"{driving.times[-1]:.2f} s"
        )
    return int(np.abs(driving.times - asked).argmin())


def _values(driving: Driving, moving: FaceParameters, names: Sequence[str]) -> tuple[Float[ndarray, "N C"], list[str]]:
    """Numbers that are 0 in a neutral face, and what each belongs to: mouth, lids, face, or nothing that lasts."""
    if driving.arkit is not None:
        return driving.arkit, [_part(name) for name in ARKIT_NAMES]
    blocks = {name: block for name in ("expression", "jaw_pose") if isinstance(block := moving.get(name), Tensor)}
    parts = [_part(name) for name in names]
    columns: list[str] = []
    for name, block in blocks.items():
        count, own = block.shape[1], parts if name == "expression" else []
        rest = "mouth" if parts and name == "jaw_pose" else "face"
        columns += [*own[:count], *[rest] * (count - len(own))]
    return np.concatenate([block.numpy() for block in blocks.values()], axis=1), columns


def _part(name: str) -> str:
    if name.startswith("eyeBlink"):
        return "lids"
    if name.startswith("eyeLook"):
        return "gaze"
    return "mouth" if is_of_mouth(name) else "face"


def _least(values: Float[ndarray, "N"], limit: float, among: Bool[ndarray, "N"]) -> Bool[ndarray, "N"]:
    """Those of some rows whose value is within a limit, or else the least."""
    within = among & (values <= limit)
    return np.asarray(within if within.any() else among & (values <= np.quantile(values[among], _FEW)))
