"""Batch norms as a recipe wants them: with the statistics of all processes, or left as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from grouppose.errors import InputError
from util import distributed
from util.log import logger


def prepare(model: nn.Module, settings: Mapping[str, Any], device: torch.device) -> None:
    """Changes the batch norms of a model, in place, before it is trained.

    Args:
        settings: sync_bn: statistics of a batch are those of all processes; PyTorch can do so on
            GPUs only. frozen_norms: parts of names; the batch norms with one of them keep
            statistics, weights and biases.
    """
    if settings["sync_bn"] and distributed.world_size() > 1:
        if device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        else:
            logger.warning("sync_bn is for GPUs: each process normalises its own batch")
    norms = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    for part in settings["frozen_norms"]:
        frozen = [norm for name, norm in norms.items() if part in name]
        if not frozen:
            raise InputError(f"frozen_norms has {part!r}, but no batch norm has it in its name")
        for norm in frozen:
            norm.requires_grad_(False)
            norm.is_frozen = True


def train(model: nn.Module) -> nn.Module:
    """Training mode, but for batch norms that `prepare` froze."""
    model.train()
    for module in model.modules():
        if getattr(module, "is_frozen", False):
            module.eval()
    return model
