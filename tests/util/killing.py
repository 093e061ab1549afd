"""Kills runs of training at random moments and compares what they become with one left in peace.

python -m tests.util.killing --kills 20 --processes 1 2

Runs are forked from this process, which has imported everything: a start takes no time. With
several processes, a random one is killed; the others must then end by themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import matplotlib.figure  # noqa: F401  imported before forking
import torch

import main
import util.training  # noqa: F401
from tests.util.tiny import OPTIONS, write_coco

DEMO = str(Path(main.__file__).parent / "config" / "demo.py")
RUN = ["use_ema=true", "dropout=0.1", "lr=5e-4", "save_steps=3", "batch_size=1", "accumulate=2"]
MEASURED = ("minutes", "pictures_per_second", "data_wait", "memory_gb")  # differ between runs
STARTED = "training pictures; effective batch"  # on the console, before the first step
PATIENCE = 20.0  # seconds that a rank may take to notice that another is gone


def command(data: Path, output: Path, processes: int) -> list[str]:
    line = ["-c", DEMO, "--dataset_file", "coco", "--coco_path", str(data), "--device", "cpu"]
    line += ["--num_workers", "1" if processes == 1 else "0", "--auto_resume"]
    return [*line, "--output_dir", str(output), "--options", *OPTIONS, *RUN, "tensorboard=False"]


def start(line: Sequence[str], processes: int, console: Path) -> list[int]:
    """Forks a run; ids of its processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [_fork(line, rank, processes, port, console) for rank in range(processes)]


def _fork(line: Sequence[str], rank: int, processes: int, port: int, console: Path) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    status = 99
    try:
        with console.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        if processes > 1:
            place = {"RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
            os.environ.update({k: str(v) for k, v in place.items()}, MASTER_ADDR="localhost")
        status = main.main(line)
    except BaseException:  # noqa: BLE001  of a process of its own
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(processes: Sequence[int], seconds: float) -> list[int]:
    """Exit statuses; None where a process still runs after so much sleep of this one."""
    statuses: dict[int, int] = {}
    for _ in range(round(seconds / 0.005)):
        for process in set(processes) - set(statuses):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                statuses[process] = os.waitstatus_to_exitcode(status)
        if len(statuses) == len(processes):
            break
        time.sleep(0.005)
    return [statuses.get(process) for process in processes]


def kill_one(processes: list[int], generator: random.Random) -> float:
    """Kills one of the processes; the seconds that the others took to end."""
    victim = generator.choice(processes)
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    others = [process for process in processes if process != victim]
    began = time.monotonic()
    statuses = wait(others, PATIENCE)
    assert None not in statuses, f"a process was still there after {PATIENCE} s"
    return time.monotonic() - began


def outcome(folder: Path) -> dict:
    """What two runs must have in common to the last bit."""
    state = torch.load(folder / "checkpoint.pth", weights_only=True)
    best = torch.load(folder / "checkpoint_best_regular.pth", weights_only=True)
    log = [json.loads(line) for line in (folder / "log.txt").read_text().splitlines()]
    return {
        "state": {key: value for key, value in state.items() if key not in ("minutes", "settings")},
        "best": best["model"],
        "log": [{k: v for k, v in entry.items() if k not in MEASURED} for entry in log],
    }


def differences(a: object, b: object, name: str = "") -> list[str]:
    """Names of what differs between two nested containers."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [found for key in a for found in differences(a[key], b[key], f"{name}.{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [found for i, pair in pairs for found in differences(*pair, f"{name}.{i}")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [name]


def killed_run(
    data: Path, folder: Path, processes: int, kills: int, seconds: float, generator: random.Random
) -> tuple[int, int, float]:
    """Starts a run again and again until it is done.

    Returns:
        How often it was killed, at most `kills`; how often of these while it trained; and the
        longest that a rank outlived another.
    """
    done, training, slowest = 0, 0, 0.0
    line, console = command(data, folder, processes), folder.with_suffix(".txt")
    while True:
        begun = console.read_text().count(STARTED) if console.exists() else 0
        running = start(line, processes, console)
        delay = generator.uniform(0, seconds) if done < kills else 300.0
        statuses = wait(running, delay)
        if 0 in statuses and None in statuses:  # just about to end
            late = [p for p, status in zip(running, statuses, strict=True) if status is None]
            statuses = [0, *wait(late, PATIENCE)]
        if statuses == [0] * processes:
            return done, training, slowest
        assert set(statuses) == {None}, f"statuses {statuses}: {console.read_text()}"
        slowest = max(slowest, kill_one(running, generator))
        training += console.read_text().count(STARTED) > begun
        done += 1


def trials(processes: int, wanted: int, generator: random.Random) -> str:
    """Kills runs of so many processes; what came of it, in a line."""
    with tempfile.TemporaryDirectory() as place:
        data = write_coco(Path(place) / "coco", train=24)
        began = time.monotonic()
        peace = Path(place) / "peace"
        console = peace.with_suffix(".txt")
        running = start(command(data, peace, processes), processes, console)
        assert wait(running, 300.0) == [0] * processes, console.read_text()
        seconds = time.monotonic() - began
        expected, kills, training, slowest, runs = outcome(peace), 0, 0, 0.0, 0
        while kills < wanted:
            runs += 1
            folder = Path(place) / f"run{runs}"
            more, in_training, slow = killed_run(
                data, folder, processes, wanted - kills, seconds, generator
            )
            kills, training, slowest = kills + more, training + in_training, max(slowest, slow)
            different = differences(expected, outcome(folder))
            assert not different, f"after {more} kills differ: {different[:5]}"
    return (
        f"{kills} kills, {training} of them while training, in {runs} runs of {seconds:.1f} s, "
        f"{processes} processes: bit-identical; survivors ended within {slowest:.1f} s\n"
    )


def main_of_this(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for processes in given.processes:
        sys.stdout.write(trials(processes, given.kills, random.Random(given.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main_of_this())
