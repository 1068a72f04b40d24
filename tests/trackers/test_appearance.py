"""Who is who: crossing, leaving, coming back, cuts; in drawn scenes whose people are known."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from emoca_core.images.warp import square_to_image
from emoca_core.images.window import cut_window
from emoca_core.interfaces import Detection, Frame
from emoca_core.interfaces.samples import frontal_landmarks
from emoca_core.testing import check_component
from emoca_plugins.trackers.appearance import AppearanceTracker

SIDE = 40.0


@pytest.fixture(scope="module")
def people() -> list[np.ndarray]:
    """Three small pictures that are not alike: a portrait, a cat, a cup; each in a square."""
    data = pytest.importorskip("skimage.data")
    squares = ((data.astronaut(), (224, 120), 220), (data.chelsea(), (225, 130), 240), (data.coffee(), (300, 200), 350))
    return [cut_window(picture, square_to_image(np.array(c, float), s, 120), 120) for picture, c, s in squares]


def scene(people, places, time: float, wall: int = 90, photo: bool = True, seed: int = 0) -> Frame:
    """People by number at their places (x, y), the last in front, with noise on all pixels and points."""
    random = np.random.default_rng(seed + int(1000 * time))
    pixels = np.full((300, 700, 3), wall, np.uint8)
    faces = []
    for who, (x, y) in places:
        pixels[int(y) - 60 : int(y) + 60, int(x) - 60 : int(x) + 60] = people[who]
        points = SIDE * frontal_landmarks().numpy() + (x, y) + random.normal(0, 1, (68, 2))
        points = points.astype(np.float32)
        faces.append(Detection(np.concatenate([points.min(0), points.max(0)]), 1.0, {"ibug68": points}))
    noisy = (pixels + random.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)
    return Frame(time, faces, noisy if photo else None)


def track(frames: list[Frame], **params: float) -> list[tuple[int, ...]]:
    return list(AppearanceTracker(AppearanceTracker.Params(**params)).track(frames))


def test_contract():
    check_component("tracker", "appearance")


@pytest.mark.parametrize("photo", [True, False])
def test_moving_people_keep_their_numbers_in_any_order(people, photo):
    frames = []
    for k in range(30):
        places = [(0, (100 + 8 * k, 150)), (1, (560 - 4 * k, 150 + 2 * k))]
        frames.append(scene(people, places[:: 1 if k % 2 else -1], k / 25, photo=photo))
    first = track(frames)
    assert first[0] == (0, 1) and all(answer == ((1, 0) if k % 2 else (0, 1)) for k, answer in enumerate(first))


def test_people_who_cross_are_not_exchanged(people):
    """One walks through behind the other and is hidden for a while."""
    answers, who = [], []
    frames = []
    for k in range(40):
        walker, stander = (0, (100 + 12 * k, 150)), (1, (340, 150))
        hidden = abs(100 + 12 * k - 340) < 70
        places = [stander] if hidden else [walker, stander]
        frames.append(scene(people, places, k / 25))
        who.append([number for number, _ in places])
    answers = track(frames)
    numbers = {
        person: {n for a, w in zip(answers, who, strict=True) for n, p in zip(a, w, strict=True) if p == person}
        for person in (0, 1)
    }
    assert numbers == {0: {0}, 1: {1}}


def test_whoever_comes_out_from_behind_another_keeps_the_number(people):
    """Hidden for longer than a movement is believed in, then seen by half: for some frames somebody new, then known."""
    frames, walkers = [], []
    for k in range(65):
        walker, stander = (0, (100 + 8 * k, 150)), (1, (340, 150))
        hidden = abs(100 + 8 * k - 340) < 60
        frames.append(scene(people, [stander] if hidden else [walker, stander], k / 25))
        walkers.append(None if hidden else 0)
    answers = track(frames)
    numbers = [answer[0] for answer, place in zip(answers, walkers, strict=True) if place is not None]
    changes = [number for before, number in pairwise([-1, *numbers]) if number != before]
    assert changes == [0, 2, 0], "in part, then whole"
    assert numbers.count(2) < 0.3 * 25, "too short to be taken for a person"
    assert {answer[-1] for answer in answers} == {1}


def test_whoever_was_never_away_is_nobody_else(people):
    """A twin comes in while the first one is seen: both stay who they are."""
    frames = [
        scene([*people, people[0]], [(0, (120, 150)), *([(3, (400, 150))] if k > 20 else [])], k / 25)
        for k in range(60)
    ]
    answers = track(frames)
    assert answers[10] == (0,) and set(answers[30:]) == {(0, 1)}


@pytest.mark.parametrize("share", [0.38, 0.4, 0.42])
def test_who_only_resembles_somebody_who_is_gone_stays_somebody_new(people, share):
    """Elsewhere, and in every frame anew: as alike as some pictures of one person are."""
    alike = ((1 - share) * people[0] + share * people[1]).astype(np.uint8)
    frames = [scene(people, [(0, (120, 150))], k / 25) for k in range(25)]
    frames += [scene([*people, alike], [(3, (560, 150))], k / 25) for k in range(30, 90)]
    assert {answer for answer in track(frames)[25:]} == {(1,)}


def test_whoever_comes_back_elsewhere_is_known_by_looks_alone(people):
    here, there = [(0, (120, 150))], [(0, (560, 160))]
    away = [scene(people, [], 1 + k / 25) for k in range(40)]
    frames = [*(scene(people, here, k / 25) for k in range(5)), *away]
    assert track([*frames, scene(people, there, 4.0)])[-1] == (0,)
    assert track([*frames, scene(people, [(1, (560, 160))], 4.0)])[-1] == (1,)
    assert track([*frames, scene(people, [(1, (120, 150))], 4.0)])[-1] == (1,), "at the old place, but somebody else"


def test_across_a_cut_only_looks_count(people):
    """Two people of one place and size, in shots of two rooms; then back."""
    one = [scene(people, [(0, (200, 150))], k / 25, wall=90) for k in range(5)]
    other = [scene(people, [(1, (200, 150))], (5 + k) / 25, wall=220) for k in range(5)]
    back = [scene(people, [(0, (205, 150)), (2, (450, 150))], (10 + k) / 25, wall=90) for k in range(5)]
    for shot in (other, back):
        shot[0] = replace(shot[0], starts_shot=True)
    assert track([*one, *other, *back]) == [(0,)] * 5 + [(1,)] * 5 + [(0, 2)] * 5


def test_somebody_else_in_the_same_place_is_somebody_else(people):
    """Without a cut: the detector's boxes overlap wholly, the looks do not."""
    frames = [scene(people, [(0 if k < 5 else 1, (200, 150))], k / 25) for k in range(8)]
    assert track(frames) == [(0,)] * 5 + [(1,)] * 3
    assert track([Frame(f.time, f.detections) for f in frames]) == [(0,)] * 8, "without photos nobody can tell"
