"""Splitting a data set by people or clips, reproducibly.

The split files of the published emotion data sets (EmoNet's AffectNet, EMOCA's AFEW-VA) are not public. These are
our own splits, fixed by a seed and named by a hash that results can be reported with.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from emoca_core.datasets.folds import GroupBy, group_parts, groups_of, split_hash
from emoca_core.datasets.manifest import Manifest, ManifestRow
from emoca_core.datasets.rows import iterate_rows
from emoca_core.errors import ParamsError


def build_split(
    manifest: Manifest, parts: Mapping[str, float], by: GroupBy | None = None, seed: int = 0
) -> tuple[list[str], str]:
    """A new split for every row, and its hash.

    Args:
        manifest: The images.
        parts: Name of each part and its share.
        by: What is never split; clips if there are any, else people, else single images.
        seed: Fixes the split.

    Raises:
        ParamsError: As ``group_parts``.
    """
    names, groups = list(parts), groups_of(manifest, by)[1]
    part = group_parts(groups, list(parts.values()), seed)
    return [names[p] for p in part], split_hash([str(path) for path in manifest.texts("path")], part)


def build_folds(manifest: Manifest, folds: int, by: GroupBy | None = None, seed: int = 0) -> tuple[list[str], str]:
    """As ``build_split``, with parts ``fold_0``, ``fold_1``, ... of equal size.

    Raises:
        ParamsError: Fewer than two folds, or fewer groups than folds.
    """
    if folds < 2:
        raise ParamsError(f"{folds} folds: at least 2 are needed")
    return build_split(manifest, {f"fold_{k}": 1.0 for k in range(folds)}, by, seed)


def with_split(manifest: Manifest, names: Sequence[str]) -> Iterator[ManifestRow]:
    """The rows of a manifest with new splits."""
    return (replace(row, split=name) for row, name in zip(iterate_rows(manifest), names, strict=True))
