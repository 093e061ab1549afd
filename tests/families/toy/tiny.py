"""What the contract (tests/families) needs to know of the toy family."""

import torch

SETTINGS = {"channels": 4}
DESCENT = {"lr": 1e-2, "steps": 30}  # in which the loss falls to three quarters and less
SYMMETRIC = (65, 65)  # height and width of a picture whose mirror image falls on the same cells


def symmetric_outputs(views, skeleton):
    """What the network would give for views of a picture that is its own mirror image."""
    middle = SYMMETRIC[1] // 8  # column of the map
    order = skeleton.flip_order
    maps = torch.zeros(1, len(order), 17, 17)
    for k, other in enumerate(order):
        aside = 0 if other == k else 1 + min(k, other) % 4
        maps[0, k, k % 17, middle + (aside if k < other else -aside)] = 0.5 + 0.01 * min(k, other)
        maps[0, k] = maps[0, k] if k <= other else maps[0, other].flip(-1)
    return [{"heatmaps": maps} for _ in views]
