"""The model gives the published network's numbers for the same weights and pictures."""

import pytest
import torch

import grouppose
from tests.parity.inputs import BACKENDS, batch, filled_model, fixture, use_backend

CASES = {  # name: settings, picture sizes (h, w), seed of the first picture
    "r50_k17": ({"backbone": "resnet50"}, [(256, 320)], 0),
    "r50_k17_pad": ({"backbone": "resnet50"}, [(256, 288), (224, 320)], 12),
    "swint_k17": ({"backbone": "swin_T_224_1k"}, [(256, 320)], 6),
}
EVERY_7TH, EVERY_33RD = slice(0, 100, 7), slice(0, 100, 33)  # what the fixtures keep


@pytest.fixture(scope="module", params=CASES)
def case(request):
    settings, sizes, seed = CASES[request.param]
    model = filled_model(**settings)
    return model, batch(model, sizes, seed), fixture("outputs")[request.param]


def close(actual, expected, tolerance):
    torch.testing.assert_close(
        actual.detach().flatten(), torch.tensor(expected), rtol=0, atol=tolerance
    )


def check_outputs(outputs, expected):
    close(outputs["pred_logits"], expected["pred_logits"], 1e-4)
    close(outputs["pred_keypoints"][:, EVERY_7TH], expected["pred_keypoints"], 1e-5)


def test_outputs_and_people_are_those_of_the_published_network(case):
    model, (images, padding), expected = case
    sizes = torch.tensor([[480 + 60 * i, 640 - 40 * i] for i in range(len(images))])
    with torch.no_grad():
        outputs = model.eval()(images, padding)
    check_outputs(outputs, expected)
    found = grouppose.postprocess(outputs, sizes)
    assert [p["labels"].tolist() for p in found] == expected["labels"]
    close(torch.stack([p["scores"][::7] for p in found]), expected["scores"], 1e-5)
    keypoints = torch.stack([p["keypoints"][::7] for p in found])
    close(keypoints, expected["post_keypoints"], 5e-3)  # pixels: 1e-5 of 500


def test_auxiliary_outputs_and_proposals_are_those_of_the_published_network(case):
    model, (images, padding), expected = case
    model.train()
    for module in model.modules():
        if type(module).__name__ == "DropPath":
            module.eval()
    chosen = []
    handle = model.transformer.enc_pose_embed.register_forward_hook(
        lambda module, inputs, output: chosen.append(inputs[0])
    )
    with torch.no_grad():
        outputs = model(images, padding)
    handle.remove()
    assert chosen[0].shape[1] == 100  # only the selected positions go through the pose head
    for i, head in enumerate(outputs["aux_outputs"]):
        close(head["pred_logits"][:, EVERY_7TH], expected[f"aux{i}_logits"], 1e-4)
        close(head["pred_keypoints"][:, EVERY_33RD], expected[f"aux{i}_keypoints"], 1e-5)
    interm = outputs["interm_outputs"]
    close(interm["pred_logits"][:, EVERY_7TH], expected["interm_logits"], 1e-4)
    close(interm["pred_keypoints"][:, EVERY_33RD], expected["interm_keypoints"], 1e-5)


def test_selected_positions_are_those_of_the_published_network(case, monkeypatch):
    model, (images, padding), expected = case
    select, chosen = model.transformer.select, []

    def spy(memory):
        chosen.append(select(memory))
        return chosen[-1]

    monkeypatch.setattr(model.transformer, "select", spy)
    with torch.no_grad():
        model.eval()(images, padding)
    assert chosen[0].indices.tolist() == expected["indices"]


@pytest.fixture(scope="module")
def padded():
    """Two pictures of different sizes, ResNet-50."""
    settings, sizes, seed = CASES["r50_k17_pad"]
    model = filled_model(**settings).eval()
    return model, batch(model, sizes, seed), fixture("outputs")["r50_k17_pad"]


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_every_backend_of_the_operator_gives_the_published_numbers(padded, backend):
    model, inputs, expected = padded
    use_backend(model, backend)
    with torch.no_grad():
        outputs = model(*inputs)
    use_backend(model, None)
    check_outputs(outputs, expected)


@pytest.mark.no_cover  # tracing takes twice as long under coverage
def test_compiled_model_gives_the_published_numbers(padded):
    model, inputs, expected = padded
    torch.compiler.reset()
    # one graph, no break; Inductor's own code for it takes minutes to build
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        check_outputs(compiled(*inputs), expected)
