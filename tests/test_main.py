import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch
from addict import Dict

import main
from grouppose.checkpoints import published_names
from tests.inference.conftest import write_video
from tests.util.killing import MEASURED
from tests.util.tiny import DEMO, ROOT, command, load, log_of, write_coco
from util import config, engine, evaluation

# of the run that the tests share; dropout draws from the random state that a resumed run restores
TRAINED = ("use_ema=true", "dropout=0.1", "lr=5e-4")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("data") / "coco")


def equal(a, b) -> bool:
    """Of nested containers of tensors."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """The folder of a finished run of two epochs, with a moving average and worker processes."""
    folder = tmp_path_factory.mktemp("trained") / "new" / "run"
    extra = ("--num_workers", "1", "--note", "first", "--save_log", "--seed", "5")
    assert main.main(command(data, folder, *extra, options=TRAINED)) == 0
    return folder


def test_a_run_leaves_its_files(trained):
    assert {path.name for path in trained.iterdir()} == {
        "checkpoint.pth",
        "checkpoint0000.pth",  # before each drop of the rate
        "checkpoint0001.pth",
        "checkpoint_best_ema.pth",
        "checkpoint_best_regular.pth",
        "checkpoint_previous1.pth",
        "config.py",
        "curves.png",
        "info.txt",
        "log.txt",
        "pictures",
        "record.txt",
    }
    drawn = [path.name for path in sorted((trained / "pictures").iterdir())]
    assert drawn == ["epoch0000.png", "epoch0001.png"]
    assert "note: first" in (trained / "info.txt").read_text()
    assert (
        "effective batch 2 (1 processes x 2 pictures x accumulate 1)"
        in (trained / "info.txt").read_text()
    )


def test_log_has_a_line_of_numbers_per_epoch(trained):
    entries = log_of(trained)
    assert [entry["epoch"] for entry in entries] == [0, 1]
    assert [entry["train_lr"] for entry in entries] == pytest.approx([5e-4, 5e-5])
    entry = entries[-1]
    assert entry["effective_batch"] == 2
    assert entry["num_parameters"] == sum(
        tensor.numel()
        for name, tensor in load(trained / "checkpoint.pth")["model"].items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    for name in ("test_AP", "test_AR", "test_swap_rate", "ema_test_AP"):
        assert 0 <= entry[name] <= 1
    weights = {"loss_ce": 8, "loss_keypoints": 10, "loss_oks": 12}  # of config/demo.py
    total = sum(
        weight * entry[f"train_{name}{suffix}"]
        for name, weight in weights.items()
        for suffix in ("", "_0", "_interm")
    )
    assert entry["train_loss"] == pytest.approx(total, rel=1e-5)


def test_written_config_is_the_merged_one(trained, data):
    settings = config.load_config(trained / "config.py")
    found = (settings.seed, settings.note, settings.coco_path, settings.num_queries)
    assert found == (5, "first", str(data), 5)


def test_resumed_run_equals_an_uninterrupted_one(trained, data, tmp_path):
    first_epoch = str(trained / "checkpoint0000.pth")
    log = log_of(trained)[:1] + [{"epoch": 1, "of": "a run that was killed"}]
    (tmp_path / "log.txt").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    extra = ("--resume", first_epoch, "--seed", "5")
    assert main.main(command(data, tmp_path, *extra, options=TRAINED)) == 0
    own, other = load(trained / "checkpoint.pth"), load(tmp_path / "checkpoint.pth")
    for key in ("model", "ema", "optimizer", "rng", "epoch", "best"):
        assert equal(own[key], other[key]), key
    for entry, again in zip(log_of(trained), log_of(tmp_path), strict=True):
        for name in MEASURED:
            del entry[name], again[name]
        assert entry == again


def test_weights_from_a_file_need_no_imagenet_file(trained, data, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "train_one_epoch", lambda *_, **__: ({"loss": 0.0}, {}))
    resume = ("--resume", str(trained / "checkpoint0000.pth"))
    options = ("pretrained_backbone=nowhere.pth", "draw_pictures=0")
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: ({}, [], []))
    assert main.main(command(data, tmp_path, *resume, options=options)) == 0
    assert config.load_config(tmp_path / "config.py").pretrained_backbone == "nowhere.pth"


def test_evaluation_repeats_the_numbers_of_training(trained, data, tmp_path, capsys):
    resume = str(trained / "checkpoint.pth")
    assert main.main(command(data, tmp_path, "--resume", resume, "--eval")) == 0
    table = capsys.readouterr().out
    protocol, names, numbers, swaps, found, *errors = table.splitlines()
    assert protocol.startswith("coco: 3 pictures, 3 people; 17 keypoints, 8 left-right pairs")
    entry = log_of(trained)[-1]
    stats = dict(zip(names.split(), numbers.split(), strict=True))
    assert stats["AP"] == f"{100 * entry['test_AP']:.1f}"
    assert swaps == (
        f"left-right swaps among matched people: {100 * entry['test_swap_rate']:.1f} %"
    )
    assert found.startswith("of 3 labelled people, ") and len(errors) == 1 + 1 + 17
    written = {"results.json", "predictions.png", "errors.png"}
    assert {path.name for path in tmp_path.iterdir()} == written
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(dict.fromkeys(r["image_id"] for r in results)) == [30, 20, 10]
    assert {r["category_id"] for r in results} == {1}
    assert all(len(result["keypoints"]) == 51 for result in results)


def test_people_are_drawn_on_pictures_of_a_folder(trained, data, tmp_path, capsys):
    resume = str(trained / "checkpoint.pth")
    pictures = data / "images" / "val2017"
    extra = ("--resume", resume, "--predict", str(pictures))
    assert main.main(command(data, tmp_path / "out", *extra)) == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {path.name for path in pictures.iterdir()} | {"predictions.json"}
    assert "--options do not count for --predict" in capsys.readouterr().err
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("no picture")
    extra = ("--resume", resume, "--predict", str(tmp_path / "in"))
    assert main.main(command(data, tmp_path / "out", *extra)) == 1


def test_a_drawn_video_has_the_rate_of_its_source(trained, data, tmp_path):
    write_video(tmp_path / "a.mp4", count=3, rate=12.5)
    extra = ("--resume", str(trained / "checkpoint.pth"), "--predict", str(tmp_path / "a.mp4"))
    assert main.main(command(data, tmp_path / "out", *extra)) == 0
    video = cv2.VideoCapture(str(tmp_path / "out" / "a.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)


def test_pictures_are_not_replaced_by_their_drawings(trained, data, tmp_path, capsys):
    folder = tmp_path / "in"
    shutil.copytree(data / "images" / "val2017", folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    extra = ("--resume", str(trained / "checkpoint.pth"), "--predict", str(folder / "*"))
    assert main.main(command(data, folder, *extra)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: --output_dir ") and "would be written over" in error
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_published_file_brings_the_settings_of_its_network(trained, data, tmp_path):
    """The config's are another backbone, another width and other numbers of layers."""
    content = load(trained / "checkpoint.pth")
    own = {name: content["settings"][name] for name in ("backbone", "nheads", "num_queries")}
    published = {
        "model": {f"module.{k}": v for k, v in published_names(content["model"]).items()},
        "args": argparse.Namespace(**own, num_body_points=17, dropout=0.5, lr=7.0),
    }
    torch.save(published, tmp_path / "published.pth")
    line = ["-c", str(ROOT / "config/grouppose.py"), "--coco_path", str(data), "--device", "cpu"]
    line += ["--num_workers", "0", "--resume", str(tmp_path / "published.pth"), "--eval"]
    line += ["--options", "data_aug_scales=64", "num_select=5"]
    assert main.main(line) == 0  # weights of another network would not load
    settings = config.load_config(DEMO, ["num_select=5"], {}, str(tmp_path / "published.pth"))
    assert settings.nheads == own["nheads"] and settings.dropout == 0.0 and settings.lr != 7.0


def test_every_setting_is_read_by_someone(data, tmp_path, monkeypatch):
    read = set()

    class Recording(Dict):
        def __getitem__(self, name):
            read.add(name)
            return super().__getitem__(name)

        def get(self, name, default=None):
            read.add(name)
            return super().get(name, default)

    original = config.load_config

    def load_recording(*arguments):
        settings = Recording(original(*arguments))
        settings.freeze()
        read.clear()
        return settings

    monkeypatch.setattr(config, "load_config", load_recording)
    line = command(tmp_path / "drawn", tmp_path / "run", options=("use_ema=true", "epochs=1"))
    line[line.index("coco")] = "synthetic"
    sizes = ["synthetic_train=3", "synthetic_val=2", "synthetic_size=64"]
    assert main.main([*line, "--options", *sizes]) == 0
    when_things_go_wrong = {"max_bad_steps", "max_rollbacks"}
    assert set(original(DEMO)) - read == when_things_go_wrong


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--bach_size", "3"], "no flag '--bach_size'; a config's setting is set by --options"),
        (["--cocopath", "x"], "no flag '--cocopath'; did you mean '--coco_path'?"),
        (["--coco", "x"], "no flag '--coco'; did you mean"),
        (["--eval"], "--eval without weights; give --resume FILE"),
        (["--predict", "a.jpg"], "--predict without weights; give --resume FILE"),
        (["--predict", ""], "--predict is empty; say which, or leave the flag out"),
        (["--resume", ""], "--resume is empty; say which, or leave the flag out"),
        (["--evaluator", "fast"], "argument --evaluator: invalid choice: 'fast'"),
        (["--num_workers", "-1"], "argument --num_workers: '-1' is no number from 0 on"),
        (["a\nb"], "no flag 'a\\nb'; a config's setting is set by --options a b=VALUE"),
        (["--device", "mps"], "argument --device: no device 'mps'; expected auto, cpu or cuda"),
        (["--eval", "--predict", "a.jpg", "--resume", "x"], "--eval and --predict; give one of"),
        (["--finetune_ignore", "x"], "--finetune_ignore without --pretrain_model_path FILE"),
    ],
)
def test_wrong_command_lines_end_with_one_line(data, tmp_path, capsys, extra, message):
    with pytest.raises(SystemExit) as exit_status:
        main.main(command(data, tmp_path / "out", *extra))
    assert exit_status.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_training_needs_a_folder(data, capsys):
    with pytest.raises(SystemExit):
        main.main(command(data, None))
    error = capsys.readouterr().err
    assert error == "error: no folder for checkpoints or pictures; give --output_dir DIR\n"


@pytest.mark.parametrize(
    ("extra", "options", "message"),
    [
        (["-c", "config/none.py"], [], "no config file config/none.py; check the path"),
        ([], ["bath_size=1"], "no setting 'bath_size'; did you mean 'batch_size'?"),
        (["--coco_path", "nowhere"], [], "no folder nowhere"),
        (["--dataset_file", "cocoo"], [], "dataset_file is 'cocoo'; did you mean 'coco'?"),
        (["--seed", "9" * 20], [], f"seed is {'9' * 20}, expected less than {2**63}"),
        ([], ["batch_size=5"], "4 training pictures do not fill 1 x 5 (accumulate x batch_size)"),
        ([], ["num_body_points=14"], "'keypoints', expected 42 numbers"),
        (["--resume", "none.pth"], [], "no file none.pth, expected a checkpoint"),
        (["--backbone", "resnet51"], [], "no backbone 'resnet51'; did you mean 'resnet50'?"),
        (
            ["-c", str(ROOT / "config/grouppose.py"), "--backbone", "swin_T_224_1k"],
            [],
            "swin_T_224_1k starts from ImageNet weights; give their folder with",
        ),
        (
            ["--backbone", "swin_T_224_1k", "--swin_pretrain_path", "nowhere"],
            [],
            "no file nowhere/swin_tiny_patch4_window7_224.pth, expected the ImageNet weights",
        ),
    ],
)
def test_wrong_input_ends_with_one_line(data, tmp_path, capsys, extra, options, message):
    line = command(data, tmp_path / "out", *extra, options=options)
    assert main.main(line) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("checkpoint.pth", ["hidden_dim=64"], "hidden_dim is 32 there, 64 here; set hidden_dim=32"),
        ("checkpoint.pth", ["backbone=resnet18"], "backbone is 'resnet18s' there, 'resnet18' here"),
        ("checkpoint_best_ema.pth", [], "holds weights but no optimizer, scaler, rng"),
        ("log.txt", [], "log.txt is no readable checkpoint"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(
    trained, data, tmp_path, capsys, file, options, message
):
    line = command(data, tmp_path / "out", "--resume", str(trained / file), options=options)
    assert main.main(line) == 1
    error = capsys.readouterr().err
    assert message in error
    assert str(trained / file) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", [None, "--eval", "--train_rescore"])
@pytest.mark.parametrize("place", ["out", "out/below", "/proc/nothing"])
def test_an_output_folder_that_cannot_be_is_refused_before_any_work(
    tmp_path, capsys, monkeypatch, mode, place
):
    monkeypatch.setattr(main, "build_run", None)
    (tmp_path / "out").write_text("")
    extra = (mode, "--resume", "a.pth") if mode else ()
    assert main.main(command(tmp_path, tmp_path / place, *extra)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: cannot make the folder ") and "change --output_dir" in error
    assert error.count("\n") == 1


def test_a_truncated_picture_in_a_worker_ends_with_one_line(tmp_path, capsys):
    data = write_coco(tmp_path / "coco")
    for picture in (data / "images" / "train2017").iterdir():
        picture.write_bytes(picture.read_bytes()[:200])
    assert main.main(command(data, tmp_path / "out", "--num_workers", "1")) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error
    assert error.count("\n") == 1


def test_our_own_bugs_keep_their_trace(data, tmp_path, monkeypatch):
    monkeypatch.setattr(main, "build_run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main.main(command(data, tmp_path))


def test_help_imports_nothing_slow():
    code = (
        "import sys, main\n"
        "try:\n"
        "    main.main(['--help'])\n"
        "finally:\n"
        "    assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--coco_path DIR" in done.stdout
