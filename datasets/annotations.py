"""COCO-format annotation files: checked, and turned into flat arrays.

The arrays hold all pictures and all labelled people of a file one after another, so that the
workers of a data loader share their memory instead of copying a dictionary per person.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.cleaning import Finding, cleaned, is_number
from grouppose.errors import InputError, MissingFileError
from grouppose.skeleton import Skeleton, places_of, read_skeleton, shipped, skeleton_of

FORMAT = 'expected COCO\'s format: {"images": [...], "annotations": [...], "categories": [...]}'


@dataclass(frozen=True)
class Annotations:
    """I pictures and the P people on them that training may use, people ordered by picture.

    Attributes:
        image_ids: (I,) int64.
        file_names: (I,) UTF-8 bytes, relative to the folder of the pictures.
        sizes: (I, 2) int64 height, width as the file states them; 0, 0 where it does not.
        first: (I + 1,) int64; the people of picture i are first[i] to first[i + 1] - 1.
        keypoints: (P, K, 3) float32 x, y in pixels and v = 0 (unlabelled), 1 or 2.
        boxes: (P, 4) float32 x, y, width, height in pixels.
        area: (P,) float32 in square pixels.
        labels: (P,) int64, the class: 1 for a person, else 1 + the place of the category.
    """

    image_ids: np.ndarray
    file_names: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> Annotations:
        """The pictures of these rows, with their people."""
        counts = np.diff(self.first)[rows]
        people = [np.arange(self.first[row], self.first[row + 1]) for row in rows]
        people = np.concatenate([np.empty(0, dtype=np.int64), *people])
        return Annotations(
            self.image_ids[rows],
            self.file_names[rows],
            self.sizes[rows],
            np.concatenate([[0], np.cumsum(counts)]),
            self.keypoints[people],
            self.boxes[people],
            self.area[people],
            self.labels[people],
        )


def read_annotations(source: str | Path | Mapping, labelled: bool = True) -> Mapping:
    """Reads a COCO-format file, or takes its contents: the first of what `read_labels` gives."""
    return read_labels(source, labelled)[0]


def read_labels(
    source: str | Path | Mapping, labelled: bool = True
) -> tuple[Mapping, list[Finding]]:
    """Contents of a COCO-format file as they are meant, with all that everything else relies on.

    Checked are the three lists, whole-number ids, that no picture is listed twice and that each
    annotation belongs to a listed picture.

    Args:
        source: path or contents.
        labelled: False for a file that lists pictures alone; "annotations" may then be missing.

    Returns:
        The contents, and what `datasets.cleaning` read otherwise than it stands there.
    """
    contents, name = (source, "annotations") if isinstance(source, Mapping) else read_json(source)
    if not isinstance(contents, Mapping):
        raise InputError(f"{name} holds a {type(contents).__name__}; {FORMAT}")
    if not labelled:
        contents = {"annotations": [], **contents}
    for key in ("images", "annotations", "categories"):
        if not isinstance(contents.get(key), list):
            found = "no" if key not in contents else f"a {type(contents[key]).__name__} as"
            raise InputError(f"{name} has {found} '{key}'; {FORMAT}; is it a keypoint file?")
        for index, entry in enumerate(contents[key]):
            if not isinstance(entry, Mapping):
                raise InputError(
                    f"{name}: {key}[{index}] is a {type(entry).__name__}, expected an object with "
                    "'id'"
                )
    try:
        contents, findings = cleaned(contents)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    _check_ids(contents, name)
    return contents, findings


def _check_ids(contents: Mapping, name: str) -> None:
    for key in ("images", "annotations", "categories"):
        for index, entry in enumerate(contents[key]):
            _require_id(entry, "id", f"{name}: {key}[{index}]")
    images = set()
    for entry in contents["images"]:
        if entry["id"] in images:
            raise InputError(f"{name} lists image id {entry['id']} twice; give each its own id")
        images.add(entry["id"])
    for entry in contents["annotations"]:
        _require_id(entry, "image_id", f"{name}: annotation {entry['id']}")
        if entry["image_id"] not in images:
            raise InputError(
                f"{name}: annotation {entry['id']} belongs to image {entry['image_id']}, "
                "which 'images' does not list; add the image or remove the annotation"
            )


def read_json(path: str | Path) -> tuple[object, str]:
    """The contents of an annotation file, and its name for error messages."""
    try:
        return json.loads(Path(path).read_bytes()), str(path)  # any UTF, with its mark or without
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise MissingFileError(
            f"no annotation file {path}; check the folder of the data set (--coco_path)"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its rights") from error
    except (ValueError, RecursionError) as error:  # not JSON, or not text
        raise InputError(f"{path} is not JSON ({error}); {FORMAT}") from error


def _require_id(entry: Mapping, key: str, name: str) -> None:
    if key not in entry:
        raise InputError(f"{name} has no '{key}'; give it a whole number")
    if type(entry[key]) is not int or not -(2**63) <= entry[key] < 2**63:
        raise InputError(f"{name} has '{key}' {entry[key]!r}; expected a whole number")


def numbers(entries: list[Mapping], key: str, length: int, expected: str) -> np.ndarray:
    """The list `key` of every annotation as one array (n, length) of finite float64.

    `expected` ends the error message: what the list should be and what to change.
    """
    for entry in entries:
        value = entry.get(key)
        if not isinstance(value, list) or len(value) != length:
            found = f"a list of {len(value)}" if isinstance(value, list) else repr(value)
            raise InputError(f"annotation {entry['id']} has {found} as '{key}', {expected}")
        if not all(isinstance(number, int | float) for number in value):
            raise InputError(
                f"annotation {entry['id']} has something else than numbers in '{key}', {expected}"
            )
    rows = [entry[key] for entry in entries]
    try:
        array = np.array(rows, dtype=np.float64)
    except OverflowError:  # a whole number beyond all floats
        rows = [[value if abs(value) < 1e300 else np.inf for value in row] for row in rows]
        array = np.array(rows, dtype=np.float64)
    array = array.reshape(len(entries), length)
    wrong = ~(np.abs(array) <= np.finfo(np.float32).max).all(axis=1)
    if wrong.any():
        raise InputError(
            f"annotation {entries[int(wrong.argmax())]['id']} has a number in '{key}' "
            "that is not finite; correct or remove it"
        )
    return array


def keypoint_array(entries: list[Mapping], num_keypoints: int) -> np.ndarray:
    """Keypoints of all annotations, (n, K, 3) float64 x, y, v."""
    expected = (
        f"expected {3 * num_keypoints} numbers (x, y, v for num_body_points={num_keypoints}); "
        "set num_body_points to the data set's, or correct the annotation"
    )
    return numbers(entries, "keypoints", 3 * num_keypoints, expected).reshape(-1, num_keypoints, 3)


def box_array(entries: list[Mapping]) -> np.ndarray:
    """Boxes of all annotations, (n, 4) float64 x, y, width, height."""
    return numbers(entries, "bbox", 4, "expected [x, y, width, height]; correct the annotation")


def area_array(entries: list[Mapping], default: np.ndarray) -> np.ndarray:
    """Areas of all annotations, (n,) float64; `default` where a file gives none."""
    given = [
        {"id": entry["id"], "area": [entry.get("area", instead)]}
        for entry, instead in zip(entries, default.tolist(), strict=True)
    ]
    return numbers(given, "area", 1, "expected a number; correct the annotation")[:, 0]


def with_keypoints(contents: Mapping) -> list[Mapping]:
    """The annotations that have a list of keypoints; refuses a file where none has."""
    entries = [entry for entry in contents["annotations"] if "keypoints" in entry]
    if contents["annotations"] and not entries:
        raise InputError(
            f"none of the {len(contents['annotations'])} annotations has 'keypoints'; "
            "expected a keypoint file (person_keypoints_*.json, not instances_*.json)"
        )
    return entries


def flat_annotations(
    contents: Mapping,
    num_keypoints: int,
    box_area: bool,
    category_ids: Sequence[int] = (),
    order: Sequence[int] = (),
    unlabelled: bool = False,
) -> Annotations:
    """Keeps of checked contents all pictures and the people that training may use.

    People marked as crowd and, unless asked for, those without a labelled keypoint are left out.

    Args:
        contents: from `read_annotations`.
        num_keypoints: K; every list of keypoints must have 3 K numbers.
        box_area: take width x height of the box as a person's area, as for CrowdPose; otherwise
            the annotation's own (segmentation) area, where it has one.
        category_ids: a class each, 1, 2, ...; (): everybody is of class 1.
        order: the place in the file's lists of each of the K keypoints; (): the same.
        unlabelled: keep people without a labelled keypoint too.

    Raises:
        InputError: for an annotation of a category that is not among these.
    """
    images = contents["images"]
    entries = with_keypoints(contents)
    labels = np.array([_label(entry, category_ids) for entry in entries], dtype=np.int64)
    keypoints = keypoint_array(entries, num_keypoints)
    if order:
        keypoints = keypoints[:, list(order)]
    boxes = box_array(entries)
    area = boxes[:, 2] * boxes[:, 3]
    if not box_area:
        area = area_array(entries, area)
    row_of = {entry["id"]: row for row, entry in enumerate(images)}
    rows = np.array([row_of[entry["image_id"]] for entry in entries], dtype=np.int64)
    crowd = np.array([bool(entry.get("iscrowd", 0)) for entry in entries], dtype=bool)
    labelled = (keypoints[:, :, 2] > 0).any(axis=1)
    kept = np.flatnonzero(~crowd & (labelled | unlabelled))
    kept = kept[np.argsort(rows[kept], kind="stable")]
    return Annotations(
        np.array([entry["id"] for entry in images], dtype=np.int64),
        file_names(contents),
        np.array([_stated_size(entry) for entry in images], dtype=np.int64).reshape(-1, 2),
        np.searchsorted(rows[kept], np.arange(len(images) + 1)),
        keypoints[kept].astype(np.float32),
        boxes[kept].astype(np.float32),
        area[kept].astype(np.float32),
        labels[kept],
    )


def _label(entry: Mapping, category_ids: Sequence[int]) -> int:
    if not category_ids:
        return 1
    if entry.get("category_id") not in category_ids:
        raise InputError(
            f"annotation {entry['id']} has category_id {entry.get('category_id')!r}, expected one "
            f"of {', '.join(map(str, category_ids))}, which the model's classes are"
        )
    return 1 + category_ids.index(entry["category_id"])


def file_names(contents: Mapping) -> np.ndarray:
    """(I,) UTF-8 bytes."""
    return np.array([_file_name(entry) for entry in contents["images"]], dtype=np.bytes_)


def _file_name(entry: Mapping) -> bytes:
    name = entry.get("file_name")
    code = name.encode(errors="replace") if isinstance(name, str) else b""
    if not code or "\0" in name or code.decode() != name:
        raise InputError(f"image {entry['id']} has file_name {name!r}; expected a file's name")
    return code


def _stated_size(entry: Mapping) -> tuple[int, int]:
    """Height and width; 0, 0 if the file gives none."""
    if entry.get("height") is None or entry.get("width") is None:
        return 0, 0
    for key in ("height", "width"):
        if type(entry[key]) is not int or not 1 <= entry[key] < 2**31:
            raise InputError(
                f"image {entry['id']} has {key} {entry[key]!r}; expected whole pixels, or neither "
                "height nor width"
            )
    return entry["height"], entry["width"]


def part_of(contents: Mapping, image_ids: np.ndarray) -> Mapping:
    """Contents with these pictures and their annotations alone."""
    kept = {int(i) for i in image_ids}
    return {
        "images": [entry for entry in contents["images"] if entry["id"] in kept],
        "annotations": [e for e in contents["annotations"] if e["image_id"] in kept],
        "categories": contents["categories"],
    }


def skeleton_in(contents: Mapping, num_keypoints: int) -> Skeleton:
    """The skeleton of a file: the published one of that size, unless the file's names differ.

    A file with other names than COCO's is still scored with COCO's sigmas where it has 17
    keypoints, as COCO's own tool scores any, if it states none; left and right are those of its
    names, so that a set of 17 animal keypoints is not mirrored with COCO's pairs.
    """
    published = skeleton_of(num_keypoints)
    named, _ = named_skeleton(contents, num_keypoints, published.sigmas)
    if named is None or (published.flip_pairs and not named.flip_pairs):
        return published
    return named


def named_skeleton(
    contents: Mapping, num_keypoints: int, sigmas: Sequence[float] | None = None
) -> tuple[Skeleton | None, str]:
    """The skeleton that the categories of a file name, and where its sigmas are from.

    Args:
        contents: of the file.
        num_keypoints: K.
        sigmas: where neither a category has "sigmas" nor a skeleton that comes with the package
            has the same names; None: `DEFAULT_SIGMA` each.

    Returns:
        None if no category names K keypoints.
    """
    named = naming_categories(contents, num_keypoints)
    if not named:
        return None, "nowhere"
    names = keypoint_names(named[0])
    limbs = next(filter(None, (_limbs(category.get("skeleton")) for category in named)), [])
    base = 0 if any(0 in limb for limb in limbs) else 1
    limbs = [(a - base, b - base) for a, b in limbs if base <= min(a, b)]
    limbs = [limb for limb in limbs if max(limb) < num_keypoints]
    if named[0].get("sigmas"):
        return Skeleton.from_names(names, limbs, _sigmas(named[0])), "the annotation file"
    for name in shipped():
        known = read_skeleton(name)
        order = places_of(known.names, names)
        if order is not None:
            same = order == tuple(range(num_keypoints))
            return known if same else known.in_order(order), f"the skeleton {name}"
    return Skeleton.from_names(names, limbs, sigmas), "nowhere"


def naming_categories(contents: Mapping, num_keypoints: int) -> list[Mapping]:
    """The categories that list so many keypoints by name."""
    return [
        category
        for category in contents["categories"]
        if isinstance(category.get("keypoints"), list)
        and len(category["keypoints"]) == num_keypoints
    ]


def keypoint_names(category: Mapping) -> list[str]:
    """Its keypoints; refuses a name that stands there twice."""
    names = [str(name) for name in category["keypoints"]]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(
            f"category {category.get('name')!r} lists {twice[0]!r} twice in 'keypoints'; give each "
            "keypoint its own name"
        )
    return names


def _sigmas(category: Mapping) -> list[float]:
    sigmas, count = category["sigmas"], len(category["keypoints"])
    right = isinstance(sigmas, list) and all(is_number(s) and s > 0 for s in sigmas)
    if not right or len(sigmas) != count:
        raise InputError(
            f"category {category.get('name')!r} has 'sigmas' {str(sigmas)[:80]}, expected {count} "
            "numbers above 0, one a keypoint; correct them or leave them out"
        )
    return sigmas


def _limbs(listed: object) -> list[tuple[int, int]]:
    """What a category lists as its skeleton, less what is no pair of whole numbers."""
    pairs = listed if isinstance(listed, list) else []
    pairs = [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2]
    return [(a, b) for a, b in pairs if type(a) is int and type(b) is int]
