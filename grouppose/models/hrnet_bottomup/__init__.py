"""Bottom-up HRNet by ranked, heatmap-guided regression (https://arxiv.org/abs/2006.15480)."""

from grouppose.inference.links import build_rescorer, fit_rescorer
from grouppose.models.hrnet_bottomup import published
from grouppose.models.hrnet_bottomup.build import (
    build_criterion,
    build_decode,
    build_model,
    build_targets,
)

__all__ = [
    "build_criterion",
    "build_decode",
    "build_model",
    "build_rescorer",
    "build_targets",
    "fit_rescorer",
    "published",
]
