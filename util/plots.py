"""Draws how training went.

python -m util.plots DIR... [--out FILE]

reads DIR/log.txt of one or several runs and writes curves.png, into the folder of a single run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grouppose.commands import Parser, exit_status
from grouppose.errors import InputError, MissingFileError
from grouppose.files import write_whole
from util.log import LOG

if TYPE_CHECKING:  # matplotlib is imported where it draws: training starts without it
    from matplotlib.axes import Axes

_COLOURS = ("#2563b0", "#d9662b", "#2f9e62", "#b8408f", "#8a6d1d", "#5b5fc7", "#3aa3a8", "#7f7f7f")
_AP = {  # keys of log.txt -> label and line
    "test_AP": ("AP", "-"),
    "test_AP50": ("AP50", "--"),
    "ema_test_AP": ("AP of the averaged weights", ":"),
}
Epochs = list[Mapping[str, float]]


def read_log(path: str | Path) -> Epochs:
    """The epochs of a log.txt; a last line that a killed run left unfinished does not count."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(
            f"no {path.name} in {path.parent}; expected the output folder of a training run"
        ) from error
    epochs = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise InputError(f"line {number} of {path} is not JSON; remove it") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("epoch"), int):
            raise InputError(f"line {number} of {path} has no 'epoch'; expected a log of training")
        epochs.append(entry)
    if not epochs:
        raise InputError(f"{path} has no finished epoch; wait for the first one")
    return epochs


def plot_curves(log_files: Sequence[str | Path], out_path: str | Path) -> None:
    """Writes loss, AP and learning rate of one or several runs over their epochs, as PNG.

    Args:
        log_files: paths of log.txt; runs are named after their folders.
        out_path: replaced when the new picture is complete.
    """
    from matplotlib.figure import Figure

    if not log_files:
        raise InputError("no log.txt is given; expected at least one")
    runs = {name: read_log(path) for name, path in _names(log_files).items()}
    figure = Figure(figsize=(12.5, 3.8 + 0.2 * len(runs)), layout="constrained")
    losses, scores, rates = figure.subplots(1, 3)
    for i, (name, epochs) in enumerate(runs.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        label = name if len(runs) > 1 else "weighted sum"
        _line(losses, epochs, "train_loss", 1, color=colour, label=label)
        for key, (score, style) in _AP.items():
            label = f"{name} {score}" if len(runs) > 1 else score
            _line(scores, epochs, key, 100, color=colour, linestyle=style, label=label)
        _line(rates, epochs, "train_lr", 1, color=colour, label=name)
    if len(runs) == 1:
        _plot_parts(losses, *runs.values())
    losses.set_yscale("log")
    for axes, title in ((losses, "training loss"), (scores, "AP, %"), (rates, "learning rate")):
        _decorate(axes, title, len(runs) > 1 or axes is not rates)
    figure.suptitle("\n".join(f"{name}: {_summary(epochs)}" for name, epochs in runs.items()))
    write_whole(Path(out_path), lambda partial: figure.savefig(partial, format="png", dpi=130))


def _names(log_files: Sequence[str | Path]) -> dict[str, Path]:
    """Runs by the name of their folder, or by their path where names are the same."""
    paths = [Path(path).resolve() for path in log_files]
    short = [path.parent.name for path in paths]
    return {
        name if short.count(name) == 1 else str(path.parent): path
        for name, path in zip(short, paths, strict=True)
    }


def _line(axes: Axes, epochs: Epochs, key: str, factor: float, **style: str) -> None:
    """Draws what a log says of a key, over the number of epochs done."""
    points = [(e["epoch"] + 1, factor * e[key]) for e in epochs if key in e]
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, marker="o", markersize=2.5, linewidth=1.6, **style)


def _plot_parts(axes: Axes, epochs: Epochs) -> None:
    """The losses of the last decoder layer, of a single run."""
    for i, part in enumerate(("loss_ce", "loss_keypoints", "loss_oks"), start=1):
        label = part.removeprefix("loss_")
        _line(axes, epochs, f"train_{part}", 1, color=_COLOURS[i], label=label)


def _decorate(axes: Axes, title: str, with_legend: bool) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel("epochs")
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=0)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if with_legend and axes.get_lines():
        axes.legend(fontsize=8, frameon=False)


def _summary(epochs: Epochs) -> str:
    """Epochs, the best AP and the time in a few words."""
    words = [f"{epochs[-1]['epoch'] + 1} epochs"]
    scores = [e[key] for e in epochs for key in ("test_AP", "ema_test_AP") if key in e]
    if scores:
        words.append(f"best AP {100 * max(scores):.1f}")
    if "minutes" in epochs[-1]:
        words.append(f"{epochs[-1]['minutes']:.1f} minutes")
    return ", ".join(words)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m util.plots", description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="holds log.txt")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: DIR/curves.png")
    given = parser.parse_args(arguments)
    one = len(given.folders) == 1
    out = given.out or (given.folders[0] if one else Path()) / "curves.png"
    return exit_status(lambda: _plot(given.folders, out))


def _plot(folders: Sequence[Path], out: Path) -> None:
    plot_curves([folder / LOG for folder in folders], out)
    sys.stdout.write(f"{out} written\n")


if __name__ == "__main__":
    sys.exit(main())
