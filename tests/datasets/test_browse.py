import json

import cv2
import numpy as np

from datasets.browse import main, page, sample_grid
from datasets.build import build_dataset
from tests.datasets.sets import contents, person, settings, write_custom

CONFIG = "config/demo.py"


def ears(folder, names):
    """One picture, 400 wide: its first keypoint at the left, the second at the right."""
    one = person(1, 1, 2, keypoints=[60, 100, 2, 340, 100, 2], bbox=[20, 20, 360, 160])
    data = contents({1: (200, 400)}, [one], 2)
    data["categories"][0]["keypoints"] = names
    return write_custom(folder, data)


def custom(folder, **changes):
    return settings(
        folder,
        dataset_file="custom",
        num_body_points=0,
        num_classes=0,
        data_aug_scales=[200],
        data_aug_max_size=400,
        **changes,
    )


def sides_of(cell):
    """Which of blue (left) and red (right) is further left in a drawn picture."""
    places = {}
    for name, colour in (("left", (60, 130, 255)), ("right", (235, 50, 50))):
        rows, columns = np.nonzero((np.abs(cell.astype(int) - colour) < 12).all(axis=-1))
        places[name] = np.median(columns) if len(columns) else None
    return places


def test_mirroring_keeps_colours_on_their_side_only_with_right_pairs(tmp_path):
    names = ["left_ear", "right_ear"]
    for pairs, kept in ((None, True), ([], False)):
        skeleton = {"names": names, "flip_pairs": pairs}
        folder = ears(tmp_path / str(kept), names)
        grid = sample_grid(build_dataset("train", custom(folder, skeleton=skeleton)), 5)
        before, after = (sides_of(grid[:, i * 420 : (i + 1) * 420]) for i in range(2))
        assert before["left"] < before["right"]
        assert (after["left"] < after["right"]) == kept


def test_a_page_names_the_pairs_and_holds_its_picture(tmp_path, capsys, monkeypatch):
    folder = ears(tmp_path / "a", ["ear <1>", "nose"])
    line = ["-c", CONFIG, "--dataset_file", "custom", "--coco_path", str(folder)]
    assert main([*line, "--out", str(tmp_path / "b.html"), "--count", "1"]) == 0
    text = (tmp_path / "b.html").read_text()
    assert "Mirroring exchanges nothing; training does not mirror." in text
    assert (
        "Neither left nor right: ear &lt;1&gt;, nose." in text and "data:image/png;base64," in text
    )
    assert "<h1>1 training pictures, 1 people</h1>" in text
    assert main([*line, "--out", str(tmp_path / "b.png"), "--count", "1"]) == 0
    assert cv2.imread(str(tmp_path / "b.png")).shape[1] > 4 * 400
    capsys.readouterr()
    assert main([*line, "--out", str(tmp_path / "b.jpg")]) == 1
    assert "expected a name that ends in .html or .png" in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "no" / "b.png"), "--count", "1"]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_regions_in_which_nothing_is_learnt_are_violet(tmp_path):
    folder = ears(tmp_path, ["left_ear", "right_ear"])
    changes = {"augmentation": "affine", "affine_size": 420, "affine_scale": [2.0, 2.0]}
    changes |= {"affine_rotation": 0.0, "affine_translation": 0.0}
    grid = sample_grid(build_dataset("train", custom(folder, **changes)), 1)
    gap = (grid.shape[1] - 4 * 420) // 5
    plain, augmented = (grid[gap:, gap + i * (420 + gap) :][:420, :420] for i in (1, 2))
    # the picture, 400 x 200, is the middle 420 x 210 of the square; the rest is black borders
    violet = (augmented == (70, 20, 110)).all(-1)
    assert violet[:104].all() and violet[-104:].all() and not violet[107:-107].any()
    assert not (plain == (70, 20, 110)).all(-1).any()


def test_a_page_names_the_classes(tmp_path):
    folder = ears(tmp_path / "a", ["left_ear", "right_ear"])
    path = next(folder.rglob("*train*.json"))
    data = json.loads(path.read_text())
    data["categories"] = [{**data["categories"][0], "id": 3, "name": "a <cat>"}]
    data["annotations"] = [{**entry, "category_id": 3} for entry in data["annotations"]]
    path.write_text(json.dumps(data))
    dataset = build_dataset("train", custom(folder))
    assert dataset.poses.called == "a <cat>"
    text = page(np.zeros((2, 2, 3), np.uint8), dataset)
    assert "<h1>1 training pictures, 1 a &lt;cat&gt;</h1>" in text
