"""What is let through, without a server; tests of the whole are in test_web and test_clients."""

import asyncio
import json

import pytest

from grouppose.inference import guard
from grouppose.inference.guard import Guard, Listeners
from grouppose.inference.uploads import Limits


async def server(scope, receive, send):
    """Answers with what it was asked."""
    message = await receive() if scope["method"] == "POST" else {}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": message.get("body", b"")})


def ask(folder, method, path, body=b"", length=None):
    """Status, headers and body."""
    sent, parts = [], [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    size = b"%d" % len(body) if length is None else length
    scope = {"type": "http", "method": method, "path": path, "query_string": b"session_hash=s"}
    scope["headers"] = [(b"content-length", size)]
    asyncio.run(Guard(server, folder, Limits(megabytes=0.001), Listeners())(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/gradio_api/queue/data", 200),
        ("HEAD", "/config", 200),
        ("POST", "/gradio_api/reset", 200),
        ("GET", "/config2", 404),
        ("GET", "/gradio_api/proxy=http://a/", 404),
        ("DELETE", "/", 404),
        ("POST", "/config", 404),
    ],
)
def test_what_the_page_needs_and_nothing_else(tmp_path, method, path, status):
    found, headers, body = ask(tmp_path, method, path)
    assert found == status
    if status == 200:
        assert headers[b"x-content-type-options"] == b"nosniff" and headers[b"a"] == b"b"
    else:
        assert json.loads(body) == {"error": f"there is nothing at {path}"}


def test_files_have_to_lie_in_the_folder(tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    (tmp_path / "secret").write_text("")
    (folder / "link").symlink_to(tmp_path / "secret")
    assert ask(folder, "GET", f"/gradio_api/file={folder}/a.png")[0] == 200
    for path in (tmp_path / "secret", folder / "../secret", folder / "link", "a.png", "http://a/b"):
        assert ask(folder, "GET", f"/gradio_api/file={path}")[0] == 403


def test_questions_are_searched_for_paths_and_lose_addresses(tmp_path):
    join = "/gradio_api/queue/join"
    inside = {"data": [{"path": f"{tmp_path}/a", "url": "http://a"}]}
    status, _, body = ask(tmp_path, "POST", join, json.dumps(inside).encode())
    assert status == 200 and json.loads(body) == {"data": [{"path": f"{tmp_path}/a"}]}
    for odd in ("/etc/passwd", 7, ["a"], None):
        text = json.dumps({"data": [[{"x": {"path": odd}}]]}).encode()
        assert ask(tmp_path, "POST", join, text)[0] == 403
    assert ask(tmp_path, "POST", join, b"{")[0] == 400
    assert ask(tmp_path, "POST", join, b"[" * 100_000)[0] == 400  # too deep


def test_a_body_says_its_length_and_is_not_too_long(tmp_path):
    assert ask(tmp_path, "POST", "/gradio_api/upload", b"a", length=b"")[0] == 411
    long = b"%d" % (guard._QUESTION + 1001)
    status, _, body = ask(tmp_path, "POST", "/gradio_api/upload", b"a", length=long)
    assert status == 413 and json.loads(body)["error"] == "the request has 1.0 MB, too many"
    assert (
        ask(tmp_path, "POST", "/gradio_api/upload", b"a", length=b"%d" % guard._QUESTION)[0] == 200
    )


def test_listeners_are_counted(monkeypatch):
    monkeypatch.setattr(guard.time, "monotonic", lambda: 10.0)
    listeners = Listeners()
    assert listeners.left("s", since=7.9) and not listeners.left("s", since=8.1)  # may still come
    with listeners.listening("s"):
        with listeners.listening("s"):
            assert not listeners.left("s", since=0)
        assert not listeners.left("s", since=0)
    assert listeners.left("s", since=0)
