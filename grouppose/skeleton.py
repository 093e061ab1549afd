"""Skeletons: the keypoints of a person, and what follows from them.

The only place that knows how many keypoints a data set has, which of them are left and right, and
how exactly people label them (sigmas).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grouppose.errors import InputError


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
        if len(self.sigmas) != len(self.names):
            raise InputError(
                f"{len(self.names)} keypoint names but {len(self.sigmas)} sigmas; "
                "give one sigma per keypoint"
            )
        for kind, pairs in (("flip_pairs", self.flip_pairs), ("limbs", self.limbs)):
            for pair in pairs:
                if len(pair) != 2 or not all(0 <= i < len(self.names) for i in pair):
                    raise InputError(
                        f"{kind} holds {tuple(pair)}, "
                        f"expected two indices from 0 to {len(self.names) - 1}"
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

    @classmethod
    def from_names(
        cls,
        names: Sequence[str],
        limbs: Sequence[tuple[int, int]] = (),
        sigmas: Sequence[float] | None = None,
    ) -> Skeleton:
        """Takes flip pairs from names ("left_x" / "right_x"); sigmas default to DEFAULT_SIGMA."""
        index = {name.lower(): i for i, name in enumerate(names)}
        pairs = [
            (i, index[name.replace("left", "right")])
            for name, i in index.items()
            if "left" in name and name.replace("left", "right") in index
        ]
        return cls(
            tuple(names),
            tuple(pairs),
            tuple(sigmas) if sigmas is not None else (DEFAULT_SIGMA,) * len(names),
            tuple((int(a), int(b)) for a, b in limbs),
        )


DEFAULT_SIGMA = 0.079  # where nobody measured the spread: that of a COCO shoulder

# Spread of COCO's annotators by joint (https://cocodataset.org/#keypoints-eval).
_SIGMA = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
    "head": 0.079,  # CrowdPose gives head top and neck the spread of a shoulder
    "neck": 0.079,
}


def _both_sides(*joints: str) -> list[str]:
    return [f"{side}_{joint}" for joint in joints for side in ("left", "right")]


def _person(names: Sequence[str], limbs: Sequence[tuple[str, str]]) -> Skeleton:
    """A human skeleton, its sigmas by joint and its limbs by name."""
    sigmas = [next(s for joint, s in _SIGMA.items() if joint in name.split("_")) for name in names]
    index = {name: i for i, name in enumerate(names)}
    return Skeleton.from_names(names, [(index[a], index[b]) for a, b in limbs], sigmas)


_LIMBS = [
    (f"{side}_{a}", f"{side}_{b}")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
    for side in ("left", "right")
]
_TORSO = [
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
]
_FACE = [
    (a, f"{side}_{b}" if b != "nose" else b)
    for side in ("left", "right")
    for a, b in ((f"{side}_eye", "nose"), (f"{side}_eye", "ear"))
]

COCO = _person(
    ["nose"] + _both_sides("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"),
    _LIMBS + _TORSO + _FACE + [("left_ear", "left_shoulder"), ("right_ear", "right_shoulder")],
)

CROWDPOSE = _person(
    _both_sides("shoulder", "elbow", "wrist", "hip", "knee", "ankle") + ["top_head", "neck"],
    _LIMBS + _TORSO + [("top_head", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder")],
)

OCHUMAN = _person(  # the 19 keypoints of OCHuman's own files; its COCO-format files use COCO's
    [f"{side}_{joint}" for side in ("right", "left") for joint in ("shoulder", "elbow", "wrist")]
    + [f"{side}_{joint}" for side in ("right", "left") for joint in ("hip", "knee", "ankle")]
    + ["head", "neck", "right_ear", "left_ear", "nose", "right_eye", "left_eye"],
    _LIMBS
    + _TORSO
    + _FACE
    + [("head", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder")],
)

_PUBLISHED = {skeleton.num_keypoints: skeleton for skeleton in (COCO, CROWDPOSE, OCHUMAN)}


def skeleton_of(num_body_points: int) -> Skeleton:
    """The published skeleton of that size, else unnamed keypoints with the default sigma."""
    if num_body_points in _PUBLISHED:
        return _PUBLISHED[num_body_points]
    return Skeleton.from_names([f"keypoint_{i}" for i in range(num_body_points)])
