"""A hub that is silent costs seconds, and what is in the cache is used."""

import os
import socket
import subprocess
import sys
import time

import pytest

LOOK = """
import sys
from emoca_core.errors import MissingAssetError
from emoca_core.runs import hub
hub.ANSWER_S = 1.0
try:
    print(hub.download(sys.argv[1]))
except MissingAssetError as error:
    print(error)
"""


@pytest.fixture
def silent_hub():
    """Takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def look(name, hub, cache):
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0"}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LOOK, name], env=environment, capture_output=True, text=True, timeout=100
    )
    assert time.monotonic() - began < 60, done.stderr
    return done.stdout.strip()


def test_a_silent_hub_is_one_that_cannot_be_reached(silent_hub, tmp_path):
    said = look("hf://somebody/unknown", silent_hub, tmp_path)
    assert "hub cannot be reached" in said and "\n" not in said, said


def test_what_is_in_the_cache_is_used_beside_a_silent_hub(silent_hub, tmp_path):
    repository = tmp_path / "models--somebody--my-faces"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "card.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    assert look("hf://somebody/my-faces", silent_hub, tmp_path) == str(snapshot)
