"""sharding = "full": weights, gradients and optimizer states spread over the ranks (FSDP2).

A checkpoint holds whole tensors, as that of any other run, and either kind of run goes on from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from util import distributed

LEAST = 50_000  # parameters of a block that is gathered by itself


def shard(model: nn.Module, device: torch.device) -> nn.Module:
    """Spreads a model over the ranks, in place: its large blocks one by one, then the rest."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    for block in reversed(list(_blocks(model))):  # inner ones first
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """What repeats: the parts of lists and sequences, such as a transformer's layers."""
    for parent in model.modules():
        if isinstance(parent, nn.ModuleList | nn.Sequential):
            for child in parent:
                container = isinstance(child, nn.ModuleList)
                if not container and sum(p.numel() for p in child.parameters()) >= LEAST:
                    yield child


def local(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """This rank's parts."""
    for tensor in tensors:
        yield tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on every rank; every rank must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(state: Any, keep: bool | None = None) -> Any:
    """A state with whole tensors; every rank must call it.

    Args:
        state: nested dicts, lists and tensors.
        keep: whether this rank needs them; None: rank 0 alone.
    """
    keep = distributed.is_main() if keep is None else keep
    if isinstance(state, DTensor):
        tensor = state.full_tensor()
        return tensor.cpu() if keep else tensor.new_empty(0)
    if isinstance(state, Mapping):
        return {name: gathered(value, keep) for name, value in state.items()}
    if isinstance(state, list):
        return [gathered(value, keep) for value in state]
    return state


def plain_copy(model: nn.Module, device: torch.device) -> nn.Module:
    """A model of the same weights that a rank can run without the others.

    Every rank must call it.
    """
    import grouppose

    settings = dict(model.settings)
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, in vain
        copy = grouppose.build_model(settings.pop("modelname"), **settings).to(device)
    copy.load_state_dict(gathered(model.state_dict(), keep=True))
    return copy


def like_model(weights: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """Whole weights spread as the model's are."""
    own = model.state_dict()
    return {name: _like(value, own.get(name)) for name, value in weights.items()}


def like_parameters(state: Mapping[str, Any], optimizer: Optimizer) -> Mapping[str, Any]:
    """The whole state of an optimizer spread as its parameters are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(isinstance(p, DTensor) for p in parameters):
        return state
    spread = {
        i: {name: _like(value, parameters[i]) for name, value in entries.items()}
        for i, entries in state["state"].items()
    }
    return {**state, "state": spread}


def _like(value: Any, example: Tensor | None) -> Any:
    if isinstance(example, DTensor) and isinstance(value, Tensor) and value.shape == example.shape:
        return distribute_tensor(value.to(example.device), example.device_mesh, example.placements)
    return value
