"""DEKR: disentangled keypoint regression (https://arxiv.org/abs/2104.02300)."""

from grouppose.inference.links import build_rescorer, fit_rescorer
from grouppose.models.dekr import published
from grouppose.models.dekr.build import build_criterion, build_decode, build_model, build_targets

__all__ = [
    "build_criterion",
    "build_decode",
    "build_model",
    "build_rescorer",
    "build_targets",
    "fit_rescorer",
    "published",
]
