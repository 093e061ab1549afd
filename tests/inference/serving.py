"""A server of the page in a thread of the test, and requests to it."""

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
import uuid

from grouppose.inference.web import Service, build_app, server

LIMITS = {"megabytes": 0.5, "megapixels": 0.15, "seconds": 2, "waiting": 2}


class Running:
    """What a test needs to know of a server: url, service, folder of uploads."""

    def __init__(self, url, service, folder):
        self.url, self.service, self.folder = url, service, folder

    def call(self, path, data=None, headers=None, method=None):
        """Status, headers and body; JSON is read."""
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.headers, _content(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, _content(error)


def _content(reply):
    body = reply.read()
    is_json = reply.headers.get_content_type() == "application/json"
    return json.loads(body) if is_json else body


@contextlib.contextmanager
def running(predictor, folder, limits, note=""):
    """Serves until the block ends."""
    service = Service(predictor, limits)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = build_app(service, folder, note)
        running_server = server(app)
        thread = threading.Thread(target=running_server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not running_server.started:
                time.sleep(0.01)
            yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", service, folder)
        finally:
            running_server.should_exit = True
            thread.join()


def upload(site, name, data):
    """Sends a file as the page does; status, and its path there."""
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{edge}--\r\n".encode()
    kind = {"content-type": f"multipart/form-data; boundary={edge}"}
    status, _, content = site.call("/gradio_api/upload", body, kind)
    return status, content


def ask(site, *data, function=0, may_fail=False):
    """Calls a function of the page, whose last input is its state; status and what it gives."""
    session = uuid.uuid4().hex
    question = {"data": [*data, None], "fn_index": function, "session_hash": session}
    kind = {"content-type": "application/json"}
    status, _, content = site.call("/gradio_api/queue/join", json.dumps(question).encode(), kind)
    if status != 200:
        return status, content
    _, _, events = site.call(f"/gradio_api/queue/data?session_hash={session}")
    events = [json.loads(line[5:]) for line in events.decode().splitlines() if line[:5] == "data:"]
    (done,) = [event for event in events if event["msg"] == "process_completed"]
    if may_fail and not done["success"]:
        return status, None
    assert done["success"], done
    return status, done["output"]["data"]


def as_file(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}
