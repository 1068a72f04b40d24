"""Items made in another thread: the same, in order, not too many, and no thread is left behind."""

import threading
import time
from collections.abc import Iterator

import pytest

from emoca_core.kernels.ahead import ahead


def threads() -> int:
    return sum(thread.name == "emoca-ahead" for thread in threading.enumerate())


def test_the_same_items_made_elsewhere():
    makers = set()

    def items() -> Iterator[int]:
        for number in range(50):
            makers.add(threading.get_native_id())
            yield number

    assert list(ahead(items(), 3)) == list(range(50))
    assert len(makers) == 1 and threading.get_native_id() not in makers and threads() == 0


def test_no_more_are_made_than_there_is_room_for():
    made = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    taken = ahead(items(), 2)
    assert next(taken) == 0
    time.sleep(0.3)
    assert 2 <= len(made) <= 4, "one used, two that wait, one that is made"
    taken.close()
    assert threads() == 0 and len(made) <= 5


def test_an_error_comes_in_its_place():
    def items() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    taken = ahead(items(), 2)
    assert next(taken) == 1
    with pytest.raises(OSError, match="disk"):
        next(taken)
    assert threads() == 0


def test_who_does_not_want_more_closes_all_of_a_chain():
    closed = []

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append("source")

    def doubled() -> Iterator[int]:
        try:
            for number in ahead(source(), 1):
                yield 2 * number
        finally:
            closed.append("doubled")

    taken = ahead(doubled(), 1)
    assert [next(taken), next(taken)] == [0, 2]
    taken.close()
    assert sorted(closed) == ["doubled", "source"] and threads() == 0
