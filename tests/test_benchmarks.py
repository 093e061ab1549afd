"""What the benchmarks compare with computes the same."""

import sys
from types import ModuleType

import torch

import grouppose
from benchmarks import msda
from benchmarks.forms import _AS_PUBLISHED, PublishedForm


def test_the_published_form_gives_the_same_outputs():
    settings = {"backbone": "resnet18s", "pretrained_backbone": None, "num_queries": 10}
    published = PublishedForm(**settings).eval()
    model = grouppose.build_model("grouppose", **settings).eval()
    torch.manual_seed(0)
    for parameter in published.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)  # heads begin with zeros
    model.load_state_dict(published.model.state_dict())
    images = torch.randint(0, 256, (2, 3, 96, 130), dtype=torch.uint8)
    padding = torch.zeros(2, 96, 130, dtype=torch.bool)
    padding[1, :, 100:] = True

    kinds = {type(module) for module in published.modules()}
    assert kinds.isdisjoint(_AS_PUBLISHED) and kinds.issuperset(_AS_PUBLISHED.values())
    with torch.no_grad():
        theirs, ours = published(images, padding), model(images, padding)
    for name in ("pred_logits", "pred_keypoints"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


def test_a_baseline_that_fails_says_so_in_its_row():
    def broken(*_):
        raise TypeError("no such argument\nand more")

    timer = msda.Timer("cpu", least=0.0)
    inputs = [torch.ones(2)]
    theirs, own, ratio = msda.row_of(timer, msda.forward_of, broken, torch.neg, inputs)
    assert (theirs, ratio) == ("fails: TypeError: no such argument", "")
    assert float(own) >= 0
    theirs, own, ratio = msda.row_of(timer, msda.backward_of, torch.neg, torch.neg, inputs)
    assert float(theirs) >= 0 and "fails" not in theirs


def test_deformops_is_called_as_its_version_3_wants_it(monkeypatch):
    """value (B, S, G, D), shapes, where levels start, locations, weights (B, Q, G, L * K)."""
    calls = []
    package, registry = ModuleType("deformops"), ModuleType("deformops.registry")
    package.__path__, package.__spec__ = [], object()
    registry.msda = lambda *tensors: calls.append(tensors)
    monkeypatch.setitem(sys.modules, "deformops", package)
    monkeypatch.setitem(sys.modules, "deformops.registry", registry)
    value, locations = torch.zeros(1, msda.POSITIONS, 8, 32), torch.zeros(1, 3, 8, 4, 4, 2)
    msda.deformops_form()(value, locations, torch.zeros(1, 3, 8, 4, 4))
    ((_, shapes, starts, _, weights),) = calls
    assert shapes.tolist() == [list(level) for level in msda.LEVELS]
    assert starts.tolist() == [0, 13400, 16750, 17600]
    assert weights.shape == (1, 3, 8, 16)
