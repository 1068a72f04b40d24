"""Splits keep people and clips together, come close to their shares, and are fixed by the seed."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.datasets.folds import group_parts
from emoca_core.datasets.splits import build_folds, build_split, with_split
from emoca_core.errors import ParamsError


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    """40 clips of 1 to 9 frames; every second clip is of the same person as the one before."""
    rows = [
        ManifestRow(f"{clip}/{frame}.png", clip=f"c{clip}", identity=f"p{clip // 2}", valence=0.5)
        for clip in range(40)
        for frame in range(1 + clip % 9)
    ]
    write_manifest(rows, tmp_path / "m.parquet")
    return Manifest.open(tmp_path / "m.parquet")


@given(
    counts=st.lists(st.integers(1, 30), min_size=4, max_size=60),
    fractions=st.lists(st.floats(0.05, 1), min_size=1, max_size=4),
    seed=st.integers(0, 5),
)
def test_groups_stay_whole_and_shares_are_close(counts, fractions, seed):
    groups = [f"g{i}" for i, count in enumerate(counts) for _ in range(count)]
    part = group_parts(groups, fractions, seed)
    assert all(len(set(part[np.array(groups) == name])) == 1 for name in set(groups))
    share = np.bincount(part, minlength=len(fractions)) / len(groups)
    # a part is filled only while it lacks something, so it exceeds its share by less than the largest group
    assert (share - np.array(fractions) / sum(fractions) < max(counts) / len(groups) + 1e-9).all()


def test_seed_fixes_the_split_and_its_hash(manifest):
    parts = {"train": 6.0, "validation": 2.0, "test": 2.0}
    names, digest = build_split(manifest, parts, seed=1)
    again, same = build_split(manifest, parts, seed=1)
    other, different = build_split(manifest, parts, seed=2)
    assert (names, digest) == (again, same)
    assert names != other
    assert digest != different
    paths = manifest.texts("path")
    lines = sorted(f"{path}\t{list(parts).index(name)}" for path, name in zip(paths, names, strict=True))
    assert digest == hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize(("by", "column"), [(None, "clip"), ("clip", "clip"), ("identity", "identity")])
def test_what_is_never_split(manifest, by, column):
    names, _ = build_split(manifest, {"train": 0.7, "test": 0.3}, by)
    split_of: dict[str, set[str]] = {}
    for group, name in zip(manifest.texts(column), names, strict=True):
        split_of.setdefault(group, set()).add(name)
    assert all(len(found) == 1 for found in split_of.values())
    assert set(names) == {"train", "test"}
    if column == "clip":
        people = zip(manifest.texts("identity"), names, strict=True)
        assert len(set(people)) > len(set(manifest.texts("identity")))  # by clip, some people are in both


def test_single_images_and_folds(manifest):
    names, _ = build_split(manifest, {"train": 0.75, "test": 0.25}, "sample")
    assert abs(names.count("test") - len(names) / 4) <= 1
    folds, _ = build_folds(manifest, 5)
    sizes = [folds.count(f"fold_{k}") for k in range(5)]
    assert sum(sizes) == len(manifest)
    assert max(sizes) - min(sizes) <= 2


def test_only_the_split_changes(manifest, tmp_path):
    names, _ = build_folds(manifest, 2, "identity")
    write_manifest(with_split(manifest, names), tmp_path / "out.parquet")
    out = Manifest.open(tmp_path / "out.parquet")
    assert out.texts("split") == names
    unchanged = [name for name in out.table.column_names if name != "split"]
    assert out.table.select(unchanged).equals(manifest.table.select(unchanged))


def test_impossible_splits_are_refused(manifest):
    for share in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ParamsError, match="must be positive numbers"):
            build_split(manifest, {"train": 1.0, "test": share})
    with pytest.raises(ParamsError, match="40 groups cannot be split into 41"):
        build_split(manifest, {str(i): 1.0 for i in range(41)})
    with pytest.raises(ParamsError, match="at least 2"):
        build_folds(manifest, 1)
    with pytest.raises(ParamsError, match="20 groups cannot be split into 21"):
        build_folds(manifest, 21, "identity")
