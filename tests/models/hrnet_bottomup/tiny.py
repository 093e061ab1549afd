"""What the contract (tests/families) needs to know of the bottom-up HRNet."""

import torch

SETTINGS = {
    "backbone": "hrnet_w18_small",
    "pretrained_backbone": None,
    "regression_channels": 16,
    "keypoint_threshold": 0.0,  # it has hardly begun to learn
}
DESCENT = {"lr": 3e-3, "steps": 12}  # in which the loss falls to three quarters and less
SYMMETRIC = (64, 64)  # height and width of a picture that, mirrored and shifted, is itself


def symmetric_outputs(views, skeleton):
    """What the network would give for views of a picture that is its own mirror image."""
    order, size = list(skeleton.flip_order), 16
    count = len(order)
    rng = torch.Generator().manual_seed(0)
    maps = 0.5 * torch.rand(1, count + 1, size, size, generator=rng)
    maps = maps + maps[:, [*order, count]].flip(-1)
    maps[0, count] = 0
    maps[0, count, 5, 4] = maps[0, count, 5, 11] = 0.8  # two people, of each other's mirror image
    x, y = 2 * torch.randn(2, 1, count, size, size, generator=rng)
    x, y = x - x[:, order].flip(-1), y + y[:, order].flip(-1)
    offsets = torch.stack([x, y], 2).flatten(1, 2)
    return [{"heatmaps": maps, "offsets": offsets} for _ in views]
