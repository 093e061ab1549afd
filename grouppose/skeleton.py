"""Skeletons: the keypoints of a person, and what follows from them.

What a data set's keypoints are called, which of them are left and right, which lines connect them
and how exactly people label them (sigmas) stands in a file each, in `grouppose/skeletons/` or
wherever a user keeps one:

    {"names": ["left_ear", "right_ear", "tail"],
     "flip_pairs": [["left_ear", "right_ear"]],       (left out: taken from the names)
     "limbs": [["left_ear", "right_ear"], [1, 2]],    (names, or numbers from 0; left out: none)
     "sigmas": [0.035, 0.035, 0.079]}                 (left out: DEFAULT_SIGMA each)
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grouppose.errors import InputError, MissingFileError, nearest

DEFAULT_SIGMA = 0.079  # where nobody measured the spread: that of a COCO shoulder
FOLDER = Path(__file__).parent / "skeletons"
UNPAIRED = "no keypoint has a counterpart on the other side, by name or in a skeleton file"
_KEYS = ("names", "flip_pairs", "limbs", "sigmas", "source")


@dataclass(frozen=True)
class Skeleton:
    """Names, left/right pairs, labelling spread and limbs of one kind of pose.

    Attributes:
        names: K keypoint names, in the order of the annotations.
        flip_pairs: index pairs (left, right) that change places when a picture is mirrored.
        sigmas: K labelling spreads in units of the square root of a person's area (COCO's k_i / 2).
        limbs: zero-based index pairs to draw a line between.
    """

    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    limbs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise InputError("a skeleton without keypoint names; expected at least one")
        if len(self.sigmas) != len(self.names):
            raise InputError(
                f"{len(self.names)} keypoint names but {len(self.sigmas)} sigmas; "
                "give one sigma per keypoint"
            )
        for sigma in self.sigmas:
            if not sigma > 0:
                raise InputError(f"sigmas hold {sigma!r}, expected numbers above 0")
        for kind, pairs in (("flip_pairs", self.flip_pairs), ("limbs", self.limbs)):
            for pair in pairs:
                if len(pair) != 2 or not all(0 <= i < len(self.names) for i in pair):
                    raise InputError(
                        f"{kind} holds {tuple(pair)}, "
                        f"expected two indices from 0 to {len(self.names) - 1}"
                    )
        paired = [i for pair in self.flip_pairs for i in pair]
        twice = [self.names[i] for i in paired if paired.count(i) > 1]
        if twice:
            raise InputError(
                f"flip_pairs name {twice[0]!r} twice; a keypoint has one counterpart at most"
            )

    @property
    def num_keypoints(self) -> int:
        return len(self.names)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """The permutation that mirroring applies: new keypoint k is old keypoint flip_order[k]."""
        order = list(range(self.num_keypoints))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    @property
    def sides(self) -> tuple[str, ...]:
        """ "left", "right" or "middle" for each keypoint: by the flip pairs, else by its name."""
        sides = []
        for name in self.names:
            parts = set(side_spelt_out(name).split("_")) & {"left", "right"}
            sides.append(parts.pop() if len(parts) == 1 else "middle")
        for left, right in self.flip_pairs:
            sides[left], sides[right] = "left", "right"
        return tuple(sides)

    def in_order(self, places: Sequence[int]) -> Skeleton:
        """The same keypoints with each keypoint k at places[k]."""
        listed = [list(places).index(place) for place in range(self.num_keypoints)]
        return Skeleton(
            tuple(self.names[k] for k in listed),
            tuple((places[a], places[b]) for a, b in self.flip_pairs),
            tuple(self.sigmas[k] for k in listed),
            tuple((places[a], places[b]) for a, b in self.limbs),
        )

    @classmethod
    def from_names(
        cls,
        names: Sequence[str],
        limbs: Sequence[tuple[int, int]] = (),
        sigmas: Sequence[float] | None = None,
    ) -> Skeleton:
        """Takes flip pairs from names ("left_x" / "right_x", "L_x" / "R_x", "x.l" / "x.r", ...);
        sigmas default to DEFAULT_SIGMA."""
        place = {side_spelt_out(name): i for i, name in enumerate(names)}
        pairs = [
            (i, place[name.replace("left", "right")])
            for name, i in place.items()
            if "left" in name and name.replace("left", "right") in place
        ]
        return cls(
            tuple(names),
            tuple(pairs),
            tuple(sigmas) if sigmas is not None else (DEFAULT_SIGMA,) * len(names),
            tuple((int(a), int(b)) for a, b in limbs),
        )

    @classmethod
    def from_dict(cls, content: Any, place: str = "the skeleton") -> Skeleton:
        """Reads what `to_dict` gives, or the content of a skeleton file.

        Args:
            content: see the module.
            place: starts error messages.
        """
        names = content.get("names") if isinstance(content, Mapping) else None
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            raise InputError(f'{place} has no "names", a list of the keypoints\' names; give it')
        unknown = [key for key in content if key not in _KEYS]
        if unknown:
            raise InputError(f"{place} has {unknown[0]!r}; {nearest(unknown[0], _KEYS)}")
        if len(set(names)) != len(names):
            raise InputError(f"{place} has a name twice; give each keypoint its own")
        limbs = _pairs(content.get("limbs") or (), names, f"{place}: limbs")
        try:
            skeleton = cls.from_names(names, limbs, content.get("sigmas"))
            if content.get("flip_pairs") is None:
                return skeleton
            pairs = _pairs(content["flip_pairs"], names, f"{place}: flip_pairs")
            return cls(skeleton.names, pairs, skeleton.sigmas, skeleton.limbs)
        except TypeError as error:
            raise InputError(f"{place}: sigmas are no list of numbers; correct them") from error
        except InputError as error:
            raise InputError(f"{place}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, as checkpoints and skeleton files keep them."""
        return {
            "names": list(self.names),
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "limbs": [list(pair) for pair in self.limbs],
            "sigmas": list(self.sigmas),
        }


def _pairs(values: Any, names: Sequence[str], place: str) -> tuple[tuple[int, int], ...]:
    """Pairs of names or numbers as pairs of numbers."""
    pairs = []
    for pair in values if isinstance(values, list | tuple) else [values]:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InputError(f"{place} holds {pair!r}, expected two keypoints")
        for keypoint in pair:
            if isinstance(keypoint, str) and keypoint not in names:
                raise InputError(f"{place} names {keypoint!r}; {nearest(keypoint, names)}")
        a, b = (names.index(k) if isinstance(k, str) else k for k in pair)
        if not all(type(k) is int and 0 <= k < len(names) for k in (a, b)):
            raise InputError(
                f"{place} holds {list(pair)}, expected two indices from 0 to {len(names) - 1}"
            )
        pairs.append((a, b))
    return tuple(pairs)


def mirrors(wanted: bool | str, skeleton: Skeleton) -> bool:
    """Whether pictures are to be mirrored.

    Args:
        wanted: True, False, or "auto": only where some keypoints change places. Elsewhere names
            say nothing of left and right, and a mirrored picture would have wrong labels.
    """
    return bool(skeleton.flip_pairs) if wanted == "auto" else bool(wanted)


def side_spelt_out(name: str) -> str:
    """A keypoint's name in small letters; L_x, x_L, l-x, x.l ... become left_x or x_left."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)  # REye, leftEye
    parts = re.split(r"[-_. ]+", words.lower())
    sides = {"l": "left", "lt": "left", "r": "right", "rt": "right"}
    return "_".join(sides.get(part, part) for part in parts)


def comparable(names: Sequence[str]) -> list[str]:
    """Names as they are compared, however a tool spells them and wherever it puts the side."""
    spelt = []
    for name in names:
        words = side_spelt_out(name.strip()).removeprefix("top_").split("_")  # CrowdPose: "head"
        spelt.append("_".join(sorted(words, key=lambda word: word not in ("left", "right"))))
    return spelt


def places_of(wanted: Sequence[str], listed: Sequence[str]) -> tuple[int, ...] | None:
    """Where each wanted name stands in a list of the same names; None where they are others."""
    if list(wanted) == list(listed):
        return tuple(range(len(wanted)))
    wanted, listed = comparable(wanted), comparable(listed)
    if len(set(wanted)) < len(wanted) or sorted(wanted) != sorted(listed):
        return None
    return tuple(map(listed.index, wanted))


@functools.cache
def shipped() -> tuple[str, ...]:
    """The names that `read_skeleton` knows."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def read_skeleton(source: str | Path | Mapping[str, Any]) -> Skeleton:
    """A skeleton by the name of one that comes with the package, from a file, or from a dict.

    Args:
        source: such as "halpe26" (see `shipped`), a JSON file, or what `Skeleton.to_dict` gives.
    """
    if isinstance(source, Mapping):
        return Skeleton.from_dict(source)
    if source in shipped():
        return _shipped(str(source))
    path = Path(source)
    if not path.is_file():
        raise MissingFileError(
            f"no skeleton {str(source)!r}; expected a JSON file or one of {', '.join(shipped())}"
        )
    return _from_file(path)


def _from_file(path: Path) -> Skeleton:
    try:
        content = json.loads(path.read_bytes())  # any UTF, with its mark or without
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); see grouppose/skeleton.py") from error
    return Skeleton.from_dict(content, str(path))


@functools.cache
def _shipped(name: str) -> Skeleton:
    return _from_file(FOLDER / f"{name}.json")


COCO = read_skeleton("coco")
CROWDPOSE = read_skeleton("crowdpose")
OCHUMAN = read_skeleton("ochuman19")  # of its own files; its COCO-format files use COCO's

_PUBLISHED = {skeleton.num_keypoints: skeleton for skeleton in (COCO, CROWDPOSE, OCHUMAN)}


def skeleton_of(
    num_body_points: int, given: str | Path | Mapping[str, Any] | None = None
) -> Skeleton:
    """The skeleton that is given, else the published one of that size, else unnamed keypoints.

    Args:
        num_body_points: K.
        given: as `read_skeleton` takes it; it must have K keypoints.
    """
    if given is not None:
        skeleton = read_skeleton(given)
        if skeleton.num_keypoints != num_body_points:
            raise InputError(
                f"the skeleton has {skeleton.num_keypoints} keypoints, num_body_points is "
                f"{num_body_points}; set one of them to the data set's"
            )
        return skeleton
    if num_body_points in _PUBLISHED:
        return _PUBLISHED[num_body_points]
    return Skeleton.from_names([f"keypoint_{i}" for i in range(num_body_points)])
