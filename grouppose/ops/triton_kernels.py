"""Multi-scale deformable attention in Triton, for GPUs without compiled kernels.

A program works on one head of BLOCK queries and one level; levels follow one another, so that their
sizes are plain numbers. Sums are in float32 (float64 for float64 values). Imported when first used.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from grouppose.ops.reference import level_sizes, sampling_points

_BLOCK = 16  # queries of a program


@triton.jit
def _corner(x, y, fraction_x, fraction_y, height, width, usable, right: tl.constexpr, below: tl.constexpr):  # fmt: skip  # noqa: E501, ANN001, ANN202
    """Index inside the level, share of the sample and whether the corner is inside."""
    column, row = x + right, y + below
    inside = usable & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    by_x = fraction_x if right else 1 - fraction_x
    by_y = fraction_y if below else 1 - fraction_y
    return row * width + column, by_x * by_y, inside


@triton.jit
def _place(locations, index, height, width, real, kind: tl.constexpr):  # noqa: ANN001, ANN202
    """Pixel coordinates of samples: whole part, fraction; unusable where wholly outside or NaN."""
    x = tl.load(locations + 2 * index, mask=real, other=-2).to(kind) * width - 0.5
    y = tl.load(locations + 2 * index + 1, mask=real, other=-2).to(kind) * height - 0.5
    usable = (x > -1) & (x < width) & (y > -1) & (y < height)
    x, y = tl.where(usable, x, 0), tl.where(usable, y, 0)
    left, top = tl.floor(x), tl.floor(y)
    return left.to(tl.int32), top.to(tl.int32), x - left, y - top, usable


@triton.jit
def _forward_kernel(
    value, locations, weights, out,  # noqa: ANN001
    height, width, first, level, levels, positions, queries, heads, channels,  # noqa: ANN001
    points: tl.constexpr, kind: tl.constexpr, BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Adds one level's samples to `out` (B, Q, H, D)."""
    head, picture = tl.program_id(1) % heads, tl.program_id(1) // heads
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, CHANNELS)
    real = query < queries
    both = real[:, None] & (channel < channels)[None, :]
    row = (picture.to(tl.int64) * queries + query) * heads + head
    target = out + row[:, None] * channels + channel[None, :]
    source = value + ((picture.to(tl.int64) * positions + first) * heads + head) * channels
    total = tl.load(target, mask=both, other=0)
    for point in range(points):
        index = (row * levels + level) * points + point
        x, y, fraction_x, fraction_y, usable = _place(locations, index, height, width, real, kind)
        share = tl.load(weights + index, mask=real, other=0).to(kind)
        for corner in tl.static_range(4):
            at, part, inside = _corner(
                x, y, fraction_x, fraction_y, height, width, usable, corner % 2, corner // 2
            )
            pixel = source + at[:, None].to(tl.int64) * heads * channels + channel[None, :]
            pixel = tl.load(pixel, mask=inside[:, None] & both, other=0).to(kind)
            total += tl.where(inside, share * part, 0)[:, None] * pixel
    tl.store(target, total, mask=both)


@triton.jit
def _backward_kernel(
    grad, value, locations, weights, grad_value, grad_locations, grad_weights,  # noqa: ANN001
    height, width, first, level, levels, positions, queries, heads, channels,  # noqa: ANN001
    points: tl.constexpr, kind: tl.constexpr, BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Writes the gradients of one level's samples and adds to those of its values."""
    head, picture = tl.program_id(1) % heads, tl.program_id(1) // heads
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, CHANNELS)
    real = query < queries
    both = real[:, None] & (channel < channels)[None, :]
    row = (picture.to(tl.int64) * queries + query) * heads + head
    start = ((picture.to(tl.int64) * positions + first) * heads + head) * channels
    slope = tl.load(grad + row[:, None] * channels + channel[None, :], mask=both, other=0).to(kind)
    for point in range(points):
        index = (row * levels + level) * points + point
        x, y, fraction_x, fraction_y, usable = _place(locations, index, height, width, real, kind)
        share = tl.load(weights + index, mask=real, other=0).to(kind)
        by_share, by_x, by_y = share * 0, share * 0, share * 0
        for corner in tl.static_range(4):
            at, part, inside = _corner(
                x, y, fraction_x, fraction_y, height, width, usable, corner % 2, corner // 2
            )
            offset = start + at[:, None].to(tl.int64) * heads * channels + channel[None, :]
            seen = inside[:, None] & both
            pixel = tl.load(value + offset, mask=seen, other=0).to(kind)
            product = tl.sum(pixel * slope, axis=1)
            by_share += part * product
            toward_x = fraction_y if corner // 2 else 1 - fraction_y
            toward_y = fraction_x if corner % 2 else 1 - fraction_x
            by_x += (toward_x if corner % 2 else -toward_x) * product
            by_y += (toward_y if corner // 2 else -toward_y) * product
            tl.atomic_add(
                grad_value + offset, (share * part)[:, None] * slope, mask=seen, sem="relaxed"
            )
        tl.store(grad_weights + index, by_share, mask=real)
        tl.store(grad_locations + 2 * index, share * by_x * width, mask=real)
        tl.store(grad_locations + 2 * index + 1, share * by_y * height, mask=real)


def _levels(shapes: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """height, width, first position and number of every level."""
    first = 0
    for level, (height, width) in enumerate(zip(shapes[::2], shapes[1::2], strict=True)):
        yield height, width, first, level
        first += height * width


def _precise(value: Tensor) -> tuple[torch.dtype, object]:
    return (torch.float64, tl.float64) if value.dtype == torch.float64 else (
        torch.float32, tl.float32)  # fmt: skip


def _launch(kernel: object, tensors: list[Tensor], value: Tensor, points: Tensor,
            shapes: list[int]) -> None:  # fmt: skip
    batch, positions, heads, channels = value.shape
    queries, levels, each = points.shape[1], points.shape[3], points.shape[4]
    if batch * queries * heads * channels * each == 0:
        return
    grid = (triton.cdiv(queries, _BLOCK), batch * heads)
    with torch.cuda.device_of(value):  # Triton launches on the current device, which may be another
        for height, width, first, level in _levels(shapes):
            kernel[grid](
                *tensors, height, width, first, level, levels, positions, queries, heads, channels,
                points=each, kind=_precise(value)[1], BLOCK=_BLOCK,
                CHANNELS=triton.next_power_of_2(channels),
            )  # fmt: skip


def msda(
    value: Tensor, shapes: list[int], locations: Tensor, weights: Tensor, variant: int = 0
) -> Tensor:
    """As `grouppose.ops.msda`, with the levels' sizes one after another."""
    value, locations, weights = (x.contiguous() for x in (value, locations, weights))
    batch, _, heads, channels = value.shape
    out = value.new_zeros(batch, locations.shape[1], heads * channels, dtype=_precise(value)[0])
    _launch(_forward_kernel, [value, locations, weights, out], value, locations, shapes)
    return out.to(value.dtype)


def msda_backward(
    grad: Tensor, value: Tensor, shapes: list[int], locations: Tensor, weights: Tensor,
    variant: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of value, locations and weights. The sums of value's are in no fixed order."""
    if torch.are_deterministic_algorithms_enabled():
        raise RuntimeError(
            "deterministic algorithms are on, and the Triton backward of deformable attention is "
            "not; build the CUDA kernels, or pass backend='reference'"
        )
    grad, value, locations, weights = (x.contiguous() for x in (grad, value, locations, weights))
    grads = [torch.zeros_like(x, dtype=_precise(value)[0]) for x in (value, locations, weights)]
    _launch(_backward_kernel, [grad, value, locations, weights, *grads], value, locations, shapes)
    return grads[0].to(value.dtype), grads[1].to(locations.dtype), grads[2].to(weights.dtype)


def msda_fused(
    value: Tensor, shapes: list[int], reference: Tensor, offsets: Tensor, logits: Tensor,
    variant: int = 0,
) -> Tensor:  # fmt: skip
    """As `grouppose.ops.msda_fused`; softmax and places are computed before the kernel."""
    pairs = list(zip(shapes[::2], shapes[1::2], strict=True))
    return msda(value, shapes, *sampling_points(pairs, reference, offsets, logits))


def msda_fused_backward(
    grad: Tensor, value: Tensor, shapes: list[int], reference: Tensor, offsets: Tensor,
    logits: Tensor, with_reference: bool, variant: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of value, reference (empty if not asked for), offsets and logits."""
    pairs = list(zip(shapes[::2], shapes[1::2], strict=True))
    locations, weights = sampling_points(pairs, reference, offsets, logits)
    grad_value, by_place, by_weight = msda_backward(grad, value, shapes, locations, weights)
    sizes = level_sizes(pairs, by_place)
    mean = (weights * by_weight).sum((-2, -1), keepdim=True)
    by_reference = by_place.sum((2, 4)) if with_reference else reference.new_empty(0)
    return (
        grad_value,
        by_reference.to(reference.dtype),
        (by_place / sizes[:, None]).to(offsets.dtype),
        (weights * (by_weight - mean)).to(logits.dtype),
    )
