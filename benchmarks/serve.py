"""Many clients at once: does `grouppose serve` lose a request, and does its memory grow?

    python benchmarks/serve.py [--requests 200] [--clients 16] [--weights FILE] [--size PIXELS]

Starts a server of its own, sends it drawn pictures and checks each reply against the one that came
for the same picture alone. Memory is the server's resident set: after warming up, after the
requests, and the highest of its life. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measure import machine, table
from datasets.synthetic import draw_people


@contextlib.contextmanager
def server(arguments: list[str]) -> Iterator[tuple[str, int]]:
    """Address and process id of a server that ends with the block."""
    command = [sys.executable, "-m", "grouppose.inference.cli", "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[0], process.pid
        finally:
            process.terminate()


def memory(process: int) -> dict[str, float]:
    """Resident megabytes of a process: now (VmRSS) and at most so far (VmHWM)."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return {line.split()[0][:-1]: int(line.split()[1]) / 1024 for line in lines if " kB" in line}


def ask(url: str, picture: bytes) -> tuple[int, object, float]:
    """Status, reply and milliseconds."""
    start = time.perf_counter()
    try:
        with urllib.request.urlopen(f"{url}/api/predict?threshold=0.3", picture) as reply:
            status, content = reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        status, content = error.code, json.load(error)
    return status, content, 1e3 * (time.perf_counter() - start)


def pictures(size: int, count: int = 8) -> list[bytes]:
    """Drawn ones, as PNG."""
    drawn = [draw_people(0, index, size)[0] for index in range(count)]
    return [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in drawn]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--picture", type=int, default=192, help="side of the pictures in pixels")
    parser.add_argument("--weights", metavar="FILE")
    parser.add_argument("--size", metavar="PIXELS")
    given = parser.parse_args()
    chosen = {"--weights": given.weights, "--size": given.size}
    arguments = [part for name, value in chosen.items() if value for part in (name, value)]
    images = pictures(given.picture)
    with server(arguments) as (url, process):
        alone = [ask(url, image)[:2] for image in images]
        assert all(status == 200 for status, _ in alone), alone
        before = memory(process)
        jobs = [i % len(images) for i in range(given.requests)]
        start = time.perf_counter()
        with ThreadPoolExecutor(given.clients) as pool:
            replies = list(pool.map(lambda i: ask(url, images[i]), jobs))
        seconds = time.perf_counter() - start
        after = memory(process)
    right = sum(reply[:2] == alone[i] for i, reply in zip(jobs, replies, strict=True))
    refused = sum(reply[0] == 503 for reply in replies)
    times = statistics.quantiles([reply[2] for reply in replies], n=20)
    row = [given.requests, given.clients, right, refused, given.requests - right - refused]
    row += [f"{given.requests / seconds:.1f}", f"{times[9]:.0f}", f"{times[18]:.0f}"]
    row += [f"{value:.0f}" for value in (before["VmRSS"], after["VmRSS"], after["VmHWM"])]
    header = ["requests", "clients", "right", "refused", "lost", "a second", "median ms", "95 % ms"]
    header += ["MB before", "MB after", "MB peak"]
    print(f"{machine('cpu')}, pictures of {given.picture} x {given.picture}\n")
    print(table(header, [row]))
    sys.exit(0 if right == given.requests else 1)


if __name__ == "__main__":
    main()
