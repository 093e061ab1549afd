"""What is wrong with the contents of a label file, kind by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from addict import Dict

from datasets.build import labels_of, with_people
from datasets.cleaning import Finding, is_number
from datasets.custom import Poses
from datasets.headers import file_findings
from datasets.ignored import damaged
from datasets.places import CUSTOM
from grouppose.errors import UserError
from grouppose.skeleton import DEFAULT_SIGMA, Skeleton


def examine(
    contents: Mapping, images: Path, decode: bool = False
) -> tuple[list[str], list[Finding]]:
    """Lines of facts about contents that `read_labels` gave, and what was found somewhere.

    Args:
        contents: as `located` finds their pictures.
        images: folder of the pictures.
        decode: read every picture to its end.
    """
    people = [entry for entry in contents["annotations"] if "keypoints" in entry]
    lengths = [
        len(e["keypoints"]) for e in people if isinstance(e["keypoints"], list) and e["keypoints"]
    ]
    usual = max(set(lengths), key=lengths.count) if lengths else 0
    num_keypoints = usual // 3
    named = [c for c in contents["categories"] if c.get("keypoints")]
    facts = [
        f"{len(contents['images'])} pictures, {len(people)} annotations with "
        f"{num_keypoints} keypoints, {len(contents['categories'])} categories"
        + (f", of which {len(named)} name keypoints" if len(named) > 1 else "")
    ]
    findings = file_findings(contents, images, decode) + _pictures(contents)
    findings += _annotations(contents)
    findings += _people(contents, people, usual)
    if num_keypoints:
        findings += _skeleton(contents, num_keypoints)
    return facts, [finding for finding in findings if finding.ids]


def _pictures(contents: Mapping) -> list[Finding]:
    labelled = {entry["image_id"] for entry in contents["annotations"]}
    listed = contents["images"]
    names = [e.get("file_name") for e in listed]
    twice = {name for name, times in Counter(map(str, names)).items() if times > 1}
    return [
        Finding(
            "pictures have no text as 'file_name'; give the file's name",
            [e["id"] for e in listed if not isinstance(e.get("file_name"), str)],
        ),
        Finding(
            "pictures have a 'file_name' that stands there twice; list each picture once, with all "
            "its annotations",
            [e["id"] for e in listed if str(e.get("file_name")) in twice],
        ),
        Finding(
            "pictures have a 'height' or 'width' that is no number of pixels; training refuses "
            "them: correct it, or leave both out",
            [e["id"] for e in listed if not _has_size(e)],
        ),
        Finding(
            "pictures have nobody annotated; training leaves them out",
            [entry["id"] for entry in listed if entry["id"] not in labelled],
            serious=False,
        ),
    ]


def _has_size(entry: Mapping) -> bool:
    sides = (entry.get("height"), entry.get("width"))
    return None in sides or all(type(side) is int and 1 <= side < 2**31 for side in sides)


def _annotations(contents: Mapping) -> list[Finding]:
    known = {entry["id"] for entry in contents["categories"]}
    return [
        Finding(
            "annotations have a 'category_id' that no category has; list the category or correct "
            "them",
            [e["id"] for e in contents["annotations"] if e.get("category_id") not in known],
        ),
        Finding(
            "crowds and people without labels have a damaged 'segmentation'; augmentation=affine "
            "and ignore_regions=True refuse them: correct it, or leave it out for the box",
            damaged(contents),
            serious=False,
        ),
    ]


# What can be wrong with an annotation, the worst first; {usual} is 3K.
PROBLEMS = {
    "length": "annotations have another number of values than {usual} in 'keypoints', or something "
    "else than numbers; give x, y, v for every keypoint",
    "twice": "annotation ids are used twice; give each its own",
    "zero": "annotations have id 0, which COCO's tool scores as unmatched; count from 1",
    "box": "annotations have no 'bbox' [x, y, width, height] of some size; training needs it, but "
    "with --dataset_file custom, which takes the box around the keypoints",
    "area": "annotations have an 'area' of 0 or no number there; their OKS is 0 wherever a "
    "keypoint is not exact; give the area, leave the entry out, or read the set as "
    "--dataset_file custom, which takes a share of the box",
}
NOTES = {
    "outside": "annotations have visible keypoints outside the picture; training moves them to its "
    "border",
    "nobody": "annotations have no labelled keypoint; training leaves them out",
}


def _people(contents: Mapping, people: Sequence[Mapping], usual: int) -> list[Finding]:
    sizes = {entry["id"]: (entry.get("width"), entry.get("height")) for entry in contents["images"]}
    found: dict[str, list[Any]] = {name: [] for name in (*PROBLEMS, *NOTES)}
    seen: set[int] = set()
    for entry in people:
        number, points = entry["id"], entry["keypoints"]
        if number in seen:
            found["twice"].append(number)
        seen.add(number)
        if number == 0:
            found["zero"].append(number)
        if not _are_numbers(points, usual) or usual % 3:
            found["length"].append(number)
            continue
        triples = list(zip(points[::3], points[1::3], points[2::3], strict=True))
        visible = [(x, y) for x, y, v in triples if v > 0]
        if not visible:
            found["nobody"].append(number)
        if _any_outside(visible, *sizes[entry["image_id"]]):
            found["outside"].append(number)
        if visible and not _is_positive(entry.get("area", 1)):
            found["area"].append(number)
        if not _is_box(entry.get("bbox"), with_size=bool(visible)):
            found["box"].append(number)
    texts = {**PROBLEMS, **NOTES}
    return [
        Finding(texts[name].format(usual=usual), ids, serious=name in PROBLEMS)
        for name, ids in found.items()
    ]


def _is_positive(value: object) -> bool:
    return is_number(value) and value > 0


def _is_box(box: object, with_size: bool) -> bool:
    return _are_numbers(box, 4) and (not with_size or min(box[2:]) > 0)


def _are_numbers(values: object, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(is_number, values))


def _any_outside(points: Sequence[tuple], width: object, height: object) -> bool:
    """Whether a point lies outside a picture; False where its size is not known."""
    if not _is_positive(width) or not _is_positive(height):
        return False
    return any(not (0 <= x <= width and 0 <= y <= height) for x, y in points)


def _listed(entry: Mapping, key: str) -> list:
    """The list of that name; empty where there is none."""
    return entry[key] if isinstance(entry.get(key), list) else []


def _skeleton(contents: Mapping, num_keypoints: int) -> list[Finding]:
    unnamed = [
        category["id"]
        for category in contents["categories"]
        if len(_listed(category, "keypoints")) != num_keypoints
    ]
    return [
        Finding(
            f"categories do not name {num_keypoints} keypoints; left and right are then those of "
            "the published skeleton of that size, or unknown",
            unnamed,
            serious=False,
        )
    ]


def skeleton_facts(skeleton: Skeleton) -> list[str]:
    """What mirroring does, limbs and sigmas, in words."""
    names = skeleton.names
    pairs = ", ".join(f"{names[a]} - {names[b]}" for a, b in skeleton.flip_pairs)
    alone = set(range(len(names))) - {i for pair in skeleton.flip_pairs for i in pair}
    middle = ", ".join(names[i] for i in sorted(alone))
    default = all(sigma == DEFAULT_SIGMA for sigma in skeleton.sigmas)
    return [
        f"  flipping exchanges {pairs or 'nothing'}; it leaves {middle or 'nothing'} in place",
        f"  {len(skeleton.limbs)} limbs; sigmas "
        + (f"all {DEFAULT_SIGMA}, as nobody stated them" if default else "of the published set"),
    ]


def refusal(
    contents: Mapping, annotations: Path, protocol: str | None, like: Poses | None
) -> tuple[Poses | None, list[Finding]]:
    """What training itself says of a file that it cannot use.

    Args:
        contents: from `read_labels`.
        annotations: the file.
        protocol: of a published set; None: the set is custom.
        like: what the training file has; None: this is it.

    Returns:
        What is on the pictures, None where it was refused; the refusal.
    """
    people = [e for e in contents["annotations"] if isinstance(e.get("keypoints"), list)]
    lengths = Counter(len(e["keypoints"]) // 3 for e in people).most_common(1)
    cfg = {"dataset_file": CUSTOM, "num_body_points": 0, "num_classes": 0}
    if protocol is not None:
        cfg = {"dataset_file": "coco", "num_body_points": lengths[0][0] if lengths else 17}
        cfg["num_classes"] = 2
    cfg |= {"skeleton": None, "categories": []}
    if like is not None:
        cfg |= {"num_classes": like.num_classes, "categories": like.categories}
        cfg |= {"skeleton": like.skeleton.to_dict()}
        cfg |= {"num_body_points": like.skeleton.num_keypoints}
    try:
        _, poses, data = labels_of(contents, Dict(cfg), protocol or "coco", like)
        with_people(data, 0, annotations, contents)
    except UserError as error:
        return None, [Finding("reason to end a run before it starts", [str(error)])]
    return poses, []
