"""A hub that is silent costs seconds, and what is in the cache is used."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
from safetensors.torch import save_file

LOOK = """
import sys, time
from emoca_core.errors import MissingAssetError
from emoca_core.runs.hub import download
from emoca_core.weights import hub
from emoca_core.weights.timm_trunk import create_trunk

hub.ANSWER_S = 1.0
time.sleep = lambda seconds: None  # between the attempts of the library
try:
    if sys.argv[1] == "trunk":
        print(sum(float(p.detach().double().sum()) for p in create_trunk(sys.argv[2], pretrained=True).parameters()))
    else:
        print(download(sys.argv[2]))
except MissingAssetError as error:
    print(error)
"""
TINY = "test_vit"


@pytest.fixture
def silent_hub():
    """Takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def broken_hub():
    """Says where a file is, and hangs up when it shall send it."""
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            for name, value in {"ETag": '"1"', "X-Repo-Commit": "a" * 40, "Content-Length": "100"}.items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self):
            asked.append(self.path)
            self.close_connection = True

        def log_message(self, *arguments): ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.asked, thread = asked, threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(hub: socket.socket) -> int:
    """How often somebody has asked for a repository; the library may ask for other things by itself."""
    requests = []
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = hub.accept()
            with connection:
                requests.append(connection.recv(4096))
    return sum(b"/api/models/" in request or b"/resolve/" in request for request in requests)


def look(what, name, hub, cache):
    host, port = (hub if isinstance(hub, socket.socket) else hub.socket).getsockname()
    address = f"http://{host}:{port}"
    environment = os.environ | {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK, what, name], env=environment, capture_output=True, text=True, timeout=300
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def cached(cache, repository):
    """Folder of the files of a repository that was downloaded before."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    return snapshot


def test_a_silent_hub_is_one_that_cannot_be_reached(silent_hub, tmp_path):
    said = look("package", "hf://somebody/unknown", silent_hub, tmp_path)
    assert "hub cannot be reached" in said and "\n" not in said, said
    assert asked(silent_hub) == 1


def test_what_is_in_the_cache_is_used_beside_a_silent_hub(silent_hub, tmp_path):
    snapshot = cached(tmp_path, "somebody/my-faces")
    (snapshot / "card.json").write_text("{}")
    assert look("package", "hf://somebody/my-faces", silent_hub, tmp_path) == str(snapshot)


@pytest.mark.parametrize(("what", "name"), [("package", "hf://somebody/faces"), ("trunk", TINY)])
def test_a_hub_that_breaks_off_is_named_in_one_line(what, name, broken_hub, tmp_path):
    said = look(what, name, broken_hub, tmp_path)
    assert "the Hugging Face hub broke off: " in said.splitlines()[0], said
    assert [path for path in broken_hub.asked if "/resolve/" in path], "nothing was to be sent, so nothing broke off"


def test_weights_of_timm_are_asked_for_once(silent_hub, tmp_path):
    said = look("trunk", TINY, silent_hub, tmp_path)
    assert "are neither in the cache nor reachable: the Hugging Face hub does not answer\n" in said, said
    assert asked(silent_hub) == 1


def test_weights_of_timm_that_are_in_the_cache_are_not_asked_for(silent_hub, tmp_path):
    network = timm.create_model(TINY, pretrained=False)
    save_file(network.state_dict(), cached(tmp_path, timm.get_pretrained_cfg(TINY).hf_hub_id) / "model.safetensors")
    network.reset_classifier(0)
    expected = sum(float(parameter.detach().double().sum()) for parameter in network.parameters())
    assert float(look("trunk", TINY, silent_hub, tmp_path)) == expected
    assert asked(silent_hub) == 0
