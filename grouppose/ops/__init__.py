"""Multi-scale deformable attention: one operator, the fastest kernel that the machine can run."""

from grouppose.ops.backends import backend
from grouppose.ops.msda import msda, msda_fused

__all__ = ["backend", "msda", "msda_fused"]
