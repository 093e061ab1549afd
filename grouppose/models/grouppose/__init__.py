"""Group Pose (ICCV 2023)."""

from grouppose.models.grouppose import published
from grouppose.models.grouppose.build import build_criterion, build_model, check_settings
from grouppose.models.grouppose.decode import build_decode
from grouppose.models.grouppose.model import GroupPose
from grouppose.models.grouppose.targets import build_targets

__all__ = [
    "GroupPose",
    "build_criterion",
    "build_decode",
    "build_model",
    "build_targets",
    "check_settings",
    "published",
]
