"""Stands before the page's server: lets through what the page needs, and nothing else.

Gradio's server can do more than this page asks of it: call functions by name, relay addresses of
the internet, read files whose path a client names. Here a path that a client names has to lie in
the folder of uploads, addresses are refused, and pages are told to load nothing from elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_OURS = "/api/"
_FILE = "/gradio_api/file="
_JOIN, _UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"
_READ = re.compile(
    r"/$|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)$|/(assets|static|svelte)/"
    r"|/gradio_api/(info|app_id|startup-events|upload_progress|queue/data|heartbeat/\w+)$"
)
_WRITE = re.compile(r"/gradio_api/(upload|queue/join|reset/?|cancel)$")
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


class Guard:
    """ASGI middleware.

    Args:
        app: the server behind it.
        folder: of uploads; what clients name must lie in it.
        largest_upload: bytes of one file.
    """

    def __init__(self, app: App, folder: Path, largest_upload: int) -> None:
        self.app, self.folder, self.largest_upload = app, folder.resolve(), largest_upload

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] != "http":  # start-up and shutdown; nothing here uses websockets
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        try:
            if not scope["path"].startswith(_OURS):
                receive = await self._checked(scope, receive)
            await self.app(scope, receive, _with_headers(send))
        except Refused as refusal:
            await _refuse(send, refusal)

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
        length, most = _length(scope), _QUESTION + (self.largest_upload if path == _UPLOAD else 0)
        if length > most:
            await _drain(receive)
            raise Refused(413, f"the request has {length / 1e6:.1f} MB, too many")
        if path != _JOIN:
            return receive
        body = await _read(receive)
        for named in _named_files(body):
            self._check_path(named)
        return _replayed(body, receive)

    def _check_path(self, path: str) -> None:
        try:
            inside = Path(path).resolve().is_relative_to(self.folder)
        except (OSError, ValueError):  # no path at all
            inside = False
        if not inside:
            raise Refused(403, "only files that were uploaded here can be used")


def _named_files(body: bytes) -> Iterator[str]:
    """Everything in a request that Gradio might open."""
    try:
        waiting = [json.loads(body or b"null")]
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the request is no JSON") from error
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "path" in item:
                yield item["path"] if isinstance(item["path"], str) else "\0"
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


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


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return sending


async def _refuse(send: Send, refusal: Refused) -> None:
    body = json.dumps({"error": str(refusal)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
