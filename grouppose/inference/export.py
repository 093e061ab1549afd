"""Models as files that run without this package: ONNX, and PyTorch's own exported programs.

A file gets its name only after it was run and gave the same people as the model.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from grouppose.backbones.swin import Swin
from grouppose.errors import InputError, UserError
from grouppose.files import write_whole
from grouppose.inference.predictor import Predictor
from grouppose.layers.deformable import MSDeformAttn
from grouppose.models.grouppose.postprocess import best_people
from grouppose.pictures import read_picture, resize_picture, resized_size

PIXELS, SCORES = 0.05, 1e-4  # differences from the model that a file may have
FORMATS = {"onnx": ".onnx", "torch-export": ".pt2"}
ATTENTION = {"grid_sample": "reference", "gather": "gather"}  # form: backend of the operator
COLUMNS = ("scores", "labels", "keypoints")  # of people, that a file gives
_NEEDED = ("onnx", "onnxscript", "onnxruntime")

People = dict[str, Tensor]


class Exportable(nn.Module):
    """A model as standard operators, from plain pictures to people.

    Args:
        model: to copy.
        attention: a key of `ATTENTION`.
        max_people: the best so many of a picture are given.
    """

    def __init__(self, model: nn.Module, attention: str, max_people: int) -> None:
        super().__init__()
        # plain memory order: torch.export.save warns of every weight in another one
        self.model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
        self.max_people = max_people
        for module in self.model.modules():
            if isinstance(module, MSDeformAttn):
                module.backend = ATTENTION[attention]

    def forward(self, images: Tensor) -> People:
        """Finds people.

        Args:
            images: (B, 3, H, W) uint8 RGB.

        Returns:
            Best first: scores (B, n), labels (B, n) int64 (1 = person), keypoints (B, n, K, 2) x, y
            in pixels of `images`.
        """
        people = best_people(self.model(images), _sizes(images), self.max_people)
        return {name: people[name] for name in COLUMNS}


def _sizes(images: Tensor) -> Tensor:
    """(B, 2) height, width."""
    size = [images.new_full((), side, dtype=torch.int64) for side in images.shape[-2:]]
    return torch.stack(size).expand(images.shape[0], -1)


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
        attention: a key of `ATTENTION`.
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
    size = tuple(size or resized_size(3, 4, *predictor.sizes[0]))
    model = predictor.model
    free = free_axes(model, dynamic)
    batches = _batches(pictures, size, free)
    say("running the model")
    expected = [_everybody(model, images) for images in batches]
    say("tracing it")
    program = _trace(Exportable(model, attention, max_people), size, free)
    report = ""

    def write(temporary: Path) -> None:
        nonlocal report
        say(f"writing {path}")
        _save(program, form, temporary)
        say("running the file")
        run = _runner(form, temporary)
        report = _compare([run(images) for images in batches], expected, batches)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, write)
    return report


def _check(path: Path, form: str, size: tuple[int, int] | None, max_people: int) -> None:
    if path.suffix != FORMATS[form]:
        raise InputError(f"{path} must end in {FORMATS[form]}, as it is for {form}; rename it")
    if max_people < 1 or (size and min(size) < 1):
        raise InputError(f"size {size} and max_people {max_people} must be at least 1")
    missing = [name for name in _NEEDED if not importlib.util.find_spec(name)]
    if form == "onnx" and missing:
        raise InputError(
            f"{', '.join(missing)} cannot be imported, which ONNX files are made and run with; "
            f"pip install {' '.join(missing)}, or choose --format torch-export"
        )


def free_axes(model: nn.Module, dynamic: bool) -> dict[int, torch.export.Dim]:
    """The axes of pictures (B, 3, H, W) that a file is to leave open.

    A last level of one row or column would be a special case, so sides begin above its stride.
    Swin's windows make sizes that torch.export does not finish to reason about: only B is free.
    """
    if not dynamic:
        return {}
    batch = {0: torch.export.Dim("batch", min=1)}
    if isinstance(model.backbone[0], Swin):
        return batch
    least = 8 * 2 ** (len(model.input_proj) - 1) + 1
    sides = {2: "height", 3: "width"}
    return batch | {axis: torch.export.Dim(name, min=least) for axis, name in sides.items()}


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


@torch.inference_mode()
def _everybody(model: nn.Module, images: Tensor) -> tuple[People, Tensor]:
    """All candidates of a model, best first; and `selection_margin` of each picture, (B,)."""
    logits = []
    head = model.transformer.enc_out_class_embed
    hook = head.register_forward_hook(lambda module, inputs, output: logits.append(output))
    outputs = model(images)
    hook.remove()
    margin = selection_margin(logits[0].amax(-1), model.transformer.num_queries)
    return best_people(outputs, _sizes(images), outputs["pred_logits"][0].numel()), margin


def selection_margin(logits: Tensor, num_queries: int) -> Tensor:
    """By how much the last position that becomes a query beats the next: (B, S) -> (B,).

    Where it is no more than rounding, two correct programs may start from different people.
    """
    if logits.shape[1] == num_queries:
        return torch.full_like(logits[:, 0], torch.inf)
    ranked = logits.topk(num_queries + 1, dim=1).values
    return ranked[:, -2] - ranked[:, -1]


def _trace(
    model: nn.Module, size: tuple[int, int], free: dict[int, torch.export.Dim]
) -> torch.export.ExportedProgram:
    images = make_picture(*size, 0).repeat(2 if free else 1, 1, 1, 1)
    with torch.no_grad():
        return torch.export.export(model.eval(), (images,), dynamic_shapes={"images": free})


def _save(program: torch.export.ExportedProgram, form: str, path: Path) -> None:
    if form == "torch-export":
        torch.export.save(program, path)
        return
    written = torch.onnx.export(
        program, input_names=["images"], output_names=list(COLUMNS), dynamo=True, verbose=False
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
    for people, (everybody, margins) in zip(found, expected, strict=True):
        for b, margin in enumerate(margins.tolist()):
            pair = ({k: v[b] for k, v in columns.items()} for columns in (people, everybody))
            rows.append((*people_differ(*pair), margin))
    differences = torch.tensor(rows)
    pixels, scores, margin = differences.unbind(1)
    undecided = ~((pixels <= PIXELS) & (scores <= SCORES)) & (margin < SCORES)
    decided = differences[~undecided]
    sizes = sorted({tuple(images.shape[2:]) for images in batches})
    sizes = ", ".join(f"{height} x {width}" for height, width in sizes)
    line = f"{len(decided)} pictures ({sizes}), {found[0]['scores'].shape[1]} people each"
    if undecided.any():
        line += (
            f"; {undecided.sum()} more left out, as rounding decides which position of them "
            "becomes the last query"
        )
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
    apart = found["keypoints"][:, None] - expected["keypoints"]
    pixels = torch.linalg.vector_norm(apart, dim=-1).amax(-1)  # (n, m)
    pixels = pixels.masked_fill(found["labels"][:, None] != expected["labels"], torch.inf)
    scores = (found["scores"][:, None] - expected["scores"]).abs()
    cost = torch.maximum(pixels / PIXELS, scores / SCORES).nan_to_num(nan=1e6).clamp(max=1e6)
    rows, columns = linear_sum_assignment(torch.where(cost <= 1, cost, 1e3 + cost))
    by_rank = (found["scores"] - expected["scores"][: len(rows)]).abs()
    pixels, scores = pixels[rows, columns], scores[rows, columns]
    return pixels.max().item(), torch.cat((scores, by_rank)).max().item()
