"""Exchange within persons: a permutation that the number of processes does not change."""

import itertools

import pytest
import torch

from emoca_core.train.exchange import ring_means, ring_permutation
from emoca_core.train.task import Step


def step(index=3, part=0, parts=1, seed=5):
    return Step(0, index, seed, part=part, parts=parts)


def test_it_permutes_within_rings():
    order = ring_permutation(24, 4, step())
    for ring, members in enumerate(order.view(-1, 4)):
        assert sorted(members.tolist()) == list(range(4 * ring, 4 * ring + 4))


def test_all_permutations_occur_equally_often():
    """720 rings of three: each of six permutations 120 times, standard deviation 10."""
    drawn = torch.cat([ring_permutation(3, 3, step(index)) for index in range(720)]).view(-1, 3).tolist()
    counts = [sum(tuple(row) == order for row in drawn) for order in itertools.permutations(range(3))]
    assert sum(counts) == 720
    assert all(abs(count - 120) < 50 for count in counts)


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_parts_of_a_batch_make_the_whole(parts):
    whole = ring_permutation(18, 3, step())
    size = 18 // parts
    pieces = [ring_permutation(size, 3, step(part=part, parts=parts)) + size * part for part in range(parts)]
    assert torch.equal(torch.cat(pieces), whole)


def test_it_depends_on_step_and_seed_alone():
    first = ring_permutation(60, 3, step())
    torch.rand(7)
    assert torch.equal(first, ring_permutation(60, 3, step()))
    assert not torch.equal(first, ring_permutation(60, 3, step(index=4)))
    assert not torch.equal(first, ring_permutation(60, 3, step(seed=6)))


def test_means_of_rings():
    codes = torch.randn(12, 5, dtype=torch.float64)
    expected = torch.stack([codes[3 * (i // 3) : 3 * (i // 3) + 3].mean(0) for i in range(12)])
    torch.testing.assert_close(ring_means(codes, 3), expected, rtol=0, atol=1e-15)


def test_torn_rings_are_refused():
    with pytest.raises(ValueError, match="not whole rings of 3"):
        ring_permutation(7, 3, step())
    with pytest.raises(ValueError, match="not whole rings of 3"):
        ring_means(torch.zeros(7, 2), 3)
