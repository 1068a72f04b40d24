"""A page on this machine that shows picture, head and curves, and the same values as JSON for any program."""

import http
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jaxtyping import UInt8
from numpy import concatenate, ndarray
from pydantic import Field

from emoca_core.errors import EmocaError
from emoca_core.export.angles import yaw_pitch_roll
from emoca_core.export.model_viewer import model_viewer_script
from emoca_core.files import json_text
from emoca_core.interfaces import LiveFrame, Sender
from emoca_core.pages import html_page
from emoca_core.registry.spec import ComponentParams
from emoca_core.vocabulary.arkit import ARKIT_NAMES

if TYPE_CHECKING:
    from websockets.http11 import Request, Response
    from websockets.sync.server import Server, ServerConnection

_WIDTH = 640
"""Of the pictures that the page shows, pixels, at most."""
_QUALITY = 70
_PICTURES = "/pictures"
"""Path of the connections that get pictures as well."""
_WAIT = 0.5
"""Seconds after which a connection looks whether it is still wanted."""
_PATIENCE = 2.0
"""Seconds that receivers have to take what is on its way, when the sender closes; then they are cut off."""


class Preview(Sender):
    """``http://127.0.0.1:8765/``: picture, head and curves; ``ws://127.0.0.1:8765/live``: one JSON object a frame.

    Each receiver gets the newest frame when it is ready for it. Pages of other sites cannot connect.

    Source: RFC 6455 (WebSocket).
    """

    class Params(ComponentParams):
        """Where it listens."""

        host: str = "127.0.0.1"
        """This machine alone; ``0.0.0.0`` lets others see the camera."""
        port: int = Field(default=8765, ge=0, le=65535)
        """0 takes a free one."""

    params: Params

    def __init__(self, params: Params | None = None) -> None:
        super().__init__(params)
        self._changed = threading.Condition()
        self._newest: LiveFrame | None = None
        self._head: bytes = b""
        self._heads = 0
        self._server: Server | None = None
        self._talking: set[ServerConnection] = set()

    @property
    def address(self) -> str:  # type: ignore[override]
        """The page's."""
        port = self.params.port if self._server is None else self._server.socket.getsockname()[1]
        return f"http://{self.params.host}:{port}/"

    def open(self) -> None:
        from websockets.sync.server import serve

        try:
            self._server = serve(
                self._talk, self.params.host, self.params.port, process_request=self._answer, close_timeout=_PATIENCE
            )
        except OSError as error:
            raise EmocaError(
                f"cannot listen on {self.params.host}:{self.params.port}: {error.strerror or error}; "
                "choose another port, e.g. --send preview:port=8800, or 0 for any"
            ) from error
        threading.Thread(target=self._server.serve_forever, name="preview", daemon=True).start()

    def send(self, frame: LiveFrame) -> None:
        with self._changed:
            self._newest = frame
            self._changed.notify_all()

    def show_person(self, head: bytes) -> None:
        self._head, self._heads = head, self._heads + 1

    def close(self) -> None:
        server, self._server = self._server, None
        with self._changed:
            self._changed.notify_all()
        if server is not None:
            waiting = threading.Timer(_PATIENCE, self._cut_off)
            waiting.start()
            server.shutdown()  # waits until all receivers are let go
            waiting.cancel()

    def _cut_off(self) -> None:
        """Whoever does not read would be waited for without an end."""
        for connection in list(self._talking):
            with suppress(OSError):  # it has gone by itself
                connection.socket.shutdown(socket.SHUT_RDWR)

    def _answer(self, connection: "ServerConnection", request: "Request") -> "Response | None":
        """Plain HTTP; ``None`` lets a WebSocket begin."""
        from websockets.datastructures import Headers
        from websockets.http11 import Response

        if not _is_own(request.headers):
            return connection.respond(http.HTTPStatus.FORBIDDEN, "pages of other sites may not read the camera\n")
        path = request.path.partition("?")[0]
        if "websocket" in request.headers.get("Upgrade", "").lower():
            return None
        answers: Mapping[str, tuple[str, Callable[[], bytes]]] = {
            "/": ("text/html; charset=utf-8", self._page),
            "/head.glb": ("model/gltf-binary", lambda: self._head),
            "/model-viewer.js": ("text/javascript", model_viewer_script),
        }
        if path not in answers:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "nothing here\n")
        kind, make = answers[path]
        body = make()
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        policy = "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src blob:"
        policy += "; style-src 'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self' blob: data:"
        headers["Content-Security-Policy"] = policy
        return Response(200, "OK", Headers(headers), body)

    def _page(self) -> bytes:
        return html_page("live", package="emoca_plugins.senders", title="EMOCA live", names=list(ARKIT_NAMES)).encode()

    def _talk(self, connection: "ServerConnection") -> None:
        """Give one receiver the newest frame again and again, until it goes away."""
        from websockets.exceptions import ConnectionClosed

        pictures = connection.request is not None and connection.request.path.startswith(_PICTURES)
        last = -1
        self._talking.add(connection)
        try:
            while self._server is not None and connection.close_code is None:
                frame = self._after(last)
                if frame is None:
                    continue
                last = frame.number
                connection.send(json_text(frame_to_json(frame) | {"person": self._heads}, indent=None))
                if pictures:
                    connection.send(_jpeg(frame.picture))
        except ConnectionClosed:
            return
        finally:
            self._talking.discard(connection)

    def _after(self, last: int) -> LiveFrame | None:
        """A frame with a larger number; ``None`` where none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._server is None or self._is_after(last), _WAIT)
            return self._newest if self._is_after(last) else None

    def _is_after(self, last: int) -> bool:
        return self._newest is not None and self._newest.number > last


def _is_own(headers: Mapping[str, str]) -> bool:
    """Whether a request is not one that a page of another site makes a browser send.

    Such a page names itself as ``Origin``, or has its own name lead to this machine (DNS rebinding): then ``Host`` is a
    name, and neither ``localhost`` nor an address.
    """
    host, origin = headers.get("Host", ""), headers.get("Origin")
    name = urlsplit(f"//{host}").hostname or ""
    try:
        is_address = name == "localhost" or bool(ip_address(name))
    except ValueError:
        is_address = False
    return is_address and origin in (None, f"http://{host}")


def frame_to_json(frame: LiveFrame) -> dict[str, object]:
    """A frame without its picture: seconds, values by name, yaw, pitch and roll in radians, metres."""
    facts: dict[str, object] = {
        "number": frame.number,
        "time": round(frame.time, 4),
        "latency": round(frame.latency, 4),
        "dropped": frame.dropped,
        "face": None,
    }
    if frame.face is not None:
        angles = yaw_pitch_roll(concatenate([frame.face.head[None], frame.face.eyes])).round(5)
        position = frame.face.position
        facts["face"] = {
            "arkit": dict(zip(ARKIT_NAMES, frame.face.arkit.round(4).tolist(), strict=True)),
            **{name: part.tolist() for name, part in zip(("head", "left_eye", "right_eye"), angles, strict=True)},
            "position": None if position is None else position.round(4).tolist(),
            "emotion": {name: round(value, 4) for name, value in frame.face.emotion.items()},
        }
    return facts


def _jpeg(picture: UInt8[ndarray, "H W 3"]) -> bytes:
    import cv2

    scale = min(1.0, _WIDTH / picture.shape[1])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return encoded.tobytes()
