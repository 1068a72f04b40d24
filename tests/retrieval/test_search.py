"""Nearest neighbours against naive twins: loops, SciPy, scikit-learn, faiss."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from emoca_core.errors import ParamsError, UnknownNameError
from emoca_core.retrieval import search
from emoca_core.retrieval.search import nearest


@pytest.fixture
def vectors():
    """Far from the origin, where products of float32 would lose the differences."""
    rng = np.random.default_rng(0)
    return (100 + rng.standard_normal((400, 24)) * rng.uniform(0.1, 3, 24)).astype(np.float32)


@pytest.fixture(params=[False, True], ids=["one block", "small blocks"])
def blocks(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(search, "_BLOCK", 3000)
        monkeypatch.setattr(search, "_ROWS", 7)


@pytest.mark.parametrize("metric", ["l2", "cosine", "seuclidean"])
def test_the_neighbours_are_those_of_scipy_and_scikit_learn(vectors, metric, blocks):
    queries = vectors[:20].astype(np.float64) + 0.3
    found = nearest(vectors, queries, 12, metric)
    spread = {"V": vectors.var(0, dtype=np.float64)} if metric == "seuclidean" else {}
    every = cdist(queries, vectors.astype(np.float64), {"l2": "euclidean"}.get(metric, metric), **spread)
    np.testing.assert_array_equal(found.rows, every.argsort(1)[:, :12])
    # SciPy knows 1 - cosine of nearly parallel vectors to about 1e-16 of 1
    np.testing.assert_allclose(found.distances, np.sort(every, 1)[:, :12], rtol=1e-9, atol=1e-14)
    if metric == "l2":
        twin = NearestNeighbors(n_neighbors=12, algorithm="brute").fit(vectors.astype(np.float64))
        np.testing.assert_array_equal(found.rows, twin.kneighbors(queries)[1])


def literal(vectors, query, count, kin, own, one_of):
    """One face after the other."""
    taken, rows = set(), []
    for row in np.linalg.norm(vectors.astype(np.float64) - query, axis=1).argsort(kind="stable").tolist():
        if kin[row] == own or (one_of is not None and one_of[row] in taken):
            continue
        taken.add(kin[row])
        rows.append(row)
    return rows[:count] + [-1] * max(0, count - len(rows))


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("groups", [5, 60, 400])
def test_the_querys_own_are_left_out_and_of_each_group_one_is_shown(vectors, groups, distinct, blocks):
    kin = np.random.default_rng(1).integers(0, groups, len(vectors))
    one_of = kin if distinct else None
    own = np.where(np.arange(50) % 3, kin[:50], -1)
    found = nearest(vectors, vectors[:50], 10, "l2", kin, own, one_of)
    for query in range(50):
        expected = literal(vectors, vectors[query].astype(np.float64), 10, kin, own[query], one_of)
        assert found.rows[query].tolist() == expected
    assert (found.rows == -1).any() == (distinct and groups == 5)
    np.testing.assert_array_equal(np.isnan(found.distances), found.rows == -1)


def test_copies_are_at_distance_zero_however_long_the_vectors_are():
    copies = np.full((3, 8), 1e6, np.float32)
    copies[2] += 1
    found = nearest(copies, copies[:1].astype(np.float64), 3)
    assert found.distances[0].tolist() == pytest.approx([0, 0, np.sqrt(8)], abs=0)


def test_faiss_finds_the_same(vectors, monkeypatch):
    pytest.importorskip("faiss")
    kin = np.arange(len(vectors)) // 4
    expected = nearest(vectors, vectors[:30], 9, "cosine", kin, kin[:30], kin)
    monkeypatch.setattr(search, "WITHOUT_FAISS", 10)
    monkeypatch.setattr(search, "_by_products", None)  # it is not asked
    found = nearest(vectors, vectors[:30], 9, "cosine", kin, kin[:30], kin)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_without_faiss_any_number_is_searched_by_products(vectors, monkeypatch):
    monkeypatch.setattr(search, "WITHOUT_FAISS", 10)
    monkeypatch.setattr(search.importlib.util, "find_spec", lambda name: None)
    assert nearest(vectors, vectors[:2], 1).rows.tolist() == [[0], [1]]


def test_what_cannot_be_asked_is_refused(vectors):
    with pytest.raises(ParamsError, match="a query of 3 numbers, but the index holds vectors of 24"):
        nearest(vectors, np.zeros((1, 3)), 1)
    with pytest.raises(ParamsError, match="at least 1"):
        nearest(vectors, vectors[:1], 0)
    with pytest.raises(UnknownNameError, match="Did you mean 'cosine'"):
        nearest(vectors, vectors[:1], 1, "cosin")
    with pytest.raises(ParamsError, match="no direction"):
        nearest(vectors, np.zeros((1, 24)), 1, "cosine")
