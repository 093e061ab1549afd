"""The kernels of a GPU: the same numbers as the reference, on any stream, in graphs, repeatably."""

import pytest
import torch

from grouppose.ops import backend, backends, msda, msda_fused
from grouppose.ops.reference import msda_fused_reference, msda_reference
from tests.ops.problems import assert_close, make_problem, run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
CUDA = torch.device("cuda")
NAMES = [name for name in ("cuda", "triton") if not backends.obstacle(CUDA, name)]
FORMS = {"plain": (msda, msda_reference), "fused": (msda_fused, msda_fused_reference)}
every_form = pytest.mark.parametrize("form", FORMS)
every_kernel = pytest.mark.parametrize("name", NAMES)


def on_gpu(problem):
    """The same problem there, its shapes as they are."""
    return problem._replace(
        **{k: v.cuda() for k, v in problem._asdict().items() if isinstance(v, torch.Tensor)}
    )


def test_the_compiled_kernels_come_first():
    assert backend(CUDA, torch.float32)[0] == NAMES[0]


@every_form
@every_kernel
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [30, 32, 64, 71])
def test_against_the_reference(form, name, dtype, channels):
    p = make_problem([(6, 7), (3, 4), (1, 1)], queries=67, channels=channels, points=4, dtype=dtype)
    op, truth = FORMS[form]
    precise = [x.double() for x in getattr(p, form)]
    expected = run(truth, p.shapes, precise, p.grad.double())
    gpu = on_gpu(p)
    actual = run(op, p.shapes, getattr(gpu, form), gpu.grad, backend=name)
    assert_close([x.cpu() for x in actual], expected, dtype)


@every_form
@every_kernel
@pytest.mark.parametrize(("batch", "queries"), [(0, 5), (2, 0), (1, 1), (65, 3)])
def test_any_batch_and_number_of_queries(form, name, batch, queries):
    p = on_gpu(make_problem(batch=batch, queries=queries, dtype=torch.float32))
    op, truth = FORMS[form]
    actual = run(op, p.shapes, getattr(p, form), p.grad, backend=name)
    assert_close(actual, run(truth, p.shapes, getattr(p, form), p.grad), torch.float32)


@every_form
def test_queries_on_the_grid_take_tiles(form):
    """As many queries as positions: blocks are rectangles of neighbours."""
    shapes = [(9, 13), (5, 7)]
    p = on_gpu(make_problem(shapes, queries=9 * 13 + 5 * 7, channels=32, dtype=torch.float32))
    op, truth = FORMS[form]
    actual = run(op, shapes, getattr(p, form), p.grad)
    assert_close(actual, run(truth, shapes, getattr(p, form), p.grad), torch.float32)


@every_kernel
def test_another_stream(name):
    p = on_gpu(make_problem(queries=500, channels=32, dtype=torch.float32))
    expected = run(msda, p.shapes, p.plain, p.grad, backend=name)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        value = torch.zeros_like(p.value)
        torch.cuda._sleep(10_000_000)  # the copy below is late; another stream would not see it
        value.copy_(p.value)
        actual = run(msda, p.shapes, (value, *p.plain[1:]), p.grad, backend=name)
    stream.synchronize()
    assert_close(actual, expected, torch.float32)


@every_form
@every_kernel
def test_capture_in_a_graph(form, name):
    p = on_gpu(make_problem(queries=50, channels=32, dtype=torch.float32))
    op = FORMS[form][0]
    tensors = [x.clone().requires_grad_() for x in getattr(p, form)]

    def step():
        out = op(tensors[0], p.shapes, *tensors[1:], backend=name)
        return out, *torch.autograd.grad(out, tensors, p.grad)

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        step()
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        tensors[0].mul_(2)  # the graph reads what is there when it runs
    graph.replay()
    torch.cuda.synchronize()
    assert_close([x.detach() for x in captured], [x.detach() for x in step()], torch.float32)


@every_form
def test_no_host_synchronisation(form):
    p = on_gpu(make_problem(queries=50, channels=32, dtype=torch.float32))
    run(FORMS[form][0], p.shapes, getattr(p, form), p.grad)
    torch.cuda.set_sync_debug_mode("error")
    try:
        run(FORMS[form][0], p.shapes, getattr(p, form), p.grad)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@every_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_deterministic_backward_repeats_its_bits(form, dtype):
    p = on_gpu(make_problem([(4, 4)], queries=2000, channels=32, points=8, dtype=dtype))
    torch.use_deterministic_algorithms(True)
    try:
        first = run(FORMS[form][0], p.shapes, getattr(p, form), p.grad)
        for _ in range(5):
            again = run(FORMS[form][0], p.shapes, getattr(p, form), p.grad)
            assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_deterministic_backward_does_not_hide_overflow(bad):
    """Integers have no NaN; a loss scaler looks for it in the gradients."""
    p = on_gpu(make_problem(queries=500, channels=32, dtype=torch.float32))
    p.grad[0, 0, 3] = bad  # the thread that reads it reads finite numbers afterwards
    torch.use_deterministic_algorithms(True)
    try:
        grad_value = run(msda, p.shapes, p.plain, p.grad, backend="cuda")[1]
    finally:
        torch.use_deterministic_algorithms(False)
    assert not grad_value.isfinite().all()
