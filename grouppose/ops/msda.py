"""Multi-scale deformable attention: the operators, their derivatives and the choice of kernel.

The compiled kernels register themselves under the schemas defined here; torch.compile and
torch.export see one opaque operator a call.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grouppose.errors import InputError
from grouppose.ops import backends
from grouppose.ops.reference import msda_fused_reference, msda_gather, msda_reference

SCHEMAS = {
    "msda": "(Tensor value, SymInt[] level_shapes, Tensor locations, Tensor weights, "
    "int variant=0) -> Tensor",
    "msda_backward": "(Tensor grad, Tensor value, SymInt[] level_shapes, Tensor locations, "
    "Tensor weights, int variant=0) -> (Tensor, Tensor, Tensor)",
    "msda_fused": "(Tensor value, SymInt[] level_shapes, Tensor reference, Tensor offsets, "
    "Tensor logits, int variant=0) -> Tensor",
    "msda_fused_backward": "(Tensor grad, Tensor value, SymInt[] level_shapes, Tensor reference, "
    "Tensor offsets, Tensor logits, bool with_reference, int variant=0) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
}
_PLAIN = {"reference": msda_reference, "gather": msda_gather}
_library = torch.library.Library("grouppose", "DEF")  # noqa: TOR901 - lives as long as the process


def _fake_forward(value: Tensor, level_shapes: list[int], points: Tensor, *rest: object) -> Tensor:
    batch, _, heads, channels = value.shape
    return value.new_empty(batch, points.shape[1], heads * channels)


def _fake_backward(
    grad: Tensor,
    value: Tensor,
    level_shapes: list[int],
    locations: Tensor,
    weights: Tensor,
    variant: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    return _like(value), _like(locations), _like(weights)


def _fake_fused_backward(
    grad: Tensor,
    value: Tensor,
    level_shapes: list[int],
    reference: Tensor,
    offsets: Tensor,
    logits: Tensor,
    with_reference: bool,
    variant: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grad_reference = _like(reference) if with_reference else reference.new_empty(0)
    return _like(value), grad_reference, _like(offsets), _like(logits)


def _like(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)  # contiguous, whatever x is


def _setup_context(ctx: object, inputs: tuple, output: Tensor) -> None:
    value, ctx.level_shapes, *tensors, ctx.variant = inputs
    ctx.save_for_backward(value, *tensors)


def _differentiate(name: str, suffix: str) -> None:
    """Registers backward of operator `name` + `suffix`; second derivatives raise."""
    backward_op = getattr(torch.ops.grouppose, f"{name}_backward{suffix}")

    def backward(ctx: object, grad: Tensor) -> tuple:
        value, *tensors = ctx.saved_tensors
        fused = (ctx.needs_input_grad[2],) if name == "msda_fused" else ()
        variant = ctx.variant
        if grad.is_cuda:  # 1: sums whose result does not depend on their order
            variant = int(torch.are_deterministic_algorithms_enabled())
        grads = backward_op(grad, value, ctx.level_shapes, *tensors, *fused, variant)
        if fused and not fused[0]:
            grads = (grads[0], None, *grads[2:])
        return grads[0], None, *grads[1:], None

    def second_derivative(ctx: object, *grads: Tensor) -> tuple:
        raise NotImplementedError(
            "multi-scale deformable attention has no second derivative; its first one was "
            "differentiated again; call backward without create_graph=True"
        )

    torch.library.register_autograd(
        f"grouppose::{name}{suffix}", backward, setup_context=_setup_context, lib=_library
    )
    torch.library.register_autograd(
        f"grouppose::{name}_backward{suffix}", second_derivative, lib=_library
    )


def _define(suffix: str) -> None:
    for name, schema in SCHEMAS.items():
        _library.define(name + suffix + schema, tags=(torch.Tag.pt2_compliant_tag,))
    fakes = {
        "msda": _fake_forward,
        "msda_fused": _fake_forward,
        "msda_backward": _fake_backward,
        "msda_fused_backward": _fake_fused_backward,
    }
    for name, fake in fakes.items():
        torch.library.register_fake(f"grouppose::{name}{suffix}", fake, lib=_library)
    for name in ("msda", "msda_fused"):
        _differentiate(name, suffix)


def _register_triton() -> None:
    """The operators that end in `_triton`; their kernels are imported when first called."""
    _define("_triton")

    def implement(name: str) -> None:
        def run(*args: object) -> object:
            from grouppose.ops import triton_kernels

            return getattr(triton_kernels, name)(*args)

        _library.impl(f"{name}_triton", run, "CUDA")
        _library.impl(f"{name}_triton", run, "CPU")  # Triton's interpreter

    for name in SCHEMAS:
        implement(name)


_define("")
for _name in ("cpu", "cuda"):
    backends.library(_name)
_register_triton()


def _check(
    value: Tensor, level_shapes: Sequence[tuple[int, int]], points: Tensor, weights: Tensor
) -> None:
    """Raises InputError unless the shapes of value, locations (or offsets) and weights agree."""
    if value.dim() != 4:
        raise InputError(f"value is {tuple(value.shape)}; expected (B, S, H, D)")
    batch, positions, heads, _ = value.shape
    if points.dim() != 6 or points.shape[-1] != 2:
        raise InputError(
            f"locations or offsets are {tuple(points.shape)}; expected (B, Q, H, L, P, 2)"
        )
    expected = (batch, points.shape[1], heads, len(level_shapes), points.shape[4], 2)
    if tuple(points.shape) != expected:
        raise InputError(
            f"locations or offsets are {tuple(points.shape)}; value and level_shapes ask for "
            f"(B, Q, H, L, P, 2) = {expected}"
        )
    if tuple(weights.shape) != expected[:-1]:
        raise InputError(
            f"weights or logits are {tuple(weights.shape)}; locations or offsets ask for "
            f"(B, Q, H, L, P) = {expected[:-1]}"
        )
    if sum(h * w for h, w in level_shapes) != positions:
        raise InputError(
            f"level_shapes {list(level_shapes)} have {sum(h * w for h, w in level_shapes)} "
            f"positions, value has {positions}; is it (B, S, H, D) with all levels in order?"
        )
    if not value.device == points.device == weights.device:
        raise InputError(
            f"value is on {value.device}, locations or offsets on {points.device}, weights or "
            f"logits on {weights.device}; move them to one device"
        )


def _precise(dtype: torch.dtype) -> torch.dtype:
    """What sums and coordinates have: float32, float64 for float64 values."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _flat(level_shapes: Sequence[tuple[int, int]]) -> list[int]:
    return [size for shape in level_shapes for size in shape]


def msda(
    value: Tensor,
    level_shapes: Sequence[tuple[int, int]],
    locations: Tensor,
    weights: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """Multi-scale deformable attention (Deformable DETR, equation 3) at given places.

    Sampling is bilinear, with pixel centres at half integers and zeros outside a level; a place
    that is not finite is outside. Sums are accumulated in float32 (float64 for float64 values).

    Args:
        value: (B, S, H, D), all positions of all levels, row by row.
        level_shapes: L pairs (h, w) of Python ints with sum(h * w) = S.
        locations: (B, Q, H, L, P, 2) x, y in [0, 1] of the level. Keep them in float32: 16 bits
            are half a pixel off at a width of 134.
        weights: (B, Q, H, L, P).
        backend: one of `grouppose.ops.backends.NAMES`; None picks the fastest.

    Returns:
        (B, Q, H * D) of value's dtype; differentiable once with respect to every tensor.
    """
    _check(value, level_shapes, locations, weights)
    kind, variant = backends.choose(value.device, value.dtype, backend)
    if kind in _PLAIN:
        return _PLAIN[kind](value, level_shapes, locations, weights)
    precise = _precise(value.dtype)
    ops = torch.ops.grouppose
    return (ops.msda_triton if kind == "triton" else ops.msda)(
        value, _flat(level_shapes), locations.to(precise), weights.to(precise), variant
    )


def msda_fused(
    value: Tensor,
    level_shapes: Sequence[tuple[int, int]],
    reference: Tensor,
    offsets: Tensor,
    logits: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """`msda` with the softmax and the places computed inside the kernel.

    A place is `reference + offsets / (w, h)` and the weights are the softmax of `logits` over
    all L * P points of a head.

    Args:
        value: (B, S, H, D), all positions of all levels, row by row.
        level_shapes: L pairs (h, w) of Python ints with sum(h * w) = S.
        reference: (B, Q, L, 2) x, y in [0, 1] of each level.
        offsets: (B, Q, H, L, P, 2) x, y in pixels of each level.
        logits: (B, Q, H, L, P).
        backend: one of `grouppose.ops.backends.NAMES`; None picks the fastest.

    Returns:
        (B, Q, H * D) of value's dtype; differentiable once with respect to every tensor.
    """
    _check(value, level_shapes, offsets, logits)
    expected = (*offsets.shape[:2], len(level_shapes), 2)
    if tuple(reference.shape) != tuple(expected):
        raise InputError(
            f"reference is {tuple(reference.shape)}; offsets ask for (B, Q, L, 2) = {expected}"
        )
    kind, variant = backends.choose(value.device, value.dtype, backend)
    if kind in _PLAIN:
        form = _PLAIN[kind]
        return msda_fused_reference(value, level_shapes, reference, offsets, logits, form)
    precise = _precise(value.dtype)
    narrow = value.dtype if offsets.dtype == logits.dtype == value.dtype else precise
    ops = torch.ops.grouppose
    return (ops.msda_fused_triton if kind == "triton" else ops.msda_fused)(
        value,
        _flat(level_shapes),
        reference.to(precise),
        offsets.to(narrow),
        logits.to(narrow),
        variant,
    )
