"""What the operator computes: numbers worked out by hand, the definition, and the edges."""

import math

import pytest
import torch

from grouppose.ops import msda, msda_fused
from grouppose.ops.backends import PLAIN, cpu_variants
from grouppose.ops.reference import msda_fused_reference, msda_reference
from tests.ops.problems import KERNELS, assert_close, by_definition, make_problem, run

BACKENDS = [*KERNELS, *PLAIN]
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def sample(value, shape, x, y, backend, weight=1.0):
    """One sample of one level with one channel."""
    location = torch.tensor([x, y], dtype=torch.float64).view(1, 1, 1, 1, 1, 2)
    flat = torch.as_tensor(value, dtype=torch.float64).view(1, -1, 1, 1)
    weights = torch.full((1, 1, 1, 1, 1), weight, dtype=torch.float64)
    return msda(flat, [shape], location, weights, backend=backend).item()


@every_backend
@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.25, 0.25, 1.0),  # the centre of the first of 2 x 2 pixels
        (0.5, 0.5, 2.5),  # between all four: (1 + 2 + 3 + 4) / 4
        (0.5, 0.25, 1.5),  # between 1 and 2
        (0.0, 0.0, 0.25),  # the corner of the picture: a quarter of 1, the rest is outside
        (1.0, 1.0, 1.0),  # a quarter of 4
        (1.0, 0.75, 2.0),  # half of 4
        (0.625, 0.25, 1.75),  # a quarter of the way back from 2
        (-0.25, 0.25, 0.0),  # -0.5 / W: the pixel before the first, of weight 0 inside
        (1.25, 0.75, 0.0),
        (-0.2, 0.25, 0.1),  # 0.1 of the first pixel: -0.2 * 2 - 0.5 = -0.9
        (7.0, -3.0, 0.0),
        (1e30, 0.5, 0.0),
        (math.nan, 0.5, 0.0),
        (0.5, math.nan, 0.0),
        (math.inf, 0.5, 0.0),
        (0.5, -math.inf, 0.0),
    ],
)
def test_one_sample_by_hand(backend, x, y, expected):
    assert sample([1, 2, 3, 4], (2, 2), x, y, backend) == pytest.approx(expected, abs=1e-12)
    assert sample([1, 2, 3, 4], (2, 2), x, y, backend, -3.0) == pytest.approx(-3 * expected)


@every_backend
def test_two_levels_and_two_points_by_hand(backend):
    value = torch.tensor([1.0, 3.0, 10.0]).view(1, 3, 1, 1)  # 1 x 2 pixels, then 1 x 1
    locations = torch.tensor([[[0.25, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0.0, 0.5]]])
    weights = torch.tensor([[0.1, 0.2], [0.3, 0.4]])  # of 1, 2, 10 and half of 10
    out = msda(
        value, [(1, 2), (1, 1)], locations.view(1, 1, 1, 2, 2, 2), weights.view(1, 1, 1, 2, 2),
        backend=backend,
    )  # fmt: skip
    assert out.item() == pytest.approx(0.1 * 1 + 0.2 * 2 + 0.3 * 10 + 0.4 * 5)


@every_backend
def test_fused_by_hand(backend):
    value = torch.tensor([1.0, 3.0, 10.0]).view(1, 3, 1, 1)
    reference = torch.tensor([[0.25, 0.5], [0.5, 0.5]]).view(1, 1, 2, 2)
    offsets = torch.tensor([[[0.0, 0.0], [0.5, 0.0]], [[0.0, 0.0], [-0.5, 0.0]]])  # pixels
    logits = torch.tensor([0.0, math.log(2), math.log(3), -math.inf])  # shares 1, 2, 3, 0 of 6
    out = msda_fused(
        value, [(1, 2), (1, 1)], reference, offsets.view(1, 1, 1, 2, 2, 2),
        logits.view(1, 1, 1, 2, 2), backend=backend,
    )  # fmt: skip
    assert out.item() == pytest.approx((1 * 1 + 2 * 2 + 3 * 10) / 6)


@every_backend
@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([7.0, 7.0, 7.0, 7.0], [0.25] * 4),
        ([1e4, 0.0, -1e4, 1e4], [0.5, 0.0, 0.0, 0.5]),
        ([-math.inf, 0.0, 0.0, -math.inf], [0.0, 0.5, 0.5, 0.0]),
    ],
)
def test_softmax_of_extreme_logits(backend, logits, expected):
    value = torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(1, 4, 1, 1)
    reference = torch.zeros(1, 1, 1, 2)
    offsets = torch.tensor([[x + 0.5, 0.5] for x in range(4)]).view(1, 1, 1, 1, 4, 2)
    logits = torch.tensor(logits).view(1, 1, 1, 1, 4)
    out = msda_fused(value, [(1, 4)], reference, offsets, logits, backend=backend).item()
    assert out == pytest.approx(sum(e * 10**i for i, e in enumerate(expected)), rel=1e-6)


@every_backend
def test_infinite_value_reaches_only_who_samples_it(backend):
    value = torch.ones(1, 9, 1, 4)
    value[:, 8] = math.inf  # the last of 3 x 3 pixels
    locations = torch.tensor([[0.2, 0.2], [0.9, 0.9], [2.0, 2.0], [math.nan, 0.9]])
    out = msda(
        value, [(3, 3)], locations.view(1, 4, 1, 1, 1, 2), torch.ones(1, 4, 1, 1, 1),
        backend=backend,
    )  # fmt: skip
    assert out[0, :, 0].isfinite().tolist() == [True, False, True, True]


@every_backend
@pytest.mark.parametrize("channels", [30, 32, 64, 71])
@pytest.mark.parametrize("points", [1, 4, 8])
def test_channels_and_points_against_the_definition(backend, channels, points):
    p = make_problem(channels=channels, points=points, batch=1, queries=3)
    expected = by_definition(p.value, p.shapes, p.locations, p.weights)
    assert_close(run(msda, p.shapes, p.plain, backend=backend), [expected], torch.float64)


@every_backend
@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("queries", [0, 1, 13])
def test_levels_and_queries_against_the_definition(backend, levels, queries):
    shapes = [(5, 4), (1, 1), (3, 7), (2, 2), (1, 6)][:levels]
    p = make_problem(shapes, queries=queries, batch=1)
    expected = by_definition(p.value, p.shapes, p.locations, p.weights)
    assert_close(run(msda, p.shapes, p.plain, backend=backend), [expected], torch.float64)


@every_backend
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [30, 32, 71])
def test_types_against_float64(backend, dtype, channels):
    p = make_problem(dtype=dtype, channels=channels, shapes=[(9, 8), (4, 4)], points=4)
    exact = [[x.double() for x in tensors] for tensors in (p.plain, p.fused)]
    for op, tensors, doubles, truth in (
        (msda, p.plain, exact[0], msda_reference),
        (msda_fused, p.fused, exact[1], msda_fused_reference),
    ):
        actual = run(op, p.shapes, tensors, p.grad, backend=backend)
        expected = run(truth, p.shapes, doubles, p.grad.double())
        assert [x.dtype for x in actual[:2]] == [dtype, dtype]
        assert_close(actual, expected, dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_holds_what_it_can(dtype):
    """A value comes through exactly: subnormals, the largest, rounding to even, Inf and NaN."""
    numbers = torch.tensor([1e-7, 6e-8, 0.0, -1.0, 65504.0, 3e-5, math.inf, -math.inf, math.nan])
    value = numbers.to(dtype).view(1, 1, 1, 9)
    weight = torch.ones(1, 1, 1, 1, 1)
    for backend in cpu_variants():
        out = msda(value, [(1, 1)], torch.full((1, 1, 1, 1, 1, 2), 0.5), weight, backend=backend)
        torch.testing.assert_close(out[0, 0], value[0, 0, 0], rtol=0, atol=0, equal_nan=True)
        third = msda(
            value, [(1, 1)], torch.full((1, 1, 1, 1, 1, 2), 0.5), weight / 3, backend=backend
        )
        expected = (value.float() * (weight / 3).item()).to(dtype)
        torch.testing.assert_close(third[0, 0], expected[0, 0, 0], rtol=0, atol=0, equal_nan=True)


@every_backend
def test_empty_batch(backend):
    p = make_problem(batch=0)
    for op, tensors in ((msda, p.plain), (msda_fused, p.fused)):
        out, *grads = run(op, p.shapes, tensors, p.grad, backend=backend)
        assert out.shape == (0, 5, 16)
        assert [g.shape for g in grads] == [x.shape for x in tensors]


@every_backend
def test_no_queries_leaves_no_gradient(backend):
    p = make_problem(queries=0)
    out, grad_value, *_ = run(msda_fused, p.shapes, p.fused, p.grad, backend=backend)
    assert out.shape == (2, 0, 16)
    assert not grad_value.any()


def strided(x):
    """The same numbers with every second element of a larger tensor."""
    return x.repeat_interleave(2, -1)[..., ::2]


@every_backend
def test_tensors_need_not_be_contiguous(backend):
    p = make_problem()
    for op, tensors in ((msda, p.plain), (msda_fused, p.fused)):
        assert not any(strided(x).is_contiguous() for x in tensors)
        leaves = [x.clone().requires_grad_() for x in tensors]
        out = op(strided(leaves[0]), p.shapes, *map(strided, leaves[1:]), backend=backend)
        out.backward(strided(p.grad))
        expected = run(op, p.shapes, tensors, p.grad, backend=backend)
        assert_close([out.detach(), *(x.grad for x in leaves)], expected, torch.float64)


@every_backend
def test_fused_form_is_softmax_and_places(backend):
    p = make_problem(channels=32, points=4)
    sizes = torch.tensor([(w, h) for h, w in p.shapes], dtype=torch.float64)
    locations = p.reference[:, :, None, :, None] + p.offsets / sizes[:, None]
    weights = p.logits.flatten(-2).softmax(-1).view_as(p.logits)
    expected = by_definition(p.value, p.shapes, locations, weights)
    assert_close(run(msda_fused, p.shapes, p.fused, backend=backend), [expected], torch.float64)
