"""The Triton kernels: a process of its own interprets them, for the tests of every kernel."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from grouppose.ops import backend, backends
from tests.ops.problems import make_problem

pytest.importorskip("triton", reason="Triton is not installed; it comes with torch on Linux")
FOLDER = Path(__file__).parent


def test_the_tests_of_every_kernel_pass_on_triton():
    files = [str(FOLDER / name) for name in ("test_msda.py", "test_gradients.py")]
    # finite differences and repeats take minutes when interpreted; the reference has its own
    which = "triton and not finite and not repeats and not 64- and not 71- and not 8-"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("COV", "PYTEST"))}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-k", which, *files],
        env={**environment, "TRITON_INTERPRET": "1"},
        cwd=FOLDER.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) >= 55


def test_a_gpu_without_compiled_kernels_runs_triton(monkeypatch):
    monkeypatch.setattr(backends, "library", lambda name: (None, "there is no nvcc"))
    assert backend("cuda", torch.float32) == ("triton", "there is no nvcc")
    assert backends.choose(torch.device("cuda"), torch.float32, None) == ("triton", 0)
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert backend("cuda", torch.float32)[0] == "reference"


def test_no_deterministic_backward_is_claimed():
    from grouppose.ops import triton_kernels

    p = make_problem()
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="build the CUDA kernels"):
            triton_kernels.msda_backward(p.grad, p.value, [6, 7, 3, 4, 1, 1], *p.plain[1:])
    finally:
        torch.use_deterministic_algorithms(False)
