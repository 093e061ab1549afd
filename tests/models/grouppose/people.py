"""People and predictions for tests of matching and losses."""

import torch


def person(keypoints, visible=None, area=0.1):
    keypoints = torch.tensor([keypoints])
    visible = torch.ones(keypoints.shape[:2], dtype=torch.bool) if visible is None else visible
    return {
        "labels": torch.tensor([1]),
        "keypoints": keypoints,
        "visible": torch.as_tensor(visible),
        "area": torch.tensor([area]),
    }


def outputs_like(targets, num_queries=3):
    torch.manual_seed(0)
    batch, num_keypoints = len(targets), targets[0]["keypoints"].shape[1]
    return {
        "pred_logits": torch.randn(batch, num_queries, 2, requires_grad=True),
        "pred_keypoints": torch.rand(batch, num_queries, num_keypoints, 2, requires_grad=True),
    }
