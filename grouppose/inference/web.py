"""`grouppose serve`: a web page and a JSON API that find poses; nothing leaves the machine."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grouppose.errors import InputError
from grouppose.inference.guard import DRAINED, Guard, Listeners, Refused
from grouppose.inference.predictor import Predictor
from grouppose.inference.results import Result
from grouppose.inference.uploads import Limits, delete_older, examine
from grouppose.inference.writer import Annotations
from grouppose.version import __version__

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

KEPT = 600  # seconds that uploads and drawings stay, for the page to show them


class Service:
    """One predictor for many clients: pictures are computed one after the other.

    Args:
        predictor: its threshold is the one for requests that give none.
        limits: of a request.
    """

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self.predictor, self.limits = predictor, limits
        self.worker = concurrent.futures.ThreadPoolExecutor(1, "predictor")
        self.waiting = 0  # requests of the API, the one that is computed included

    def results(self, path: Path, name: str, threshold: float) -> Iterator[Result]:
        """The people of an uploaded picture, or of a video's, where they keep their numbers.

        Args:
            path: of the upload.
            name: that results and messages have instead.
            threshold: least score.

        Raises:
            InputError: see `uploads.examine` and `Predictor`.
        """
        try:
            run = copy.copy(self.predictor)
            run.threshold = threshold
            moving = examine(path, self.limits)
            run.tracker = "oks" if moving else None
            with contextlib.closing(run(str(path))) as pictures:
                while (result := self.worker.submit(next, pictures, None).result()) is not None:
                    if result.frame >= self.limits.frames:
                        raise InputError(
                            f"the video has more than {self.limits.frames} pictures; cut it"
                        )
                    yield replace(result, path=name)
                    if not moving:  # of a TIFF's pages the first
                        return
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from error

    def picture(self, path: Path, threshold: float) -> dict[str, Any]:
        """The people of an uploaded picture, as the API gives them; run by the worker."""
        if examine(path, self.limits):
            raise InputError("this is a video; the API takes one picture at a time")
        run = copy.copy(self.predictor)
        run.threshold = threshold
        annotations = Annotations()
        try:
            annotations.add(replace(next(run(str(path))), path=""))
        except InputError as error:
            raise InputError(str(error).replace(str(path), "the picture")) from error
        return annotations.content()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """One of the places in which requests of the API wait.

        Raises:
            Refused: there is none.
        """
        if self.waiting >= self.limits.waiting:
            raise Refused(503, f"{self.waiting} requests are waiting already; try again later")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def health(self) -> dict[str, Any]:
        """What /api/health says."""
        return {
            "status": "ok",
            "version": __version__,
            "device": str(self.predictor.device),
            "keypoint_names": list(self.predictor.skeleton.names),
            "categories": [
                {"id": number, "name": name} for number, name in self.predictor.categories
            ],
            "threshold": self.predictor.threshold,
            "waiting": self.waiting,
            "limits": asdict(self.limits),
        }


def build_app(service: Service, folder: Path, note: str = "") -> Guard:
    """The page, at /, and the API, at /api/, as an ASGI application.

    Args:
        service: that predicts.
        folder: for uploads; exists, is empty and is nobody else's.
        note: about the model, shown on the page.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise InputError("grouppose serve needs gradio; pip install 'grouppose[web]'") from error
    from fastapi import FastAPI

    from grouppose.inference.page import build_page, look

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_sweep(folder))
        yield
        task.cancel()

    listeners = Listeners()
    app = FastAPI(openapi_url=None, lifespan=lifespan)  # its pages load scripts from elsewhere
    api = Api(service, folder)
    app.add_route("/api/health", api.health, methods=["GET"])
    app.add_route("/api/predict", api.predict, methods=["POST"])
    app.add_route("/api/{path:path}", api.nothing, methods=["GET", "POST"])
    gradio.mount_gradio_app(
        app,
        build_page(service, folder, listeners, note),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=service.limits.bytes,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        **look(),
    )
    return Guard(app, folder, service.limits, listeners)


async def _sweep(folder: Path) -> None:
    while True:
        await asyncio.sleep(KEPT / 10)
        await asyncio.to_thread(delete_older, folder, KEPT)


class Api:
    """The JSON API; docs/web.md describes it.

    Args:
        service: that predicts.
        folder: for uploads while they are computed.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self.service, self.folder = service, folder

    async def health(self, request: Request) -> Response:
        """GET /api/health."""
        return _json(self.service.health())

    async def nothing(self, request: Request) -> Response:
        """Every other address and method."""
        message = "there are GET /api/health and POST /api/predict"
        return _json({"error": message}, 404)

    async def predict(self, request: Request) -> Response:
        """POST /api/predict?threshold=0.3 with the bytes of a picture."""
        service = self.service
        try:
            threshold = _threshold(request, service.predictor.threshold)
            with tempfile.NamedTemporaryFile(dir=self.folder) as file:
                await _receive(request, file, service.limits)
                with service.place():  # not before all of it is here: clients may be slow
                    job = service.worker.submit(service.picture, Path(file.name), threshold)
                    return _json(await _unless_gone(request, job))
        except Refused as refusal:
            headers = {"retry-after": "1"} if refusal.status == 503 else None
            return _json({"error": str(refusal)}, refusal.status, headers)
        except InputError as error:
            return _json({"error": str(error)}, 422)


def _json(content: dict[str, Any], status: int = 200, headers: dict | None = None) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(content, status, headers)


async def _unless_gone(request: Request, job: concurrent.futures.Future) -> Any:
    """What a job gives; one that nobody waits for any more is not begun.

    Raises:
        Refused: the client has gone.
    """
    work, left = asyncio.wrap_future(job), asyncio.ensure_future(request.receive())
    await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        left.cancel()
        return work.result()
    work.cancel()
    raise Refused(400, "the client has gone")


def _threshold(request: Request, otherwise: float) -> float:
    given = request.query_params.get("threshold", otherwise)
    try:
        threshold = float(given)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 1:
        raise Refused(400, f"threshold is {given!r}, expected a number from 0 to 1")
    return threshold


async def _receive(request: Request, file: Any, limits: Limits) -> None:
    """Writes a request's body to a file.

    Raises:
        Refused: where it is too long, empty, or a form.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise Refused(415, "send the picture itself as the body (curl --data-binary), no form")
    from starlette.requests import ClientDisconnect

    size = 0
    parts = request.stream()
    try:
        while part := await anext(parts, b""):
            size += len(part)
            if size > limits.bytes + DRAINED:
                break
            if size <= limits.bytes:
                file.write(part)
    except ClientDisconnect as error:
        raise Refused(400, "the request broke off") from error
    if size > limits.bytes:
        raise Refused(413, f"the picture has more than {limits.megabytes:g} MB; make it smaller")
    if size == 0:
        raise Refused(400, "the request is empty; send the bytes of a picture")
    file.flush()


def serve(
    predictor: Predictor,
    host: str = "127.0.0.1",
    port: int = 7860,
    limits: Limits | None = None,
    note: str = "",
) -> None:
    """Serves the page and the API until the process is stopped.

    Args:
        predictor: to use.
        host: address to listen at; other than this machine's own, everybody in the network may use
            the page.
        port: 0: any that is free.
        limits: of a request.
        note: about the model, shown on the page.
    """
    service = Service(predictor, limits or Limits())
    with contextlib.ExitStack() as stack:
        # TemporaryDirectory is cleared when the process is told to end, too
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="grouppose-"))
        listener = stack.enter_context(_listen(host, port))
        app = build_app(service, Path(folder).resolve(), note)
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listener.getsockname()[1]}"
        print(f"{url} (Ctrl+C ends it)", flush=True)  # noqa: T201
        server(app).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen at {host}, port {port} ({error}); choose another --port or --host"
        ) from error


def server(app: Guard) -> Any:
    """A uvicorn server that says nothing unless something is wrong."""
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
    return uvicorn.Server(config)
