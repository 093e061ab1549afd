from pathlib import Path

import pytest
import torch

from datasets.settings import DEFAULTS, read_file
from grouppose import demo, models, save_weights
from grouppose.errors import InputError, MissingFileError, SettingNameError, SettingTypeError
from tests.small import SMALL
from util.config import format_config, load_config

FOLDER = DEFAULTS.parent
CONFIGS = sorted(
    path for path in FOLDER.glob("*.py") if path.stem not in ("defaults", "coco_transformer")
)
GROUPPOSE = FOLDER / "grouppose.py"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_published_settings_have_the_published_values():
    settings = load_config(GROUPPOSE)
    recipe = {"lr": 1e-4, "lr_backbone": 1e-5, "weight_decay": 1e-4, "epochs": 60, "lr_drop": 50}
    assert {name: settings[name] for name in recipe} == recipe
    assert (settings.batch_size, settings.clip_max_norm, settings.num_queries) == (2, 0.1, 100)
    assert settings.data_aug_scales == list(range(480, 801, 32))
    assert (settings.data_aug_max_size, settings.data_aug_scales2_crop) == (1333, [384, 600])


def test_crowdpose_differs_from_coco_as_published():
    coco, crowdpose = load_config(GROUPPOSE), load_config(FOLDER / "crowdpose.py")
    assert {name: crowdpose[name] for name in coco if coco[name] != crowdpose[name]} == {
        "dataset_file": "crowdpose",
        "num_body_points": 14,
        "epochs": 80,
        "lr_drop": 70,
    }


def test_the_library_agrees_with_the_published_config():
    published = {name: setting.value for name, setting in read_file(GROUPPOSE).items()}
    library = models.known_settings("grouppose")
    del published["pretrained_backbone"]  # random weights unless a config asks for others
    same = {name: library[name] for name in published if name in library}
    assert same == {name: published[name] for name in same} and len(same) > 25


def test_defaults_hold_nothing_of_a_family():
    defaults = {name: setting.value for name, setting in read_file(DEFAULTS).items()}
    facts = {"num_body_points", "num_classes", "skeleton", "categories"}  # of data
    views = {"eval_size", "flip_test", "test_scales"}  # of evaluation
    assert defaults.keys() & models.known_settings("grouppose").keys() == facts | views
    assert defaults["modelname"] == ""


def test_a_config_is_a_whole_recipe():
    """What trains stands in it, and not in the defaults, which are nobody's."""
    defaults, recipe = read_file(DEFAULTS), read_file(GROUPPOSE)
    names = list(defaults)
    first, last = names.index("recipe_batch"), names.index("clip_max_norm")
    assert set(names[first : last + 1]) - {"optimizer"} <= recipe.keys()
    assert {"batch_size", "epochs", "lr_schedule", "lr_drop"} <= recipe.keys()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_opens_with_a_docstring_and_builds(path):
    assert path.read_text().startswith('"""')
    data = ["num_body_points=3", "num_classes=2"] if path.stem == "custom" else []  # says them
    settings = load_config(path, ["pretrained_backbone=none", *data])
    with torch.device("meta"):
        model, criterion, _ = models.build(settings)
    own = models.settings_of(models.family(settings.modelname).build_model)
    kept = {"skeleton", "categories", "pretrained_backbone"}  # by the model, in another form
    assert {key: model.settings[key] for key in own if key not in kept} == {
        key: settings[key] for key in own if key not in kept
    }
    if settings.modelname == "grouppose":
        assert criterion.cost.sigmas.shape == (settings.num_body_points,)


def test_what_the_data_of_a_custom_set_decide_comes_from_options_alone(tmp_path):
    """A config's own number was written for another set; a checkpoint's is the network's."""
    flags = {"dataset_file": "custom"}
    settings = load_config(GROUPPOSE, [], flags)
    assert (settings.num_body_points, settings.num_classes) == (0, 0)
    settings = load_config(GROUPPOSE, ["num_classes=2", "dataset_file=custom"])
    assert (settings.num_body_points, settings.num_classes) == (0, 2)
    with pytest.raises(InputError, match="num_body_points is 0, expected at least 1"):
        load_config(GROUPPOSE, ["num_body_points=0"])
    model = models.build_model("grouppose", **SMALL, skeleton={"names": list("abcde")})
    save_weights(model, tmp_path / "a.safetensors")
    few = "num_select=5"
    settings = load_config(GROUPPOSE, [few], flags, str(tmp_path / "a.safetensors"))
    assert settings.num_body_points == 5 and settings.skeleton["names"] == list("abcde")
    path = write(tmp_path, "again.py", format_config(settings, "again"))
    assert load_config(path, ["num_body_points=5", "num_classes=2"], flags) == settings
    assert load_config(GROUPPOSE, ["skeleton=halpe26"]).skeleton == "halpe26"
    options = ["skeleton=none", few]
    assert load_config(GROUPPOSE, options, flags, str(tmp_path / "a.safetensors")).skeleton is None


def test_files_are_merged_over_their_bases_then_flags_then_options(tmp_path):
    write(tmp_path, "a.py", "lr = 1e-3\nbatch_size = 3\nepochs = 3\nnote = 'a'\n")
    write(tmp_path, "b.py", "lr = 1e-2\n")
    path = write(tmp_path, "c.py", "_base_ = ['a.py', 'b.py']\nbatch_size = 4\n")
    settings = load_config(path, ["note=option"], {"epochs": 5, "note": "flag"})
    found = (settings.lr, settings.batch_size, settings.epochs, settings.note)
    assert found == (1e-2, 4, 5, "option")


def test_base_may_be_a_single_name(tmp_path):
    write(tmp_path, "a.py", "epochs = 7\n")
    assert load_config(write(tmp_path, "b.py", "_base_ = 'a.py'\n")).epochs == 7


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("num_queries=50", "num_queries", 50),
        ("lr=1", "lr", 1.0),
        ("lr=2e-4", "lr", 2e-4),
        ("use_ema=true", "use_ema", True),
        ("use_ema=False", "use_ema", False),
        ("data_aug_scales=480,800", "data_aug_scales", [480, 800]),
        ("data_aug_scales=480", "data_aug_scales", [480]),
        ("data_aug_scales=[480, 512]", "data_aug_scales", [480, 512]),
        ("lr_backbone_names=backbone.0", "lr_backbone_names", ["backbone.0"]),
        ("lr_backbone_names=body,neck", "lr_backbone_names", ["body", "neck"]),
        ("note=12", "note", "12"),
        ("note='a b'", "note", "a b"),
        ("note=a=b", "note", "a=b"),
        ("backbone=resnet18", "backbone", "resnet18"),
        ("pretrained_backbone=none", "pretrained_backbone", None),
        ("pretrained_backbone=7.pth", "pretrained_backbone", "7.pth"),
        ("data_aug_scale_overlap=2", "data_aug_scale_overlap", 2.0),
    ],
)
def test_options_are_read_in_the_type_of_the_setting(option, name, value):
    found = load_config(GROUPPOSE, [option])[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        (
            "bath_size=1",
            SettingNameError,
            "--options bath_size=1: no setting 'bath_size'; did you mean 'batch_size'?",
        ),
        (
            "num_queries=3.5",
            SettingTypeError,
            "--options num_queries=3.5: num_queries is a int (now 100), got float",
        ),
        ("lr=oops", SettingTypeError, "--options lr=oops: lr is a float (now 0.0001), got str"),
        ("use_ema=1", SettingTypeError, "--options use_ema=1: use_ema is a bool (now False), got"),
        ("epochs=True", SettingTypeError, "epochs is a int (now 60), got bool"),
        ("data_aug_scales=480,x", SettingTypeError, "each of data_aug_scales is a int"),
        ("data_aug_scale_overlap=big", SettingTypeError, "is a float (now None), got str"),
        ("xyzzy=1", SettingNameError, "no setting 'xyzzy'; "),
        ("lr.a=1", SettingNameError, "no setting 'lr.a'"),
        ("lr", InputError, "--options lr: expected key=value"),
        ("=1", InputError, "--options =1: expected key=value"),
        (
            "matcher_type=SimpleMinsumMatcher",
            InputError,
            "matcher_type is 'SimpleMinsumMatcher', but only its published value "
            "'HungarianMatcher' is supported; remove it",
        ),
        ("batch_size=0", InputError, "batch_size is 0, expected at least 1"),
        ("lr=1e999", InputError, "--options lr=1e999: lr is too large for a number (now 0.0001)"),
        (f"lr={10**400}", InputError, "lr is too large for a number"),
        ("batch_size=automatic", SettingTypeError, "batch_size is a int (now 2), got str"),
        (
            "data_aug_flip=yes",
            SettingTypeError,
            "(now 'auto'), got str; expected one, or 'auto'",
        ),
        ("categories=1", InputError, "categories is [1], expected pairs [id, name], or []"),
        ("flip_test=1", SettingTypeError, "flip_test is a bool (now False), got int"),
        ("sharding=ful", InputError, "sharding is 'ful'; did you mean 'full'?"),
        ("lr=-1", InputError, "lr is -1.0, expected at least 0"),
        ("nheads=7", InputError, "hidden_dim is 256, expected a multiple of nheads (7)"),
        (
            "num_select=201",
            InputError,
            "num_select is 201, but num_queries x num_classes gives 200 candidates only",
        ),
        ("lr_schedule=cosin", InputError, "lr_schedule is 'cosin'; did you mean 'cosine'?"),
        ("ema_decay=1.5", InputError, "ema_decay is 1.5, expected between 0 and 1"),
        ("optimizer=sgd", InputError, "optimizer is 'sgd'; expected one of adam, adamw"),
        ("lr_drop=0", InputError, "lr_drop is 0, expected at least 1"),
        ("lr_drop=90,60", InputError, "lr_drop is [90, 60], expected at least 1, and a list to"),
        ("lr_drop=9.5", SettingTypeError, "lr_drop is a int (now 50), got float"),
        ("lr_table=[(0,)]", InputError, "lr_table is [(0,)], expected pairs [epoch, factor"),
        ("warmup_ratio=2", InputError, "warmup_ratio is 2.0, expected between 0 and 1"),
        ("num_queries=0", InputError, "num_queries is 0, expected at least 1"),
        ("modelname=other", InputError, "the config is for 'grouppose', each family has its own"),
    ],
)
def test_wrong_options_are_refused(option, error, message):
    with pytest.raises(error) as caught:
        load_config(GROUPPOSE, [option])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_published_settings_with_one_value_are_accepted_and_dropped(tmp_path):
    lines = "\n".join(
        f"{name} = {value!r}" for name, value in models.published("grouppose", "FIXED", {}).items()
    )
    path = write(tmp_path, "a.py", lines)
    plain = write(tmp_path, "b.py", "modelname = 'grouppose'")
    options = ["matcher_type=HungarianMatcher", "return_interm_indices=1,2,3", "pre_norm=False"]
    assert load_config(path, options) == load_config(plain)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = oops\n", "a.py:1: lr is an expression, expected a number, string, list or dict"),
        ("\nimport os\n", "a.py:2: expected `name = value`; a config holds nothing else"),
        ("lr = 1e-4\nx.y = 2\n", "a.py:2: expected `name = value`"),
        ("lr = = 2\n", "a.py:1: invalid syntax; a config is flat Python"),
        ("lr = 'high'\n", "a.py:1: lr is a float (now 0.001), got str"),
        ("\n\nbath_size = 1\n", "a.py:3: no setting 'bath_size'; did you mean 'batch_size'?"),
        ("_base_ = 3\n", "a.py:1: _base_ is a file name or a list of them"),
        ("_base_ = 'b.py'\n", "a.py names as _base_; check the path"),
        ("_base_ = 'a.py'\n", "_base_ leads in a circle"),
        ("modelname = 'groupose'\n", "a.py:1: no model 'groupose'; did you mean 'grouppose'?"),
    ],
)
def test_wrong_files_are_refused(tmp_path, text, message):
    path = write(tmp_path, "a.py", text)
    with pytest.raises((InputError, SettingNameError, SettingTypeError, MissingFileError)) as error:
        load_config(path)
    assert message in str(error.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r"no config file .*b\.py; check the path"):
        load_config(tmp_path / "b.py")


def test_config_runs_no_code(tmp_path):
    path = write(tmp_path, "a.py", f"lr = open({str(tmp_path / 'made')!r}, 'w').write('x')\n")
    with pytest.raises(InputError, match="lr is an expression"):
        load_config(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_written_config_reads_back_the_same(tmp_path, path):
    settings = load_config(path, ["note='a \"quoted\"' + text", "lr=1e-7"])
    text = format_config(settings, "A run.")
    assert text.startswith('"""A run."""\n')
    assert load_config(write(tmp_path, "config.py", text)) == settings


def test_a_misspelt_setting_raises():
    settings = load_config(GROUPPOSE)
    with pytest.raises(KeyError):
        settings.bath_size  # noqa: B018


@pytest.mark.parametrize(
    ("text", "value"), [("True", True), ("false", False), ("auto", "auto"), ("'auto'", "auto")]
)
def test_switches_that_may_be_auto(text, value):
    for name in ("data_aug_flip", "flip_test"):
        assert load_config(DEFAULTS, [f"{name}={text}"])[name] == value


def test_settings_that_may_be_absent_are_those_whose_default_is_none():
    assert load_config(GROUPPOSE, ["lr_backbone=none"]).lr_backbone is None
    assert load_config(GROUPPOSE, ["pretrained_backbone=50"]).pretrained_backbone == "50"
    with pytest.raises(SettingTypeError, match="lr_backbone is a float"):
        load_config(GROUPPOSE, ["lr_backbone=slow"])
    with pytest.raises(SettingTypeError, match="num_queries is a int"):
        load_config(GROUPPOSE, ["num_queries=none"])


def test_a_schedule_is_one_epoch_a_list_or_a_table():
    assert load_config(GROUPPOSE, ["lr_drop=90,120"]).lr_drop == [90, 120]
    table = load_config(GROUPPOSE, ["lr_table=[(0, 1), (65, 0.2)]"]).lr_table
    assert [list(pair) for pair in table] == [[0, 1], [65, 0.2]]


def test_a_checkpoint_of_another_family_is_refused(tmp_path, other):
    path = tmp_path / "a.safetensors"
    save_weights(models.build_model("other"), path)
    with pytest.raises(InputError) as error:
        load_config(GROUPPOSE, resumed=str(path))
    assert str(error.value) == (
        f"{path} holds weights of Other, the config is for Group Pose; give a config of that "
        "family, with modelname = 'other' (config/other.py)"
    )


def test_a_checkpoint_that_says_nothing_of_itself_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"conv.weight": torch.ones(1)}, path)
    with pytest.raises(InputError, match=r"a\.pth is of no model that is known here"):
        load_config(GROUPPOSE, resumed=str(path))


def test_the_size_of_evaluation_follows_from_training_unless_it_is_given(tmp_path):
    small = str(FOLDER / "demo.py")
    assert load_config(small).eval_size == [192, 192]
    assert load_config(GROUPPOSE).eval_size == [800, 1333]
    half = load_config(GROUPPOSE, ["data_aug_scale_overlap=0.5"])
    assert half.eval_size == [400, 666]
    assert load_config(GROUPPOSE, ["data_aug_scales=480"]).eval_size == [480, 1333]
    both = ["eval_size=96,128", "data_aug_scales=480"]
    assert load_config(GROUPPOSE, both).eval_size == [96, 128]
    assert load_config(GROUPPOSE, ["augmentation=affine", "affine_size=64"]).eval_size == [64]
    own = tmp_path / "own.py"
    own.write_text(f'_base_ = "{small}"\neval_size = [96, 128]\n')
    assert load_config(own).eval_size == [96, 128]
    assert load_config(own, ["data_aug_scales=48"]).eval_size == [48, 192]  # said last
    resumed = str(demo.WEIGHTS)  # a file that says no eval_size, but what it was trained at
    assert load_config(own, resumed=resumed).eval_size == [192, 192]
    assert load_config(own, ["data_aug_scales=48"], resumed=resumed).eval_size == [48, 192]
