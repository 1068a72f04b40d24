"""Who sees what, in which order: by chance, balanced, and never one face twice in a row."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from emoca_core.study.design import PHOTO, Stimulus, Study

TrialKind = Literal["practice", "picture", "catch"]


@dataclass(frozen=True)
class Trial:
    """One question.

    Attributes:
        kind: ``"catch"`` shows whether somebody pays attention, by an easy photo or a text that tells what to choose.
        picture: Name of the picture; ``None`` for a text.
        expected: The right answer to a catch trial.
    """

    kind: TrialKind
    picture: str | None = None
    expected: str | None = None


@dataclass(frozen=True)
class Session:
    """Everything that one participant gets.

    Attributes:
        choices: The answers in the order of this participant's keys.
        trials: In order.
    """

    choices: tuple[str, ...]
    trials: tuple[Trial, ...]


def plan_session(study: Study, number: int, shown: Sequence[int]) -> Session:
    """Draw the session of one participant.

    Args:
        study: What there is to see.
        number: Of the participant; with the study's seed it decides everything.
        shown: How often each face was given to others.

    Example: ``plan_session(read_study(folder), number=0, shown=[0] * 20).trials``
    """
    chance = random.Random(f"{study.seed}/{number}")
    faces = least_shown(shown, study.faces_each, chance)
    names = {(one.face, one.shows): one.id for one in study.stimuli}
    pairs = spread([(face, shows) for face in faces for shows in study.conditions], chance)
    trials = [Trial("picture", names[pair]) for pair in pairs]
    easy = chance.sample(study.catch, study.catch_trials) if study.catch else []
    for place in _places(len(trials), study.catch_trials, chance):
        catch = easy.pop() if easy else None
        shown_now = (catch.picture.id, catch.label) if catch else (None, chance.choice(study.choices))
        trials.insert(place, Trial("catch", *shown_now))
    practice = [Trial("practice", one.id) for one in _practice(study.practice, chance)]
    return Session(tuple(chance.sample(study.choices, len(study.choices))), (*practice, *trials))


def _practice(pictures: Sequence[Stimulus], chance: random.Random) -> list[Stimulus]:
    """In random order; of photos no face follows itself, so of a single one there is one picture."""
    faces = list(accumulate(int(one.shows == PHOTO) for one in pictures))  # each begins with its photo
    if not any(faces):  # a synthetic head
        return chance.sample(pictures, len(pictures))
    if faces[-1] == 1:
        return [chance.choice(pictures)]
    by_face = {(face, one.shows): one for face, one in zip(faces, pictures, strict=True)}
    return [by_face[pair] for pair in spread(list(by_face), chance)]


def plan_machine(study: Study) -> Session:
    """What a machine gets: every picture once, no practice, and no text, which it could not read."""
    return Session(study.choices, tuple(Trial("picture", one.id) for one in study.stimuli))


def least_shown(shown: Sequence[int], count: int, chance: random.Random) -> list[int]:
    """The faces that were given away least often, ties broken by chance."""
    faces = list(range(len(shown)))
    chance.shuffle(faces)
    return sorted(faces, key=lambda face: shown[face])[:count]


def spread(pairs: Sequence[tuple[int, str]], chance: random.Random) -> list[tuple[int, str]]:
    """A random order in which no face follows itself.

    Each step draws among the pictures of other faces; where more than half of what is left is of one face, that one.

    Args:
        pairs: Face and what is shown of it; every face equally often, at least two faces.
        chance: Decides.
    """
    left = list(pairs)
    order: list[tuple[int, str]] = []
    while left:
        last = order[-1][0] if order else None
        most, count = Counter(face for face, _ in left).most_common(1)[0]
        free = [pair for pair in left if pair[0] != last]
        if 2 * count > len(left) and most != last:
            free = [pair for pair in free if pair[0] == most]
        order.append(chance.choice(free))
        left.remove(order[-1])
    return order


def _places(trials: int, count: int, chance: random.Random) -> list[int]:
    """Where catch trials go in: one in each of as many equal stretches, the last first so that places stay valid."""
    bounds = [1 + round((trials - 1) * part / max(count, 1)) for part in range(count + 1)]
    return [chance.randrange(low, max(high, low + 1)) for low, high in reversed(list(pairwise(bounds)))]
