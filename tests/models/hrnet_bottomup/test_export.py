"""Files give the model's maps; the function beside them makes its people of them."""

import importlib.util

import onnxruntime
import pytest
import torch

import grouppose
from grouppose.errors import UserError
from grouppose.inference.export import export_model
from grouppose.models.hrnet_bottomup.export import people, selection_margin
from tests.models.hrnet_bottomup.inputs import filled_model, scene

SETTINGS = {"backbone": "hrnet_w18_small", "regression_channels": 8}


def imported(path):
    spec = importlib.util.spec_from_file_location("decoder", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_onnx_and_the_function_beside_it(tmp_path):
    model = filled_model("hrnet_bottomup", **SETTINGS).eval()
    grouppose.save_weights(model, tmp_path / "model.safetensors")
    path = tmp_path / "out.onnx"
    report = export_model(tmp_path / "model.safetensors", path, size=(60, 90))
    assert "64 x 96" in report and "out_decode.py makes people of its maps" in report
    images = torch.randint(256, (1, 3, 64, 96), dtype=torch.uint8)
    session = onnxruntime.InferenceSession(path)
    assert [output.name for output in session.get_outputs()] == ["heatmaps", "offsets"]
    maps = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        outputs = model(images)
    for values, expected in zip(maps, outputs.values(), strict=True):
        torch.testing.assert_close(torch.from_numpy(values), expected, rtol=1e-4, atol=1e-4)
    found = imported(tmp_path / "out_decode.py").decode(*(values[0] for values in maps))
    assert found["keypoints"].shape[1:] == (17, 2) and len(found["scores"]) > 0


def test_maps_that_differ_are_an_error():
    model = grouppose.build_model("hrnet_bottomup", **SETTINGS)
    maps = scene(0)
    found, (expected, margins) = people(model, maps, maps)
    assert [len(s) for s in found["scores"]] == [len(s) for s in expected["scores"]]
    torch.testing.assert_close(found["scores"][0], expected["scores"][0], rtol=0, atol=1e-5)
    assert len(margins) == 1
    other = {**maps, "offsets": 1.001 * maps["offsets"]}
    with pytest.raises(UserError, match="its offsets differ from the model's by 0.001"):
        people(model, other, maps)


def test_equal_last_peaks_are_told():
    maps = torch.zeros(1, 20, 20)
    maps[0, 2::6, 2::6] = 0.5
    assert selection_margin(maps, 3) == 0
    maps[0, 2, 2], maps[0, 2, 8], maps[0, 8, 2] = 0.9, 0.8, 0.75
    assert selection_margin(maps, 3) == pytest.approx(0.25)
    assert selection_margin(maps, 30) == float("inf")
