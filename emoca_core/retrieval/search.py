"""Exact nearest neighbours among up to a million vectors: matrix products in blocks, then the few that matter anew."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from emoca_core.errors import ParamsError, unknown_name

METRICS = ("l2", "cosine", "seuclidean")
"""``l2`` as in the paper; ``cosine``: 1 - cosine of the angle; ``seuclidean``: l2 after every number was divided by its
standard deviation over the index (SciPy's name), for codes whose blocks have different units."""

WITHOUT_FAISS = 100_000
"""Faces from which on faiss searches, where it is installed."""
_BLOCK = 2**23
"""Numbers of the largest array that is made at once: 64 MB."""
_ROWS = 8192
"""Faces in one matrix product."""
_SLACK = 16
"""Neighbours more than asked for, so that rounding of the products decides nothing."""

Closest = Callable[[Float[ndarray, "Q D"], int], Int[ndarray, "Q R"]]
"""Rows of the nearest vectors, nearest first, up to rounding."""


@dataclass(frozen=True)
class Neighbours:
    """What is nearest to each query.

    Attributes:
        rows: In the index, nearest first; -1 where there are no more.
        distances: By the metric; NaN where there are no more.
    """

    rows: Int[ndarray, "Q K"]
    distances: Float[ndarray, "Q K"]


def nearest(
    features: Float[ndarray, "N D"],
    queries: Float[ndarray, "Q _"],
    count: int,
    metric: str = "l2",
    kin: Int[ndarray, "N"] | None = None,
    own: Int[ndarray, "Q"] | None = None,
    one_of: Int[ndarray, "N"] | None = None,
) -> Neighbours:
    """The nearest vectors of every query, exact to rounding of float64.

    Args:
        features: All vectors.
        queries: Of the same size.
        count: Neighbours of each query.
        metric: One of ``METRICS``.
        kin: A group of every vector, and
        own: the group that every query leaves out: its person; -1 leaves nobody out.
        one_of: Another group of every vector, of which only the nearest one is shown.

    Raises:
        ParamsError: Vectors of different sizes, or a count below 1.
        UnknownNameError: No such metric.

    Example:
        >>> found = nearest(np.eye(3), np.array([[0.9, 0.2, 0.0]]), 2)
        >>> found.rows.tolist(), found.distances.round(2).tolist()
        ([[0, 1]], [[0.22, 1.2]])
    """
    if queries.shape[1] != features.shape[1]:
        raise ParamsError(f"a query of {queries.shape[1]} numbers, but the index holds vectors of {features.shape[1]}")
    if count < 1:
        raise ParamsError(f"{count} neighbours: at least 1 must be asked for")
    scaled, asked = _scaled(metric, features, queries)
    closest = _by_faiss(scaled) if _faiss_searches(len(scaled)) else _by_products(scaled)
    found = [
        _of_some(scaled, asked[block], closest, count, kin, None if own is None else own[block], one_of)
        for block in _blocks(len(asked), max(len(scaled), (count + _SLACK) * scaled.shape[1]))
    ]
    rows, squared = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Neighbours(rows, squared / 2 if metric == "cosine" else np.sqrt(squared))


def _scaled(
    metric: str, features: Float[ndarray, "N D"], queries: Float[ndarray, "Q D"]
) -> tuple[Float[ndarray, "N D"], Float[ndarray, "Q D"]]:
    """Vectors whose Euclidean distance orders as the metric does: of unit vectors, 1 - cosine is half its square."""
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if metric == "cosine":
        return _unit(features), _unit(queries)
    if metric == "seuclidean":
        spread = features.std(0, dtype=np.float64)
        scale = np.where(spread > 0, spread, 1.0)
        return features / scale, queries / scale
    return features, queries.astype(np.float64)


def _unit(vectors: Float[ndarray, "N D"]) -> Float[ndarray, "N D"]:
    vectors = vectors.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not length.all():
        raise ParamsError("a vector of zeros has no direction: take the metric l2")
    return vectors / length


def _of_some(
    scaled: Float[ndarray, "N D"],
    asked: Float[ndarray, "Q D"],
    closest: Closest,
    count: int,
    kin: Int[ndarray, "N"] | None,
    own: Int[ndarray, "Q"] | None,
    one_of: Int[ndarray, "N"] | None,
) -> tuple[Int[ndarray, "Q K"], Float[ndarray, "Q K"]]:
    """Rows and squared distances for a block of queries: looks further where too many had to be left out."""
    wanted, reach = count + _SLACK, min(len(scaled), 4 * (count + _SLACK))
    while True:
        rows = closest(asked, reach)
        kept = np.ones(rows.shape, bool) if kin is None or own is None else kin[rows] != own[:, None]
        if one_of is not None:
            kept &= _first_of_its_group(one_of[rows], kept)
        if reach == len(scaled) or (kept.sum(1) >= wanted).all():
            break
        reach = min(len(scaled), 4 * reach)
    order = np.argsort(~kept, axis=1, kind="stable")[:, :wanted]
    rows, kept = np.take_along_axis(rows, order, 1), np.take_along_axis(kept, order, 1)
    squared = np.square(asked[:, None] - scaled[rows]).sum(2)  # anew: products cancel where vectors are close
    squared[~kept] = np.inf
    order = np.lexsort((rows, squared), axis=1)[:, :count]
    rows, squared = np.take_along_axis(rows, order, 1), np.take_along_axis(squared, order, 1)
    none = np.isinf(squared)
    return np.where(none, -1, rows), np.where(none, np.nan, squared)


def _first_of_its_group(groups: Int[ndarray, "Q R"], kept: Bool[ndarray, "Q R"]) -> Bool[ndarray, "Q R"]:
    """Whether each neighbour is the nearest one of its group that is kept."""
    place = np.broadcast_to(np.arange(groups.shape[1]), groups.shape)
    order = np.lexsort((place, ~kept, groups), axis=1)
    by_group = np.take_along_axis(groups, order, 1)
    first = np.ones(groups.shape, bool)
    first[:, 1:] = by_group[:, 1:] != by_group[:, :-1]
    found = np.empty_like(first)
    np.put_along_axis(found, order, first, 1)
    return found


def _by_products(scaled: Float[ndarray, "N D"]) -> Closest:
    middle = scaled.mean(0, dtype=np.float64)
    lengths = np.concatenate([_lengths(scaled[block] - middle) for block in _row_blocks(len(scaled))])

    def closest(asked: Float[ndarray, "Q D"], reach: int) -> Int[ndarray, "Q R"]:
        asked = asked - middle
        squared = np.empty((len(asked), len(scaled)))
        for block in _row_blocks(len(scaled)):
            squared[:, block] = lengths[block] - 2 * (asked @ (scaled[block] - middle).T)
        rows = np.argpartition(squared, reach - 1, axis=1)[:, :reach]
        return np.take_along_axis(rows, np.argsort(np.take_along_axis(squared, rows, 1), axis=1), 1)

    return closest


def _by_faiss(scaled: Float[ndarray, "N D"]) -> Closest:
    import faiss

    engine = faiss.IndexFlatL2(scaled.shape[1])
    middle = scaled.mean(0, dtype=np.float64)
    for block in _row_blocks(len(scaled)):
        engine.add(np.ascontiguousarray(scaled[block] - middle, np.float32))

    def closest(asked: Float[ndarray, "Q D"], reach: int) -> Int[ndarray, "Q R"]:
        rows: ndarray = engine.search(np.ascontiguousarray(asked - middle, np.float32), reach)[1]
        return rows.astype(np.int64)

    return closest


def _faiss_searches(faces: int) -> bool:
    return faces > WITHOUT_FAISS and importlib.util.find_spec("faiss") is not None


def _lengths(vectors: Float[ndarray, "N D"]) -> Float[ndarray, "N"]:
    return np.einsum("nd,nd->n", vectors, vectors)


def _row_blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, count, _ROWS))


def _blocks(queries: int, size: int) -> Iterator[slice]:
    step = max(1, _BLOCK // size)
    return (slice(start, start + step) for start in range(0, queries, step))
