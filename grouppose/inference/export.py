"""Models as files that run without this package: ONNX, and PyTorch's own exported programs.

A file gets its name only after it was run and gave the same people as the model.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from grouppose.errors import InputError, UserError
from grouppose.files import write_whole
from grouppose.inference.predictor import Predictor
from grouppose.models import part, title
from grouppose.pictures import read_picture, resize_picture, resized_size

PIXELS, SCORES = 0.05, 1e-4  # differences from the model that a file may have
FORMATS = {"onnx": ".onnx", "torch-export": ".pt2"}
_NEEDED = ("onnx", "onnxscript", "onnxruntime")

People = dict[str, Tensor]


def export_model(
    weights: str | Path,
    path: Path,
    form: str = "onnx",
    attention: str = "grid_sample",
    size: tuple[int, int] | None = None,
    dynamic: bool = False,
    pictures: Sequence[str | Path] = (),
    max_people: int = 50,
    say: Callable[[str], object] = lambda line: None,
) -> str:
    """Writes a model as a file that runs without this package, and compares it with the model.

    Args:
        weights: file of weights.
        path: of what is written.
        form: a key of `FORMATS`.
        attention: how a family writes what has no operator: "grid_sample" or "gather".
        size: height, width of pictures; None: those that a picture of 3 : 4 is evaluated at.
        dynamic: take any number of pictures of any size (Swin: of `size`); else one of `size`.
        pictures: files to compare on; none: made ones.
        max_people: the best so many of a picture are given.
        say: called with a line before each step.

    Returns:
        What was compared, and the largest differences.

    Raises:
        UserError: the file differs from the model by more than `PIXELS` or `SCORES`; it is not
            left behind. Or for what the caller can mend.
    """
    _check(path, form, size, max_people)
    predictor = Predictor(weights, device="cpu")
    model = predictor.model
    own = part_of(model, weights)
    size = _fitting(own, size or predictor.finder.decode.views(3, 4)[0].size)
    free = own.free_axes(model, dynamic)
    batches = _batches(pictures, size, free)
    say("running the model")
    expected = [own.everybody(model, images) for images in batches]
    say("tracing it")
    exportable = own.Exportable(model, attention, max_people)
    program = _trace(exportable, size, free)
    report = ""

    def write(temporary: Path) -> None:
        nonlocal report
        say(f"writing {path}")
        _save(program, form, temporary, exportable.outputs)
        say("running the file")
        run = _runner(form, temporary)
        pairs = [(run(images), known) for images, known in zip(batches, expected, strict=True)]
        if hasattr(own, "people"):  # the file gives something else, of which people are made
            pairs = [own.people(model, *pair) for pair in pairs]
        report = _compare(*zip(*pairs, strict=True), batches)

    write_whole(path, write)
    if hasattr(own, "beside"):
        report += f"; {own.beside(model, path)} makes people of its maps"
    return report


def _fitting(own: ModuleType, size: Sequence[int]) -> tuple[int, int]:
    """The height and width that a family's network takes instead of these."""
    return own.fitting_size(tuple(size)) if hasattr(own, "fitting_size") else tuple(size)


def part_of(model: nn.Module, weights: str | Path) -> ModuleType:
    """The family's half of the work, its export.py."""
    name = model.settings["modelname"]
    own = part(name, "export")
    if own is None:
        raise InputError(
            f"{weights} holds a model of {title(name)}, which cannot be exported yet; use it "
            "with grouppose.Predictor or grouppose predict"
        )
    return own


def _check(path: Path, form: str, size: tuple[int, int] | None, max_people: int) -> None:
    if path.suffix != FORMATS[form]:
        raise InputError(f"{path} must end in {FORMATS[form]}, as it is for {form}; rename it")
    if max_people < 1 or (size and min(size) < 1):
        found = f"max_people is {max_people}" if max_people < 1 else f"size is {tuple(size)}"
        raise InputError(f"{found}, must be at least 1")
    missing = [name for name in _NEEDED if not importlib.util.find_spec(name)]
    if form == "onnx" and missing:
        raise InputError(
            f"{', '.join(missing)} cannot be imported, which ONNX files are made and run with; "
            f"pip install {' '.join(missing)}, or choose --format torch-export"
        )


def _batches(
    pictures: Sequence[str | Path], size: tuple[int, int], free: dict[int, torch.export.Dim]
) -> list[Tensor]:
    """What to compare on, (B, 3, H, W) uint8; of several sizes and in twos where that is free."""
    height, width = size
    least = free[2].min if 2 in free else 1
    if min(size) < least:
        raise InputError(f"size {size} is too small for --dynamic, give sides of at least {least}")
    if pictures:
        images = [read_picture(path) for path in pictures]
        sizes = [resized_size(*image.shape[1:], min(size), max(size)) for image in images]
    else:
        sizes = [size, (width, height), (2 * height // 3, width)]
        images = [make_picture(*size, seed) for seed in range(len(sizes))]
    batches = []
    for i, (image, fitting) in enumerate(zip(images, sizes, strict=True)):
        fitting = tuple(max(least, side) for side in fitting) if 2 in free else size
        image = resize_picture(image, fitting)
        batches.append(torch.stack([image, image.flip(-1)]) if 0 in free and i % 2 else image[None])
    return batches


def make_picture(height: int, width: int, seed: int) -> Tensor:
    """Coloured clouds under noise, (3, height, width) uint8; nowhere the same."""
    draw = torch.Generator().manual_seed(seed)
    clouds = torch.rand(1, 3, 9, 12, generator=draw)
    clouds = F.interpolate(clouds, (height, width), mode="bicubic")[0]
    noise = 0.1 * torch.randn(3, height, width, generator=draw)
    return (255 * (clouds + noise).clamp(0, 1)).to(torch.uint8)


def _trace(
    model: nn.Module, size: tuple[int, int], free: dict[int, torch.export.Dim]
) -> torch.export.ExportedProgram:
    images = make_picture(*size, 0).repeat(2 if free else 1, 1, 1, 1)
    with torch.no_grad():
        return torch.export.export(model.eval(), (images,), dynamic_shapes={"images": free})


def _save(
    program: torch.export.ExportedProgram, form: str, path: Path, outputs: Sequence[str]
) -> None:
    if form == "torch-export":
        torch.export.save(program, path)
        return
    written = torch.onnx.export(
        program, input_names=["images"], output_names=list(outputs), dynamo=True, verbose=False
    )
    written.save(path, external_data=False)


def _runner(form: str, path: Path) -> Callable[[Tensor], People]:
    """What runs a file: pictures -> people, as `Exportable`."""
    if form == "torch-export":
        return torch.export.load(path).module()
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> People:
        columns = session.run(names, {"images": images.numpy()})
        return dict(zip(names, map(torch.from_numpy, columns), strict=True))

    return run


def _compare(
    found: Sequence[People], expected: Sequence[tuple[People, Tensor]], batches: Sequence[Tensor]
) -> str:
    """A line on the largest differences.

    Raises:
        UserError: if they are too large.
    """
    rows = []
    all_found = isinstance(expected[0][0]["scores"], list)  # as many as there must be
    for people, (everybody, margins) in zip(found, expected, strict=True):
        for b, margin in enumerate(margins.tolist()):
            pair = [{k: v[b] for k, v in columns.items()} for columns in (people, everybody)]
            counts = {len(columns["scores"]) for columns in pair}
            missed = all_found and len(counts) > 1
            differ = (torch.inf, torch.inf) if missed else people_differ(*pair)
            rows.append((*differ, margin))
    differences = torch.tensor(rows)
    pixels, scores, margin = differences.unbind(1)
    undecided = ~((pixels <= PIXELS) & (scores <= SCORES)) & (margin < SCORES)
    decided = differences[~undecided]
    sizes = sorted({tuple(images.shape[2:]) for images in batches})
    sizes = ", ".join(f"{height} x {width}" for height, width in sizes)
    counts = sorted({len(scores) for columns in found for scores in columns["scores"]})
    people = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else counts[0]
    line = f"{len(decided)} pictures ({sizes}), {people} people each"
    if undecided.any():
        line += (
            f"; {undecided.sum()} more left out, as rounding decides which position of them "
            "becomes the last that counts"
        )
    if not len(decided) and all_found:  # maps were compared before
        return line
    if not len(decided):
        raise UserError(f"nothing to compare with, the file is not kept: {line}; give --pictures")
    pixels, scores, _ = decided.amax(0).tolist()
    line += (
        f": keypoints differ from the model's by up to {pixels:.2g} px (allowed {PIXELS:g}), "
        f"scores by {scores:.2g} (allowed {SCORES:g})"
    )
    if not (pixels <= PIXELS and scores <= SCORES):  # NaN fails, too
        raise UserError(f"the file is wrong and not kept; {line}; try the other --attention")
    return line


def people_differ(found: People, expected: People) -> tuple[float, float]:
    """Largest differences of keypoints (pixels) and scores between the people of a picture.

    Everybody who was found must be one of the expected, no two the same, whatever their order:
    rounding may exchange people whose scores are all but equal. But the scores found must be the
    best of those expected, rank by rank.

    Args:
        found: scores (n,), labels (n,), keypoints (n, K, 2), best first.
        expected: the same of m >= n.
    """
    if not len(found["scores"]):
        return 0.0, 0.0
    apart = found["keypoints"][:, None] - expected["keypoints"]
    pixels = torch.linalg.vector_norm(apart, dim=-1).amax(-1)  # (n, m)
    pixels = pixels.masked_fill(found["labels"][:, None] != expected["labels"], torch.inf)
    scores = (found["scores"][:, None] - expected["scores"]).abs()
    cost = torch.maximum(pixels / PIXELS, scores / SCORES).nan_to_num(nan=1e6).clamp(max=1e6)
    rows, columns = linear_sum_assignment(torch.where(cost <= 1, cost, 1e3 + cost))
    by_rank = (found["scores"] - expected["scores"][: len(rows)]).abs()
    pixels, scores = pixels[rows, columns], scores[rows, columns]
    return pixels.max().item(), torch.cat((scores, by_rank)).max().item()
