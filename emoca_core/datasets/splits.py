"""Splitting a data set by people or clips, reproducibly.

The split files of the published emotion data sets (EmoNet's AffectNet, EMOCA's AFEW-VA) are not public. These are
our own splits, fixed by a seed and named by a hash that results can be reported with.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from emoca_core.datasets.folds import GroupBy, group_folds, groups_of, split_hash
from emoca_core.datasets.manifest import Manifest, ManifestRow
from emoca_core.datasets.rows import iterate_rows
from emoca_core.errors import ParamsError


def group_parts(groups: Sequence[str], fractions: Sequence[float], seed: int = 0) -> Int[ndarray, "N"]:
    """The part of every sample, such that a group is never split and parts come close to their fractions.

    Groups are shuffled, then each goes to the part that lacks the largest share of its samples, largest groups first.

    Args:
        groups: Clip or person of each sample.
        fractions: Share of each part; they are normalised.
        seed: Fixes the shuffle.

    Raises:
        ParamsError: A fraction is not positive, or there are fewer groups than parts.
    """
    if not len(fractions) or min(fractions) <= 0:
        raise ParamsError(f"the fractions {', '.join(map(str, fractions))} of a split must be positive")
    names, members, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(names) < len(fractions):
        raise ParamsError(f"{len(names)} groups cannot be split into {len(fractions)} parts")
    target = len(groups) * np.asarray(fractions, np.float64) / np.sum(fractions)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    by_size = shuffled[np.argsort(-counts[shuffled], kind="stable")]
    part_of_group = np.empty(len(names), np.int64)
    lacking = target.copy()
    for group in by_size:  # over groups
        part_of_group[group] = np.argmax(lacking / target)
        lacking[part_of_group[group]] -= counts[group]
    return part_of_group[members]


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
    _, groups = groups_of(manifest, by)
    part = group_parts(groups, list(parts.values()), seed)
    return _named(manifest, part, list(parts))


def build_folds(manifest: Manifest, folds: int, by: GroupBy | None = None, seed: int = 0) -> tuple[list[str], str]:
    """As ``build_split``, with parts ``fold_0``, ``fold_1``, ... of equal size.

    Raises:
        ParamsError: Fewer than two folds, or fewer groups than folds.
    """
    if folds < 2:
        raise ParamsError(f"{folds} folds: at least 2 are needed")
    try:
        fold = group_folds(groups_of(manifest, by)[1], folds, seed)
    except ValueError as error:
        raise ParamsError(str(error)) from None
    return _named(manifest, fold, [f"fold_{k}" for k in range(folds)])


def with_split(manifest: Manifest, names: Sequence[str]) -> Iterator[ManifestRow]:
    """The rows of a manifest with new splits."""
    return (replace(row, split=name) for row, name in zip(iterate_rows(manifest), names, strict=True))


def _named(manifest: Manifest, part: Int[ndarray, "N"], names: Sequence[str]) -> tuple[list[str], str]:
    keys = [str(path) for path in manifest.texts("path")]
    return [names[p] for p in part], split_hash(keys, part)
