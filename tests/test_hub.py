"""Weights by name, from a server that answers as the Hub does."""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

import grouppose
from grouppose.errors import InputError
from grouppose.hub import fetch, weights_among
from tests.small import SMALL

pytest.importorskip("huggingface_hub")
COMMIT = "0123456789" * 4


class Hub(BaseHTTPRequestHandler):
    """The two endpoints that are used: a repository's files, and one of them."""

    files: dict[str, bytes] = {}

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        path = self.path.partition("?")[0]
        if path in ("/api/models/owner/pose", "/api/models/owner/pose/revision/main"):
            siblings = [{"rfilename": name} for name in self.files]
            info = {"id": "owner/pose", "sha": COMMIT, "siblings": siblings}
            return self.send(json.dumps(info).encode(), "application/json", with_body)
        name = path.removeprefix("/owner/pose/resolve/main/")
        if name in self.files:
            return self.send(self.files[name], "application/octet-stream", with_body)
        code = "EntryNotFound" if path.startswith("/owner/pose/") else "RepoNotFound"
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, body, kind, with_body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A repository owner/pose with the weights of a small model; nothing is kept at home."""
    model = grouppose.build_model("grouppose", **SMALL)
    grouppose.save_weights(model, tmp_path / "m.safetensors")
    Hub.files = {"README.md": b"#", "model.safetensors": (tmp_path / "m.safetensors").read_bytes()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    yield model
    server.shutdown()
    server.server_close()


def test_a_model_is_loaded_by_the_name_of_its_repository(hub):
    for name in ("hf:owner/pose", "hf:owner/pose/model.safetensors", "hf:owner/pose@main"):
        loaded = grouppose.load_model(name)
        state = loaded.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in hub.state_dict().items())
    predictor = grouppose.Predictor("hf:owner/pose", device="cpu")
    assert predictor.model.settings["num_body_points"] == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:owner/none", "hf:owner/none cannot be fetched: no such repository"),
        ("hf:owner/pose/none.pth", "cannot be fetched: no such file in that repository"),
        ("hf:owner", "expected hf:owner/name, hf:owner/name/file"),
        ("hf:owner/..", "hf:owner/.. cannot be fetched"),
    ],
)
def test_what_is_not_there_is_one_line(hub, name, message):
    with pytest.raises(InputError, match=message) as error:
        grouppose.load_model(name)
    assert "\n" not in str(error.value)


def test_without_a_connection_what_was_fetched_is_used(hub, monkeypatch):
    first = fetch("hf:owner/pose")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert fetch("hf:owner/pose") == first
    with pytest.raises(InputError, match="hf:owner/else cannot be fetched: no connection"):
        fetch("hf:owner/else")


def test_the_package_that_fetches_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="hf:owner/pose needs huggingface_hub; pip install"):
        fetch("hf:owner/pose")


def test_one_file_of_weights_is_chosen():
    assert weights_among(["a.json", "b.pth"], "hf:a/b") == "b.pth"
    assert weights_among(["a.pth", "a.safetensors"], "hf:a/b") == "a.safetensors"
    assert weights_among(["a.safetensors", "model.safetensors"], "hf:a/b") == "model.safetensors"
    with pytest.raises(InputError, match=r"2 files of weights \(a.pth, b.pth\), .*hf:a/b/a.pth"):
        weights_among(["b.pth", "a.pth"], "hf:a/b")
    with pytest.raises(InputError, match="hf:a/b has none, expected one"):
        weights_among(["README.md"], "hf:a/b")
