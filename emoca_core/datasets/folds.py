"""Folds for cross-validation: whole clips, or whole people, never parts of them."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from emoca_core.datasets import Manifest
from emoca_core.errors import AssetFormatError, ParamsError

GroupBy = Literal["clip", "identity", "sample"]


@dataclass(frozen=True)
class Split:
    """Rows to train on, to stop early by, and to test on."""

    training: Int[ndarray, "_"]
    validation: Int[ndarray, "_"]
    test: Int[ndarray, "_"]


def group_parts(groups: Sequence[str], shares: Sequence[float], seed: int = 0) -> Int[ndarray, "N"]:
    """The part of every sample, such that a group is never split and parts come close to their shares.

    Groups are shuffled, then each goes to the part that lacks most of its share, largest groups first. Equal shares
    make folds of nearly equal size: ``group_parts(groups, [1.0] * 5)``.

    Args:
        groups: Clip or person of each sample.
        shares: Of each part; only their ratios count.
        seed: Fixes the shuffle.

    Raises:
        ParamsError: A share is not a positive number, or there are fewer groups than parts.

    Example:
        >>> parts = group_parts(["anna", "anna", "ben", "cleo"], [0.5, 0.5])
        >>> bool(parts[0] == parts[1]), sorted({*parts.tolist()})
        (True, [0, 1])
    """
    if not len(shares) or not all(0 < share < math.inf for share in shares):
        raise ParamsError(f"the shares {', '.join(map(str, shares))} of a split must be positive numbers")
    names, members, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(names) < len(shares):
        raise ParamsError(f"{len(names)} groups cannot be split into {len(shares)} parts")
    shuffled = np.random.default_rng(seed).permutation(len(names))
    by_size = shuffled[np.argsort(-counts[shuffled], kind="stable")]
    part_of_group = np.empty(len(names), np.int64)
    wanted = len(groups) * np.asarray(shares, np.float64)  # in any scale; whole numbers, which tie exactly, for folds
    lacking = wanted.copy()
    for group in by_size:  # over groups, a few hundred
        part_of_group[group] = np.argmax(lacking / wanted)
        lacking[part_of_group[group]] -= counts[group]
    return part_of_group[members]


def split_hash(keys: Sequence[str], fold: Int[ndarray, "N"]) -> str:
    """SHA-256 of which sample is in which fold; two benchmarks with the same hash used the same split."""
    lines = sorted(f"{key}\t{int(f)}" for key, f in zip(keys, fold, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def groups_of(manifest: Manifest, by: GroupBy | None = None) -> tuple[GroupBy, list[str]]:
    """What folds never split: clips if there are any, else people, else single images.

    Rows without a clip (or person) are groups of their own.

    Args:
        manifest: The images.
        by: Choose instead.
    """
    columns: dict[GroupBy, list[str | None]] = {
        "clip": manifest.texts("clip"),
        "identity": manifest.texts("identity"),
        "sample": [None] * len(manifest),
    }
    present: list[GroupBy] = [name for name, column in columns.items() if any(column)]
    chosen = by or (present[0] if present else "sample")
    paths = manifest.texts("path")
    return chosen, [f"{chosen}:{g}" if g else f"path:{p}" for g, p in zip(columns[chosen], paths, strict=True)]


def cross_validation(groups: Sequence[str], folds: int, seed: int = 0) -> list[Split]:
    """Fold k is the test set of split k, fold k + 1 stops it early, the rest is for training.

    Raises:
        ParamsError: Fewer than three folds, or fewer groups than folds.
    """
    if folds < 3:
        raise ParamsError(f"{folds} folds: at least 3 are needed, one each for test, early stopping and training")
    fold = group_parts(groups, [1.0] * folds, seed)
    rows = np.arange(len(fold))
    stops = [(k + 1) % folds for k in range(folds)]
    return [
        Split(rows[(fold != k) & (fold != stop)], rows[fold == stop], rows[fold == k]) for k, stop in enumerate(stops)
    ]


def manifest_split(names: Sequence[str | None], groups: Sequence[str], seed: int = 0) -> list[Split]:
    """The manifest's own split.

    Without a ``test`` split ``validation`` is the test set and a tenth of ``train`` stops the training early: no number
    is from faces that chose the network.

    Raises:
        AssetFormatError: There is no ``train``, or neither ``validation`` nor ``test``.
    """
    of = {name: np.flatnonzero(np.array([n == name for n in names])) for name in ("train", "validation", "test")}
    test = of["test"] if len(of["test"]) else of["validation"]
    if not len(of["train"]) or not len(test):
        found = ", ".join(sorted({n for n in names if n})) or "none"
        raise AssetFormatError(
            f"0 folds means the manifest's own splits 'train', 'validation' and 'test'; those with labelled faces are: "
            f"{found}. Ask for --folds 5."
        )
    if len(of["test"]) and len(of["validation"]):
        return [Split(of["train"], of["validation"], test)]
    inside = [groups[int(i)] for i in of["train"]]
    held_out = group_parts(inside, [1.0] * min(10, len(set(inside))), seed) == 0
    return [Split(of["train"][~held_out], of["train"][held_out], test)]
