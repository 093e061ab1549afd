"""Group Pose (ICCV 2023)."""

from grouppose.models.grouppose.build import build_criterion, build_model, build_postprocess
from grouppose.models.grouppose.model import GroupPose

__all__ = ["GroupPose", "build_criterion", "build_model", "build_postprocess"]
