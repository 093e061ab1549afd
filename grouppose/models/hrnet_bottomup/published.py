"""What files of the bottom-up HRNet look like. Names in the library are the published ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from grouppose.backbones import hrnet
from grouppose.checkpoints import same_tensor
from grouppose.errors import InputError

TITLE = "HRNet bottom-up"
_KEPT = {  # by the authors; their README has these numbers
    "licence": "MIT",
    "where": ("https://github.com/HRNet/HRNet-Bottom-Up-Pose-Estimation",),
}
_HIGHER = "hrnet_w48, higher"
CHECKPOINTS = (  # AP in %, one scale, with the mirrored picture and rescoring
    {"backbone": "hrnet_w32", "data": "COCO val2017", "ap": 67.8, **_KEPT},
    {"backbone": "hrnet_w48", "data": "COCO val2017", "ap": 70.1, **_KEPT},
    {"backbone": _HIGHER, "data": "COCO val2017", "ap": 71.3, **_KEPT},
    {"backbone": "hrnet_w32", "data": "CrowdPose test", "ap": 64.9, **_KEPT},
    {"backbone": "hrnet_w48", "data": "CrowdPose test", "ap": 66.1, **_KEPT},
    {"backbone": _HIGHER, "data": "CrowdPose test", "ap": 66.2, **_KEPT},
)
_TIED = re.compile(r"^(multi_level_layers_4x_heatmap)\.\d\.(.*conv\d\.weight)$")


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether weights are of this family."""
    return "transition_cls.0.weight" in state


def library_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict as it is, once the three copies of the branches' weights are found equal."""
    first: dict[str, Tensor] = {}
    for name, value in state.items():
        shared = _TIED.sub(r"\1.*.\2", name)
        if shared != name and not same_tensor(first.setdefault(shared, value), value):
            raise InputError(
                f"the weights hold two different tensors for {shared!r}, expected one stored three "
                f"times; the file is no {TITLE} checkpoint"
            )
    return dict(state)


def infer_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings that can be read off the shapes of weights."""
    found: dict[str, Any] = {"higher": any(name.startswith("deconv_layers.") for name in state)}
    heatmaps = state.get("final_layers.0.weight")
    if heatmaps is not None and heatmaps.ndim:
        found["num_body_points"] = heatmaps.shape[0]
    regression = state.get("transition_reg.0.weight")
    if regression is not None and regression.ndim:
        found["regression_channels"] = regression.shape[0]
    backbone = hrnet.find_name(state)
    return found | ({"backbone": backbone} if backbone else {})
