"""Which kernel runs where, and why."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import warnings
from pathlib import Path

import torch

from grouppose.errors import InputError

_ROOT = Path(__file__).parents[2]
BUILD_COMMAND = (
    f"pip install --no-build-isolation --no-deps -e {_ROOT}"
    if (_ROOT / "setup.py").exists()
    else "pip install --no-build-isolation --no-deps --force-reinstall --no-binary :all: grouppose"
)
OLDEST_TORCH = (2, 11)  # the stable ABI that the compiled kernels use
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
CPU_VARIANTS = {"cpu": 1, "cpu-avx2": 2, "cpu-avx512": 3}  # slowest first; the kernels' own numbers
PLAIN = ("reference", "gather")  # of PyTorch's operators, on any device
NAMES = (*CPU_VARIANTS, "cuda", "triton", *PLAIN)


@functools.cache
def library(name: str) -> tuple[ctypes.CDLL | None, str]:
    """Loads `_cpu.so` or `_cuda.so`, which register their kernels.

    Returns:
        The library, or None and the reason why it is not there.
    """
    path = Path(__file__).with_name(f"_{name}.so")
    if not path.exists():
        return None, f"the compiled {name} kernels were not built; `{BUILD_COMMAND}` builds them"
    if tuple(int(n) for n in torch.__version__.split(".")[:2]) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        return None, (
            f"torch {torch.__version__} is older than {oldest}, which the compiled kernels need; "
            f"`pip install 'torch>={oldest}'` and build again"
        )
    if name == "cuda" and torch.version.cuda is None:
        return None, "this torch was built without CUDA"
    try:
        torch.ops.load_library(path)
    except OSError as error:
        return None, f"{path.name} does not load ({error}); `{BUILD_COMMAND}` builds it again"
    return ctypes.CDLL(str(path)), ""


@functools.cache
def cpu_variants() -> tuple[str, ...]:
    """Names of the instruction-set builds that this machine can run, slowest first."""
    built, _ = library("cpu")
    if built is None:
        return ()
    runs = built.grouppose_cpu_variants()
    return tuple(name for name, number in CPU_VARIANTS.items() if runs >> number & 1)


@functools.cache
def cuda_architectures() -> str:
    """What the CUDA kernels were compiled for, as in TORCH_CUDA_ARCH_LIST; "" without them."""
    built, _ = library("cuda")
    if built is None:
        return ""
    built.grouppose_cuda_architectures.restype = ctypes.c_char_p
    return built.grouppose_cuda_architectures().decode()


def covers(architectures: str, capability: tuple[int, int]) -> bool:
    """Whether code for `architectures` ("8.0;9.0+PTX") runs on a GPU of this capability."""
    for entry in architectures.replace(" ", ";").split(";"):
        number = entry.removesuffix("+PTX").rstrip("af")
        if not number:
            continue
        major, minor = (int(part) for part in number.split("."))
        if major == capability[0] and minor <= capability[1]:
            return True
        if entry.endswith("+PTX") and (major, minor) <= capability:
            return True
    return False


def interprets_triton() -> bool:
    """Whether Triton's interpreter runs its kernels on the CPU: slow, for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1" and not _triton_obstacle()


def _triton_obstacle() -> str:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; `pip install triton` on Linux"
    return ""


def _cpu_backend() -> tuple[str, str]:
    wanted = os.environ.get("GROUPPOSE_CPU_ISA")
    runnable = cpu_variants()
    if not runnable:
        return "reference", library("cpu")[1]
    if wanted is None:
        return runnable[-1], "the widest vectors of this processor that were compiled"
    name = "cpu" if wanted == "plain" else f"cpu-{wanted}"
    if name not in CPU_VARIANTS:
        raise InputError(f"GROUPPOSE_CPU_ISA is {wanted!r}; expected avx512, avx2 or plain")
    if name not in runnable:
        raise InputError(
            f"GROUPPOSE_CPU_ISA is {wanted!r}, which this processor or build lacks; "
            f"it runs {', '.join(runnable)}; unset the variable"
        )
    return name, f"GROUPPOSE_CPU_ISA={wanted}"


def _cuda_backend(device: torch.device) -> tuple[str, str]:
    built, reason = library("cuda")
    if built is not None:
        capability = torch.cuda.get_device_capability(device)
        if covers(cuda_architectures(), capability):
            return "cuda", f"compiled for {cuda_architectures()}"
        reason = (
            f"the CUDA kernels were compiled for {cuda_architectures()}, this GPU is "
            f"{capability[0]}.{capability[1]}; "
            f"`TORCH_CUDA_ARCH_LIST={capability[0]}.{capability[1]} {BUILD_COMMAND}` adds it"
        )
    return "reference" if _triton_obstacle() else "triton", reason


def backend(device: torch.device | str, dtype: torch.dtype) -> tuple[str, str]:
    """Which kernel `msda` runs for values of this dtype on this device, and why.

    Returns:
        One of "cpu-avx512", "cpu-avx2", "cpu", "cuda", "triton", "reference", and a sentence. The
        environment variable GROUPPOSE_CPU_ISA (avx512, avx2 or plain) overrides the choice on CPU.
    """
    device = torch.device(device)
    if dtype not in DTYPES:
        return "reference", f"no kernel takes {dtype}"
    if device.type == "cpu":
        return _cpu_backend()
    if device.type == "cuda":
        return _cuda_backend(device)
    return "reference", f"no kernel was written for {device.type}"


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def choose(device: torch.device, dtype: torch.dtype, forced: str | None) -> tuple[str, int]:
    """The kind of kernel to run, and which variant of it.

    Args:
        device: of the tensors.
        dtype: of the values.
        forced: one of NAMES; None takes `backend`'s answer.

    Returns:
        "compiled", "triton" or one of PLAIN; and the compiled CPU kernels' number, 0 for the best
        that the processor has when it runs (an exported program may move to another one).
    """
    if forced is None:
        name, reason = backend(device, dtype)
        if name == "reference":
            _warn_once(f"multi-scale deformable attention runs its slow reference: {reason}")
    else:
        _check_forced(device, dtype, forced)
        name = forced
    if name in ("triton", *PLAIN):
        return name, 0
    pinned = forced is not None or "GROUPPOSE_CPU_ISA" in os.environ
    return "compiled", CPU_VARIANTS.get(name, 0) if pinned else 0


# torch.compile asks once, while it traces. This is all that torch.compiler.assume_constant_result
# does, but for importing the compiler, which takes longer than torch itself.
choose._dynamo_marked_constant = True


def obstacle(device: torch.device, name: str) -> str:
    """Why backend `name` cannot run on `device`; "" where it can."""
    if name in PLAIN:
        return ""
    interpreted = ("triton",) if interprets_triton() else ()
    runnable = {"cpu": (*cpu_variants(), *interpreted), "cuda": ("cuda", "triton")}
    runnable = runnable.get(device.type, ())
    if name not in runnable:
        others = ", ".join((*runnable, *PLAIN))
        return f"{device.type} has {others}; pass one of these or None"
    if name == "cuda":
        return library("cuda")[1]
    return _triton_obstacle() if name == "triton" else ""


def _check_forced(device: torch.device, dtype: torch.dtype, forced: str) -> None:
    if forced not in NAMES:
        raise InputError(f"backend {forced!r} does not exist; expected one of {', '.join(NAMES)}")
    reason = obstacle(device, forced)
    if reason:
        raise InputError(f"backend {forced!r} cannot run on {device.type}: {reason}")
    if forced not in PLAIN and dtype not in DTYPES:
        raise InputError(f"backend {forced!r} does not take {dtype}; convert value or pass None")
