"""Where an optimisation starts from: the source's identity, and what of the target's face."""

from collections.abc import Mapping, Sequence

from emoca_core.errors import unknown_name
from emoca_core.interfaces import IDENTITY, Block, FaceParameters

GROUPS: Mapping[str, tuple[Block, ...]] = {
    "expression": ("expression", "eyelids", "eye_pose"),
    "pose": ("global_pose", "neck_pose", "camera"),
    "jaw": ("jaw_pose",),
}
"""What comes from the target or from the source, each as a whole. Light is always the target's."""
NOTHING = "nothing"
STARTS: tuple[str, ...] = (
    *("expression+pose+jaw", "expression+pose", "pose+jaw", "pose"),
    *("expression+jaw", "expression", "jaw", NOTHING),
)
"""What the target gives at the start, in the order of figure 4 of EMOCA's supplementary material."""
DEFAULT_START = STARTS[0]


def start_code(source: FaceParameters, target: FaceParameters, start: str) -> FaceParameters:
    """The source's identity with the target's light, and of the rest what ``start`` names of the target.

    Args:
        source: Code of the source, a batch of one.
        target: Of the target, by the same method.
        start: One of ``STARTS``.

    Raises:
        UnknownNameError: There is no such start.

    Source: EMOCA (Danecek et al., CVPR 2022), supplementary material, section 4 and figure 4.
    """
    if start not in STARTS:
        raise unknown_name("start", start, STARTS)
    given = {block for name in start.split("+") if name != NOTHING for block in GROUPS[name]}
    kept = {block for blocks in GROUPS.values() for block in blocks} - given | set(IDENTITY)
    return target.replace(**{block: source.get(block) for block in kept if target.get(block) is not None})


def distinct_starts(source: FaceParameters, target: FaceParameters, starts: Sequence[str]) -> dict[str, FaceParameters]:
    """Codes by start; where a method lacks the jaw, say, those that do not differ count once."""
    present = {name for name, blocks in GROUPS.items() if any(target.get(block) is not None for block in blocks)}
    found: dict[frozenset[str], str] = {}
    for start in starts:
        found.setdefault(frozenset(start.split("+")) & present, start)
    return {start: start_code(source, target, start) for start in found.values()}
