"""Derivatives: against finite differences, the reference, and themselves on other threads."""

import math

import pytest
import torch

from grouppose.ops import msda, msda_fused
from grouppose.ops.backends import PLAIN
from grouppose.ops.reference import msda_fused_reference, msda_reference
from tests.ops.problems import KERNELS, assert_close, make_problem, run

every_kernel = pytest.mark.parametrize("backend", KERNELS)
FORMS = {"plain": (msda, msda_reference), "fused": (msda_fused, msda_fused_reference)}
every_form = pytest.mark.parametrize("form", FORMS)


@every_form
@pytest.mark.parametrize("backend", [*KERNELS, *PLAIN])
def test_finite_differences(form, backend):
    p = make_problem([(3, 4), (1, 2)], batch=1, queries=2, channels=3, points=2)
    tensors = getattr(p, form)
    for i in range(len(tensors)):  # one input at a time

        def op(x, i=i):
            inputs = [*tensors[:i], x, *tensors[i + 1 :]]
            return FORMS[form][0](inputs[0], p.shapes, *inputs[1:], backend=backend)

        assert torch.autograd.gradcheck(op, tensors[i].clone().requires_grad_(), eps=1e-5)


@every_form
@every_kernel
@pytest.mark.parametrize("channels", [30, 32, 64, 71])
@pytest.mark.parametrize("points", [1, 4, 8])
def test_against_the_reference(form, backend, channels, points):
    p = make_problem([(6, 7), (3, 4), (1, 1), (2, 2)], channels=channels, points=points)
    op, truth = FORMS[form]
    tensors = getattr(p, form)
    actual = run(op, p.shapes, tensors, p.grad, backend=backend)
    assert_close(actual, run(truth, p.shapes, tensors, p.grad), torch.float64)


@every_form
@every_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_repeats_and_threads_give_the_same_bits(form, backend, dtype):
    """One picture with two heads: 1 thread takes whole heads, 3 and 4 take levels of them."""
    p = make_problem(batch=1, queries=67, channels=32, points=4, dtype=dtype)
    op, threads = FORMS[form][0], torch.get_num_threads()
    results = []
    try:
        for count in (1, 1, 2, 3, 4):
            torch.set_num_threads(count)
            results.append(run(op, p.shapes, getattr(p, form), p.grad, backend=backend))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


@every_kernel
def test_gradient_of_one_sample_by_hand(backend):
    """Between 1, 2, 3 and 4 at (1/4, 1/4) of the way, with weight 2 and gradient 1."""
    value = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    locations = torch.tensor([0.375, 0.375]).view(1, 1, 1, 1, 1, 2)
    weights = torch.full((1, 1, 1, 1, 1), 2.0)
    out, grad_value, grad_locations, grad_weights = run(
        msda, [(2, 2)], (value, locations, weights), torch.ones(1, 1, 1), backend=backend
    )
    assert out.item() == pytest.approx(2 * 1.75)
    assert grad_weights.item() == pytest.approx(1.75)
    assert grad_value.flatten().tolist() == pytest.approx([9 / 8, 3 / 8, 3 / 8, 1 / 8])
    # one pixel right adds 1, one pixel down adds 2; there are 2 pixels, and the weight is 2
    assert grad_locations.flatten().tolist() == pytest.approx([4.0, 8.0])


@every_kernel
def test_gradients_at_and_beyond_the_border(backend):
    """Half out to the left and a quarter down of one pixel of value 5; then nowhere near it."""
    value = torch.full((1, 1, 1, 1), 5.0)
    locations = torch.tensor([[0.0, 0.75], [9.0, 0.5], [math.nan, 0.5]]).view(1, 3, 1, 1, 1, 2)
    _, grad_value, grad_locations, grad_weights = run(
        msda, [(1, 1)], (value, locations, torch.ones(1, 3, 1, 1, 1)), torch.ones(1, 3, 1),
        backend=backend,
    )  # fmt: skip
    assert grad_value.item() == 0.5 * 0.75
    assert grad_weights.flatten().tolist() == [5 * 0.5 * 0.75, 0, 0]
    assert grad_locations[0, :, 0, 0, 0].tolist() == [[5 * 0.75, -5 * 0.5], [0, 0], [0, 0]]


@every_kernel
def test_reference_without_gradient(backend):
    p = make_problem()
    value, reference, offsets, logits = (x.clone().requires_grad_() for x in p.fused)
    reference.requires_grad_(False)
    msda_fused(value, p.shapes, reference, offsets, logits, backend=backend).backward(p.grad)
    assert reference.grad is None
    expected = run(msda_fused_reference, p.shapes, p.fused, p.grad)
    assert_close([offsets.grad, logits.grad], expected[3:], torch.float64)


def test_second_derivative_is_refused():
    p = make_problem()
    value = p.value.clone().requires_grad_()
    out = msda(value, p.shapes, p.locations, p.weights, backend="cpu")
    (grad,) = torch.autograd.grad(out.square().sum(), value, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        grad.sum().backward()
