"""Which kernel runs, what is said about it, and what is refused."""

import subprocess
import sys
import warnings

import pytest
import torch

from grouppose.errors import InputError
from grouppose.ops import backend, backends, msda, msda_fused
from tests.ops.problems import make_problem


@pytest.fixture
def no_kernels(monkeypatch):
    """As on a machine where nothing could be built."""
    reason = "the compiled cpu kernels were not built; `some command` builds them"
    monkeypatch.setattr(backends, "library", lambda name: (None, reason))
    backends.cpu_variants.cache_clear()
    backends._warn_once.cache_clear()
    yield
    backends.cpu_variants.cache_clear()
    backends._warn_once.cache_clear()


def test_the_widest_vectors_are_chosen():
    name, reason = backend("cpu", torch.float32)
    assert name == backends.cpu_variants()[-1]
    assert "widest" in reason


@pytest.mark.parametrize(("isa", "name"), [("plain", "cpu"), ("avx2", "cpu-avx2")])
def test_environment_overrides_the_choice(monkeypatch, isa, name):
    if name not in backends.cpu_variants():
        pytest.skip(f"this processor has no {isa}")
    monkeypatch.setenv("GROUPPOSE_CPU_ISA", isa)
    assert backend("cpu", torch.float32) == (name, f"GROUPPOSE_CPU_ISA={isa}")
    number = backends.CPU_VARIANTS[name]
    assert backends.choose(torch.device("cpu"), torch.float32, None) == ("compiled", number)


def test_environment_with_a_wrong_name(monkeypatch):
    monkeypatch.setenv("GROUPPOSE_CPU_ISA", "sse9")
    with pytest.raises(InputError, match="'sse9'; expected avx512, avx2 or plain"):
        backend("cpu", torch.float32)


def test_what_nothing_was_written_for():
    assert backend("meta", torch.float32) == ("reference", "no kernel was written for meta")
    assert backend("cpu", torch.int32) == ("reference", "no kernel takes torch.int32")


def test_without_kernels_the_reference_runs_and_warns_once(no_kernels):
    assert backend("cpu", torch.float32)[0] == "reference"
    p = make_problem()
    with pytest.warns(RuntimeWarning, match="slow reference: .*`some command` builds them") as seen:
        msda(p.value, p.shapes, *p.plain[1:])
        msda_fused(p.value, p.shapes, *p.fused[1:])
    assert len(seen) == 1


def test_the_reference_asked_for_does_not_warn(no_kernels):
    p = make_problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        msda(p.value, p.shapes, *p.plain[1:], backend="reference")


@pytest.mark.parametrize(
    ("architectures", "capability", "expected"),
    [
        ("8.0", (8, 0), True),
        ("8.0", (8, 6), True),  # machine code runs on later GPUs of the same generation
        ("8.6", (8, 0), False),
        ("8.0", (9, 0), False),
        ("8.0+PTX", (9, 0), True),
        ("8.0+PTX", (7, 5), False),
        ("7.5;9.0", (9, 0), True),
        ("9.0a;12.0+PTX", (9, 0), True),
        ("", (9, 0), False),
    ],
)
def test_architectures_that_cover_a_gpu(architectures, capability, expected):
    assert backends.covers(architectures, capability) is expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "avx3"}, "'avx3' does not exist; expected one of cpu, cpu-avx2, cpu-avx512"),
        ({"backend": "cuda"}, "'cuda' cannot run on cpu: cpu has cpu"),
        ({"value": torch.ones(2, 55, 16)}, r"value is \(2, 55, 16\); expected \(B, S, H, D\)"),
        ({"value": torch.ones(2, 56, 2, 8)}, "have 55 positions, value has 56"),
        ({"level_shapes": [(6, 7), (13, 1)]}, r"= \(2, 5, 2, 2, 3, 2\)"),
        ({"locations": torch.ones(2, 5, 2, 3, 3)}, r"expected \(B, Q, H, L, P, 2\)"),
        ({"weights": torch.ones(2, 5, 2, 3, 4)}, r"ask for \(B, Q, H, L, P\) = \(2, 5, 2, 3, 3\)"),
        ({"weights": torch.ones(2, 5, 2, 3, 3, device="meta")}, "move them to one device"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    p = make_problem(dtype=torch.float32)
    inputs = {
        "value": p.value, "level_shapes": p.shapes, "locations": p.locations, "weights": p.weights
    }  # fmt: skip
    with pytest.raises(InputError, match=message):
        msda(**{**inputs, **change})


def test_a_reference_that_does_not_fit_is_named():
    p = make_problem()
    with pytest.raises(InputError, match=r"reference is \(2, 5, 2, 2\); .* = \(2, 5, 3, 2\)"):
        msda_fused(p.value, p.shapes, p.reference[:, :, :2], p.offsets, p.logits)


def test_operators_check_for_themselves():
    p = make_problem()
    for shapes, message in (([6, 7, 3, 4], "points is"), ([6, 7, 3, 4, 2, 1], "positions")):
        with pytest.raises(RuntimeError, match=message):
            torch.ops.grouppose.msda(p.value, shapes, p.locations, p.weights)
    with pytest.raises(RuntimeError, match="must be float32"):
        torch.ops.grouppose.msda(p.value, [6, 7, 3, 4, 1, 1], p.locations.float(), p.weights)


def test_report():
    """`python -m grouppose.ops` says what was built and runs, and tests it."""
    result = subprocess.run(
        [sys.executable, "-m", "grouppose.ops"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    for name in backends.cpu_variants():
        assert f"{name}: passed" in result.stdout
    assert f"cpu runs {backends.cpu_variants()[-1]}" in result.stdout
