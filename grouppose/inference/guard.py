"""Stands before the page's server: lets through what the page needs, and nothing else.

Gradio's server can do more than this page asks of it: call functions by name, relay addresses of
the internet, read files whose path a client names. Here a path that a client names has to lie in
the folder of uploads, addresses are refused, and pages are told to load nothing from elsewhere.
A body has to come in time: who sends slowly holds nobody up but themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from grouppose.inference.uploads import Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_OURS = "/api/"
_FILE = "/gradio_api/file="
_ANSWERS = "/gradio_api/queue/data"
_JOIN, _UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"
_READ = re.compile(
    r"/$|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)$|/(assets|static|svelte)/"
    r"|/gradio_api/(info|app_id|startup-events|upload_progress|queue/data|heartbeat/\w+)$"
)
_WRITE = re.compile(r"/gradio_api/(upload|queue/join|reset/?|cancel)$")
_COMES = 2.0  # seconds after which a client that asked should listen
_QUESTION = 1 << 20  # bytes that a request may have beside what it uploads
DRAINED = 64 << 20  # bytes of a body too long that are read and dropped
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'self'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Refused(Exception):
    """Ends a request with a status and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Listeners:
    """The clients of the page that wait for answers to what they asked."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextlib.contextmanager
    def listening(self, session: str) -> Iterator[None]:
        """While a client is connected."""
        self._open[session] += 1
        try:
            yield
        finally:
            self._open[session] -= 1
            if not self._open[session]:
                del self._open[session]

    def left(self, session: str, since: float) -> bool:
        """Whether a client is not there, and does not still come.

        Args:
            session: of the client.
            since: `time.monotonic()` when its request was begun; it asks first and listens then.
        """
        return session not in self._open and time.monotonic() > since + _COMES


class Guard:
    """ASGI middleware.

    Args:
        app: the server behind it.
        folder: of uploads; what clients name must lie in it.
        limits: of a request.
        listeners: told who waits for answers.
    """

    def __init__(self, app: App, folder: Path, limits: Limits, listeners: Listeners) -> None:
        self.app, self.folder, self.limits = app, folder.resolve(), limits
        self.listeners = listeners

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] != "http":  # start-up and shutdown; nothing here uses websockets
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        from starlette.requests import ClientDisconnect

        body = _Body(receive, self.limits.upload_seconds)
        receive = body.receive if scope["method"] == "POST" else receive
        try:
            if not scope["path"].startswith(_OURS):
                receive = await self._checked(scope, receive)
            with contextlib.ExitStack() as stack:
                if scope["path"] == _ANSWERS:
                    stack.enter_context(self.listeners.listening(_session(scope)))
                await self.app(scope, receive, _with_headers(send, body))
        except Refused as refusal:
            if not body.late:
                await _refuse(send, refusal)
        except ClientDisconnect:  # while it was sending; there is nobody to answer
            pass
        if body.late:
            late = f"the request did not come within {self.limits.upload_seconds:g} s"
            await _refuse(send, Refused(408, f"{late}; send less, or faster"))

    async def _checked(self, scope: Message, receive: Receive) -> Receive:
        """What the server behind may read of the request."""
        path, method = scope["path"], scope["method"]
        if method in ("GET", "HEAD"):
            if path.startswith(_FILE):
                self._check_path(path.removeprefix(_FILE))
            elif not _READ.match(path):
                raise Refused(404, f"there is nothing at {path}")
            return receive
        if method != "POST" or not _WRITE.match(path):
            raise Refused(404, f"there is nothing at {path}")
        length, most = _length(scope), _QUESTION + (self.limits.bytes if path == _UPLOAD else 0)
        if length > most:
            await _drain(receive)
            raise Refused(413, f"the request has {length / 1e6:.1f} MB, too many")
        if path != _JOIN:
            return receive
        try:
            question = json.loads(await _read(receive) or b"null")
            for named in _named_files(question):
                self._check_path(named)
            return _replayed(json.dumps(question).encode(), receive)
        except (ValueError, RecursionError) as error:
            raise Refused(400, "the request is no JSON") from error

    def _check_path(self, path: str) -> None:
        try:  # an address, which is no absolute path, never is inside
            inside = os.path.isabs(path) and Path(path).resolve().is_relative_to(self.folder)
        except (OSError, ValueError):  # no path at all
            inside = False
        if not inside:
            raise Refused(403, "only files that were uploaded here can be used")


class _Body:
    """What a client sends, until its time is up.

    Args:
        receive: gives the parts.
        seconds: for all of them.

    Attributes:
        late: they were not enough; the server behind was told that the client has gone.
    """

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive, self._end = receive, time.monotonic() + seconds
        self._whole = self.late = False

    async def receive(self) -> Message:
        """The next part; once there are no more, what comes after them."""
        if self._whole:
            return await self._receive()
        left = max(0.0, self._end - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), left)
        except asyncio.TimeoutError:
            self.late = True
            return {"type": "http.disconnect"}
        self._whole = not message.get("more_body", False)
        return message


def _named_files(question: Any) -> Iterator[str]:
    """Everything in a request that Gradio might open, without addresses: it has no need of them."""
    waiting = [question]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            item.pop("url", None)
            if "path" in item:
                yield item["path"] if isinstance(item["path"], str) else "\0"
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _session(scope: Message) -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]


def _length(scope: Message) -> int:
    """Bytes of the body: it never has more than its header says."""
    length = dict(scope["headers"]).get(b"content-length", b"")
    if not length.isdigit():
        raise Refused(411, "the request does not say its length")
    return int(length)


async def _read(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _drain(receive: Receive) -> None:
    """Reads on, within reason: many clients look for an answer only when all is sent."""
    seen, more = 0, True
    while more and seen < DRAINED:
        message = await receive()
        seen += len(message.get("body", b""))
        more = message.get("more_body", False)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what comes after it."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _with_headers(send: Send, body: _Body) -> Send:
    async def sending(message: Message) -> None:
        if body.late:  # the guard answers
            return
        if message["type"] == "http.response.start":
            extra = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return sending


async def _refuse(send: Send, refusal: Refused) -> None:
    body = json.dumps({"error": str(refusal)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.status == 408:  # what is still to come is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
