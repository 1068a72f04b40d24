"""``emoca encode --engine ray``: a real local cluster of two workers fills the shards that are missing."""

import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emoca_core.cli import main
from emoca_core.datasets import Manifest, ManifestRow, write_manifest
from emoca_core.encoding.ray_engine import fill_parts_by_ray
from emoca_core.errors import EmocaError
from emoca_core.probe.processes import Part


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    write_manifest([ManifestRow(f"{i}.png") for i in range(12)], tmp_path / "faces.parquet")
    return Manifest.open(tmp_path / "faces.parquet")


@pytest.fixture(scope="module")
def ray():
    """A cluster of its own, of two processors."""
    cluster = pytest.importorskip("ray", reason="Ray is not installed: pip install 'emoca-core[ray]'")
    cluster.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cluster.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield cluster
    cluster.shutdown()


def slow_encoder(spoils: int | None = None):
    """Tells who computed which rows, and takes its time, so that both workers get some."""

    def encode(manifest, rows):
        import time

        time.sleep(0.5)
        if rows.start == spoils:
            raise EmocaError("this face breaks the method")
        paths = [manifest[row].path for row in rows]
        return pa.table({"path": paths, "process": [os.getpid()] * len(rows)})

    return encode


def write(part: Part, table: pa.Table) -> None:
    pq.write_table(table, part.file)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_workers_fill_what_is_missing(ray, manifest, tmp_path):
    parts = [Part(range(i, i + 2), tmp_path / f"{i}.parquet") for i in range(0, 12, 2)]
    write(parts[2], pa.table({"path": ["kept"]}))
    fill_parts_by_ray(parts, manifest, slow_encoder, write, "toy")
    assert pq.read_table(parts[2].file)["path"].to_pylist() == ["kept"], "what is there is not done again"
    done = {part.rows.start: pq.read_table(part.file) for part in parts if part is not parts[2]}
    for start, table in done.items():
        assert table["path"].to_pylist() == [f"{start}.png", f"{start + 1}.png"]
    workers = {process for table in done.values() for process in table["process"].to_pylist()}
    assert len(workers) == 2
    assert os.getpid() not in workers
    assert ray.is_initialized(), "somebody else's cluster goes on"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_breaks_in_a_worker_is_told_and_the_rest_kept(ray, manifest, tmp_path):
    parts = [Part(range(i, i + 3), tmp_path / f"{i}.parquet") for i in range(0, 12, 3)]
    with pytest.raises(EmocaError, match="breaks the method"):
        fill_parts_by_ray(parts, manifest, lambda: slow_encoder(spoils=9), write, "toy")
    assert parts[0].file.exists()
    assert not parts[3].file.exists()


def test_without_ray_it_says_how_to_get_it(manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EmocaError, match=r"emoca-core\[ray\]"):
        fill_parts_by_ray([Part(range(2), Path(tmp_path / "x"))], manifest, slow_encoder, write, "toy")
    monkeypatch.setenv("EMOCA_NOTHING", "1")
    assert main(["encode", str(tmp_path / "faces.parquet"), "--recipe", "x", "--out", "o", "--engine", "spark"]) == 2
    assert "spark" in capsys.readouterr().err


def test_workers_choose_their_own_device(tmp_path, capsys):
    assert main(["encode", "faces.csv", "--recipe", "mediapipe52", "--out", str(tmp_path / "o"), "--engine", "ray", "--device", "cpu"]) == 2  # fmt: skip  # noqa: E501
    assert "leave --device out" in capsys.readouterr().err
