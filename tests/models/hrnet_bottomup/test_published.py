"""Networks, targets, training steps and rescoring give the published codes' numbers."""

import pytest
import torch

import grouppose
from grouppose.models.hrnet_bottomup import build_rescorer
from tests.models.hrnet_bottomup.inputs import filled_model, fixture, people_of, pictures
from tests.parity.inputs import spread, uniform

SIDES = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


def check_maps(found, expected, tolerance):
    for name, numbers in expected.items():
        values = found[name].detach().double().flatten()
        probe = torch.tensor(numbers["probe"], dtype=torch.float64)
        torch.testing.assert_close(values[:: numbers["step"]], probe, rtol=0, atol=tolerance)
        assert values.sum().item() == pytest.approx(numbers["sum"], abs=tolerance * len(values))


@pytest.mark.parametrize(("family", "batch", "seed"), [("hrnet_bottomup", 2, 0), ("dekr", 1, 3)])
def test_outputs_are_those_of_the_published_network(family, batch, seed):
    model = filled_model(family).eval()
    with torch.no_grad():
        outputs = model(pictures([(96, 128)] * batch, seed))
    check_maps(outputs, fixture("network")[family], 3e-5)


def mirrored(people, ignore):
    width = ignore.shape[1]
    xy = people["keypoints"][:, SIDES].clone()
    xy[..., 0] = width - 1 - xy[..., 0]
    x0, y0, x1, y1 = people["boxes"].unbind(-1)
    people = {
        **people,
        "keypoints": xy,
        "visible": people["visible"][:, SIDES],
        "boxes": torch.stack([width - x1, y0, width - x0, y1], -1),
        "mirrored": True,
    }
    return people, ignore.flip(-1)


@pytest.mark.parametrize(
    ("case", "family", "tag", "side", "count"),
    [
        ("coco", "hrnet_bottomup", "g0", 256, 6),
        ("coco_mirrored", "hrnet_bottomup", "g1", 256, 6),
        ("higher", "hrnet_bottomup", "g2", 192, 5),
        ("dekr", "dekr", "g4", 256, 6),
    ],
)
def test_targets_are_those_of_the_published_code(case, family, tag, side, count):
    people, ignore = people_of(tag, (side, side), count)
    if case != "coco":
        people, ignore = mirrored(people, ignore)
    settings = {"higher": True} if case == "higher" else {}
    target = grouppose.build_targets(family, **settings)(people, (side, side), ignore)
    check_maps(target, fixture("targets")[case], 5e-6)


@pytest.mark.parametrize(
    ("case", "family", "tag", "seed", "counts"),
    [("w32", "hrnet_bottomup", "g0", 3, (3, 2)), ("dekr_w32", "dekr", "g1", 4, (3, 1))],
)
def test_first_training_step_agrees_with_the_published_code(case, family, tag, seed, counts):
    expected = fixture("step")[case]
    encode = grouppose.build_targets(family)
    targets = []
    for i, count in enumerate(counts):
        people, ignore = people_of(f"{tag}.{i}", (64, 64), count)
        targets.append(encode(people, (64, 64), ignore))
    model, criterion = filled_model(family).train(), grouppose.build_criterion(family)
    losses = criterion(model(pictures([(64, 64)] * len(counts), seed)), targets)
    total = criterion.total(losses)
    total.backward()
    assert total.item() == pytest.approx(expected["losses"].pop("total"), rel=2e-6)
    for name, value in expected["losses"].items():
        assert losses[name].item() == pytest.approx(value, rel=2e-6), name
    gradients = {name: p.grad for name, p in model.named_parameters()}
    norm = torch.stack([g.norm() for g in gradients.values()]).norm().item()
    assert norm == pytest.approx(expected["gradient_norm"], rel=5e-4)
    for name, value in expected["gradients"].items():
        # batch norm over a few places amplifies rounding, with the number of threads
        assert gradients[name].norm().item() == pytest.approx(value, rel=0.02), name


@pytest.mark.parametrize(("case", "tag", "count"), [("coco", "g0", 17), ("crowdpose", "g1", 14)])
def test_rescoring_agrees_with_the_published_network(case, tag, count):
    expected = fixture("rescore")[case]
    rescorer = build_rescorer(count)
    rescorer.load_state_dict({
        name: torch.from_numpy(
            spread(name, tuple(v.shape), 0.1 if v.ndim == 1 else v.shape[1] ** -0.5)
        )
        for name, v in rescorer.state_dict().items()
    })  # fmt: skip
    keypoints = uniform(f"{tag}.xy", (8, count, 2), 20, 400)
    keypoints[0] = 50.0
    confidence = torch.from_numpy(uniform(f"{tag}.conf", (8, count), 0, 1))
    features = rescorer.features(torch.from_numpy(keypoints), confidence)
    assert features.flatten()[::7].tolist() == pytest.approx(expected["features"], abs=1e-5)
    with torch.no_grad():
        assert rescorer(features).tolist() == pytest.approx(expected["score"], abs=1e-5)
