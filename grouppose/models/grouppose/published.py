"""What files of Group Pose look like: names of weights and settings, ours and the published ones.

Names inside the library are those of the published checkpoints, less the second copy of the heads
under `transformer.decoder.` and the index tables of Swin, which follow from the window size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from grouppose.backbones import find_backbone
from grouppose.backbones.swin import INDEX_TABLE, index_tables
from grouppose.checkpoints import same_tensor
from grouppose.errors import InputError

TITLE = "Group Pose"
FIXED = {  # published settings of what this code does in one way only
    "frozen_weights": None,
    "position_embedding": "sine",
    "return_interm_indices": [1, 2, 3],
    "backbone_freeze_keywords": None,
    "pre_norm": False,
    "return_intermediate_dec": True,
    "learnable_tgt_init": False,
    "transformer_activation": "relu",
    "dec_pred_class_embed_share": False,
    "dec_pred_pose_embed_share": False,
    "two_stage_type": "standard",
    "two_stage_bbox_embed_share": False,
    "two_stage_class_embed_share": False,
    "cls_no_bias": False,
    "no_interm_loss": False,
    "matcher_type": "HungarianMatcher",
    "param_dict_type": "default",
    "lr_linear_proj_names": ["reference_points", "sampling_offsets"],
    "lr_linear_proj_mult": 0.1,
}
_KEPT = {  # by the authors; their README has these numbers
    "licence": "Apache-2.0",
    "where": (
        "https://github.com/Michel-liu/GroupPose",
        "https://drive.google.com/drive/folders/1exJMkr7j_HbItRM-u7DWT7scx1n4htiF",
        "https://1drv.ms/f/s!Aqkrc9gPuk8jqYQ0pw4QG0PKsmq0EA?e=FeuHwB",
    ),
}
CHECKPOINTS = (  # AP in %, one view
    {"backbone": "resnet50", "data": "COCO val2017", "ap": 72.0, **_KEPT},
    {"backbone": "swin_T_224_1k", "data": "COCO val2017", "ap": 73.6, **_KEPT},
    {"backbone": "swin_L_384_22k", "data": "COCO val2017", "ap": 74.8, **_KEPT},
    {"backbone": "swin_L_384_22k", "data": "CrowdPose test", "ap": 74.1, **_KEPT},
)
# of no matter for what weights mean
TRAINING = ("use_checkpoint", "aux_loss", "dropout", "num_select")
_SECOND_COPY = re.compile(r"^transformer\.decoder\.(class_embed|pose_embed)\.")
_HEADS = re.compile(r"^(class_embed|pose_embed)\.")
_BACKBONE = "backbone.0."
_KEYPOINTS = "transformer.keypoint_embedding.weight"


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether weights are of this family: it alone has an embedding for each keypoint."""
    return _KEYPOINTS in state


def library_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of any published spelling under the names this library uses."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith(INDEX_TABLE):
            continue
        name = _SECOND_COPY.sub(r"\1.", name)
        if name in renamed and not same_tensor(renamed[name], value):
            raise InputError(
                f"the weights hold two different tensors for {name!r}, expected one head stored "
                "twice; the file is not a Group Pose checkpoint"
            )
        renamed[name] = value
    return renamed


def published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the published names: the heads twice, Swin's index tables included."""
    copies = {f"transformer.decoder.{k}": v for k, v in state.items() if _HEADS.match(k)}
    return {**state, **copies, **index_tables(state)}


def infer_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings that can be read off the shapes of weights (library names)."""
    found: dict[str, Any] = {}
    keypoints = _matrix(state, _KEYPOINTS)
    if keypoints is not None:
        found["num_body_points"], found["hidden_dim"] = keypoints.shape
    feedforward = _matrix(state, "transformer.encoder.layers.0.linear1.weight")
    if feedforward is not None:
        found["dim_feedforward"] = feedforward.shape[0]
    levels = _matrix(state, "transformer.level_embed")
    if levels is not None:
        found["num_feature_levels"] = levels.shape[0]
    for key, part in (("enc_layers", "encoder"), ("dec_layers", "decoder")):
        pattern = re.compile(rf"transformer\.{part}\.layers\.(\d+)\.")
        numbers = (int(match[1]) for name in state if (match := pattern.match(name)))
        found[key] = 1 + max(numbers, default=-1)
    backbone = find_backbone(
        {k.removeprefix(_BACKBONE): v for k, v in state.items() if k.startswith(_BACKBONE)}
    )
    if backbone:
        found["backbone"] = backbone
    return found


def _matrix(state: Mapping[str, Tensor], name: str) -> Tensor | None:
    value = state.get(name)
    return value if value is not None and value.ndim == 2 else None
