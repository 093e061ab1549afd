"""Problems to solve, and multi-scale deformable attention written from its definition."""

import math
from typing import NamedTuple

import torch

from grouppose.ops.backends import cpu_variants, interprets_triton

# kernels that run here; Triton's in a process that interprets them (test_triton.py starts one)
KERNELS = [*cpu_variants(), *(["triton"] if interprets_triton() else [])]
LEVELS = [(6, 7), (3, 4), (1, 1)]
TOLERANCE = {  # of the largest expected number
    torch.float64: 1e-12,
    torch.float32: 3e-6,
    torch.bfloat16: 8e-3,
    torch.float16: 1e-3,
}


class Problem(NamedTuple):
    """Inputs of both forms: locations and weights are the fused form's offsets and logits."""

    shapes: list
    value: torch.Tensor
    locations: torch.Tensor
    weights: torch.Tensor
    reference: torch.Tensor
    offsets: torch.Tensor
    logits: torch.Tensor
    grad: torch.Tensor

    @property
    def plain(self):
        return self.value, self.locations, self.weights

    @property
    def fused(self):
        return self.value, self.reference, self.offsets, self.logits


def make_problem(
    shapes=LEVELS, batch=2, queries=5, heads=2, channels=8, points=3, dtype=torch.float64, seed=0
):
    """Random inputs; every sample keeps 1e-3 pixels away from whole pixels, where slopes jump."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=draw, dtype=torch.float64)

    precise = torch.promote_types(dtype, torch.float32)
    levels = len(shapes)
    each = (batch, queries, heads, levels, points)
    sizes = torch.tensor([(w, h) for h, w in shapes], dtype=torch.float64)
    reference = torch.rand(batch, queries, levels, 2, generator=draw, dtype=torch.float64)
    reference = reference.to(precise).double()
    pixels = reference[:, :, None, :, None] * sizes[:, None] + 1.5 * normal(*each, 2) - 0.5
    pixels = pixels.floor() + (pixels - pixels.floor()).clamp(1e-3, 1 - 1e-3)
    offsets = pixels + 0.5 - reference[:, :, None, :, None] * sizes[:, None]
    return Problem(
        shapes=list(shapes),
        value=normal(batch, sum(h * w for h, w in shapes), heads, channels).to(dtype),
        locations=((pixels + 0.5) / sizes[:, None]).to(precise),
        weights=normal(*each).to(precise),
        reference=reference.to(precise),
        offsets=offsets.to(dtype),
        logits=(3 * normal(*each)).to(dtype),
        grad=normal(batch, queries, heads * channels).to(dtype),
    )


def by_definition(value, shapes, locations, weights):
    """A sum over levels, points and pixels, one number at a time, in float64."""
    batch, _, heads, channels = value.shape
    queries, levels, points = locations.shape[1], len(shapes), locations.shape[4]
    out = torch.zeros(batch, queries, heads, channels, dtype=torch.float64)
    places, shares = locations.double().tolist(), weights.double().tolist()
    for b, q, h in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads))).tolist():
        for level in range(levels):
            rows, columns = shapes[level]
            first = sum(r * c for r, c in shapes[:level])
            for point in range(points):
                x, y = places[b][q][h][level][point]
                if not (math.isfinite(x) and math.isfinite(y)):
                    continue
                x, y = x * columns - 0.5, y * rows - 0.5
                for row in range(max(math.ceil(y - 1), 0), min(math.floor(y + 1), rows - 1) + 1):
                    for column in range(
                        max(math.ceil(x - 1), 0), min(math.floor(x + 1), columns - 1) + 1
                    ):
                        near = (1 - abs(x - column)) * (1 - abs(y - row))
                        pixel = value[b, first + row * columns + column, h].double()
                        out[b, q, h] += shares[b][q][h][level][point] * near * pixel
    return out.flatten(2)


def run(op, shapes, tensors, grad=None, **options):
    """The output, and the gradients of all tensors where `grad` is that of the output."""
    tensors = [x.detach().clone().requires_grad_(grad is not None) for x in tensors]
    out = op(tensors[0], shapes, *tensors[1:], **options)
    if grad is None:
        return [out]
    out.backward(grad)
    return [out.detach(), *(x.grad for x in tensors)]


def assert_close(actual, expected, dtype):
    """Equal up to what `dtype` can hold of the largest expected number."""
    for x, y in zip(actual, expected, strict=True):
        assert x.shape == y.shape
        atol = TOLERANCE[dtype] * max(y.abs().max().item(), 1e-3) if y.numel() else 0
        torch.testing.assert_close(x.double(), y.double(), rtol=0, atol=atol)
