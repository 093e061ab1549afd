"""The families of models. A family is a folder that gives four build functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from grouppose.checkpoints import infer_settings, load_weights, read_checkpoint
from grouppose.errors import InputError, SettingNameError, SettingTypeError, nearest
from grouppose.models import grouppose
from grouppose.skeleton import skeleton_of


class Family(NamedTuple):
    """Each takes keyword settings with the published defaults."""

    model: Callable[..., nn.Module]
    criterion: Callable[..., nn.Module]
    postprocess: Callable[..., Callable]
    targets: Callable[..., Callable]


MODELS = {
    "grouppose": Family(
        grouppose.build_model,
        grouppose.build_criterion,
        grouppose.build_postprocess,
        grouppose.build_targets,
    ),
}


def family(name: str) -> Family:
    """The family of that name."""
    if not isinstance(name, str) or name not in MODELS:
        raise SettingNameError(f"no model {name!r}; {nearest(str(name), MODELS)}")
    return MODELS[name]


def settings_of(function: Callable) -> dict[str, Any]:
    """Names and defaults of a build function's settings."""
    return {p.name: p.default for p in inspect.signature(function).parameters.values()}


def known_settings(name: str) -> dict[str, Any]:
    """All settings of a family with their published defaults."""
    return {k: v for function in family(name) for k, v in settings_of(function).items()}


def call(function: Callable, settings: Mapping[str, Any]) -> Any:
    """Calls a build function, naming the nearest setting for one it does not know."""
    known = settings_of(function)
    for key in settings:
        if key not in known:
            raise SettingTypeError(f"no setting {key!r}; {nearest(key, known)}")
    return function(**settings)


def build_model(name: str, **settings: Any) -> nn.Module:
    """Builds a model; it keeps its name and settings as `model.settings`, for checkpoints.

    Args:
        name: a key of `MODELS`.
        settings: as the family's build function documents them, with the published defaults.
    """
    function = family(name).model
    model = call(function, settings)
    model.settings = {"modelname": name, **settings_of(function), **settings}
    model.settings["pretrained_backbone"] = None  # a checkpoint holds its own weights
    skeleton = skeleton_of(model.settings["num_body_points"], model.settings["skeleton"])
    model.settings["skeleton"] = skeleton.to_dict()  # whatever file it came from
    model.settings["categories"] = [list(entry) for entry in model.settings["categories"]]
    return model


def build_criterion(name: str, **settings: Any) -> nn.Module:
    """Builds the losses of a family."""
    return call(family(name).criterion, settings)


def build_targets(name: str, **settings: Any) -> Callable:
    """Builds a family's `encode(people, size, ignore)`: what its losses compare with.

    It runs in the workers that read data.

    Args of what is built:
        people: in pixels of the network's input: keypoints (T, K, 2), visible (T, K) bool, boxes
            (T, 4) x0, y0, x1, y1, area (T,) in square pixels, labels (T,); and columns that some
            families read: mirrored () bool, whether the input is mirrored; small (T,) bool, less
            than 32 x 32 pixels in the original picture; original_area (T,), in its pixels.
        size: height and width of the input.
        ignore: (H, W) bool, True where nothing is to be learnt.

    Returns:
        A function that gives a dict of tensors.
    """
    return call(family(name).targets, settings)


def targets_of(settings: Mapping[str, Any]) -> Callable:
    """`build_targets` of `settings["modelname"]`; settings of others are left out."""
    name = settings["modelname"]
    return build_targets(name, **_known(family(name).targets, settings))


def _known(function: Callable, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in settings_of(function) if key in settings}


def build(settings: Mapping[str, Any]) -> tuple[nn.Module, nn.Module, Callable]:
    """Model, criterion and postprocess of `settings["modelname"]`.

    Settings that the family does not know are left to others; those not given keep the published
    default.
    """
    name = settings["modelname"]
    chosen = family(name)
    return (
        build_model(name, **_known(chosen.model, settings)),
        build_criterion(name, **_known(chosen.criterion, settings)),
        chosen.postprocess(**_known(chosen.postprocess, settings)),
    )


def stored_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of weights says of the network it belongs to, as `build_model` takes it.

    Args:
        content: of `read_checkpoint`.

    Returns:
        modelname and settings; what the file keeps, corrected by the shapes of its weights.
    """
    name = content["settings"].get("modelname", "grouppose")
    known = settings_of(family(name).model)
    stored = {key: value for key, value in content["settings"].items() if key in known}
    stored |= {**infer_settings(content["model"]), "pretrained_backbone": None}
    return {"modelname": name, **stored}


def load_model(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Builds the model that a file of weights belongs to, in evaluation mode.

    Settings come from the file (ours, or the command line that published files keep); what it
    does not say is read off the weights' shapes or has the published default.
    """
    return model_of(read_checkpoint(path), path, device)


def model_of(content: Mapping[str, Any], path: str | Path, device: str | torch.device) -> nn.Module:
    """`load_model` from what `read_checkpoint` gave; `path` is for messages."""
    settings = stored_settings(content)
    model = build_model(settings.pop("modelname"), **settings)
    try:
        load_weights(model, content["model"])
    except InputError as error:
        raise InputError(str(error).replace("the state dict", str(path), 1)) from None
    return model.to(device).eval()
