"""Shards as tasks of a Ray cluster: an encoder on every GPU, or on every CPU where there is none."""

import os
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from emoca_core.datasets import Manifest
from emoca_core.encoding.rows import RowEncoder
from emoca_core.errors import EmocaError, first_line
from emoca_core.probe.processes import Part
from emoca_core.progress import progress_bar

_OURS = "EMOCA_"
"""Beginning of the environment variables that workers on other machines need as well."""
Write = Callable[[Part, pa.Table], None]


class _Worker:
    """One encoder of the cluster."""

    def __init__(self, make: Callable[[], RowEncoder], manifest: Manifest) -> None:
        self.encoder, self.manifest = make(), manifest

    def encode(self, part: Part) -> tuple[Part, pa.Table | EmocaError]:
        """Errors travel as values, so that the cluster does not wrap them."""
        try:
            return part, self.encoder(self.manifest, part.rows)
        except EmocaError as error:
            return part, error


def fill_parts_by_ray(
    parts: Sequence[Part], manifest: Manifest, make: Callable[[], RowEncoder], write: Write, label: str
) -> None:
    """Write the files that are missing, in whatever order the cluster has them ready.

    Args:
        parts: All parts.
        manifest: The images, at paths that all machines know.
        make: Makes the encoder, where it will work.
        write: Writes one file, atomically, in this process.
        label: For the progress bar.

    Raises:
        EmocaError: Ray is not installed, a worker ended, or what the encoder raised; finished parts are kept.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when a cluster is started
    try:
        import ray
    except ImportError:
        raise EmocaError("--engine ray needs Ray: pip install 'emoca-core[ray]'") from None
    missing = [part for part in parts if not part.file.exists()]
    own = not ray.is_initialized()
    if own:
        ours = {name: value for name, value in os.environ.items() if name.startswith(_OURS)}
        ray.init(log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": ours})
    try:
        done = len(parts) - len(missing)
        with progress_bar(total=len(parts), initial=done, label=label, unit="part") as bar:
            for part, table in _computed(missing, manifest, make):
                if isinstance(table, EmocaError):
                    raise table
                write(part, table)
                bar.update(1)
    except ray.exceptions.RayError as error:
        raise EmocaError(f"a worker of the cluster ended; the same command goes on ({first_line(error)})") from None
    finally:
        if own:
            ray.shutdown()


def _computed(
    parts: Sequence[Part], manifest: Manifest, make: Callable[[], RowEncoder]
) -> Iterator[tuple[Part, pa.Table | EmocaError]]:
    """What the workers return, as soon as one does; each gets a part when it is done with the last."""
    import ray
    from ray.util import ActorPool

    there = ray.cluster_resources()
    kind, count = ("num_gpus", int(there["GPU"])) if there.get("GPU") else ("num_cpus", int(there.get("CPU", 1)))
    worker, images = ray.remote(_Worker).options(**{kind: 1}), ray.put(manifest)
    pool = ActorPool([worker.remote(make, images) for _ in range(min(count, len(parts)))])
    yield from pool.map_unordered(lambda actor, part: actor.encode.remote(part), parts)
