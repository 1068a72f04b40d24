"""Saving beside the next batch: a few threads, bounded memory, results in order."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

MOST_WAITING = 8
"""Pieces of work that may be unfinished: each holds a face with its photo."""
_MOST_THREADS = 4


class Saver:
    """Does work in threads, and reports each piece to the caller's thread, in the order in which it was given.

    When the ``with`` block is left, everything is done and reported; when an exception leaves it, what has begun is
    done and the rest is dropped, unreported.

    Example:
        >>> with Saver() as saver:
        ...     saver.submit(lambda: None, lambda error: print("saved", error))
        saved None
    """

    def __init__(self) -> None:
        threads = max(1, min(_MOST_THREADS, (os.cpu_count() or 1) // 2))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="emoca-save")
        self._waiting: deque[tuple[Future[None], Callable[[Exception | None], None]]] = deque()

    def submit(self, work: Callable[[], None], report: Callable[[Exception | None], None]) -> None:
        """Have something done; waits while too much is unfinished.

        Args:
            work: Runs in another thread.
            report: Runs in this thread, during a later call, with what ``work`` raised or ``None``. Not called for
                what is no ``Exception`` (Ctrl-C): that is raised here.
        """
        self._waiting.append((self._pool.submit(work), report))
        while self._waiting and (len(self._waiting) >= MOST_WAITING or self._waiting[0][0].done()):
            self._report_first()

    def finish(self) -> None:
        """Wait for everything, and report it."""
        while self._waiting:
            self._report_first()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _report_first(self) -> None:
        future, report = self._waiting.popleft()
        error = future.exception()
        if error is not None and not isinstance(error, Exception):
            raise error
        report(error)
