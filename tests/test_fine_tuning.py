"""--pretrain_model_path: what is taken over, and what to leave out for other labels."""

import json
import shutil

import pytest
import torch

import main
from grouppose.skeleton import COCO
from tests.util.tiny import command, load, write_coco
from util import engine

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("data") / "coco")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The folder of a run of an epoch."""
    folder = tmp_path_factory.mktemp("trained")
    assert main.main(command(data, folder, options=("epochs=1",))) == 0
    return folder


def test_finetuning_keeps_what_is_not_ignored(trained, data, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "train_one_epoch", lambda *_, **__: ({"loss": 0.0}, {}))
    path = trained / "checkpoint.pth"
    ignored = "keypoint_embedding"
    extra = ("--pretrain_model_path", str(path), "--finetune_ignore", ignored)
    assert main.main(command(data, tmp_path, *extra, options=("epochs=1",))) == 0
    before, after = load(path)["model"], load(tmp_path / "checkpoint.pth")["model"]
    different = [name for name in before if not torch.equal(before[name], after[name])]
    assert different == ["transformer.keypoint_embedding.weight"]


def test_ignored_names_must_exist(trained, data, tmp_path, capsys):
    path = str(trained / "checkpoint.pth")
    extra = ("--pretrain_model_path", path, "--finetune_ignore", "keypoint_embeding")
    assert main.main(command(data, tmp_path, *extra)) == 1
    assert "no weight of" in capsys.readouterr().err


def with_other_labels(data, folder, num_keypoints, classes):
    """The same pictures with the first keypoints alone, and people of several classes."""
    shutil.copytree(data, folder)
    for path in (folder / "annotations").iterdir():
        contents = json.loads(path.read_text())
        (category,) = contents["categories"]
        category["keypoints"] = category["keypoints"][:num_keypoints]
        contents["categories"] = [
            {**category, "id": i, "name": f"class {i}"} for i in range(1, classes + 1)
        ]
        for i, entry in enumerate(contents["annotations"]):
            entry["keypoints"] = entry["keypoints"][: 3 * num_keypoints]
            entry |= {"num_keypoints": num_keypoints, "category_id": 1 + i % classes}
        path.write_text(json.dumps(contents))
    return folder


@pytest.mark.parametrize(
    ("num_keypoints", "classes", "names"),
    [
        (5, 1, {"keypoint_embedding", "layers.3"}),
        (17, 2, {"class_embed"}),
        (5, 2, {"keypoint_embedding", "layers.3", "class_embed"}),
    ],
)
def test_what_the_message_says_to_ignore_makes_other_labels_fit(
    trained, data, tmp_path, capsys, num_keypoints, classes, names
):
    other = with_other_labels(data, tmp_path / "other", num_keypoints, classes)
    path = str(trained / "checkpoint.pth")
    line = command(other, tmp_path / "out", "--pretrain_model_path", path, options=("epochs=1",))
    line[line.index("coco")] = "custom"
    assert main.main(line) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and not (tmp_path / "out").exists()
    said = error.partition("the weights that differ: ")[2].split()
    assert said[0] == "--finetune_ignore" and set(said[1:]) == names
    assert main.main([*line, *said]) == 0  # trains and evaluates
    before, after = load(path)["model"], load(tmp_path / "out" / "checkpoint.pth")["model"]
    differ = {name for name in before if before[name].shape != after[name].shape}
    assert differ == {name for name in before if any(part in name for part in names)}


def test_another_network_is_not_fine_tuned(trained, data, tmp_path, capsys):
    path = str(trained / "checkpoint.pth")
    extra = ("--pretrain_model_path", path)
    assert main.main(command(data, tmp_path, *extra, options=("hidden_dim=64",))) == 1
    error = capsys.readouterr().err
    assert "set hidden_dim=32" in error and "finetune_ignore" not in error


def test_keypoints_in_another_order_stay_where_the_weights_have_them(
    trained, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine, "train_one_epoch", lambda *_, **__: ({"loss": 0.0}, {}))
    shutil.copytree(data, tmp_path / "other")
    for path in (tmp_path / "other" / "annotations").iterdir():
        contents = json.loads(path.read_text())
        contents["categories"][0]["keypoints"].reverse()
        for entry in contents["annotations"]:
            points = entry["keypoints"]
            entry["keypoints"] = [v for i in range(48, -1, -3) for v in points[i : i + 3]]
        path.write_text(json.dumps(contents))
    extra = ("--pretrain_model_path", str(trained / "checkpoint.pth"))
    line = command(tmp_path / "other", tmp_path / "out", *extra, options=("epochs=1",))
    line[line.index("coco")] = "custom"
    assert main.main(line) == 0
    names = load(tmp_path / "out" / "checkpoint.pth")["settings"]["skeleton"]["names"]
    assert tuple(names) == COCO.names
