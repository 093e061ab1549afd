"""Regions of pictures in which nothing is to be learnt: crowds, and people without labels.

They are flat arrays of all pictures, as the workers of a data loader share those's memory. Polygons
and run lengths are COCO's (pycocotools.mask); an annotation without either stands for its box.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco

from datasets.annotations import Annotations
from grouppose.errors import InputError

FARTHEST = 1e5  # pixels from the origin that a polygon may reach; drawing it takes as long
EXPECTED = (
    "expected polygons [[x, y, x, y, x, y, ...], ...] or run lengths "
    '{"size": [height, width], "counts": ...}; correct it, or leave it out for the box'
)


@dataclass(frozen=True)
class Ignored:
    """The regions of I pictures, one picture's after another's: R polygons and E run lengths.

    Attributes:
        rings: (I + 1,) int64; the polygons of picture i are rings[i] to rings[i + 1] - 1.
        corners: (R + 1,) int64; the corners of polygon r are corners[r] to corners[r + 1] - 1.
        points: (P, 2) float64 x, y of all corners, in pixels of the picture.
        encoded: (I + 1,) int64; the run lengths of picture i are encoded[i] to encoded[i + 1] - 1.
        ends: (E + 1,) int64; run length e is ends[e] to ends[e + 1] - 1 of `runs`.
        runs: bytes of all compressed run lengths.
    """

    rings: np.ndarray
    corners: np.ndarray
    points: np.ndarray
    encoded: np.ndarray
    ends: np.ndarray
    runs: np.ndarray

    def mask(self, index: int, height: int, width: int) -> np.ndarray | None:
        """The regions of a picture in its own pixels: (height, width) bool; None: there are none.

        Raises:
            InputError: run lengths are for a picture of another size.
        """
        rings = [
            self.points[self.corners[r] : self.corners[r + 1]].ravel()
            for r in range(self.rings[index], self.rings[index + 1])
        ]
        found = coco.frPyObjects(rings, height, width) if rings else []
        for e in range(self.encoded[index], self.encoded[index + 1]):
            counts = self.runs[self.ends[e] : self.ends[e + 1]].tobytes()
            covered = int(_run_lengths(counts).sum())
            if covered != height * width:  # the annotations did not state the picture's size
                raise InputError(
                    f"run lengths of a region are for {covered} pixels, its picture has {height} x "
                    f"{width}; correct the segmentation"
                )
            found.append({"size": [height, width], "counts": counts})
        return coco.decode(coco.merge(found)).astype(bool) if found else None

    def seen(
        self,
        index: int,
        picture: tuple[int, int],
        matrix: np.ndarray,
        size: tuple[int, int],
        outside: bool = True,
    ) -> np.ndarray:
        """The same in a view of the picture, (H, W) bool.

        Args:
            index: of the picture.
            picture: its height and width.
            matrix: (2, 3) from its pixels to the view's.
            size: H, W of the view.
            outside: whether what lies outside the picture is ignored too.
        """
        found = self.mask(index, *picture)
        if found is None and not outside:
            return np.zeros(size, dtype=bool)
        counts = np.full(picture, 255, np.uint8) if found is None else np.uint8(255) * ~found
        border = cv2.BORDER_CONSTANT if outside else cv2.BORDER_REPLICATE
        seen = cv2.warpAffine(
            counts, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=border, borderValue=0
        )
        return seen <= 127  # half and more of what a pixel is made of


def nothing_to_learn(contents: Mapping) -> list[Mapping]:
    """The crowds and the people without a labelled keypoint of checked contents.

    Annotations of categories without keypoints do not count where another category has them: they
    are no people.
    """
    posed = [c["id"] for c in contents["categories"] if c.get("keypoints")]
    return [
        entry
        for entry in contents["annotations"]
        if (entry.get("iscrowd") or not _is_labelled(entry))
        and (not posed or entry.get("category_id") in posed)
    ]


def _is_labelled(entry: Mapping) -> bool:
    points = entry.get("keypoints")
    return isinstance(points, list) and any(type(v) in (int, float) and v > 0 for v in points[2::3])


def damaged(contents: Mapping) -> list[int]:
    """Ids of the annotations that `ignored_regions` would refuse."""
    sizes = {entry["id"]: (entry.get("height"), entry.get("width")) for entry in contents["images"]}
    found = []
    for entry in nothing_to_learn(contents):
        size = sizes[entry["image_id"]]
        known = all(type(side) is int and side > 0 for side in size)
        try:
            _region(entry, size if known else (0, 0))
        except InputError:
            found.append(entry["id"])
    return found


def ignored_regions(entries: Iterable[Mapping], pictures: Annotations) -> Ignored:
    """Keeps the regions of annotations.

    Args:
        entries: crowds and people without labels; those of other pictures do not count.
        pictures: in whose order they are kept.

    Raises:
        InputError: a segmentation is damaged; names its annotation.
    """
    row_of = {int(number): row for row, number in enumerate(pictures.image_ids)}
    rings: list[list[np.ndarray]] = [[] for _ in row_of]
    encoded: list[list[bytes]] = [[] for _ in row_of]
    for entry in entries:
        row = row_of.get(entry["image_id"])
        if row is None:
            continue
        try:
            region = _region(entry, tuple(pictures.sizes[row].tolist()))
        except InputError as error:
            raise InputError(f"annotation {entry['id']} has a 'segmentation' {error}") from None
        if isinstance(region, bytes):
            encoded[row].append(region)
        else:
            rings[row] += region
    polygons = [ring for of_picture in rings for ring in of_picture]
    strings = [string for of_picture in encoded for string in of_picture]
    return Ignored(
        _starts(map(len, rings)),
        _starts(map(len, polygons)),
        np.concatenate([np.empty((0, 2)), *polygons]),
        _starts(map(len, encoded)),
        _starts(map(len, strings)),
        np.frombuffer(b"".join(strings), dtype=np.uint8),
    )


def _starts(lengths: Iterable[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.fromiter(lengths, np.int64))]).astype(np.int64)


def _region(entry: Mapping, size: tuple[int, int]) -> bytes | list[np.ndarray]:
    """Compressed run lengths, or polygons (n, 2); `size` is the picture's, 0, 0 if not known."""
    shape = entry.get("segmentation")
    if isinstance(shape, Mapping):
        return _runs(shape, size)
    if shape is not None and not isinstance(shape, list):
        raise InputError(f"that is a {type(shape).__name__}, {EXPECTED}")
    if shape and not isinstance(shape[0], list):
        shape = [shape]  # one polygon alone
    rings = [_polygon(ring) for ring in shape or () if ring != []]
    return rings or _box(entry.get("bbox"))


def _polygon(ring: object) -> np.ndarray:
    if not isinstance(ring, list) or not all(type(value) in (int, float) for value in ring):
        raise InputError(f"with something else than numbers in a polygon, {EXPECTED}")
    if len(ring) % 2 or len(ring) < 6:
        raise InputError(f"with a polygon of {len(ring)} numbers, {EXPECTED}")
    if not all(abs(value) <= FARTHEST for value in ring):
        raise InputError(f"with a corner that is not finite or far from any picture, {EXPECTED}")
    return np.array(ring, dtype=np.float64).reshape(-1, 2)


def _box(box: object) -> list[np.ndarray]:
    """The corners of a box, in COCO's order; none if it is no box, or has no size."""
    if not isinstance(box, list) or len(box) != 4:
        return []
    if not all(type(value) in (int, float) and abs(value) <= FARTHEST for value in box):
        return []
    x, y, width, height = map(float, box)
    if width <= 0 or height <= 0:
        return []
    right, bottom = x + width, y + height
    return [np.array([[x, y], [x, bottom], [right, bottom], [right, y]])]


def _runs(shape: Mapping, size: tuple[int, int]) -> bytes:
    """Run lengths of either kind, compressed."""
    counts, given = shape.get("counts"), shape.get("size")
    whole = isinstance(given, list | tuple) and [type(side) for side in given] == [int, int]
    if not whole or min(given) < 1:
        raise InputError(f"with size {given!r}, {EXPECTED}")
    height, width = given
    if any(size) and (height, width) != size:
        raise InputError(
            f"of {height} x {width} pixels (height x width), its picture has {size[0]} x "
            f"{size[1]}; {EXPECTED}"
        )
    if isinstance(counts, str):
        counts = counts.encode("ascii", "replace")
    if isinstance(counts, bytes):
        lengths = _run_lengths(counts)
        if lengths.min() < 0:
            raise InputError(f"with a negative run length, {EXPECTED}")
        _check_sum(int(lengths.sum()), height, width)
        return counts
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise InputError(f"with counts that are neither text nor whole numbers, {EXPECTED}")
    _check_sum(sum(counts), height, width)
    return coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]


def _run_lengths(counts: bytes) -> np.ndarray:
    """The numbers that COCO's compressed text holds.

    Each is a chain of 5 bits a byte, lowest first; from the fourth on it is the difference from
    the one before the last.
    """
    codes = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise InputError(f"with counts that are cut off or no run lengths, {EXPECTED}")
    last = np.flatnonzero(codes & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first).max() > 6:
        raise InputError(f"with counts that are no run lengths, {EXPECTED}")
    place = np.arange(len(codes)) - np.repeat(first, last - first + 1)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    values -= (codes[last] & 16 > 0) * (np.int64(1) << (5 * (last - first + 1)))
    values[1::2] = values[1::2].cumsum()
    values[2::2] = values[2::2].cumsum()
    return values


def _check_sum(covered: int, height: int, width: int) -> None:
    if covered != height * width:
        raise InputError(
            f"whose run lengths are for {covered} pixels, its size is {height} x {width}; "
            f"{EXPECTED}"
        )
