"""Rings: whole, of one person, drawn once over all processes."""

import itertools

import numpy as np
import pytest
import torch

from emoca_core import get_registry
from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.errors import ParamsError
from emoca_core.train.ring_batches import RingBatches
from emoca_core.train.run_stage import ring_batches
from emoca_core.train.stage_settings import stage_settings

PEOPLE = torch.tensor([7] * 7 + [-1] * 2 + [3] * 3 + [9] * 2 + [4] * 6 + [5])


def rings(people=PEOPLE, **changed):
    plain = dict(images=3, few_images="leave_out", batch_size=6, accumulation=1, rank=0, world=1, seed=5)
    return RingBatches(people, **plain | changed)


def batches_of(sampler, epoch=0, start=0):
    sampler.begin(epoch, start)
    return [[draw.index for draw in batch] for batch in sampler]


@pytest.mark.parametrize("few_images", ["leave_out", "repeat"])
def test_every_ring_shows_one_known_person(few_images):
    sampler = rings(few_images=few_images)
    for epoch in range(5):
        drawn = sampler.draw(epoch)
        assert drawn.shape == (sampler.rings, 3)
        who = PEOPLE[drawn]
        assert (who == who[:, :1]).all()
        assert (who >= 0).all()


def test_a_person_gives_as_many_rings_as_fit_and_no_image_twice():
    drawn = rings().draw(0)
    assert sorted(PEOPLE[drawn[:, 0]].tolist()) == [3, 4, 4, 7, 7]
    assert len(set(drawn.flatten().tolist())) == drawn.numel()


def test_people_with_few_images_are_repeated_only_on_demand():
    drawn = rings(few_images="repeat").draw(0)
    assert sorted(PEOPLE[drawn[:, 0]].tolist()) == [3, 4, 4, 5, 7, 7, 9]
    alone = drawn[PEOPLE[drawn[:, 0]] == 5]
    assert alone.tolist() == [[20, 20, 20]]


def test_left_over_images_come_in_another_epoch():
    seen = {int(index) for epoch in range(12) for index in rings().draw(epoch).flatten() if PEOPLE[index] == 7}
    assert seen == set(range(7))


def test_every_image_of_a_person_is_equally_likely():
    """600 epochs; an image of seven is drawn with probability 6/7, its standard deviation over epochs is 0.35."""
    sampler = rings()
    drawn = np.concatenate([sampler.draw(epoch).flatten().numpy() for epoch in range(600)])
    share = np.bincount(drawn, minlength=len(PEOPLE))[:7] / 600
    assert np.abs(share - 6 / 7).max() < 5 * 0.35 / 600**0.5


@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_processes_share_one_draw_and_never_tear_a_ring(world, accumulation):
    people = torch.arange(40).repeat_interleave(4)
    alone = batches_of(rings(people, batch_size=12), epoch=3)
    options = dict(batch_size=12, world=world, accumulation=accumulation)
    parts = [batches_of(rings(people, rank=rank, **options), epoch=3) for rank in range(world)]
    together = [
        list(itertools.chain.from_iterable(parts[rank][step * accumulation + micro]
                                           for micro in range(accumulation) for rank in range(world)))
        for step in range(len(alone))
    ]  # fmt: skip
    assert together == alone
    for batch in itertools.chain.from_iterable(parts):
        who = people[batch].view(-1, 3)
        assert (who == who[:, :1]).all()


def test_a_resumed_epoch_continues_where_it_stopped():
    people = torch.arange(40).repeat_interleave(4)
    whole = batches_of(rings(people), epoch=1)
    assert batches_of(rings(people), epoch=1, start=4) == whole[4:]
    assert len(whole) == rings(people).steps == 20


def test_epochs_and_seeds_differ():
    people = torch.arange(40).repeat_interleave(4)
    first = rings(people).draw(0)
    assert not torch.equal(first, rings(people).draw(1))
    assert not torch.equal(first, rings(people, seed=6).draw(0))
    assert torch.equal(first, rings(people).draw(0))


def test_what_cannot_be_batched_is_refused():
    with pytest.raises(ParamsError, match="multiple of images_per_identity x accumulation x processes = 3 x 1 x 4"):
        rings(world=4, batch_size=6)
    with pytest.raises(ParamsError, match=r"needs 7 rings of 3 .* make 5.*few_images to repeat"):
        rings(batch_size=21)


def test_people_of_a_manifest(tmp_path):
    who = [("anna", "c1"), (None, "c1"), ("anna", None), (None, None), (None, "c2"), (None, "c1"), ("bert", "c1")]
    write_manifest([ManifestRow(f"{i}.png", identity=p, clip=c) for i, (p, c) in enumerate(who)], tmp_path / "m.csv")
    people = Manifest.open(tmp_path / "m.csv").people().tolist()
    assert people[0] == people[2] != people[6]
    assert people[1] == people[5] != people[4]
    assert len({people[0], people[6], people[1], people[4]}) == 4
    assert people[3] == -1


def test_a_set_that_knows_nobody_is_refused(tmp_path):
    write_manifest([ManifestRow("0.png")], tmp_path / "m.csv")
    faces = get_registry().build("dataset", "manifest", {"file": tmp_path / "m.csv"})
    assert ring_batches(faces, stage_settings("coarse")) is None
    with pytest.raises(ParamsError, match="does not know who is on its images"):
        ring_batches(faces, stage_settings("detail"))


def test_synthetic_people_are_known_without_rendering():
    faces = get_registry().build("dataset", "synthetic_faces", {"length": 7, "faces_per_identity": 3})
    assert faces.identities().tolist() == [0, 0, 0, 1, 1, 1, 2]
    names = [faces[index].identity for index in (0, 2, 3)]
    assert names[0] == names[1] != names[2]
