import pytest
import torch
from torch import nn

from grouppose.errors import InputError
from util import norms

SETTINGS = {"sync_bn": False, "frozen_norms": []}
CPU = torch.device("cpu")


def network() -> nn.Module:
    return nn.ModuleDict({"trunk": nn.BatchNorm2d(2), "head": nn.BatchNorm2d(2)})


def test_frozen_norms_keep_statistics_and_weights():
    model = network()
    norms.prepare(model, {**SETTINGS, "frozen_norms": ["trunk"]}, CPU)
    norms.train(model)
    pictures = torch.randn(4, 2, 3, 3) + 5
    for norm in model.values():
        norm(pictures)
    assert (model["trunk"].running_mean == 0).all() and (model["head"].running_mean > 0.3).all()
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert names == ["head.weight", "head.bias"]
    assert model["head"].training and not model["trunk"].training


def test_a_name_that_freezes_nothing_is_refused():
    with pytest.raises(InputError, match="frozen_norms has 'body', but no batch norm has it"):
        norms.prepare(network(), {**SETTINGS, "frozen_norms": ["body"]}, CPU)


def test_statistics_of_all_processes_are_for_gpus(monkeypatch, caplog):
    monkeypatch.setattr(norms.distributed, "world_size", lambda: 2)
    monkeypatch.setattr(norms.logger, "propagate", True)
    model, settings = network(), {**SETTINGS, "sync_bn": True}
    norms.prepare(model, settings, CPU)
    assert "sync_bn is for GPUs" in caplog.text and type(model["head"]) is nn.BatchNorm2d
    names = list(model.state_dict())
    norms.prepare(model, settings, torch.device("cuda"))
    assert type(model["head"]) is nn.SyncBatchNorm and list(model.state_dict()) == names
