"""Whatever a command line says: a command does it, or ends with one line and a status of its own.

FUZZ=50 python -m pytest tests/test_fuzz_commands.py      # 50 times as many, others each time
"""

import contextlib
import io
import json
import shutil
import signal
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import datasets.browse
import datasets.check
import datasets.convert
import datasets.synthetic
import grouppose.ops.__main__
import main
import util.crowdpose_concat_train_val
import util.plots
from grouppose import demo
from grouppose.inference import cli, export, web
from tests.datasets.sets import contents, person
from tests.test_fuzz import inputs
from tests.util.tiny import DEMO, OPTIONS, write_coco
from util import training

# every word may be replaced, removed or doubled; "/" alone would be searched for pictures
WORDS = ["", "-1", "0", "1", "2", "0.5", "1e999", "nan", "-", "--", "a", "a=1", "=", "-x", "--help"]
WORDS += ["/dev/null", "/dev/full", "/proc/nothing", "/proc/version", ".", "x" * 300, "²", "a\nb"]
WORDS += ["\udcff", "a/../b", "~", "%s", "*", "[", "99999999999", "--size", "coco", "pictures"]
WORDS += ["coco/annotations", "broken.png", "broken.json", "broken.pth", "broken.mp4", "cpu"]
WORDS += ["coco/annotations/person_keypoints_val2017.json", "/proc/self/mem", "meta", "mps", "cuda"]

TRAIN = ["-c", DEMO, "--dataset_file", "coco", "--coco_path", "coco", "--device", "cpu"]
TRAIN += ["--num_workers", "0", "--output_dir", "run", "--seed", "1", "--note", "a"]
EVAL = [*TRAIN, "--resume", str(demo.WEIGHTS), "--eval", "--bootstrap", "2"]
WEIGHTS = ["--weights", str(demo.WEIGHTS)]
LINES = {
    "train": (main.main, [*TRAIN, "--options", *OPTIONS]),
    "start": (main.main, [*TRAIN, "--pretrain_model_path", "model.safetensors",
        "--finetune_ignore", "keypoint_embedding", "--options", "batch_size=2"]),
    "eval": (main.main, [*EVAL, "--options", "data_aug_scales=64", "test_scales=64,72"]),
    "rescore": (main.main, [*EVAL[:-3], "--train_rescore", "--options", "batch_size=2",
        "data_aug_scales=64"]),
    "draw": (main.main, [*EVAL[:-3], "--predict", "pictures"]),
    "predict": (cli.main, ["predict", "pictures", *WEIGHTS, "--size", "64", "--threshold", "0.3",
        "--max-people", "5", "--suppress", "0.9", "--longest", "96", "--batch-size", "2", "--out",
        "drawn", "--json", "--csv", "--track", "--device", "cpu", "--dtype", "float32"]),
    "info": (cli.main, ["info", str(demo.WEIGHTS)]),
    "doctor": (cli.main, ["doctor"]),
    "export": (cli.main, ["export", *WEIGHTS, "--size", "96", "96", "--format", "torch-export",
        "--attention", "gather", "--dynamic", "--max-people", "5", "--out", "a.pt2",
        "--pictures", "pictures/000000000010.png"]),
    "serve": (cli.main, ["serve", *WEIGHTS, "--port", "0", "--host", "127.0.0.1", "--size", "64",
        "--threshold", "0.3", "--max-megabytes", "1", "--max-seconds", "1", "--max-waiting", "1"]),
    "convert": (cli.main, ["convert", "model.safetensors", "a.safetensors", "--dtype", "float16"]),
    "check": (datasets.check.main, ["coco", "--pictures", "--skeleton-out", "a.json"]),
    "browse": (datasets.browse.main, ["-c", DEMO, "--dataset_file", "coco", "--coco_path", "coco",
        "--count", "1", "--out", "a.html", "--options", "data_aug_scales=64"]),
    "synthetic": (datasets.synthetic.main, ["figures", "--train", "1", "--val", "1", "--size", "64",
        "--seed", "3", "--skeleton", "coco", "--preview", "a.png"]),
    "yolo": (datasets.convert.main, ["coco", "yolo"]),
    "concat": (util.crowdpose_concat_train_val.main, ["crowd"]),
    "plots": (util.plots.main, ["run", "--out", "a.png"]),
    "ops": (grouppose.ops.__main__.main, []),
}  # fmt: skip
LONG = ("train", "start", "eval", "rescore", "draw", "predict", "synthetic", "plots", "export")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with something of every kind in it, some of it damaged."""
    folder = tmp_path_factory.mktemp("commands")
    write_coco(folder / "coco")
    shutil.copytree(folder / "coco" / "images" / "val2017", folder / "pictures")
    shutil.copy(demo.WEIGHTS, folder / "model.safetensors")
    for name in ("broken.png", "broken.json", "broken.pth", "broken.mp4", "broken.safetensors"):
        (folder / name).write_bytes(b"{nothing")
    (folder / "crowd" / "json").mkdir(parents=True)
    for i, name in enumerate(("train", "val")):
        labels = contents({i: (30, 40)}, [person(i, i)])
        (folder / "crowd" / "json" / f"crowdpose_{name}.json").write_text(json.dumps(labels))
    (folder / "run").mkdir()
    (folder / "run" / "log.txt").write_text('{"epoch": 0, "train_loss": 1.0}\n')
    return folder


@pytest.fixture(autouse=True)
def nothing_long(place, monkeypatch):
    """Arguments are read and looked at in full; what would take long then is left out."""
    monkeypatch.chdir(place)
    for module, name in (
        (training, "train"),
        (web, "build_app"),
        (export, "_trace"),
        (grouppose.ops.__main__, "examine"),
    ):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(web, "server", lambda _: SimpleNamespace(run=lambda **_: None))
    monkeypatch.setattr(export, "_save", lambda program, form, path, names: path.write_bytes(b"a"))
    monkeypatch.setattr(export, "_runner", lambda *_: lambda images: None)
    monkeypatch.setattr(export, "_compare", lambda *_: "")


def run(command, line):
    """Status and what was printed, of a command in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = command(line)
    except SystemExit as end:
        status = end.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return status, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("name", LINES)
def test_command_lines_that_are_right(place, name):
    command, line = LINES[name]
    status, _, err = run(command, line)
    assert status == 0, err


def mutated(data, line):
    """Replaces, removes or doubles words."""
    line = list(line)
    for _ in range(data.draw(st.integers(1, 2))):
        position = data.draw(st.integers(0, len(line)))
        action = data.draw(st.sampled_from(["replace", "replace", "replace", "remove", "insert"]))
        words = [data.draw(st.sampled_from(WORDS))] if action != "remove" else []
        line[position : position + (action != "insert")] = words
    return line


@pytest.mark.parametrize("name", LINES)
def test_command_lines(place, name):
    command, whole = LINES[name]
    fixed = 1 if command is cli.main else 0

    @inputs(8 if name in LONG else 40)
    @given(st.data())
    def try_lines(data):
        line = [*whole[:fixed], *mutated(data, whole[fixed:])]
        status, out, err = run(command, line)
        told = [text for text in err.splitlines() if text.startswith("error: ")]
        assert "Traceback" not in out + err
        if status == 2:
            assert len(told) == 1 and err.endswith(f"{told[0]}\n")
        else:
            assert status in (0, 1) and len(told) <= status

    try_lines()
