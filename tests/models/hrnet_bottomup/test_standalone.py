"""The function that lies beside exported files gives the same people, with numpy alone."""

import ast
import inspect

import numpy as np
import pytest
import torch

from grouppose.models import dekr, hrnet_bottomup
from grouppose.models.hrnet_bottomup import standalone
from grouppose.models.hrnet_bottomup.export import NEEDED, SETTINGS
from tests.models.hrnet_bottomup.inputs import scene

CASES = {
    "final": (hrnet_bottomup, {}),
    "regression": (hrnet_bottomup, {"match_heatmaps": False}),
    "higher": (hrnet_bottomup, {"higher": True}),
    "dekr": (dekr, {}),
    "dekr matched": (dekr, {"match_heatmaps": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_people_are_those_of_the_library(case):
    family, settings = CASES[case]
    decode, outputs = family.build_decode(**settings), scene(1)
    if settings.get("higher"):
        fine = torch.nn.functional.interpolate(
            outputs["heatmaps"][:, :17], scale_factor=2.0, mode="bilinear"
        )
        outputs["fine_heatmaps"] = fine
    view = {"scale": 1, **{name: maps[0] for name, maps in decode.view(outputs).items()}}
    expected = decode([view], (128, 160))
    arrays = [outputs[name][0].numpy() for name in NEEDED if name in outputs]
    chosen = {**{name: getattr(decode, name) for name in SETTINGS}, "relative": decode.relative}
    found = standalone.decode(*arrays, settings=chosen)
    assert len(expected["scores"]) > 2
    for name, tolerance in (("keypoints", 1e-3), ("confidence", 1e-5), ("scores", 1e-5)):
        np.testing.assert_allclose(found[name], expected[name].numpy(), rtol=0, atol=tolerance)


def test_empty_maps_have_nobody():
    decode = hrnet_bottomup.build_decode()
    chosen = {**{name: getattr(decode, name) for name in SETTINGS}, "relative": decode.relative}
    found = standalone.decode(np.zeros((18, 32, 40)), np.zeros((34, 32, 40)), settings=chosen)
    assert found["keypoints"].shape == (0, 17, 2) and found["scores"].shape == (0,)


def test_it_needs_numpy_only():
    nodes = list(ast.walk(ast.parse(inspect.getsource(standalone))))
    plain = [alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names]
    assert plain == ["numpy"]
    assert [n.module for n in nodes if isinstance(n, ast.ImportFrom)] == ["__future__"]
