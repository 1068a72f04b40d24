"""Which samples a batch holds, on one and on several processes."""

import pytest
import torch

from emoca_core.train.sampling import EvaluationBatches, TrainBatches, class_balanced_weights, epoch_order


def indices(batch):
    return [draw.index for draw in batch]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_processes_share_the_global_draw_without_repeats(accumulation):
    options = {"batch_size": 12, "accumulation": accumulation, "seed": 3}
    one = [indices(b) for b in TrainBatches(50, rank=0, world=1, **options)]
    parts = [[indices(b) for b in TrainBatches(50, rank=r, world=3, **options)] for r in range(3)]
    for alone, *shares in zip(one, *parts, strict=True):
        assert alone == sum(shares, [])
    seen = sum(one, [])
    assert len(seen) == len(set(seen)) == 48


def test_epochs_differ_and_repeat_exactly():
    assert not torch.equal(epoch_order(100, 0, 0), epoch_order(100, 1, 0))
    assert torch.equal(epoch_order(100, 1, 0), epoch_order(100, 1, 0))
    assert sorted(epoch_order(100, 1, 0).tolist()) == list(range(100))


def test_starting_in_the_middle_gives_the_rest_of_the_epoch():
    options = {"batch_size": 4, "accumulation": 1, "rank": 0, "world": 1, "seed": 0}
    whole, rest = TrainBatches(30, **options), TrainBatches(30, **options)
    rest.begin(epoch=0, start=3)
    assert list(whole)[3:] == list(rest)
    assert len(rest) == 4


def test_balanced_weights_draw_every_class_equally_and_no_unlabelled_sample():
    labels = torch.tensor([0] * 900 + [1] * 90 + [3] * 10 + [-1] * 50)

    drawn = torch.cat([labels[epoch_order(1050, e, 0, class_balanced_weights(labels))] for e in range(20)])
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    torch.testing.assert_close(shares[[0, 1, 3]], torch.full((3,), 1 / 3), atol=0.02, rtol=0)  # 6 standard errors
    assert shares[2] == 0


def test_balanced_sampling_needs_labels():
    with pytest.raises(ValueError, match="at least one labelled sample"):
        class_balanced_weights(torch.tensor([-1, -1]))


@pytest.mark.parametrize(("length", "world"), [(10, 1), (10, 3), (1, 4), (12, 4)])
def test_evaluation_sees_every_sample(length, world):
    shares = [list(EvaluationBatches(length, batch_size=2, rank=r, world=world)) for r in range(world)]
    assert len({len(s) for s in shares}) == 1
    assert {i for share in shares for batch in share for i in batch} == set(range(length))


def test_a_set_smaller_than_a_batch_is_refused():
    with pytest.raises(ValueError, match="fewer than one batch of 16"):
        TrainBatches(10, batch_size=16, accumulation=1, rank=0, world=1, seed=0)
