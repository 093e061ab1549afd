import pytest

from util.arguments import parse_arguments

CONFIG = ("-c", "config/demo.py")


def test_flags_have_defaults_and_options_add_up():
    args = parse_arguments([*CONFIG, "--output_dir", "out", "--options", "a=1", "--options", "b=2"])
    assert args.options == ["a=1", "b=2"] and args.config_file == CONFIG[1]
    assert (args.device, args.resume, args.bootstrap, args.save_predictions) == (None, None, 0, 16)
    assert not (args.eval or args.amp or args.auto_resume)
    assert parse_arguments([*CONFIG, "--output_dir", "out", "--device", "auto"]).device is None


def test_torchruns_rank_comes_from_either_place(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    line = [*CONFIG, "--output_dir", "out"]
    assert parse_arguments(line).local_rank == 3
    for flag in ("--local-rank=1", "--local_rank=1"):  # torch.distributed.launch gives it
        assert parse_arguments([*line, flag]).local_rank == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([*CONFIG], "no folder for checkpoints or pictures; give --output_dir DIR"),
        ([*CONFIG, "--eval"], "--eval without weights; give --resume FILE"),
        ([*CONFIG, "--output_dir", "o", "--predict", "a"], "--predict without weights"),
        ([*CONFIG, "--ouput_dir", "o"], "no flag '--ouput_dir'; did you mean '--output_dir'?"),
        ([*CONFIG, "--epochs", "3"], "no flag '--epochs'; a config's setting is set by --options"),
        ([*CONFIG, "--device", "gpu"], "no device 'gpu'; expected auto, cpu or cuda"),
        ([*CONFIG, "--num_workers", "-1"], "'-1' is no number from 0 on"),
        ([*CONFIG, "--bootstrap", "x"], "'x' is no number from 0 on"),
        ([*CONFIG, "--output_dir", "o", "--finetune_ignore", "a"], "without --pretrain_model_path"),
        (["--eval"], "-c/--config_file"),
    ],
)
def test_a_wrong_command_line_ends_in_one_line(capsys, line, message):
    with pytest.raises(SystemExit) as ended:
        parse_arguments(line)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1
    assert message in error


def test_one_rank_speaks_for_all(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit):
        parse_arguments([*CONFIG])
    assert capsys.readouterr().err == ""
