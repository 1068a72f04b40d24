"""Folds for cross-validation: whole clips, or whole people, never parts of them."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from numpy import ndarray


def group_folds(groups: Sequence[str], folds: int, seed: int = 0) -> Int[ndarray, "N"]:
    """The fold of every sample, such that a group is never split and folds have nearly equal numbers of samples.

    Groups are shuffled, then each goes to the fold that has the fewest samples, largest groups first.

    Args:
        groups: Clip or subject of each sample.
        folds: Number of folds.
        seed: Fixes the shuffle.

    Raises:
        ValueError: Fewer groups than folds.
    """
    names, members, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(names) < folds:
        raise ValueError(f"{len(names)} groups cannot be split into {folds} folds")
    shuffled = np.random.default_rng(seed).permutation(len(names))
    by_size = shuffled[np.argsort(-counts[shuffled], kind="stable")]
    fold_of_group = np.empty(len(names), np.int64)
    sizes = np.zeros(folds, np.int64)
    for group in by_size:  # over groups, a few hundred
        fold_of_group[group] = np.argmin(sizes)
        sizes[fold_of_group[group]] += counts[group]
    return fold_of_group[members]


def split_hash(keys: Sequence[str], fold: Int[ndarray, "N"]) -> str:
    """SHA-256 of which sample is in which fold; two benchmarks with the same hash used the same split."""
    lines = sorted(f"{key}\t{int(f)}" for key, f in zip(keys, fold, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
