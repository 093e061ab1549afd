"""Which keypoints of a painted figure can be seen."""

from __future__ import annotations

import numpy as np

from datasets.figures.body import FACE, SIDES, Figure
from datasets.figures.head import faces_viewer

_JOINT_PARTS = {
    "shoulder": ("upper_arm",),
    "elbow": ("upper_arm", "forearm"),
    "wrist": ("forearm", "hand"),
    "hip": ("thigh",),
    "knee": ("thigh", "shin"),
    "ankle": ("shin", "foot"),
}
_TRUNK_PARTS = {"shoulder": ("torso",), "hip": ("torso", "pelvis", "skirt")}
_HEAD_PARTS = {"top_head": ("head", "hair"), "head": ("head", "hair"), "neck": ("head", "torso")}
_BEHIND = (
    0.045  # share of the height that a joint lies behind the trunk's middle to be hidden by it
)


def keypoint_parts(name: str) -> tuple[str, ...]:
    """Parts of the figure that show this keypoint where they show."""
    if name in _HEAD_PARTS:
        return _HEAD_PARTS[name]
    side, _, joint = name.partition("_")
    if joint == "ear":
        return (name, "head")
    if joint not in _JOINT_PARTS:
        return ("head",)
    parts = tuple(f"{side}_{part}" for part in _JOINT_PARTS[joint])
    return parts + _TRUNK_PARTS.get(joint, ())


def visibility(
    pixels: np.ndarray, figure: Figure, owners: dict[str, int], name: str, point: np.ndarray
) -> int:
    """COCO's v of a keypoint: 0 outside the picture, 1 hidden, 2 visible.

    A keypoint is visible where its pixel was painted last by a part that it lies on, and where the
    surface there faces the viewer.

    Args:
        pixels: (h, w, 4) uint8, of the canvas when everything is painted.
        figure: placed on the canvas.
        owners: of its parts.
        name: of the keypoint.
        point: (2,) in the canvas' pixels.
    """
    height, width = pixels.shape[:2]
    x, y = np.rint(point).astype(int).tolist()
    if not (0 <= x < width and 0 <= y < height):
        return 0
    shown = {owners[part] for part in keypoint_parts(name)}
    if int(pixels[y, x, 3]) not in shown:
        return 1
    if name in FACE and name != "top_head":
        threshold = -0.35 if name.endswith("ear") else 0.1 if name.endswith("eye") else -0.15
        return 2 if faces_viewer(figure, *FACE[name]) > threshold else 1
    side, _, joint = name.partition("_")
    if side in SIDES and joint in _TRUNK_PARTS:
        return 1 if _behind_trunk(pixels, figure, owners, name, (x, y)) else 2
    return 2


def _behind_trunk(
    pixels: np.ndarray,
    figure: Figure,
    owners: dict[str, int],
    name: str,
    pixel: tuple[int, int],
) -> bool:
    """Whether the trunk is between this shoulder or hip and the viewer."""
    trunk = {owners[part] for part in ("torso", "pelvis", "skirt")}
    if int(pixels[pixel[1], pixel[0], 3]) not in trunk:
        return False
    middle = "neck" if name.endswith("shoulder") else "pelvis"
    gap = figure.points[middle][2] - figure.points[name][2]
    return bool(gap > _BEHIND * figure.scale)
