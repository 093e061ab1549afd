"""End-to-end multi-person pose estimation: one picture in, the keypoints of every person out."""

from grouppose.checkpoints import load_weights, save_weights
from grouppose.inference.predictor import Predictor
from grouppose.models import build_criterion, build_model, build_targets, load_model
from grouppose.models.grouppose.postprocess import postprocess
from grouppose.skeleton import Skeleton
from grouppose.version import __version__

__all__ = [
    "Predictor",
    "Skeleton",
    "__version__",
    "build_criterion",
    "build_model",
    "build_targets",
    "load_model",
    "load_weights",
    "postprocess",
    "save_weights",
]
