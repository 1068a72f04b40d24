"""Damaged files and odd arguments at every entrance: a documented exit code, one short message, nothing else touched.

A case is an entrance and a seed: ``pytest tests/fuzz -k "sweep-17"`` does it again.
"""

import random

import pytest
from entrances import ARGUMENTS, ENTRANCES
from mutations import arguments, mutated

FEW, MANY = range(2), range(2, 40)
READ_BUT_REFUSED = ("sweep", "train emotion")  # no run is finished; the toy backbone recognises no classes
KINDS = {".yaml": "yaml", ".json": "json", ".jsonl": "json"}


def damage(entrance, seed, place, made, check) -> None:
    draw = random.Random(f"{entrance.name} {seed}")
    made(entrance.make, place)
    victim = entrance.victim(place, draw)
    victim.write_bytes(mutated(victim.read_bytes(), draw, KINDS.get(victim.suffix, "bytes")))
    check(entrance.command)


def odd(maker, base, seed, place, made, check) -> None:
    made(maker, place)
    check(arguments(list(base), random.Random(f"{base} {seed}")), elsewhere=True)


BY_NAME = pytest.mark.parametrize("entrance", ENTRANCES, ids=lambda entrance: entrance.name)
BY_COMMAND = pytest.mark.parametrize(
    ("maker", "base"), ARGUMENTS, ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else ""
)


@BY_NAME
def test_what_is_not_damaged_is_read(entrance, place, made, check):
    """Else the tests below would damage what fails anyway."""
    made(entrance.make, place)
    code, said = check(entrance.command)
    assert code in (0, 1) or entrance.name in READ_BUT_REFUSED, said


@pytest.mark.parametrize("seed", FEW)
@BY_NAME
def test_damaged_files(entrance, seed, place, made, check):
    damage(entrance, seed, place, made, check)


@pytest.mark.parametrize("seed", FEW)
@BY_COMMAND
def test_odd_arguments(maker, base, seed, place, made, check):
    odd(maker, base, seed, place, made, check)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
@BY_NAME
def test_more_damaged_files(entrance, seed, place, made, check):
    damage(entrance, seed, place, made, check)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
@BY_COMMAND
def test_more_odd_arguments(maker, base, seed, place, made, check):
    odd(maker, base, seed, place, made, check)
