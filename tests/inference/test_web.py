"""The server through HTTP, without a browser."""

import concurrent.futures
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from grouppose.errors import InputError
from grouppose.inference import web
from grouppose.inference.cli import main
from grouppose.inference.predictor import Predictor
from grouppose.inference.uploads import Limits
from tests.inference.conftest import noise, write, write_video
from tests.inference.serving import LIMITS, as_file, ask, running, upload

pytest.importorskip("gradio", reason="the page needs gradio: pip install 'grouppose[web]'")

ROOT = Path(__file__).parents[2]
CLEAR = 7  # number of the page's function


@pytest.fixture(scope="module")
def site(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    predictor = Predictor(weights, device="cpu", threshold=0.0, size=64)
    with running(predictor, folder, Limits(**LIMITS), "a note") as found:
        yield found


@pytest.fixture
def picture(tmp_path):
    return Path(write(tmp_path / "a.png", noise()))


def test_health_says_what_runs(site):
    status, _, content = site.call("/api/health")
    assert status == 200 and content["status"] == "ok" and content["waiting"] == 0
    assert content["limits"] == LIMITS and content["device"] == "cpu"
    assert content["keypoint_names"][0] == "nose"
    assert content["categories"] == [{"id": 1, "name": "person"}]


def test_the_api_gives_what_the_predictor_finds_and_keeps_no_file(site, weights, picture):
    (result,) = Predictor(weights, device="cpu", threshold=0.0, size=64)(picture)
    status, _, content = site.call("/api/predict", picture.read_bytes())
    assert status == 200
    (image,) = content["images"]
    assert image == {"id": 1, "file_name": "", "height": 48, "width": 80, "frame": 0}
    expected = [
        {**person, "id": i + 1, "num_keypoints": 17, "iscrowd": 0}
        for i, person in enumerate(result.to_coco(1))
    ]
    for person in content["annotations"]:
        assert person.pop("area") == pytest.approx(0.53 * np.prod(person["bbox"][2:]), abs=1e-3)
    assert len(expected) == 6 and content["annotations"] == expected
    (category,) = content["categories"]
    assert (category["id"], category["name"]) == (1, "person")
    assert category["keypoints"] == list(result.skeleton.names)
    middle = float(np.sort(result.scores)[2:4].mean())
    _, _, fewer = site.call(f"/api/predict?threshold={middle}", picture.read_bytes())
    assert [p["score"] for p in fewer["annotations"]] == [p["score"] for p in expected[:3]]
    assert [path for path in site.folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("path", "data", "headers", "status", "message"),
    [
        ("/api/predict", b"no picture", {}, 422, "this is no picture that can be read"),
        ("/api/predict", b"/etc/passwd", {}, 422, "this is no picture that can be read"),
        ("/api/predict", b"", {}, 400, "the request is empty"),
        ("/api/predict", b"x" * 500_001, {}, 413, "more than 0.5 MB; make it smaller"),
        ("/api/predict", b"x" * 9_000_000, {}, 413, "more than 0.5 MB; make it smaller"),
        ("/api/predict?threshold=high", b"x", {}, 400, "threshold is 'high', expected a number"),
        ("/api/predict?threshold=nan", b"x", {}, 400, "threshold is 'nan', expected a number"),
        ("/api/predict", b"x", {"content-type": "multipart/form-data"}, 415, "no form"),
        ("/api/poses", None, {}, 404, "there are GET /api/health and POST /api/predict"),
        ("/api/predict", None, {}, 404, "there are GET /api/health and POST /api/predict"),
    ],
)
def test_what_the_api_cannot_use_is_named(site, path, data, headers, status, message):
    found, _, content = site.call(path, data, headers)
    assert found == status and message in content["error"]
    assert str(site.folder) not in content["error"]


def test_broken_and_large_pictures_are_named(site, picture, tmp_path):
    data = picture.read_bytes()
    status, _, content = site.call("/api/predict", data[: len(data) // 2])
    assert status == 422 and "the picture cannot be read as a picture" in content["error"]
    assert str(site.folder) not in content["error"]
    large = write(tmp_path / "large.png", np.zeros((400, 380, 3), np.uint8))
    status, _, content = site.call("/api/predict", Path(large).read_bytes())
    assert status == 422 and "380 x 400, at most 0.15 megapixels" in content["error"]


def test_a_full_queue_refuses_and_loses_nobody(site, picture):
    gate, data = threading.Event(), picture.read_bytes()
    site.service.worker.submit(gate.wait)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        try:
            early = [pool.submit(site.call, "/api/predict", data) for _ in range(2)]
            while site.call("/api/health")[2]["waiting"] < 2:
                time.sleep(0.01)
            status, headers, content = site.call("/api/predict", data)
        finally:
            gate.set()
        assert status == 503 and headers["retry-after"] == "1"
        assert content["error"] == "2 requests are waiting already; try again later"
        assert [job.result()[0] for job in early] == [200, 200]
    assert site.call("/api/health")[2]["waiting"] == 0


def test_the_page_loads_nothing_from_elsewhere(site):
    status, headers, body = site.call("/")
    assert status == 200 and b"a note" in body
    assert headers["content-security-policy"].startswith("default-src 'self';")
    loaded = re.findall(rb"<(?:script|link|img)[^>]* (?:src|href)=\"([^\"]*)", body)
    assert loaded and not [address for address in loaded if b"//" in address]
    _, _, style = site.call("/theme.css")
    assert b"@import" not in style and b"//fonts" not in style


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/gradio_api/file=/etc/hostname", 403),
        ("GET", "/gradio_api/file=http://example.com/a.png", 403),
        ("GET", "/gradio_api/proxy=http://example.com/", 404),
        ("GET", "/monitoring", 404),
        ("POST", "/gradio_api/run/predict", 404),
        ("POST", "/gradio_api/call/find", 404),
        ("POST", "/gradio_api/process_recording", 404),
        ("PUT", "/gradio_api/upload", 404),
    ],
)
def test_what_the_page_does_not_need_is_closed(site, method, path, status):
    data = b"{}" if method in ("POST", "PUT") else None
    assert site.call(path, data, method=method)[0] == status


def test_an_upload_is_drawn_listed_and_given_as_json(site, picture):
    status, (path,) = upload(site, "a.png", picture.read_bytes())
    assert status == 200 and Path(path).is_relative_to(site.folder)
    status, outputs = ask(site, as_file(path), 0.0)
    welcome, message, drawn, video, table, notes = outputs
    assert not welcome["visible"] and not message["visible"] and not video["visible"]
    assert "6 people" in table["value"] and table["value"].count("<tr") == 7
    drawing, plain = (
        site.call("/" + address)[2] for address in re.findall('src="(.*?)"', drawn["value"])
    )
    drawn, same = (cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in (drawing, plain))
    np.testing.assert_array_equal(same, cv2.imread(str(picture)))
    assert drawn.shape == same.shape and (drawn != same).any()
    status, _, content = site.call("/gradio_api/file=" + notes["value"]["path"])
    assert status == 200 and len(content["annotations"]) == 6
    assert content["images"][0]["file_name"] == "a.png"


def test_a_video_is_drawn_as_webm_with_numbers(site, tmp_path):
    write_video(tmp_path / "a.mp4", count=4)
    _, (path,) = upload(site, "a.mp4", (tmp_path / "a.mp4").read_bytes())
    _, outputs = ask(site, as_file(path), 0.0)
    _, message, drawn, video, table, notes = outputs
    assert not message["visible"] and not drawn["visible"]
    _, _, body = site.call("/gradio_api/file=" + video["value"]["path"])
    assert body.startswith(b"\x1aE\xdf\xa3") and b"V_VP8" in body
    assert "people in 4 pictures" in table["value"]
    _, _, content = site.call("/gradio_api/file=" + notes["value"]["path"])
    assert [image["frame"] for image in content["images"]] == [0, 1, 2, 3]
    assert all("track_id" in person for person in content["annotations"])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jpg", b"text", "this is no picture that can be read; expected JPEG"),
        ("a.mp4", b"#EXTM3U\n/etc/passwd\n", "this is no video that can be read"),
        ("a.mp4", b"\0\0\0 ftypisom" + 50 * b"\0", "a.mp4 cannot be opened as a video"),
    ],
)
def test_a_broken_upload_gives_a_message_in_the_page(site, name, data, message):
    _, (path,) = upload(site, name, data)
    _, outputs = ask(site, as_file(path), 0.0)
    assert message in outputs[1]["value"] and outputs[1]["visible"]
    assert 'role="alert"' in outputs[1]["value"] and str(site.folder) not in outputs[1]["value"]
    assert not any(output["visible"] for output in outputs[2:])


def test_a_long_video_is_refused(site, tmp_path):
    write_video(tmp_path / "a.mp4", count=13, rate=6.0)
    _, (path,) = upload(site, "a.mp4", (tmp_path / "a.mp4").read_bytes())
    _, outputs = ask(site, as_file(path), 0.0)
    assert "the video lasts 2.2 s, at most 2 s are taken" in outputs[1]["value"]


def test_a_file_that_was_not_uploaded_is_never_opened(site, tmp_path):
    write(tmp_path / "secret.png", noise())
    for path in (str(tmp_path / "secret.png"), "http://example.com/a.png", 7, f"{site.folder}/.."):
        status, content = ask(site, as_file(path), 0.0)
        assert status == 403 and "only files that were uploaded here" in content["error"]
    assert upload(site, "a.png", b"x" * 2_000_000)[0] == 413


def test_the_example_and_an_empty_field(site):
    _, outputs = ask(site, 0.0, function=2)
    assert outputs[:2] == [None, None]  # the fields' files
    assert outputs[4]["visible"] and "6 people" in outputs[6]["value"]
    _, outputs = ask(site, function=CLEAR)
    assert outputs[0]["visible"] and not any(output["visible"] for output in outputs[1:])


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_the_documented_commands_work_as_printed(site):
    commands = re.findall(r"^curl .*", (ROOT / "docs/web.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        command = command.replace("http://127.0.0.1:7860", site.url)
        done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, check=True)
        assert json.loads(done.stdout).keys() >= {"annotations"} or b'"ok"' in done.stdout


def test_serve_starts_says_where_and_clears_up(weights, picture, tmp_path):
    command = [sys.executable, "-m", "grouppose.inference.cli", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--weights", str(weights), "--size", "64"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            line = process.stdout.readline()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+ \(Ctrl\+C ends it\)\n", line)
            assert [path.name[:10] for path in tmp_path.glob("grouppose-*")] == ["grouppose-"]
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert list(tmp_path.glob("grouppose-*")) == []


def test_mistakes_end_with_one_line(weights, monkeypatch, capsys, tmp_path):
    arguments = ["serve", "--weights", str(weights)]
    assert main([*arguments, "--port", "99999"]) == 1
    assert "cannot listen at 127.0.0.1, port 99999" in capsys.readouterr().err
    assert main([*arguments, "--max-seconds", "0"]) == 1
    assert "limits must be more than 0" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "gradio", None)
    service = web.Service(Predictor(weights, device="cpu"), Limits())
    with pytest.raises(InputError, match=r"pip install 'grouppose\[web\]'"):
        web.build_app(service, tmp_path)
