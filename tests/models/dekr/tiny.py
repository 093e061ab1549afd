"""What the contract (tests/families) needs to know of DEKR."""

from tests.models.hrnet_bottomup.tiny import SYMMETRIC, symmetric_outputs

__all__ = ["DESCENT", "SETTINGS", "SYMMETRIC", "symmetric_outputs"]
SETTINGS = {
    "backbone": "hrnet_w18_small",
    "pretrained_backbone": None,
    "keypoint_threshold": 0.0,  # it has hardly begun to learn
}
DESCENT = {"lr": 3e-3, "steps": 12}  # in which the loss falls to three quarters and less
