import json
import re

import pytest

from tests.datasets.sets import contents, person
from util.crowdpose_concat_train_val import main

SIZE = (50, 60)


def write_parts(folder, train, val):
    (folder / "json").mkdir()
    for name, data in (("train", train), ("val", val)):
        (folder / f"json/crowdpose_{name}.json").write_text(json.dumps(data))


def parts():
    train = contents({3: SIZE, 8: SIZE}, [person(10, 8, 14)], 14, crowdIndex=0.25)
    val = contents({5: SIZE}, [person(11, 5, 14), person(12, 5, 14)], 14, crowdIndex=0.5)
    return train, val


@pytest.mark.parametrize("option", [[], ["--data_dir"]])
def test_joined_file_holds_both_parts_with_their_ids(tmp_path, capsys, option):
    train, val = parts()
    write_parts(tmp_path, train, val)
    assert main([*option, str(tmp_path)]) == 0
    joined = json.loads((tmp_path / "json/crowdpose_trainval.json").read_text())
    assert joined["images"] == train["images"] + val["images"]
    assert joined["annotations"] == train["annotations"] + val["annotations"]
    assert joined["categories"] == train["categories"]
    assert capsys.readouterr().out == f"{tmp_path}/json/crowdpose_trainval.json written\n"
    assert len(list((tmp_path / "json").iterdir())) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda val: val["images"].append(contents({8: SIZE}, [])["images"][0]),
            "'images' .* id 8",
        ),
        (lambda val: val["annotations"].append(person(10, 5)), "'annotations' .* have id 10 twice"),
        (lambda val: val["categories"][0].update(id=2), "have different categories"),
        (lambda val: val.pop("images"), "crowdpose_val.json has no 'images'"),
    ],
)
def test_parts_that_do_not_fit_are_refused_and_nothing_is_written(
    tmp_path, capsys, change, message
):
    train, val = parts()
    change(val)
    write_parts(tmp_path, train, val)
    assert main([str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1
    assert len(list((tmp_path / "json").iterdir())) == 2


def test_missing_parts_and_folder(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "no annotation file" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "give the folder of CrowdPose" in capsys.readouterr().err
