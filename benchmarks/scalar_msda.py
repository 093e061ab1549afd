"""The classical CUDA kernel of scalar_msda.cu as a differentiable function."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor


class _Sizes(ctypes.Structure):
    _fields_ = [  # noqa: RUF012 - as ctypes wants it
        *((name, ctypes.c_int) for name in
          ("batch", "positions", "heads", "channels", "queries", "levels", "points")),
        ("height", ctypes.c_int * 8),
        ("width", ctypes.c_int * 8),
    ]  # fmt: skip


def build(level_shapes: Sequence[tuple[int, int]]) -> Callable[..., Tensor] | None:
    """Compiles it for the GPU of this machine; None where there is no nvcc."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None
    major, minor = torch.cuda.get_device_capability()
    target = Path(tempfile.mkdtemp()) / "scalar.so"
    source = Path(__file__).with_name("scalar_msda.cu")
    flags = ["-O3", f"-arch=sm_{major}{minor}", "-shared", "-Xcompiler", "-fPIC"]
    subprocess.run([nvcc, *flags, source, "-o", target], check=True)
    library = ctypes.CDLL(str(target))

    def call(function: Callable, sizes: _Sizes, *tensors: Tensor) -> None:
        pointers = [ctypes.c_void_p(x.data_ptr()) for x in tensors]
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        code = function(ctypes.byref(sizes), *pointers, stream)
        if code:
            raise RuntimeError(f"the scalar kernel ended with CUDA error {code}")

    class Scalar(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value, locations, weights):
            inputs = [x.contiguous() for x in (value, locations, weights)]
            ctx.save_for_backward(*inputs)
            batch, positions, heads, channels = value.shape
            queries, levels, points = weights.shape[1], *weights.shape[3:]
            ctx.sizes = _Sizes(batch, positions, heads, channels, queries, levels, points)
            for level, (h, w) in enumerate(level_shapes):
                ctx.sizes.height[level], ctx.sizes.width[level] = h, w
            out = value.new_empty(batch, queries, heads * channels)
            call(library.scalar_forward, ctx.sizes, *inputs, out)
            return out

        @staticmethod
        def backward(ctx, grad):
            grads = [torch.zeros_like(x) for x in ctx.saved_tensors]
            call(library.scalar_backward, ctx.sizes, grad.contiguous(), *ctx.saved_tensors, *grads)
            return tuple(grads)

    return Scalar.apply
