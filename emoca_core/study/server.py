"""The page of a study: a few fixed files, pictures by names that tell nothing, and three questions to the store."""

import http
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emoca_core.errors import ComponentImportError, EmocaError, ParamsError, first_line
from emoca_core.pages import html_page
from emoca_core.study.design import Study, check_pictures, picture_path, read_study
from emoca_core.study.order import Trial
from emoca_core.study.store import Progress, Store, StudyFullError, UnknownParticipantError, WrongTrialError
from emoca_core.study.texts import TEXTS, Texts, read_texts

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 2048
"""Of one request: an answer has 200."""
HEADER_BYTES = 16 * 1024
"""Of one request, where they do not come at once."""
CONNECTIONS = 2000
"""At once; further ones are told to come again, which the page does."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the link holds the participant's number
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_DAY_MS = 24 * 3600 * 1000
_PACKAGE = "emoca_core.study"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._@+-]{1,128}$")]
Asked = TypeVar("Asked", bound=BaseModel)
Result = TypeVar("Result")
Answering = Callable[["Request"], Awaitable["Response"]]
Tell = Callable[[str], None]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StateRequest(_Strict):
    """Where is this participant?"""

    participant: Name


class BeginRequest(_Strict):
    """This participant agrees to take part."""

    participant: Name
    consent: Literal[True]


class AnswerRequest(_Strict):
    """What this participant sees in a picture."""

    participant: Name
    trial: Annotated[int, Field(ge=0, le=10**6)]
    label: Annotated[str, Field(max_length=64)]
    milliseconds: Annotated[int, Field(ge=0, le=_DAY_MS)]


@dataclass(frozen=True)
class ServeSettings:
    """How a study is served.

    Attributes:
        host: Address to listen on: this machine alone by default.
        port: 0 takes a free one.
        names: Names under which a proxy makes the page public.
        most: So many people are wanted; as many again as leave without finishing are let in.
        code: One completion code for all; by default everybody gets their own.
        link: Of the platform that people came from, shown at the end; ``{code}`` stands for the code.
    """

    host: str = "127.0.0.1"
    port: int = 8700
    names: tuple[str, ...] = field(default=())
    most: int = 1000
    code: str | None = None
    link: str | None = None

    def __post_init__(self) -> None:
        """Refuse a link that a browser would not follow to a page.

        Raises:
            ParamsError: It is none.
        """
        if self.link is not None and urlsplit(self.link).scheme not in ("http", "https"):
            raise ParamsError(f"the link at the end must begin with https://, got {self.link[:80]!r}")


def serve_study(folder: Path, settings: ServeSettings, say: Tell) -> None:
    """Serve the page of a study until Ctrl-C.

    Args:
        folder: Of the study.
        settings: Where, and for whom.
        say: Told of the address, and of what the experimenter should know.

    Raises:
        AssetFormatError: The study is none, or damaged.
        ParamsError: Its texts lack something.
        ComponentImportError: What the extra ``study`` installs is not here.
        EmocaError: Nobody may listen there, or another program does.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ComponentImportError(
            f"serving a study needs {error.name}, which is not installed: pip install 'emoca-core[study]'"
        ) from error
    study = read_study(folder)
    texts = read_texts(folder / TEXTS, study.choices)
    check_pictures(folder, study)
    with Store.open(folder, study) as store, _listen(settings) as listening:
        host, port = settings.host, listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        say(f"the study is at http://{shown}:{port}/?participant=test")
        if texts.is_unfinished:
            say(f"{folder / TEXTS} still has [brackets] for you to fill in: do so before anybody takes part")
        serve_app(study_app(folder, study, store, texts, settings, say)).run(sockets=[listening])


def serve_app(app: "Starlette") -> "uvicorn.Server":
    """A server with everything off that the page does not need."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        lifespan="off",
        limit_concurrency=CONNECTIONS,
        ws="none",
        http="h11",  # whose headers are bounded
        h11_max_incomplete_event_size=HEADER_BYTES,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


def _listen(settings: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise EmocaError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; choose another --port, or 0 "
            "for any"
        ) from error


def study_app(
    folder: Path,
    study: Study,
    store: Store,
    texts: Texts,
    settings: ServeSettings | None = None,
    say: Tell = lambda line: None,
) -> "Starlette":
    """The page as an ASGI application, for ``serve_study`` and for servers of other kinds; ``say`` hears of faults."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Route

    settings = settings or ServeSettings()
    page = _Page(folder, study, store, texts, settings)
    routes = [
        *(
            Route(path, partial(_fixed, content, kind), methods=["GET"])
            for path, (kind, content) in _files(texts).items()
        ),
        Route("/pictures/{name}", page.picture, methods=["GET"]),
        *(
            Route(f"/api/{name}", _checked(answer, say), methods=["POST"])
            for name, answer in (("state", page.state), ("begin", page.begin), ("answer", page.answer))
        ),
    ]
    return Starlette(routes=routes, middleware=[Middleware(_Guard, names=_own_names(settings))])


def _files(texts: Texts) -> Mapping[str, tuple[str, bytes]]:
    """What never changes, by its path."""
    templates = files(_PACKAGE).joinpath("templates")
    page = html_page("study", package=_PACKAGE, texts=texts)
    return {
        "/": ("text/html; charset=utf-8", page.encode()),
        "/texts.json": ("application/json", texts.model_dump_json().encode()),
        "/study.js": ("text/javascript; charset=utf-8", templates.joinpath("study.js").read_bytes()),
        "/study.css": ("text/css; charset=utf-8", templates.joinpath("study.css").read_bytes()),
    }


async def _fixed(content: bytes, kind: str, request: "Request") -> "Response":
    from starlette.responses import Response

    return Response(content, media_type=kind)


@dataclass(frozen=True)
class _Page:
    """Answers the page's questions."""

    folder: Path
    study: Study
    store: Store
    texts: Texts
    settings: ServeSettings

    async def picture(self, request: "Request") -> "Response":
        """A picture of the study by its name; there is no way to any other file."""
        from starlette.responses import FileResponse, Response

        name = request.path_params["name"]
        if name not in self.study.pictures():
            return Response("nothing here\n", 404)
        path = picture_path(self.folder, name)
        return FileResponse(path, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})

    async def state(self, body: bytes) -> Mapping[str, object]:
        asked = _parsed(StateRequest, body)
        now = await _in_thread(self.store.progress, asked.participant)
        if now is None:
            return {"known": False, "full": await _in_thread(self.store.is_full, self.settings.most)}
        return self._described(now)

    async def begin(self, body: bytes) -> Mapping[str, object]:
        asked = _parsed(BeginRequest, body)
        start = partial(self.store.begin, texts=self.texts.digest, most=self.settings.most)
        return self._described(await _in_thread(start, asked.participant))

    async def answer(self, body: bytes) -> Mapping[str, object]:
        asked = _parsed(AnswerRequest, body)
        now = await _in_thread(self.store.answer, asked.participant, asked.trial, asked.label, asked.milliseconds)
        return self._described(now)

    def _described(self, now: Progress) -> Mapping[str, object]:
        code = (self.settings.code or now.code) if now.trial is None else None
        link = self.settings.link and code and self.settings.link.replace("{code}", code)
        following = now.following.picture if now.following else None
        facts = {"known": True, "done": now.done, "total": now.total, "choices": now.choices}
        return {**facts, "trial": _described(now.trial), "following": following, "code": code, "link": link}


def _described(trial: Trial | None) -> Mapping[str, object] | None:
    if trial is None:
        return None
    if trial.kind == "catch" and trial.picture:  # which must look like all others
        return {"kind": "picture", "picture": trial.picture, "label": None}
    return {"kind": trial.kind, "picture": trial.picture, "label": trial.expected}


def _parsed(model: type[Asked], body: bytes) -> Asked:
    return model.model_validate_json(body)


def _checked(answer: Callable[[bytes], Awaitable[Mapping[str, object]]], say: Tell) -> Answering:
    """Turn what a question can end with into an HTTP answer; nothing that was sent is repeated."""
    refusals: Mapping[type[Exception], http.HTTPStatus] = {
        ValidationError: http.HTTPStatus.BAD_REQUEST,
        WrongTrialError: http.HTTPStatus.CONFLICT,
        UnknownParticipantError: http.HTTPStatus.NOT_FOUND,
        StudyFullError: http.HTTPStatus.FORBIDDEN,
        sqlite3.Error: http.HTTPStatus.SERVICE_UNAVAILABLE,  # the page sends it again
    }

    async def endpoint(request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return JSONResponse({"error": "UNSUPPORTED_MEDIA_TYPE"}, 415)  # what a form of another site cannot send
        try:
            return JSONResponse(await answer(await request.body()))
        except tuple(refusals) as error:
            status = next(code for kind, code in refusals.items() if isinstance(error, kind))
            if isinstance(error, sqlite3.Error):
                say(f"an answer could not be stored, and will be sent again: {first_line(error)}")
            return JSONResponse({"error": status.name}, status)

    return endpoint


async def _in_thread(call: Callable[..., Result], *values: object) -> Result:
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(call, *values)


class _Guard:
    """Lets through only requests of this page, of bounded size, and adds the headers that hold a browser to it."""

    def __init__(self, app: "ASGIApp", names: frozenset[str]) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            return
        from starlette.datastructures import Headers
        from starlette.responses import PlainTextResponse

        async def send_held(message: "Message") -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                own = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in own if pair[0] not in given)]
            await send(message)

        headers = Headers(scope=scope)
        if not self._is_own(headers):
            await PlainTextResponse("this page has another name\n", 403)(scope, receive, send_held)
            return
        body = await _read(receive)
        if body is None:
            await PlainTextResponse("too large\n", 413)(scope, receive, send_held)
            return
        given = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_read() -> "Message":
            return next(given, None) or await receive()

        await self._app(scope, receive_read, send_held)

    def _is_own(self, headers: Mapping[str, str]) -> bool:
        """Whether ``Host`` is a name of this page (else somebody's own name leads here), and ``Origin`` is the same."""
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return (_is_address(name) or name in self._names) and origin in (None, f"http://{host}", f"https://{host}")


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


def _own_names(settings: ServeSettings) -> frozenset[str]:
    return frozenset(name.lower() for name in ("localhost", settings.host, *settings.names))


async def _read(receive: "Receive") -> bytes | None:
    """The body of a request; ``None`` as soon as it is too long."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += message.get("body", b"")
        if len(body) > BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return body
