"""Files, bases and texts: tests/util/test_config.py, through what a run reads."""

import ast
from pathlib import Path

import pytest

import datasets
from datasets.settings import DEFAULTS, frozen, read_file, read_settings
from grouppose.errors import InputError, SettingNameError
from util.config import load_config

DEMO = DEFAULTS.parent / "demo.py"


def test_a_run_has_the_same_settings_if_it_can_use_them():
    options = ["epochs=3", "data_aug_flip=False"]
    flags = {"coco_path": "somewhere"}
    settings = read_settings(DEMO, options, flags)
    assert settings == load_config(DEMO, options, flags).to_dict()
    assert (settings["epochs"], settings["data_aug_flip"]) == (3, False)
    assert read_settings(DEMO, ["epochs=0"])["epochs"] == 0  # of no matter to a set
    with pytest.raises(InputError, match="epochs is 0, expected at least 1"):
        load_config(DEMO, ["epochs=0"])


def test_a_setting_knows_where_it_was_given():
    setting = read_file(DEMO)["synthetic_size"]
    assert setting.value == 192 and setting.place.startswith(f"{DEMO}:")


def test_frozen_settings_refuse_misspelt_names():
    with pytest.raises(KeyError):
        frozen({"seed": 1}).sed  # noqa: B018
    with pytest.raises(SettingNameError, match="did you mean 'augmentation'"):
        read_settings(DEMO, ["augmentaton=crop"])


def test_no_part_of_datasets_imports_from_above():
    for path in Path(datasets.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            above = [name for name in named if name.partition(".")[0] in ("util", "main")]
            assert not above, f"{path} imports {above}"
