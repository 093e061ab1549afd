"""Exported files: run by other programs, and refused where they differ from the model."""

import importlib.util

import onnx
import onnxruntime
import pytest
import torch

import grouppose
from grouppose.errors import UserError
from grouppose.inference import export
from grouppose.inference.cli import main
from grouppose.inference.export import people_differ
from grouppose.models.grouppose.export import Exportable
from tests.inference.conftest import noise, save_small_model, write
from tests.small import SMALL


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """One decoder layer: each takes seconds to trace and to write."""
    return save_small_model(tmp_path_factory.mktemp("weights"), dec_layers=1)


def close_people(columns, model, images):
    """The file's people are those of the model, with whatever kernel it has."""
    size = torch.tensor([images.shape[-2:]] * len(images))
    with torch.no_grad():
        people = grouppose.postprocess(model(images), size, num_select=4)
    for b, expected in enumerate(people):
        found = {name: torch.as_tensor(column)[b] for name, column in columns.items()}
        assert found["scores"].shape == (4,) and found["keypoints"].shape == (4, 17, 2)
        torch.testing.assert_close(found["scores"], expected["scores"], rtol=0, atol=1e-5)
        torch.testing.assert_close(found["keypoints"], expected["keypoints"], rtol=0, atol=5e-3)
        assert torch.equal(found["labels"], expected["labels"])


def random_images(*shape):
    draw = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw)


def run_onnx(path, images):
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))


def exported(weights, path, *arguments):
    """Exports and gives the path."""
    command = ["export", "--weights", str(weights), "--out", str(path), "--quiet"]
    command += ["--max-people", "4", "--size", "64", "96", *arguments]
    assert main(command) == 0
    return path


def test_onnx_of_one_size_by_grid_sample(weights, tmp_path, capsys):
    picture = write(tmp_path / "a.png", noise())
    path = exported(weights, tmp_path / "out" / "model.onnx", "--pictures", picture)
    printed = capsys.readouterr().out
    assert "1 pictures (64 x 96), 4 people each" in printed and "(allowed 0.05)" in printed
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    content = onnx.load(path)
    onnx.checker.check_model(content)
    nodes = {(node.domain, node.op_type) for node in content.graph.node}
    assert {domain for domain, _ in nodes} == {""} and ("", "GridSample") in nodes
    images = random_images(1, 3, 64, 96)
    close_people(run_onnx(path, images), grouppose.load_model(weights), images)


@pytest.mark.no_cover  # tracing takes twice as long under coverage
def test_any_size_by_gather(weights, tmp_path, monkeypatch, capsys):
    trace, programs = export._trace, []
    monkeypatch.setattr(export, "_trace", lambda *a: programs.append(trace(*a)) or programs[0])
    arguments = ["--dynamic", "--attention", "gather", "--size", "96", "128"]
    path = exported(weights, tmp_path / "m.onnx", *arguments)
    assert "4 pictures (65 x 128, 96 x 128, 128 x 96), 4 people each" in capsys.readouterr().out
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "GridSample" not in kinds and "Gather" in kinds
    for shape in ((1, 3, 75, 131), (3, 3, 160, 65)):
        images = random_images(*shape)
        close_people(run_onnx(path, images), grouppose.load_model(weights), images)
        close_people(programs[0].module()(images), grouppose.load_model(weights), images)


def test_program_of_torch_by_gather(weights, tmp_path):
    arguments = ["--format", "torch-export", "--attention", "gather"]
    program = torch.export.load(exported(weights, tmp_path / "m.pt2", *arguments))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "aten.embedding.default" in called
    assert not [name for name in called if "grouppose" in name or "grid_sample" in name]
    images = random_images(1, 3, 64, 96)
    close_people(program.module()(images), grouppose.load_model(weights), images)


def test_a_file_that_differs_is_an_error_and_not_kept(weights, tmp_path, monkeypatch, capsys):
    def wrong(form, path):
        assert path.read_text() == "a program"  # what is run is what was written
        right = Exportable(grouppose.load_model(weights), "gather", 4).requires_grad_(False)
        return lambda images: {k: v + (k == "keypoints") for k, v in right(images).items()}

    monkeypatch.setattr(export, "_trace", lambda *rest: "a program")
    monkeypatch.setattr(
        export, "_save", lambda program, form, path, outputs: path.write_text(program)
    )
    monkeypatch.setattr(export, "_runner", wrong)
    arguments = ["--out", str(tmp_path / "m.onnx"), "--size", "64", "64", "--quiet"]
    assert main(["export", "--weights", str(weights), *arguments]) == 1
    error = capsys.readouterr().err
    assert "keypoints differ from the model's by up to 1.4 px (allowed 0.05)" in error
    assert list(tmp_path.iterdir()) == []


def test_mistakes_end_with_one_line(weights, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if "onnx" in n else find(n))
    for arguments, message in (
        (["--out", "m.onnx"], "onnx, onnxscript, onnxruntime cannot be imported"),
        (["--out", "m.pt2"], "m.pt2 must end in .onnx, as it is for onnx"),
        (
            ["--out", "m.pt2", "--format", "torch-export", "--size", "0", "9"],
            "size is (0, 9), must be at",
        ),
        (["--out", "m.onnx", "--max-people", "0"], "max_people is 0, must be at least 1"),
        (["--out", "m.pt2", "--format", "torch-export", "--size", "8", "8"], "larger picture"),
        (
            ["--out", "m.pt2", "--format", "torch-export", "--size", "64", "99", "--dynamic"],
            "sides of at least 65",
        ),
    ):
        monkeypatch.chdir(tmp_path)
        assert main(["export", "--weights", str(weights), "--quiet", *arguments]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def people(scores, labels, x):
    """People of one keypoint each, at (x, 0)."""
    keypoints = torch.tensor([[[place, 0.0]] for place in x])
    return {"scores": torch.tensor(scores), "labels": torch.tensor(labels), "keypoints": keypoints}


@pytest.mark.parametrize(
    ("scores", "x", "expected"),
    [
        ([0.9, 0.5], [10.0, 20.0], (0, 0)),
        ([0.9, 0.5], [10.0, 20.04], (0.04, 0)),
        ([0.9, 0.5], [10.0, 30.0], (0, 5e-5)),  # the third, whose score is all but equal
        ([0.9, 0.5], [13.0, 20.0], (3, 0)),
        ([0.9, 0.4], [10.0, 40.0], (0, 0.1)),  # right, but not the second best
        ([0.9, 0.9], [10.0, 10.0], (10, 0.4)),  # nobody is there twice
    ],
)
def test_difference_of_people_by_hand(scores, x, expected):
    everybody = people([0.9, 0.5, 0.49995, 0.4], [1, 1, 1, 1], [10.0, 20.0, 30.0, 40.0])
    found = people_differ(people(scores, [1, 1], x), everybody)
    assert found == pytest.approx(expected, abs=1e-6)


def test_another_label_and_no_number_are_differences():
    everybody = people([0.9, 0.5], [1, 1], [10.0, 20.0])
    assert people_differ(people([0.9], [0], [10.0]), everybody)[0] == torch.inf
    pixels, _ = people_differ(people([0.9], [1], [float("nan")]), everybody)
    assert pixels != pixels


def test_pictures_that_rounding_decides_are_left_out_and_counted():
    everybody = {k: torch.stack((v, v)) for k, v in people([0.9, 0.5], [1, 1], [1.0, 2.0]).items()}
    found = {k: v[:, :1].clone() for k, v in everybody.items()}
    found["keypoints"][1] += 3
    images = torch.zeros(2, 3, 8, 9)
    line = export._compare([found], [(everybody, torch.tensor([0.0, 1e-6]))], [images])
    assert line.startswith("1 pictures (8 x 9), 1 people each; 1 more left out, as rounding")
    assert "up to 0 px" in line
    with pytest.raises(UserError, match=r"up to 4\.2 px"):  # 3 to the right, 3 down
        export._compare([found], [(everybody, torch.tensor([0.0, 1.0]))], [images])
    found["keypoints"][0] += 3
    with pytest.raises(UserError, match="nothing to compare with"):
        export._compare([found], [(everybody, torch.zeros(2))], [images])


def test_a_family_without_an_export_says_so(other):
    model = grouppose.build_model("other")
    with pytest.raises(UserError, match="a.pth holds a model of Other, which cannot be exported"):
        export.part_of(model, "a.pth")
    assert export.part_of(grouppose.build_model("grouppose", **SMALL), "a.pth") is not None
