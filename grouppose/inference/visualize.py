"""Draws poses onto pictures, and pictures side by side."""

from __future__ import annotations

import colorsys
import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np

from grouppose.errors import InputError
from grouppose.skeleton import COCO, Skeleton

Colour = tuple[int, int, int]

# First and last hue of a side's limbs, of 1. A person's left is cold, the right is warm.
_HUES = {"left": (0.48, 0.60), "right": (0.99, 1.09), "middle": (0.24, 0.36)}
_OUTLINE = (22, 22, 26)
_GOLDEN = 0.618034  # steps of this size around the colour circle never come close to each other
_SHIFT = 4  # fractional bits of cv2's coordinates
_LIMIT = 1e6  # pixels; keeps far-off points inside cv2's integers
_PICTURE_SHARE, _PERSON_SHARE = 0.0065, 0.012  # of a picture's and of a person's side: a line
_SPAN = 3  # keypoints from which a person has a size


def draw_poses(
    image: np.ndarray,
    keypoints: np.ndarray,
    scores: np.ndarray | None = None,
    skeleton: Skeleton = COCO,
    visible: np.ndarray | None = None,
    threshold: float = 0.3,
    ids: Sequence[int] | None = None,
    names: bool = False,
    *,
    labels: Sequence[str] | None = None,
    boxes: np.ndarray | None = None,
    width: int | None = None,
) -> np.ndarray:
    """Draws the skeletons of people; a person's left is blue, the right red, the middle green.

    Each person has a colour of its own in the torso and around the keypoints.

    Args:
        image: (H, W, 3) uint8 RGB; stays as it is.
        keypoints: (n, K, 2) x, y in pixels, pixel centres at whole numbers; n may be 0.
        scores: (n,); people below the threshold are left out and the best are drawn last.
            None: everybody is drawn.
        skeleton: names and limbs of the K keypoints.
        visible: (n, K) bool; keypoints that are not visible are left out with their limbs.
        threshold: least score to draw.
        ids: n numbers of people; a number has the same colour in every picture. None: colours go
            by the order of people.
        names: write the keypoints' names beside them.
        labels: n texts, each on a plate at its person, "" is none; None: the `ids`.
        boxes: (n, 4) x0, y0, x1, y1 to draw, too.
        width: of lines, in pixels; None: see `line_width`.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    drawn = _checked_copy(image)
    keypoints = np.asarray(keypoints, dtype=np.float64)
    if len(keypoints) == 0:
        return drawn
    shown = _shown(keypoints, skeleton, visible)
    numbers = list(range(len(keypoints))) if ids is None else [int(i) for i in ids]
    if labels is None:
        labels = [""] * len(keypoints) if ids is None else list(map(str, numbers))
    order = _drawing_order(len(keypoints), scores, threshold)
    order = [i for i in order if shown[i].any()]
    for i in order:
        colour, points = person_colour(numbers[i]), keypoints[i]
        thick = width or line_width(image, points[shown[i]])
        if boxes is not None:
            _draw_box(drawn, np.asarray(boxes[i], dtype=np.float64), colour, thick)
        _draw_person(drawn, points, shown[i], skeleton, colour, thick)
        if names:
            _write_names(drawn, points, shown[i], skeleton, thick)
    for i in order:
        if labels[i]:
            place = _above(keypoints[i][shown[i]]) if boxes is None else boxes[i][:2]
            _write_label(drawn, place, labels[i], person_colour(numbers[i]), boxes is None)
    return drawn


def draw_grid(images: Sequence[np.ndarray], columns: int = 4) -> np.ndarray:
    """Puts pictures side by side, row by row, on white.

    Args:
        images: each (h, w, 3) uint8 RGB; smaller ones are centred in cells of the largest size.
        columns: pictures in a row.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if not len(images) or columns < 1:
        raise InputError(
            f"a grid of {len(images)} pictures in {columns} columns; expected at least one of each"
        )
    images = [_checked_copy(image) for image in images]
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    gap = max(2, min(height, width) // 48)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, 3)
    grid = np.full(shape, 255, dtype=np.uint8)
    for i, image in enumerate(images):
        h, w = image.shape[:2]
        top = gap + i // columns * (height + gap) + (height - h) // 2
        left = gap + i % columns * (width + gap) + (width - w) // 2
        grid[top : top + h, left : left + w] = image
    return grid


def line_width(image: np.ndarray, keypoints: np.ndarray | None = None) -> int:
    """Pixels of a limb's line that is easy to see.

    Args:
        image: (H, W, 3); no line is thicker than the picture's size asks for.
        keypoints: (k, 2) of the person, which lines should not cover; None, or fewer than three:
            the picture alone counts.
    """
    width = _PICTURE_SHARE * float(np.sqrt(image.shape[0] * image.shape[1]))
    if keypoints is not None and len(keypoints) >= _SPAN:
        width = min(width, _PERSON_SHARE * float(np.ptp(keypoints, axis=0).max()))
    return max(1, round(width))


def limb_colours(skeleton: Skeleton) -> list[Colour]:
    """A colour for each limb; its hue says left, right or middle and changes along the body."""
    of = skeleton.sides
    sides = [_side(of[a], of[b]) for a, b in skeleton.limbs]
    colours = []
    for i, side in enumerate(sides):
        share = sides[:i].count(side) / max(1, sides.count(side) - 1)
        first, last = _HUES[side]
        colours.append(_rgb(first + share * (last - first), 0.86, 1.0))
    return colours


def person_colour(number: int) -> Colour:
    """The colour of a person, the same wherever the number appears."""
    return _rgb(0.13 + _GOLDEN * number, 0.55, 1.0 - 0.12 * (number % 3))


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _side(*ends: str) -> str:
    """The side of a limb: that of its ends; an end in the middle agrees with either."""
    sides = {side for side in ends if side != "middle"}
    return sides.pop() if len(sides) == 1 else "middle"


def _checked_copy(image: np.ndarray) -> np.ndarray:
    if getattr(image, "ndim", 0) != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        found = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}"
        raise InputError(
            f"a picture is {found.strip()}, expected uint8 (height, width, 3), RGB; convert it"
        )
    return np.array(image, order="C")


def _shown(keypoints: np.ndarray, skeleton: Skeleton, visible: np.ndarray | None) -> np.ndarray:
    """(n, K) bool: which keypoints are drawn; refuses those of another skeleton."""
    if keypoints.shape[1:] != (skeleton.num_keypoints, 2):
        raise InputError(
            f"keypoints have shape {keypoints.shape}, expected (n, {skeleton.num_keypoints}, 2) "
            "for this skeleton; is it the one of the model?"
        )
    finite = np.isfinite(keypoints).all(axis=-1)
    return finite if visible is None else finite & np.asarray(visible, dtype=bool)


def _drawing_order(people: int, scores: np.ndarray | None, threshold: float) -> list[int]:
    """Who is drawn, the best last."""
    if scores is None:
        return list(range(people))
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (people,):
        raise InputError(f"{people} people but scores of shape {scores.shape}; give one each")
    order = np.argsort(scores, kind="stable").tolist()
    return [i for i in order if scores[i] >= threshold]


def _draw_person(
    canvas: np.ndarray,
    points: np.ndarray,
    shown: np.ndarray,
    skeleton: Skeleton,
    colour: Colour,
    width: int,
) -> None:
    """Torso, dark outline, coloured limbs, keypoints: in this order."""
    points = np.clip(np.nan_to_num(points), -_LIMIT, _LIMIT)
    fixed = np.rint(points * 2**_SHIFT).astype(np.int32)
    _fill_torso(canvas, fixed, shown, skeleton, colour)
    limbs = [
        (fixed[a].tolist(), fixed[b].tolist(), limb_colour)
        for (a, b), limb_colour in zip(skeleton.limbs, limb_colours(skeleton), strict=True)
        if shown[a] and shown[b]
    ]
    for a, b, _ in limbs:
        cv2.line(canvas, a, b, _OUTLINE, width + 2, cv2.LINE_AA, _SHIFT)
    for a, b, limb_colour in limbs:
        cv2.line(canvas, a, b, limb_colour, width, cv2.LINE_AA, _SHIFT)
    radius = (0.5 + 0.75 * width) * 2**_SHIFT
    for point in fixed[shown].tolist():
        for share, fill in ((1.45, _OUTLINE), (1.0, colour)):
            cv2.circle(canvas, point, round(share * radius), fill, -1, cv2.LINE_AA, _SHIFT)


def _fill_torso(
    canvas: np.ndarray,
    fixed: np.ndarray,
    shown: np.ndarray,
    skeleton: Skeleton,
    colour: Colour,
) -> None:
    """Lays a person's colour thinly over the trunk, where the skeleton has one."""
    corners = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
    if not set(corners) <= set(skeleton.names):
        return
    indices = [skeleton.names.index(name) for name in corners]
    if not shown[indices].all():
        return
    filled = canvas.copy()
    hull = cv2.convexHull(fixed[indices])
    cv2.fillConvexPoly(filled, hull, colour, cv2.LINE_AA, _SHIFT)
    cv2.addWeighted(filled, 0.35, canvas, 0.65, 0, dst=canvas)


def _draw_box(canvas: np.ndarray, box: np.ndarray, colour: Colour, width: int) -> None:
    """Its sides, dark around."""
    corners = np.rint(np.clip(box, -_LIMIT, _LIMIT) * 2**_SHIFT).astype(int).tolist()
    for thick, stroke in ((width + 2, _OUTLINE), (width, colour)):
        cv2.rectangle(canvas, corners[:2], corners[2:], stroke, thick, cv2.LINE_AA, _SHIFT)


def _above(points: np.ndarray) -> np.ndarray:
    """(2,) where a person's label ends: over the highest keypoint and most of a head."""
    return points[points[:, 1].argmin()] - (0, 0.05 * np.ptp(points[:, 1]))


def _write_label(
    canvas: np.ndarray, place: np.ndarray, text: str, colour: Colour, centred: bool
) -> None:
    """On a plate of the person's colour above a place, inside the picture."""
    font, size = cv2.FONT_HERSHEY_DUPLEX, line_width(canvas)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() or "?"
    scale, edge = 0.3 + 0.1 * size, 2 + size
    (wide, high), below = cv2.getTextSize(text, font, scale, 1)
    plate = np.array([wide + 2 * edge, high + below + edge])
    corner = np.clip(place, -_LIMIT, _LIMIT) - (
        plate[0] / 2 * centred,
        plate[1] + 2 * edge * centred,
    )
    room = np.array(canvas.shape[1::-1]) - 1 - plate
    x, y = np.clip(corner, 0, np.maximum(room, 0)).astype(int).tolist()
    end = (x + int(plate[0]), y + int(plate[1]))
    cv2.rectangle(canvas, (x, y), end, colour, -1)
    cv2.rectangle(canvas, (x, y), end, _OUTLINE, 1)
    start = (x + edge, y + high + edge // 2 + 1)
    cv2.putText(canvas, text, start, font, scale, text_colour(colour), 1, cv2.LINE_AA)


def text_colour(plate: Colour) -> Colour:
    """Black or white, whichever is easier to read on a plate (WCAG's contrast)."""
    red, green, blue = (
        c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in plate
    )
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)  # where both have a contrast of 4.6


def _write_names(
    canvas: np.ndarray, points: np.ndarray, shown: np.ndarray, skeleton: Skeleton, width: int
) -> None:
    """Right of each keypoint."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.2 + 0.06 * width
    points = np.clip(points[shown], -_LIMIT, _LIMIT)
    for name, (x, y) in zip(np.array(skeleton.names)[shown], points, strict=True):
        x, y = int(x) + 2 * width, int(y) + width
        for place in ((x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)):  # OpenCV 5's bold is wider
            cv2.putText(canvas, str(name), place, font, scale, _OUTLINE, 1, cv2.LINE_AA)
        cv2.putText(canvas, str(name), (x, y), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
