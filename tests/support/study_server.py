"""The server of a study, in a process or in a thread, and a client that asks as the page does."""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import ClassVar

from emoca_core.study.design import read_study
from emoca_core.study.server import ServeSettings, serve_app, study_app
from emoca_core.study.store import Store
from emoca_core.study.texts import TEXTS, read_texts


@contextmanager
def served(folder, *options):
    """Port of a real server in a process of its own, and that process."""
    command = [sys.executable, "-m", "emoca_core", "study", "serve", str(folder), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            found = re.search(r":(\d+)/", line)
            assert found, line + process.stderr.read()
            yield int(found[1]), process
        finally:
            process.kill()
            for one in Browser.open:
                one.close()
            Browser.open.clear()


class Browser:
    """One connection, as a page would have it."""

    open: ClassVar[list] = []

    def __init__(self, port, name="anna"):
        self.port, self.name = port, name
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.open.append(self.connection)

    def get(self, path, **headers):
        self.connection.request("GET", path, headers=headers)
        return self._answer()

    def post(self, path, body, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request("POST", path, content, {"Content-Type": "application/json", **headers})
        return self._answer()

    def ask(self, question, **values):
        status, _, body = self.post(f"/api/{question}", {"participant": self.name, **values})
        return status, json.loads(body)

    def answer(self, now, label=None):
        label = label or now["choices"][0]
        return self.ask("answer", trial=now["done"], label=label, milliseconds=700)

    def _answer(self):
        response = self.connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


@contextmanager
def served_here(folder, **settings):
    """Port of the same server in a thread, which starts at once."""
    study = read_study(folder)
    with Store.open(folder, study) as store, socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        texts = read_texts(folder / TEXTS, study.choices)
        server = serve_app(study_app(folder, study, store, texts, ServeSettings(**settings)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            for one in Browser.open:
                one.close()
            Browser.open.clear()
            thread.join()
