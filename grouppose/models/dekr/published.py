"""What files of DEKR look like. Names in the library are the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from grouppose.backbones import hrnet

TITLE = "DEKR"
_KEPT = {  # by the authors; their README has these numbers
    "licence": "MIT",
    "where": ("https://github.com/HRNet/DEKR",),
}
CHECKPOINTS = (  # AP in %, one scale, with the mirrored picture and rescoring
    {"backbone": "hrnet_w32", "data": "COCO val2017", "ap": 68.0, **_KEPT},
    {"backbone": "hrnet_w48", "data": "COCO val2017", "ap": 71.0, **_KEPT},
    {"backbone": "hrnet_w32", "data": "CrowdPose test", "ap": 65.7, **_KEPT},
    {"backbone": "hrnet_w48", "data": "CrowdPose test", "ap": 67.3, **_KEPT},
)


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether weights are of this family."""
    return "transition_offset.0.weight" in state


def infer_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings that can be read off the shapes of weights."""
    found: dict[str, Any] = {}
    heatmaps = state.get("head_heatmap.1.weight")
    if heatmaps is not None and heatmaps.ndim:
        found["num_body_points"] = heatmaps.shape[0] - 1
    backbone = hrnet.find_name(state)
    return found | ({"backbone": backbone} if backbone else {})
