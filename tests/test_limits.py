"""The one table of limits, and the one way to open a file that is a file."""

import os
import socket
import threading

import pytest

from emoca_core import limits
from emoca_core.errors import AssetFormatError, LimitError
from emoca_core.files import open_regular, read_regular
from emoca_core.limits import Limit

ROWS = [value for value in vars(limits).values() if isinstance(value, Limit)]
SMALL = Limit("small_bytes", 10, "bytes")


def test_every_row_is_called_as_in_the_table():
    assert len(ROWS) > 10
    assert all(getattr(limits, row.name.upper()) is row for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_lets_its_limit_pass_and_names_itself_beyond(row, monkeypatch):
    row.check(row.most, "x")
    with pytest.raises(LimitError, match=f"x: .*{row.unit}.*{row.name}; {row.variable} raises it"):
        row.check(row.most + 1, "x")
    with pytest.raises(LimitError, match=f"^[0-9,]+ {row.unit} are more"):
        row.check(row.most + 1, "")
    monkeypatch.setenv(row.variable, str(row.default + 1))
    row.check(row.default + 1, "x")


@pytest.mark.parametrize("text", ["", "much", "-1", "0", "1.5", "nan", "inf", "1e30"])
def test_an_odd_variable_is_named(monkeypatch, text):
    monkeypatch.setenv("EMOCA_LIMIT_SMALL_BYTES", text)
    with pytest.raises(LimitError, match="EMOCA_LIMIT_SMALL_BYTES"):
        SMALL.check(1, "x")


def test_a_file_within_the_limit_is_read_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link", SMALL) == b"0123456789"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nowhere", SMALL)
    (tmp_path / "file").write_bytes(b"0123456789a")
    with pytest.raises(AssetFormatError, match="11 bytes are more than the limit of 10 "):
        open_regular(tmp_path / "link", SMALL, AssetFormatError)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    kinds = {tmp_path: "a folder", tmp_path / "pipe": "a named pipe", tmp_path / "socket": "a socket"}
    for path, kind in {**kinds, "/dev/zero": "a device"}.items():
        result = []
        worker = threading.Thread(target=lambda p=path, r=result: r.append(_refusal(p)), daemon=True)
        worker.start()
        worker.join(5)
        assert result and kind in result[0], f"{path}: {result or 'waited'}"
    server.close()


def test_a_file_without_a_size_is_read_to_the_limit_only():
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("needs /proc")
    with pytest.raises(LimitError, match="more than the limit of 10"):
        read_regular("/proc/self/maps", SMALL)


def _refusal(path) -> str:
    try:
        read_regular(path, SMALL)
    except LimitError as error:
        return str(error)
    return "read"
