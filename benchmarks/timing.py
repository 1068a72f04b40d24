"""How long calls take: medians of measurements in turn, so that a busy machine slows all of them alike."""

import math
import statistics
import time
from collections.abc import Callable, Mapping

Task = Callable[[], object]


def milliseconds(
    tasks: Mapping[str, Task], rounds: int, before: Task | None = None, seconds: float = math.inf
) -> dict[str, float]:
    """Median duration of each, taken in turn after one call that is not counted.

    Args:
        tasks: What is measured. A GPU's work counts as far as a task waits for it.
        rounds: Most calls of each that count.
        before: Called before each, uncounted.
        seconds: No round begins after so long, but one always counts.
    """
    samples: dict[str, list[float]] = {name: [] for name in tasks}
    began = time.perf_counter()
    for number in range(rounds + 1):
        if number > 1 and time.perf_counter() - began > seconds:
            break
        for name, task in tasks.items():
            if before is not None:
                before()
            start = time.perf_counter()
            task()
            if number:
                samples[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(sample) for name, sample in samples.items()}
