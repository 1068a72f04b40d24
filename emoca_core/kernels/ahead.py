"""Work that goes on in another thread while its results are used."""

import queue
import threading
from collections.abc import Generator
from contextlib import closing
from typing import TypeVar

Item = TypeVar("Item")
_FULL_CHECK = 0.1
"""Seconds after which a thread that waits for room looks whether anybody still wants its items."""


def ahead(items: Generator[Item, None, None], most: int) -> Generator[Item, None, None]:
    """The same items, made in a thread of their own, at most so many before they are asked for.

    The thread ends with the items, with an error, which is raised here in its place, or when the result is closed;
    then it closes ``items``.

    Args:
        items: Its steps release the GIL: decoding, networks, OpenCV.
        most: Items that wait at most; one more is being made, one being used.

    Example:
        >>> list(ahead((number**2 for number in range(4)), 2))
        [0, 1, 4, 9]
    """
    waiting: queue.Queue[tuple[list[Item], BaseException | None]] = queue.Queue(most)
    unwanted = threading.Event()

    def hand_over(item: list[Item], error: BaseException | None = None) -> None:
        while not unwanted.is_set():
            try:
                return waiting.put((item, error), timeout=_FULL_CHECK)
            except queue.Full:
                continue

    def make() -> None:
        failure: BaseException | None = None
        try:
            with closing(items):
                for item in items:
                    hand_over([item])
                    if unwanted.is_set():
                        break
        except BaseException as error:  # belongs to whoever takes the items
            failure = error
        hand_over([], failure)

    thread = threading.Thread(target=make, name="emoca-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if not item:
                return
            yield item[0]
    finally:
        unwanted.set()
        thread.join()
