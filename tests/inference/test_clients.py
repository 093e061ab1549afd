"""Clients that are slow, leave, or want the server to fetch something."""

import contextlib
import http.server
import json
import socket
import threading
import time
from pathlib import Path

import gradio
import pytest

from grouppose.inference import find, guard
from grouppose.inference.guard import Listeners
from grouppose.inference.page import Finder, Shown
from grouppose.inference.predictor import Predictor
from grouppose.inference.uploads import Limits
from tests.inference.conftest import noise, write, write_video
from tests.inference.serving import LIMITS, as_file, ask, running, upload

UNCHANGED = [gradio.skip()] * 6


@pytest.fixture(scope="module")
def site(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    predictor = Predictor(weights, device="cpu", threshold=0.0, size=64)
    with running(predictor, folder, Limits(**LIMITS)) as found:
        yield found


@pytest.fixture
def picture(tmp_path):
    return Path(write(tmp_path / "a.png", noise()))


@pytest.fixture
def video(tmp_path):
    write_video(tmp_path / "a.mp4", count=48, rate=24.0)
    return tmp_path / "a.mp4"


def connect(site, path, length=0):
    """A request that is sent as far as its header."""
    address = site.url.removeprefix("http://")
    opened = socket.create_connection(address.split(":"), timeout=20)
    method = f"POST {path}" if length else f"GET {path}"
    kind = "content-type: multipart/form-data; boundary=x" if "upload" in path else "accept: */*"
    head = f"{method} HTTP/1.1\r\nhost: {address}\r\n{kind}\r\ncontent-length: {length}\r\n\r\n"
    opened.sendall(head.encode())
    return opened


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


PATHS = ("/api/predict", "/gradio_api/upload", "/gradio_api/queue/join")


def test_slow_clients_hold_nobody_up_and_are_told_when_their_time_is_up(site, picture, monkeypatch):
    monkeypatch.setattr(Limits, "upload_seconds", 3.0)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(site, path, 400_000)) for path in 12 * PATHS]
        for opened in slow:
            opened.sendall(b"--x\r\n")
        start = time.monotonic()
        assert site.call("/api/predict", picture.read_bytes())[0] == 200
        assert site.call("/api/health")[2]["waiting"] == 0
        _, (path,) = upload(site, "a.png", picture.read_bytes())
        assert "6 people" in ask(site, as_file(path), 0.0)[1][4]["value"]
        while time.monotonic() < start + 0.8:  # they go on sending, a byte at a time
            for opened in slow:
                opened.sendall(b"x")
            time.sleep(0.1)
        for opened in slow:
            reply = opened.makefile("rb").read()
            assert reply.startswith(b"HTTP/1.1 408 ") and b"did not come within 3 s" in reply
        assert time.monotonic() < start + 9


def test_a_client_that_breaks_off_is_no_error(site, capfd):
    for path in PATHS:
        with connect(site, path, 1000) as opened:
            opened.sendall(b"--x\r\n")
    assert site.call("/api/health")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_whoever_leaves_the_queue_gives_up_the_place(site, picture):
    gate, data, computed = threading.Event(), picture.read_bytes(), []
    site.service.worker.submit(gate.wait)
    try:
        opened = connect(site, "/api/predict", len(data))
        opened.sendall(data)
        wait_until(lambda: site.service.waiting == 1)
        site.service.worker.submit(lambda: computed.append(site.service.waiting))
        opened.close()
        wait_until(lambda: site.service.waiting == 0)
    finally:
        gate.set()
    wait_until(lambda: computed == [0])
    assert site.call("/api/predict", data)[0] == 200


@pytest.fixture
def batches(monkeypatch):
    """Every batch that is computed; each takes a while."""
    seen, people = [], find.Finder.people

    def slowly(self, inputs, views):
        seen.append(len(views))
        time.sleep(0.1)
        return people(self, inputs, views)

    monkeypatch.setattr(find.Finder, "people", slowly)
    return seen


@pytest.mark.parametrize("listens", [True, False])
def test_a_video_ends_when_its_client_leaves(site, video, batches, monkeypatch, listens):
    monkeypatch.setattr(guard, "_COMES", 0.0 if listens else 0.15)
    _, (path,) = upload(site, "a.mp4", video.read_bytes())
    question = {"data": [as_file(path), 0.0, None], "fn_index": 0, "session_hash": "s"}
    kind, before = {"content-type": "application/json"}, set(site.folder.glob("drawn-*"))
    site.call("/gradio_api/queue/join", json.dumps(question).encode(), kind)
    if listens:
        with connect(site, "/gradio_api/queue/data?session_hash=s"):
            wait_until(lambda: len(batches) == 2)
            assert set(site.folder.glob("drawn-*")) > before
    else:
        wait_until(lambda: batches)
    wait_until(lambda: set(site.folder.glob("drawn-*")) == before)
    count = len(batches)
    time.sleep(0.25)
    assert len(batches) == count < 5  # of 6
    assert ask(site, as_file(path), 0.0)[1][3]["visible"]


def test_what_is_not_wanted_any_more_is_neither_computed_nor_shown(site, video, picture, tmp_path):
    finder, shown, frames = Finder(site.service, tmp_path, Listeners()), Shown(), []

    def cleared(share, unit):
        frames.append(share[0])
        if len(frames) == 3:
            finder.find(None, 0.0, shown, "s")

    assert finder.find(video, 0.0, shown, "s", cleared) == UNCHANGED
    assert frames == [1, 2, 3] and list(tmp_path.glob("drawn-*")) == []
    assert shown.source is None and finder.find_again(0.5, shown, "s") == UNCHANGED
    results = site.service.results

    def cleared_meanwhile(*given):
        yield from results(*given)
        finder.find(None, 0.0, shown, "s")

    site.service.results = cleared_meanwhile
    try:
        assert finder.find(picture, 0.0, shown, "s") == UNCHANGED
    finally:
        del site.service.results
    assert finder.find(picture, 0.0, shown, "s")[4]["visible"]
    assert finder.find_again(1.0, shown, "s")[4]["value"].startswith('<p class="count" role=')


@contextlib.contextmanager
def elsewhere(data):
    """A server whose picture must not be fetched; its address, and what was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *given):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/a.png", asked
        server.shutdown()


def test_no_request_makes_the_server_fetch_an_address(site, picture):
    data = picture.read_bytes()
    _, (path,) = upload(site, "a.png", data)
    with elsewhere(data) as (address, asked):
        for text in (address, address.replace("http", "rtsp"), address.removeprefix("http:")):
            assert ask(site, {**as_file(path), "path": text}, 0.0)[0] == 403
            assert site.call("/api/predict", text.encode())[0] == 422
            for kind in ("file", "proxy", "stream"):
                assert site.call(f"/gradio_api/{kind}={text}")[0] in (403, 404)
            for function in (0, 1):  # File and Camera
                status, outputs = ask(site, {**as_file(path), "url": text}, 0.0, function=function)
                assert status == 200 and "6 people" in outputs[4]["value"]
                for odd in (text, [text], {"url": text}, {**as_file(path), "path": [text]}):
                    status, outputs = ask(site, odd, 0.0, function=function, may_fail=True)
                    assert status == 403 or outputs is None
        for name in ("a.mp4", "a.ts", "a.jpg", "a.m3u8"):
            _, (path,) = upload(site, name, f"#EXTM3U\n{address}\n".encode())
            _, outputs = ask(site, as_file(path), 0.0, may_fail=name == "a.m3u8")
            assert not outputs or "that can be read; expected" in outputs[1]["value"]
        assert asked == []
