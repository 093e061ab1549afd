"""The paths of --eval that a data set or a setting switches on, on a set of three pictures."""

import json
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import grouppose
import main
from datasets.viewed import ViewBatch
from grouppose.errors import InputError
from grouppose.inference.cli import main as cli
from grouppose.inference.find import Finder
from grouppose.people import nobody
from grouppose.views import scaled_view
from tests.datasets.sets import contents, person, write_custom
from tests.util.tiny import OPTIONS, write_coco
from util.evaluation import find_people

DEMO = str(Path(main.__file__).parent / "config" / "demo.py")
NAMES = ["L_Ear", "R_Ear", "tail"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("data") / "coco")


def command(data, *extra, name="coco", options=()):
    line = ["-c", DEMO, "--dataset_file", name, "--coco_path", str(data), "--device", "cpu"]
    return [*line, "--num_workers", "0", *map(str, extra), "--options", *OPTIONS, *options]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A network that nobody trained, whose people are not all in one place."""
    torch.manual_seed(0)
    own = dict(option.split("=") for option in OPTIONS if option.split("=")[1].isdigit())
    names = ("hidden_dim", "nheads", "dim_feedforward", "enc_layers", "dec_layers",
             "num_queries", "num_feature_levels")  # fmt: skip
    own = {name: int(own[name]) for name in names}
    model = grouppose.build_model("grouppose", backbone="resnet18s", **own)
    for head in (*model.pose_embed, model.transformer.enc_pose_embed):
        torch.nn.init.normal_(head.layers[-1].weight, std=0.3)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    grouppose.save_weights(model, path)
    return path


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_intervals_are_printed(data, weights, capsys):
    assert main.main(command(data, "--resume", weights, "--eval", "--bootstrap", 5)) == 0
    printed = capsys.readouterr().out
    assert "AP50 0.0, 95 % interval 0.0 to 0.0\n" in printed
    assert "(bootstrap over pictures, 5 samples)" in printed


def test_a_file_in_another_order_and_of_another_id_has_the_same_scores(
    data, weights, tmp_path, capsys
):
    contents = json.loads((data / "annotations/person_keypoints_val2017.json").read_text())
    first = contents["annotations"][0]["keypoints"]
    contents["categories"][0]["keypoints"].reverse()
    contents["categories"][0]["id"] = 7
    for entry in contents["annotations"]:
        points = np.array(entry["keypoints"]).reshape(-1, 3)[::-1]
        entry |= {"keypoints": points.flatten().tolist(), "category_id": 7}
    assert contents["annotations"][0]["keypoints"][-3:] == first[:3]
    (tmp_path / "other.json").write_text(json.dumps(contents))
    tables, results = [], []
    for i, name in enumerate(("", str(tmp_path / "other.json"))):
        extra = ("--resume", weights, "--eval", "--output_dir", tmp_path / f"{i}")
        assert main.main(command(data, *extra, options=(f"val_annotations={name}",))) == 0
        tables.append(capsys.readouterr().out.splitlines()[1:4])  # AP and swaps
        results.append(results_of(tmp_path / f"{i}"))
    assert tables[0] == tables[1] and len(results[0]) == len(results[1]) > 0
    for one, other in zip(*results, strict=True):
        assert (one["category_id"], other["category_id"]) == (1, 7)
        points = np.array(one["keypoints"]).reshape(-1, 3)
        assert points[::-1].flatten().tolist() == other["keypoints"]


def test_views_are_those_of_the_predictor(data, weights, tmp_path, capsys):
    """Both look at a picture at two sizes, each way round, and merge what they see."""
    views = ("flip_test=True", "test_scales=64,96", "eval_batch_size=1", "num_select=10")
    views += ("data_aug_max_size=400",)
    line = command(data, "--resume", weights, "--eval", "--output_dir", tmp_path, options=views)
    assert main.main(line) == 0
    assert "test time: 4 views of each picture" in capsys.readouterr().out
    predictor = grouppose.Predictor(
        weights, device="cpu", flip_test=True, scales=(64, 96), threshold=0.0, size=64, longest=400
    )
    assert predictor.views == 4
    first = json.loads((data / "annotations/person_keypoints_val2017.json").read_text())["images"][
        0
    ]
    (seen,) = predictor(str(data / "images/val2017" / first["file_name"]))
    found = [r for r in results_of(tmp_path) if r["image_id"] == first["id"]]
    assert len(found) >= 5
    for r, score, xy in zip(found, seen.scores, seen.keypoints.xy, strict=False):
        assert r["score"] == pytest.approx(float(score), abs=1e-5)
        assert np.reshape(r["keypoints"], (-1, 3))[:, :2] == pytest.approx(xy, abs=0.05)


def test_rescoring_is_trained_compared_and_used(data, weights, tmp_path, capsys):
    assert main.main(command(data, "--resume", weights, "--train_rescore",
                             "--output_dir", tmp_path)) == 0  # fmt: skip
    printed = capsys.readouterr().out
    assert "trained on what the model finds on 4 pictures; on the 3 pictures of" in printed
    assert "the rescoring network has seen 4 pictures" in printed
    assert printed.index("before") < printed.index("after") < printed.index("rescore.pth written")
    lines = ("--resume", weights, "--eval", "--output_dir")
    assert main.main(command(data, *lines, tmp_path / "a")) == 0
    options = (f"rescore={tmp_path / 'rescore.pth'}",)
    assert main.main(command(data, *lines, tmp_path / "b", options=options)) == 0
    plain, new = results_of(tmp_path / "a"), results_of(tmp_path / "b")
    places = [sorted(tuple(r["keypoints"]) for r in results) for results in (plain, new)]
    assert len(plain) > 5 and places[0] == places[1]
    assert {r["score"] for r in plain} != {r["score"] for r in new}


def test_test_dev_gets_the_file_to_submit(data, weights, tmp_path, capsys):
    images = json.loads((data / "annotations/person_keypoints_val2017.json").read_text())["images"]
    info = {"images": images, "categories": []}
    (data / "annotations/image_info_test-dev2017.json").write_text(json.dumps(info))
    (data / "images/test2017").symlink_to(data / "images/val2017")
    line = command(data, "--resume", weights, "--eval", name="coco_testdev")
    assert main.main(line) == 1
    assert "give --output_dir for the file to submit" in capsys.readouterr().err
    assert main.main([*line, "--output_dir", str(tmp_path)]) == 0
    (file,) = tmp_path.iterdir()
    assert file.name == "person_keypoints_test-dev2017_grouppose_results.json"
    (first, *_) = json.loads(file.read_text())
    assert set(first) == {"image_id", "category_id", "keypoints", "score"}
    assert first["category_id"] == 1 and len(first["keypoints"]) == 51
    assert all(round(value, 2) == value for value in first["keypoints"])


def test_animals_of_two_kinds_train_are_scored_and_drawn(tmp_path, capsys):
    sizes = {i: (64, 80) for i in (1, 2)}
    people = [
        person(i, i, 3, category_id=category, bbox=[4, 4, 50, 50], area=0)
        for i, category in ((1, 9), (2, 7))
    ]
    animals = contents(sizes, people, 3)
    animals["categories"] = [
        {"id": i, "name": name, "keypoints": NAMES, "skeleton": [[1, 3], [2, 3]]}
        for i, name in ((7, "cat"), (9, "fox"))
    ]
    data = write_custom(tmp_path / "data", animals, "animals_train.json")
    write_custom(data, animals, "animals_val.json")
    out = tmp_path / "out"
    options = ("epochs=1", "num_select=6", "num_body_points=3")
    line = command(data, "--output_dir", out, "--save_log", name="custom", options=options)
    assert main.main(line) == 0
    assert "3 keypoints, 1 left-right pairs, 2 limbs, 2 classes; sigmas: the default, 0.079" in (
        (out / "info.txt").read_text()
    )
    checkpoint = out / "checkpoint.pth"
    stored = torch.load(checkpoint, weights_only=True)["settings"]
    assert stored["skeleton"]["flip_pairs"] == [[0, 1]]
    assert stored["categories"] == [[7, "cat"], [9, "fox"]] and stored["num_classes"] == 3
    line = command(data, "--resume", checkpoint, "--eval", "--output_dir", out, name="custom")
    assert main.main(line) == 0
    assert {r["category_id"] for r in results_of(out)} <= {7, 9}
    assert (out / "errors.png").stat().st_size > 0
    predictor = grouppose.Predictor(checkpoint, device="cpu", threshold=0.0)
    assert predictor.skeleton.names == tuple(NAMES) and predictor.skeleton.limbs == ((0, 2), (1, 2))
    (seen,) = predictor(str(data / "images/001.png"))
    assert seen.plot().shape == (64, 80, 3) and set(seen.labels.tolist()) <= {1, 2}
    capsys.readouterr()
    assert cli(["info", str(checkpoint)]) == 0
    printed = capsys.readouterr().out
    assert "keypoints: L_Ear, R_Ear, tail" in printed and "class 2: fox" in printed
    assert "mirroring exchanges: L_Ear - R_Ear" in printed
    wrong = command(data, "--output_dir", out, name="custom", options=("num_body_points=17",))
    assert main.main(wrong) == 1
    assert "the annotations have 3 keypoints, num_body_points is 17" in capsys.readouterr().err


def test_people_come_in_the_order_of_the_set_and_unreadable_pictures_have_none():
    class Decode:
        max_people = None

        def people(self, outputs, views):
            (count,) = outputs[0]["value"].int().tolist()
            people = nobody(1)
            grown = {k: v.new_ones(count, *v.shape[1:]) for k, v in people.items()}
            return [grown | {"scores": torch.full((count,), float(count))}]

    class Batches(list):
        dataset = types.SimpleNamespace(pictures=Pictures())

    class Bright(torch.nn.Module):
        def forward(self, images, padding):
            return {"value": images[:, 0, 0, 0]}

    view = scaled_view((2, 2), (2, 2))
    padding = torch.zeros(1, 2, 2, dtype=torch.bool)
    batches = Batches(
        ViewBatch([i], [(torch.full((1, 3, 2, 2), i), padding)], [[view]], wrong)
        for i, wrong in ((4, {}), (2, {}), (0, {}), (3, {3: "damaged"}))
    )
    finder = Finder(Bright(), Decode(), torch.device("cpu"))
    run = types.SimpleNamespace(settings={"max_unreadable": 1}, folder=None)
    image_ids, people = find_people(run, finder, batches)
    assert image_ids == [2, 0, 3, 4]
    assert [p["scores"].tolist() for p in people] == [[2.0] * 2, [], [], [4.0] * 4]
    assert [p["confidence"].shape for p in people] == [(2, 1), (0, 1), (0, 1), (4, 1)]
    run.settings["max_unreadable"] = 0
    with pytest.raises(InputError, match="1 of 4 pictures to evaluate on cannot be read"):
        find_people(run, finder, batches)


class Pictures(list):
    """Ids in the order of a set of four."""

    image_ids, skeleton = (2, 0, 3, 4), types.SimpleNamespace(num_keypoints=1)

    def __len__(self):
        return 4


@pytest.fixture(scope="module")
def doubled(data, tmp_path_factory) -> Path:
    """A checkpoint of training at twice the sizes."""
    out = tmp_path_factory.mktemp("doubled")
    options = ("epochs=1", "data_aug_scale_overlap=2", "num_select=10")
    assert main.main(command(data, "--output_dir", out, options=options)) == 0
    return out / "checkpoint.pth"


def test_evaluation_and_prediction_look_at_the_size_that_the_model_keeps(data, doubled, tmp_path):
    assert grouppose.load_model(doubled).settings["eval_size"] == [128, 192]
    options = ("eval_batch_size=1",)  # that is all: the size stands in the file
    line = command(data, "--resume", doubled, "--eval", "--output_dir", tmp_path, options=options)
    line = [word for word in line if not word.startswith("data_aug_")]
    assert main.main(line) == 0
    annotations = data / "annotations/person_keypoints_val2017.json"
    first = json.loads(annotations.read_text())["images"][0]
    path = str(data / "images/val2017" / first["file_name"])
    found = [r["score"] for r in results_of(tmp_path) if r["image_id"] == first["id"]]
    for weights in (doubled, grouppose.load_model(doubled)):
        predictor = grouppose.Predictor(weights, device="cpu", threshold=0.0)
        (view,) = predictor.finder.decode.views(64, 64)
        assert view.size == (128, 128)
        (seen,) = predictor(path)
        assert seen.scores[: len(found)].tolist() == pytest.approx(found, abs=1e-5)


def test_files_from_before_say_their_size_by_that_of_training(doubled, tmp_path):
    content = torch.load(doubled, weights_only=True)
    del content["settings"]["eval_size"]
    torch.save(content, tmp_path / "old.pth")
    assert grouppose.load_model(tmp_path / "old.pth").settings["eval_size"] == [128, 192]
    content["settings"]["data_aug_scales"] = "wide"
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(InputError, match=r"odd.pth.* no size to evaluate at"):
        grouppose.load_model(tmp_path / "odd.pth")
