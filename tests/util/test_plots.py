import json

import cv2
import pytest

from grouppose.errors import InputError, MissingFileError
from grouppose.skeleton import Skeleton
from util.plots import _names, main, plot_curves, read_log

ARM = Skeleton.from_names(["left_elbow", "left_wrist"], limbs=[(0, 1)])


def write_log(folder, epochs=3, end=""):
    folder.mkdir(parents=True)
    lines = []
    for epoch in range(epochs):
        entry = {"epoch": epoch, "train_loss": 30 / (epoch + 1), "train_loss_oks": 0.5}
        entry["train_lr"] = 1e-4
        if epoch == epochs - 1:
            entry |= {"test_AP": 0.4, "test_AP50": 0.7, "ema_test_AP": 0.45}
        lines.append(json.dumps(entry | {"minutes": 2.0 * (epoch + 1)}) + "\n")
    (folder / "log.txt").write_text("".join(lines) + end)
    return folder / "log.txt"


def drawn_lines(monkeypatch, log_files, out):
    """What the panels of the figure show: lists of (label, x, y), from left to right."""
    from matplotlib.figure import Figure

    figures = []
    saved = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), saved(self, *a, **k))
    )
    plot_curves(log_files, out)
    (figure,) = figures
    panels = [
        [(line.get_label(), *map(list, line.get_data())) for line in axes.get_lines()]
        for axes in figure.axes
    ]
    return panels, figure.get_suptitle()


def test_what_the_curves_of_a_run_show(tmp_path, monkeypatch):
    log = write_log(tmp_path / "demo")
    out = tmp_path / "curves.png"
    (losses, scores, rates), title = drawn_lines(monkeypatch, [log], out)
    assert losses == [
        ("weighted sum", [1, 2, 3], [30, 15, 10]),
        ("oks", [1, 2, 3], [0.5, 0.5, 0.5]),
    ]
    assert scores == [
        ("AP", [3], [40]),
        ("AP50", [3], [70]),
        ("AP of the averaged weights", [3], [45]),
    ]
    assert rates == [("demo", [1, 2, 3], [1e-4] * 3)]
    assert title == "demo: 3 epochs, best AP 45.0, 6.0 minutes"
    picture = cv2.imread(str(out))
    assert picture.shape[1] > 1200 and 0 < (picture < 128).mean() < 0.1  # mostly white
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "demo"]


def test_several_runs_are_named_after_their_folders(tmp_path, monkeypatch):
    logs = [write_log(tmp_path / "a"), write_log(tmp_path / "b", epochs=2)]
    (losses, scores, _), title = drawn_lines(monkeypatch, logs, tmp_path / "both.png")
    assert [label for label, _, _ in losses] == ["a", "b"]
    assert [label for label, *_ in scores][:2] == ["a AP", "a AP50"]
    assert title.splitlines()[1] == "b: 2 epochs, best AP 45.0, 4.0 minutes"


def test_runs_of_the_same_name_keep_their_path(tmp_path):
    logs = [tmp_path / "x/run/log.txt", tmp_path / "y/run/log.txt", tmp_path / "z/log.txt"]
    assert list(_names(logs)) == [str(tmp_path / "x/run"), str(tmp_path / "y/run"), "z"]


def test_a_run_without_scores_yet(tmp_path, monkeypatch):
    log = tmp_path / "log.txt"
    log.write_text('{"epoch": 0, "train_loss": 3.0, "train_lr": 0.1}\n')
    (losses, scores, rates), title = drawn_lines(monkeypatch, [log], tmp_path / "curves.png")
    assert losses == [("weighted sum", [1], [3.0])] and scores == []
    assert title == f"{tmp_path.name}: 1 epochs"


def test_the_unfinished_last_line_of_a_killed_run_does_not_count(tmp_path):
    log = write_log(tmp_path / "killed", end='{"epoch": 3, "train_lo')
    assert [entry["epoch"] for entry in read_log(log)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no finished epoch"),
        ('{"epoch": 0', "has no finished epoch"),
        ('{"epoch": 0}\nEpoch 1\n{"epoch": 2}\n', "line 2 of .* is not JSON"),
        ('{"loss": 3}\n', "line 1 of .* has no 'epoch'"),
        ("[1]\n", "line 1 of .* has no 'epoch'"),
    ],
)
def test_wrong_logs(tmp_path, text, message):
    (tmp_path / "log.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_log(tmp_path / "log.txt")


def test_folder_without_log(tmp_path, capsys):
    with pytest.raises(MissingFileError, match=f"no log.txt in {tmp_path}"):
        plot_curves([tmp_path / "log.txt"], tmp_path / "curves.png")
    with pytest.raises(InputError, match="no log.txt is given"):
        plot_curves([], tmp_path / "curves.png")
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: no log.txt in ")
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path, capsys):
    for name in ("a", "b"):
        write_log(tmp_path / name)
    assert main([str(tmp_path / "a")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a' / 'curves.png'} written\n"
    out = tmp_path / "both.png"
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]) == 0
    assert (tmp_path / "a" / "curves.png").is_file() and out.is_file()
    assert not (tmp_path / "b" / "curves.png").exists()
