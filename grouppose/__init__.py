"""Multi-person pose estimation: one picture in, the keypoints of every person out."""

from typing import Any

from grouppose.checkpoints import save_weights
from grouppose.inference.predictor import Predictor
from grouppose.models import (
    build_criterion,
    build_decode,
    build_model,
    build_targets,
    families,
    load_model,
    load_weights,
)
from grouppose.skeleton import Skeleton
from grouppose.version import __version__

__all__ = [
    "Predictor",
    "Skeleton",
    "__version__",
    "build_criterion",
    "build_decode",
    "build_model",
    "build_targets",
    "families",
    "load_model",
    "load_weights",
    "postprocess",
    "save_weights",
]


def __getattr__(name: str) -> Any:
    if name == "postprocess":  # imports its family, so only when asked
        from grouppose.models.grouppose.postprocess import postprocess

        return postprocess
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
