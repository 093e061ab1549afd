"""The families of models, and their weights.

A family is a folder here, imported when it is asked for: docs/families.md says what it gives.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from grouppose.checkpoints import plain_names, read_checkpoint, weights_in
from grouppose.errors import InputError, SettingNameError, SettingTypeError, nearest
from grouppose.skeleton import skeleton_of
from grouppose.views import training_eval_size

BUILDERS = (  # functions of a family that take settings, as far as it has them
    "build_model",
    "build_criterion",
    "build_targets",
    "build_decode",
)
ASKED = (  # settings of build_decode that whoever looks at pictures chooses: no model keeps them
    "flip_test",
    "test_scales",
    "test_longest",
    "everybody",
)
FIRST = __name__.partition(".")[0]  # of configs that name no family; it gave the package its name
KEPT = {"skeleton": None, "categories": ()}  # what any model is told and keeps for others


def families() -> tuple[str, ...]:
    """The names of all families; imports none."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))


def family(name: str) -> ModuleType:
    """The package of the family of that name."""
    if not isinstance(name, str) or name not in families():
        raise SettingNameError(f"no model {name!r}; {nearest(str(name), families())}")
    return importlib.import_module(f"{__name__}.{name}")


def part(name: str, module: str) -> ModuleType | None:
    """A module that not every family has; None where there is none."""
    full = f"{family(name).__name__}.{module}"
    return importlib.import_module(full) if importlib.util.find_spec(full) else None


def published(name: str, what: str, default: Any) -> Any:
    """An entry of a family's published.py, or what stands for it where the family has none."""
    return getattr(getattr(family(name), "published", None), what, default)


def settings_of(function: Callable) -> dict[str, Any]:
    """Names and defaults of a build function's settings."""
    return {p.name: p.default for p in inspect.signature(function).parameters.values()}


def known_settings(name: str) -> dict[str, Any]:
    """All settings of a family with their published defaults."""
    return {k: v for function in _builders(name) for k, v in settings_of(function).items()}


def optional_settings(name: str) -> dict[str, type | None]:
    """Settings of a family that may be None, and their type otherwise; None: of any."""
    found = {}
    for function in _builders(name):
        for p in inspect.signature(function).parameters.values():
            if p.default is None:
                kinds = (kind for kind in (str, float, int) if kind.__name__ in str(p.annotation))
                found[p.name] = next(kinds, None)
    return found


def _builders(name: str) -> list[Callable]:
    functions = [getattr(family(name), builder, None) for builder in BUILDERS]
    return [function for function in functions if function]


def kept_settings(name: str) -> dict[str, Any]:
    """What any model of a family keeps for those who look at pictures, score or draw: defaults."""
    decode = getattr(family(name), "build_decode", None)
    known = settings_of(decode) if decode else {}
    return {**KEPT, **{key: value for key, value in known.items() if key not in ASKED}}


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
        name: one of `families()`.
        settings: as the family's build function documents them, with the published defaults; also
            what every model keeps: skeleton, categories, and what its family's `build_decode`
            takes, such as eval_size.
    """
    function = family(name).build_model
    known, kept = settings_of(function), kept_settings(name)
    handed = {k: v for k, v in settings.items() if k in known or k not in kept}
    model = call(function, handed)
    model.settings = {"modelname": name, **kept, **known, **settings}
    if "pretrained_backbone" in known:  # a checkpoint holds its own weights
        model.settings["pretrained_backbone"] = None
    skeleton = skeleton_of(model.settings["num_body_points"], model.settings["skeleton"])
    model.settings["skeleton"] = skeleton.to_dict()  # whatever file it came from
    if "eval_size" in kept:
        model.settings["eval_size"] = list(model.settings["eval_size"])
    model.settings["categories"] = [list(entry) for entry in model.settings["categories"]]
    return model


def check_settings(settings: Mapping[str, Any]) -> None:
    """Lets the family of `settings["modelname"]` refuse values, before anything is built."""
    check = getattr(family(settings["modelname"]), "check_settings", None)
    if check:
        check(settings)


def build_criterion(name: str, **settings: Any) -> nn.Module:
    """Builds the losses of a family."""
    return call(family(name).build_criterion, settings)


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
    return call(family(name).build_targets, settings)


def build_decode(name: str, **settings: Any) -> Any:
    """Builds a family's way from a picture to its views, and from outputs to people.

    Returns:
        An object with views(height, width), the views of a picture of that size; people(outputs,
        views), B lists of people from the model's outputs for each view of B pictures of one size
        (see `grouppose.people`); threshold, the score from which people are shown; max_people, how
        many of a picture are kept at most, or None.
    """
    return call(family(name).build_decode, settings)


def decode_of(settings: Mapping[str, Any], **asked: Any) -> Any:
    """`build_decode` of `settings["modelname"]`; settings of others are left out.

    Args:
        settings: of a model, or of a run.
        asked: what is set here instead; an unknown one is an error.
    """
    name = settings["modelname"]
    return build_decode(name, **{**_known(family(name).build_decode, settings), **asked})


def targets_of(settings: Mapping[str, Any]) -> Callable:
    """`build_targets` of `settings["modelname"]`; settings of others are left out."""
    name = settings["modelname"]
    return build_targets(name, **_known(family(name).build_targets, settings))


def _known(function: Callable, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in settings_of(function) if key in settings}


def build(settings: Mapping[str, Any]) -> tuple[nn.Module, nn.Module, Any]:
    """Model, criterion and decode of `settings["modelname"]`.

    Settings that the family does not know are left to others; those not given keep the published
    default.
    """
    name = settings["modelname"]
    chosen = family(name)
    kept = {key: settings[key] for key in kept_settings(name) if key in settings}
    return (
        build_model(name, **{**kept, **_known(chosen.build_model, settings)}),
        build_criterion(name, **_known(chosen.build_criterion, settings)),
        decode_of(settings),
    )


def recognised(state: Mapping[str, Tensor]) -> str | None:
    """The family that weights belong to, by their names and shapes; None if there is none."""
    for name in families():
        if published(name, "recognises", lambda state: False)(state):
            return name
    return None


def family_of(content: Mapping[str, Any]) -> str:
    """The family that a file of weights belongs to.

    Args:
        content: of `read_checkpoint`; what it says of itself comes before its names and shapes.
    """
    state, settings = content["model"], content["settings"]
    name = settings.get("modelname")
    if name in families():
        return name
    name = recognised(state)
    if name is None:
        said = settings.get("modelname") or settings.get("kind")
        what = f"it says {said!r}" if said else f"first names: {', '.join(sorted(state)[:2])}"
        raise InputError(
            f"the weights are of no model that is known here ({what}), expected one of "
            f"{', '.join(families())}; give a checkpoint of one of them"
        )
    return name


def library_names(name: str | None, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of any spelling under the names that a family's models use."""
    state = plain_names(state)
    return published(name, "library_names", dict)(state) if name else state


def published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model under the names of its family's published files."""
    return published(recognised(state), "published_names", dict)(state)


def stored_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of weights says of the network it belongs to, as `build_model` takes it.

    Args:
        content: of `read_checkpoint`.

    Returns:
        modelname and settings; what the file keeps, corrected by the shapes of its weights. Files
        that do not keep eval_size were evaluated at the largest of their training sizes.
    """
    name = family_of(content)
    known = {**kept_settings(name), **settings_of(family(name).build_model)}
    stored = {key: value for key, value in content["settings"].items() if key in known}
    for key, value in stored.items():
        _check_stored(key, value, known[key])
    if "eval_size" in known and not stored.get("eval_size"):
        stored |= _old_eval_size(content["settings"])
    stored |= infer_settings(name, library_names(name, content["model"]))
    if "pretrained_backbone" in known:
        stored["pretrained_backbone"] = None
    return {"modelname": name, **stored}


def _check_stored(key: str, value: Any, default: Any) -> None:
    """Refuses a stored setting of another type than the family's own value has."""
    if key == "categories":
        pairs = value if isinstance(value, list | tuple) else [value]
        fits = all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs)
        wanted = "pairs [id, name]"
    elif key == "skeleton":
        fits, wanted = isinstance(value, str | Mapping | None), "a dict"
    else:
        kind = type(default)
        fits = kind not in (bool, int, float, str) or type(value) is kind
        fits, wanted = fits or (kind is float and type(value) is int), f"{kind.__name__}"
    if not fits:
        raise InputError(f"the weights say {key} = {value!r}, expected {wanted}")


def _old_eval_size(settings: Mapping[str, Any]) -> dict[str, list[int]]:
    """The eval_size of a file that does not say it: the largest of its training sizes, if any."""
    try:
        eval_size = training_eval_size(settings)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"the weights say no size to evaluate at: {error}") from error
    return {"eval_size": eval_size} if eval_size else {}


def infer_settings(name: str | None, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings that a family reads off the shapes of weights (library names)."""
    return published(name, "infer_settings", lambda state: {})(state) if name else {}


def weights_for(model: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """The weights of a file under the names of the model's family."""
    return library_names(_family_of_model(model), read_checkpoint(path)["model"])


def load_weights(model: nn.Module, source: str | Path | Mapping[str, Any]) -> None:
    """Loads weights into a model, strictly: every name must fit, none may be missing.

    Args:
        source: a file, a state dict, or a dict with "model" or "state_dict"; our own names or the
            published ones of the model's family.
    """
    where = "the state dict"
    if isinstance(source, str | Path):
        where = str(source)
        given: Mapping[str, Tensor] = read_checkpoint(source)["model"]
    else:
        nested = weights_in(source)
        given = plain_names(source if nested is None else nested)
    name = _family_of_model(model)
    state, own = library_names(name, given), model.state_dict()
    if own.keys() != state.keys() or any(own[k].shape != state[k].shape for k in own):
        raise InputError(f"{where} does not fit the model: " + _misfit(name, own, state))
    model.load_state_dict(state)


def _family_of_model(model: nn.Module) -> str | None:
    settings = getattr(model, "settings", None) or {}
    return settings.get("modelname") or recognised(model.state_dict())


def _misfit(name: str | None, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Says which family or setting to change; else which names differ."""
    other = recognised(state)
    if name and other not in (None, name) and not published(name, "recognises", bool)(state):
        return f"it holds weights of {title(other)}, the model is {title(name)}; {use(other)}"
    mine, theirs = infer_settings(name, own), infer_settings(name, state)
    different = [k for k in mine if k in theirs and mine[k] != theirs[k]]
    if different:
        found = ", ".join(
            f"{key} is {theirs[key]!r} there, {mine[key]!r} here" for key in different
        )
        change = ", ".join(
            f"--backbone {theirs[k]}" if k == "backbone" else f"{k}={theirs[k]}" for k in different
        )
        return f"{found}; set {change}"
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    wrong = [f"{k} is {tuple(state[k].shape)}, not {tuple(own[k].shape)}" for k in shapes[:1]]
    kinds = [("are missing", missing), ("are unknown", extra), ("have another shape", shapes)]
    firsts = [*missing[:1], *extra[:1], *wrong]
    counts = [f"{len(names)} {what}" for what, names in kinds if names]
    found = [f"{count} (first: {first})" for count, first in zip(counts, firsts, strict=True)]
    return (
        f"of its weights {', '.join(found)}; is it a {title(name) if name else 'fitting'} "
        "checkpoint, and the config the one it was trained with?"
    )


def title(name: str) -> str:
    """What people call a family."""
    return published(name, "TITLE", name)


def use(name: str) -> str:
    """The end of a message to somebody whose checkpoint is of another family than the config."""
    return f"give a config of that family, with modelname = {name!r} (config/{name}.py)"


def load_model(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Builds the model that a file of weights belongs to, in evaluation mode.

    Settings come from the file (ours, or the command line that published files keep); what it
    does not say is read off the weights' shapes or has the published default.
    """
    return model_of(read_checkpoint(path), path, device)


def model_of(content: Mapping[str, Any], path: str | Path, device: str | torch.device) -> nn.Module:
    """`load_model` from what `read_checkpoint` gave; `path` is for messages."""
    try:
        settings = stored_settings(content)
        model = build_model(settings.pop("modelname"), **settings)
        load_weights(model, content["model"])
    except InputError as error:
        raise InputError(named(str(error), path)) from None
    return model.to(device).eval()


def named(message: str, path: str | Path) -> str:
    """A message about weights with the file that they came from."""
    for subject, verb in (("the state dict", ""), ("the weights are", "is"), ("the weights", "")):
        if message.startswith(subject):
            rest = message.removeprefix(subject)
            return f"{path}{' ' + verb if verb else ''}{rest}"
    return message
