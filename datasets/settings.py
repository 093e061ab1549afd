"""Settings from config files and command lines: flat Python assignments of literals.

A file is merged over those that its `_base_` names and over `config/defaults.py`; a value has the
type of the one that it replaces. Which values a run can do nothing with, `util.config` knows.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from addict import Dict

from grouppose import models
from grouppose.checkpoints import read_checkpoint
from grouppose.errors import (
    InputError,
    MissingFileError,
    SettingNameError,
    SettingTypeError,
    UserError,
)
from grouppose.views import training_eval_size

DEFAULTS = Path(__file__).parent.parent / "config" / "defaults.py"

# Settings that may be None, and what they are otherwise; a family has others.
OPTIONAL = {"data_aug_scale_overlap": float, "lr_backbone": float}
AUTO = "auto"
# Settings that may be this word, and what they are otherwise.
OR_AUTO = {"batch_size": int, "data_aug_flip": bool, "flip_test": bool, "ignore_regions": bool}
LIMIT = 1e300  # of numbers
ONE_OR_MORE = {"lr_drop": int}  # settings that may be one of these or a list of them

# 0 in a custom set: its annotation file decides. A config that says otherwise was written for
# another set, so that only --options and a checkpoint count.
FROM_DATA = ("num_body_points", "num_classes")
SIZES = {  # of training, from which eval_size follows
    "augmentation",
    "affine_size",
    "data_aug_scales",
    "data_aug_max_size",
    "data_aug_scale_overlap",
}
ANY_OF = ("skeleton",)  # a name, a file or what a checkpoint holds; checked where it is read


class Setting(NamedTuple):
    """A value and where it was given, as the start of an error message."""

    value: Any
    place: str


def read_settings(
    path: str | Path,
    options: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    resumed: str | None = None,
) -> dict[str, Any]:
    """Reads a config file over its bases and the defaults, then flags, then `--options`.

    Args:
        path: the file.
        options: "key=value" texts; `a.b=c` sets c in the dict a.
        flags: settings given by command line flags of the same name.
        resumed: a checkpoint, whose settings of the network come before the config file's.

    Returns:
        All settings, of the types that they should have.
    """
    given = read_file(_found(path))
    config = {name: setting.value for name, setting in read_file(DEFAULTS).items()}
    config["modelname"] = family_in(given.pop("modelname", Setting("", str(path))))
    config.update({**models.known_settings(config["modelname"]), **config})
    for name, setting in given.items():
        assign(config, name, setting.value, setting.place)
    for name, value in (network_of(resumed, config["modelname"]) if resumed else {}).items():
        assign(config, name, value, resumed)
    for name, value in (flags or {}).items():
        assign(config, name, value, f"--{name} {value}")
    set_here = []
    for option in options:
        name, equals, text = option.partition("=")
        place = f"--options {' '.join(option.split())}"  # on one line
        if not equals or not name:
            raise InputError(f"{place}: expected key=value")
        assign_text(config, name, text, place)
        set_here.append(name)
    if "eval_size" not in set_here and (not config["eval_size"] or SIZES & set(set_here)):
        config["eval_size"] = training_eval_size(config)
    if config["dataset_file"] == "custom" and not resumed:
        config |= {name: 0 for name in FROM_DATA if name not in set_here}
    return config


def frozen(settings: Mapping[str, Any]) -> Dict:
    """Settings whose misspelt attribute raises instead of answering {}."""
    settings = Dict(settings)
    settings.freeze()
    return settings


def family_in(modelname: Setting) -> str:
    """The family of models that a config is for."""
    name = modelname.value or models.FIRST
    try:
        models.family(name)
    except SettingNameError as error:
        raise SettingNameError(f"{modelname.place}: {error}") from None
    return name


def network_of(checkpoint: str, modelname: str) -> dict[str, Any]:
    """The settings that a file's weights were trained for; how to train on is the config's."""
    try:
        stored = models.stored_settings(read_checkpoint(checkpoint))
    except InputError as error:
        raise InputError(models.named(str(error), checkpoint)) from None
    found = stored["modelname"]
    if found != modelname:
        raise InputError(
            f"{checkpoint} holds weights of {models.title(found)}, the config is for "
            f"{models.title(modelname)}; {models.use(found)}"
        )
    training = ("pretrained_backbone", *models.published(found, "TRAINING", ()))
    return {name: value for name, value in stored.items() if name not in training}


def start_of(checkpoint: str | None) -> dict[str, Any]:
    """The settings of the network that wrote weights to start from; {} where a file tells none,
    which is said when they are loaded."""
    try:
        return models.stored_settings(read_checkpoint(checkpoint)) if checkpoint else {}
    except UserError:
        return {}


def _found(path: str | Path) -> Path:
    """A config file: the one that is there, or one of ours, by name: config/demo.py, demo."""
    path = Path(path)
    ours = DEFAULTS.parent / f"{path.name.removesuffix('.py')}.py"
    by_name = str(path.parent) in (".", DEFAULTS.parent.name)
    return ours if by_name and not path.is_file() and ours.is_file() else path


def read_file(path: str | Path, above: tuple[Path, ...] = ()) -> dict[str, Setting]:
    """The settings of a file and, before them, of the files its `_base_` names."""
    path = Path(path)
    if not path.is_file():
        because = f", which {above[-1]} names as _base_" if above else ""
        raise MissingFileError(f"no config file {path}{because}; check the path")
    if path.resolve() in [other.resolve() for other in above]:
        chain = " -> ".join(str(file) for file in (*above, path))
        raise InputError(f"{path}: _base_ leads in a circle ({chain}); remove one")
    own = _assignments(path)
    bases = own.pop("_base_", Setting([], ""))
    names = [bases.value] if isinstance(bases.value, str) else bases.value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SettingTypeError(f"{bases.place}: _base_ is a file name or a list of them")
    merged: dict[str, Setting] = {}
    for name in names:
        merged.update(read_file(path.parent / name, (*above, path)))
    return merged | own


def _assignments(path: Path) -> dict[str, Setting]:
    """Name -> setting of each `name = literal` of a file; anything else is an error."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise InputError(
            f"{path}:{line}: {getattr(error, 'msg', error)}; a config is flat Python"
        ) from error
    settings = {}
    for i, node in enumerate(tree.body):
        if i == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # the docstring
        place = f"{path}:{node.lineno}"
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if not isinstance(target, ast.Name):
            raise InputError(f"{place}: expected `name = value`; a config holds nothing else")
        try:
            value = ast.literal_eval(node.value)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{place}: {target.id} is an expression, expected a number, string, list or dict"
            ) from error
        settings[target.id] = Setting(value, place)
    return settings


def assign(config: dict[str, Any], name: str, value: Any, place: str) -> None:
    """Sets a known setting to a value of its type; `place` starts the error message."""
    fixed = fixed_settings(config)
    if name in fixed and name not in config:
        value = list(value) if isinstance(value, tuple) else value
        if value != fixed[name]:
            raise InputError(
                f"{place}: {name} is {value!r}, but only its published value {fixed[name]!r} is "
                "supported; remove it"
            )
        return
    parent, key = _locate(config, name, place)
    if name == "modelname" and value != config[name]:
        raise InputError(
            f"{place}: the config is for {config[name]!r}, each family has its own; "
            f"{models.use(str(value))}"
        )
    optional = _optional(config)
    if name not in optional:
        parent[key] = _fit(name, value, parent[key], place)
    elif value is None or optional[name] is None:
        parent[key] = value
    else:
        parent[key] = _fit_type(name, value, optional[name], parent[key], place)


def _optional(config: Mapping[str, Any]) -> dict[str, type | None]:
    """Settings that may be None, and their type otherwise; None: of any."""
    settings = {**models.optional_settings(config["modelname"]), **OPTIONAL}
    return settings | dict.fromkeys(ANY_OF)


def fixed_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Published settings of what the model's family does in one way only, with that value."""
    return models.published(config["modelname"], "FIXED", {})


def assign_text(config: dict[str, Any], name: str, text: str, place: str) -> None:
    """The same for a value typed on a command line."""
    fixed = fixed_settings(config)
    if name in fixed and name not in config:
        assign(config, name, _parse(text, fixed[name]), place)
        return
    parent, key = _locate(config, name, place)
    optional = _optional(config)
    is_text = optional.get(name) is str or name in ANY_OF
    now = OR_AUTO[name]() if name in OR_AUTO else parent[key]
    value = _parse(text, "" if is_text else now)
    empty = name in optional and text.lower() == "none"
    assign(config, name, None if empty else value, place)


def _locate(config: dict[str, Any], name: str, place: str) -> tuple[dict[str, Any], str]:
    """The dict that holds setting `a.b.c`, and its last key."""
    parent: Any = config
    *outer, last = name.split(".")
    for i, part in enumerate((*outer, last)):
        if not isinstance(parent, Mapping) or part not in parent:
            known = parent if isinstance(parent, Mapping) else config
            missing = ".".join(name.split(".")[: i + 1])
            close = difflib.get_close_matches(part, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"{DEFAULTS} and the bases list them"
            raise SettingNameError(f"{place}: no setting {missing!r}; {hint}")
        if i < len(outer):
            parent = parent[part]
    return parent, last


def _parse(text: str, now: Any) -> Any:
    """The literal that `text` spells, or the text itself where `now` is one or nothing fits."""
    if isinstance(now, bool) and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if isinstance(now, list) and "," in text:
            return [_parse(part, None) for part in text.split(",") if part]
        return text
    return text if isinstance(now, str) and not isinstance(value, str) else value


def _fit(name: str, value: Any, now: Any, place: str) -> Any:
    """`value` in the type of the setting, which has the value `now`."""
    if name in OR_AUTO:
        if value == AUTO:
            return value
        try:
            return _fit_type(name, value, OR_AUTO[name], now, place)
        except SettingTypeError as error:
            raise SettingTypeError(f"{error}; expected one, or 'auto'") from None
    if now is None:
        return value
    if name in ONE_OR_MORE:
        many = isinstance(value, list | tuple)
        values = [
            _fit_type(name, item, ONE_OR_MORE[name], now, place)
            for item in (value if many else [value])
        ]
        return values if many else values[0]
    if not isinstance(now, list):
        return _fit_type(name, value, type(now), now, place)
    values = list(value) if isinstance(value, list | tuple) else [value]
    kinds = {type(item) for item in now}
    if len(kinds) != 1:
        return values
    return [_fit_type(f"each of {name}", item, min(kinds), now, place) for item in values]


def _fit_type(name: str, value: Any, wanted: type, now: Any, place: str) -> Any:
    if wanted is float and type(value) in (int, float) and not abs(value) < LIMIT:
        raise InputError(f"{place}: {name} is too large for a number (now {now!r})")
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise SettingTypeError(
            f"{place}: {name} is a {wanted.__name__} (now {now!r}), got {type(value).__name__}"
        )
    return value
