"""What the benchmarks compare with computes the same."""

import torch

import grouppose
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
