"""Whatever files and options hold: what they do wrong is told in one line, and nothing is written.

FUZZ=50 python -m pytest tests/test_fuzz.py      # 50 times as many inputs, others each time
"""

import copy
import io
import json
import os
import signal
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.annotations import flat_annotations, read_annotations, skeleton_in
from datasets.check import examine
from datasets.settings import DEFAULTS
from grouppose.checkpoints import read_checkpoint
from grouppose.errors import UserError
from grouppose.models import stored_settings
from tests.datasets.sets import contents, person
from tests.small import SMALL
from util.config import load_config
from util.optim import build_optimizer
from util.state import TrainingState

TIMES = int(os.environ.get("FUZZ", "1"))


def inputs(count: int) -> settings:
    """The suite tries the same inputs every time; a longer run others."""
    return settings(
        max_examples=count * TIMES,
        deadline=None,
        derandomize=TIMES == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 10**400, float("nan"), float("inf"), 1e308, "", "a"]),
    st.floats(),
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    """Paths to everything inside nested lists and dicts."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield from places(inner, (*path, key))


def mutate(data, value):
    """Replaces, removes or doubles parts of nested lists and dicts."""
    value = copy.deepcopy(value)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(value))))
        if not path:
            return data.draw(VALUES)
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        action = data.draw(st.sampled_from(["replace", "replace", "remove", "double"]))
        if action == "replace":
            parent[path[-1]] = data.draw(VALUES)
        elif action == "remove":
            del parent[path[-1]]
        elif isinstance(parent, list):
            parent.append(parent[path[-1]])
    return value


def only_user_errors(function, *arguments):
    try:
        return function(*arguments)
    except UserError as error:
        assert str(error) and "\n" not in str(error).strip()
    return None


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(autouse=True)
def no_hang():
    """An input must not keep the processor busy for minutes."""

    def give_up(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, 120 * TIMES)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.fixture(autouse=True)
def nothing_else_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


def use(annotations, folder):
    """All that training does with a file of annotations before it opens pictures."""
    read = read_annotations(annotations)
    examine(read, folder)
    for num_keypoints in (17, 3):
        only_user_errors(flat_annotations, read, num_keypoints, False)
        only_user_errors(skeleton_in, read, num_keypoints)


ANNOTATIONS = contents({1: (30, 40), 2: (30, 40)}, [person(1, 1), person(2, 2)])
ANNOTATIONS["categories"][0]["skeleton"] = [[1, 2], [2, 3]]
SHORT = contents({1: (30, 40)}, [person(1, 1, 3)], 3)
SHORT["categories"][0]["keypoints"] = ["left_ear", "right_ear", "tail"]
SHORT["categories"][0]["skeleton"] = [[1, 2], [2, 3]]


@inputs(500)
@given(st.data())
def test_contents_of_annotations(place, data):
    value = mutate(data, data.draw(st.sampled_from([ANNOTATIONS, SHORT])))
    path = place / "mutated.json"
    path.write_text(json.dumps(value))
    only_user_errors(use, path, place)


@inputs(300)
@given(st.data())
def test_bytes_of_annotations(place, data):
    path = place / "bytes.json"
    path.write_bytes(mutated_bytes(data, json.dumps(SHORT).encode()))
    only_user_errors(use, path, place)


def mutated_bytes(data, content: bytes) -> bytes:
    """Cuts off, changes, removes or adds bytes."""
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, max(0, len(content) - 1)))
        action = data.draw(st.sampled_from(["cut", "change", "change", "insert", "remove"]))
        if action == "cut":
            del content[position:]
        elif action == "change" and content:
            content[position] = data.draw(st.integers(0, 255))
        elif action == "insert":
            content[position:position] = data.draw(st.binary(min_size=1, max_size=20))
        else:
            del content[position : position + data.draw(st.integers(1, 50))]
    return bytes(content)


NAMES = sorted(load_config(DEFAULTS))


@inputs(900)
@given(st.data())
def test_options(data):
    name = data.draw(st.sampled_from(NAMES) | st.text(max_size=12))
    value = data.draw(st.text(max_size=20) | SCALARS.map(str) | VALUES.map(repr))
    option = data.draw(st.sampled_from([f"{name}={value}", f"{name}.{value}", value, f"={value}"]))
    only_user_errors(load_config, DEFAULTS, [option])


CONFIG = "_base_ = []\nlr = 1e-4\nepochs = 3\ndata_aug_scales = [480, 512]\nnote = 'a'\n"


@inputs(400)
@given(st.data())
def test_configs(place, data):
    path = place / "config.py"
    if data.draw(st.booleans()):
        path.write_bytes(mutated_bytes(data, CONFIG.encode()))
    else:
        name = data.draw(st.sampled_from([*NAMES, "_base_"]))
        path.write_text(f"{CONFIG}{name} = {data.draw(VALUES)!r}\n", encoding="utf-8")
    before = snapshot(place)
    only_user_errors(load_config, path)
    assert snapshot(place) == before


@pytest.fixture(scope="module")
def checkpoint():
    """The bytes of a small run's checkpoint."""
    state = training_state()
    content = {**state.state_dict(), "settings": {"modelname": "grouppose", **SMALL}}
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def training_state() -> TrainingState:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    settings = {"lr": 1.0, "lr_backbone": 1.0, "lr_backbone_names": [], "weight_decay": 0.0}
    optimizer = build_optimizer(model, settings)
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return TrainingState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))


def go_on(path) -> None:
    """All that happens to a file of --resume."""
    content = read_checkpoint(path)
    stored_settings(content)
    training_state().load_state_dict(content, path)


@inputs(400)
@given(st.data())
def test_damaged_checkpoints(place, checkpoint, data):
    path = place / "damaged.pth"
    path.write_bytes(mutated_bytes(data, checkpoint))
    only_user_errors(go_on, path)


@inputs(150)
@given(st.data())
def test_checkpoints_of_other_pickles(place, checkpoint, data):
    """With checksums that fit."""
    path = place / "pickled.pth"
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            changed = name.endswith("data.pkl") or data.draw(st.integers(0, 9)) == 0
            new.writestr(name, mutated_bytes(data, content) if changed else content)
    only_user_errors(go_on, path)


@inputs(150)
@given(st.data())
def test_checkpoints_of_other_contents(place, checkpoint, data):
    content = torch.load(io.BytesIO(checkpoint), weights_only=True)
    value = mutate(data, content)
    path = place / "contents.pth"
    torch.save(value, path)
    only_user_errors(go_on, path)
