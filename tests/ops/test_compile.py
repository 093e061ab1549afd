"""The operators under torch.compile, torch.export, autocast and opcheck."""

import pytest
import torch

from grouppose.ops import msda, msda_fused
from tests.ops.problems import assert_close, make_problem, run

FORMS = {"plain": msda, "fused": msda_fused}
every_form = pytest.mark.parametrize("form", FORMS)


def flat(shapes):
    return [size for shape in shapes for size in shape]


@every_form
def test_opcheck(form):
    p = make_problem()
    value, *rest = (x.clone().requires_grad_() for x in getattr(p, form))
    op = {"plain": torch.ops.grouppose.msda, "fused": torch.ops.grouppose.msda_fused}[form]
    torch.library.opcheck(op.default, (value, flat(p.shapes), *rest, 0))


@every_form
def test_opcheck_of_backward(form):
    p = make_problem()
    value, *rest = getattr(p, form)
    if form == "plain":
        torch.library.opcheck(
            torch.ops.grouppose.msda_backward.default, (p.grad, value, flat(p.shapes), *rest, 0)
        )
        return
    for with_reference in (True, False):
        torch.library.opcheck(
            torch.ops.grouppose.msda_fused_backward.default,
            (p.grad, value, flat(p.shapes), *rest, with_reference, 0),
        )


@every_form
def test_compiled_without_graph_breaks(form):
    """Forward and backward, the operator between others, with other sizes afterwards."""

    def op(value, shapes, *rest):
        return FORMS[form](value * 2, shapes, *rest).sin()

    compiled = torch.compile(op, fullgraph=True)
    for queries in (5, 7, 11):  # the second call makes the size a symbol
        p = make_problem(queries=queries)
        actual = run(compiled, p.shapes, getattr(p, form), p.grad)
        assert_close(actual, run(op, p.shapes, getattr(p, form), p.grad), torch.float64)


@every_form
def test_exported_with_any_batch_and_query_count(form):
    p = make_problem()

    class Module(torch.nn.Module):
        def forward(self, value, *rest):
            return FORMS[form](value, p.shapes, *rest)

    batch, queries = torch.export.Dim("batch"), torch.export.Dim("queries")
    dynamic = [{0: batch}] + [{0: batch, 1: queries}] * (len(getattr(p, form)) - 1)
    program = torch.export.export(
        Module(), getattr(p, form), dynamic_shapes={"value": dynamic[0], "rest": tuple(dynamic[1:])}
    )
    for size in ((1, 1), (3, 17)):
        other = make_problem(batch=size[0], queries=size[1])
        actual = program.module()(*getattr(other, form))
        expected = FORMS[form](getattr(other, form)[0], p.shapes, *getattr(other, form)[1:])
        assert_close([actual], [expected], torch.float64)


def test_exported_program_picks_its_kernel_where_it_runs():
    """No instruction set is written into the graph."""
    p = make_problem()

    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return msda(tensors[0], p.shapes, *tensors[1:])

    graph = torch.export.export(Module(), p.plain).graph
    (node,) = [n for n in graph.nodes if n.target is torch.ops.grouppose.msda.default]
    assert len(node.args) == 4 or node.args[4] == 0


def test_autocast_leaves_places_in_float32():
    """Half a pixel is lost where a location of 1000 pixels is kept in 8 bits of fraction."""
    value = torch.arange(1000.0).bfloat16().view(1, 1000, 1, 1)
    location = torch.tensor([700.25 / 1000, 0.5]).view(1, 1, 1, 1, 1, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = msda(value, [(1, 1000)], location, torch.ones(1, 1, 1, 1, 1))
    assert out.dtype == torch.bfloat16
    pixel = 700.25 - 0.5
    expected = 0.25 * value[0, 699, 0, 0].float() + 0.75 * value[0, 700, 0, 0].float()
    assert pixel - 699 == 0.75
    assert out.item() == expected.bfloat16().item()


def test_mixed_types_meet_in_the_accumulators():
    """Half-precision offsets with float32 values, float64 places with float32 values."""
    p = make_problem(dtype=torch.float32)
    half = msda_fused(p.value, p.shapes, p.reference, p.offsets.bfloat16(), p.logits)
    rounded = msda_fused(p.value, p.shapes, p.reference, p.offsets.bfloat16().float(), p.logits)
    assert half.dtype == torch.float32
    assert torch.equal(half, rounded)
    wide = msda(p.value, p.shapes, p.locations.double(), p.weights.double())
    assert torch.equal(wide, msda(p.value, p.shapes, p.locations, p.weights))
