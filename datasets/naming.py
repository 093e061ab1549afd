"""Keypoints and classes of a file matched with a model's by their names.

Files list the same keypoints in different orders and the same classes under different ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datasets.annotations import naming_categories, skeleton_in
from grouppose.errors import InputError
from grouppose.skeleton import Skeleton, comparable, places_of, skeleton_of


def names_in(contents: Mapping, num_keypoints: int) -> tuple[str, ...]:
    """What a file calls its keypoints; () where no category names so many."""
    named = naming_categories(contents, num_keypoints)
    return tuple(map(str, named[0]["keypoints"])) if named else ()


def keypoint_order(
    contents: Mapping, skeleton: Skeleton, like: Sequence[str] = (), chosen: bool = False
) -> tuple[int, ...]:
    """The place in a file's lists of each keypoint of a skeleton.

    Args:
        contents: of the file, which names as many keypoints, or none.
        skeleton: of the model.
        like: what the training file calls the skeleton's keypoints; (): not known.
        chosen: a setting gave the skeleton, whatever the file calls its keypoints.

    Raises:
        InputError: the file names a keypoint that the skeleton lacks.
    """
    count = skeleton.num_keypoints
    same = tuple(range(count))
    names = names_in(contents, count)
    if not names:
        return same
    for known in (like, skeleton.names):
        order = places_of(known, names)
        if order is not None:
            return order
    unnamed = skeleton.names == tuple(f"keypoint_{i}" for i in range(count))
    if unnamed or (chosen and not like):
        return same
    if not like and skeleton_in(contents, count).names == skeleton.names:
        return same  # names without sides, for which the published skeleton stands
    raise InputError(
        f"the annotations have the keypoint {lacking(names, like or skeleton.names)!r}, which the "
        f"model lacks; it has {', '.join(like or skeleton.names)}: give files of these, or set "
        "skeleton=FILE if the order is the same and only the names differ"
    )


def check_count(contents: Mapping, names: Sequence[str]) -> None:
    """Refuses a file whose categories all name another number of keypoints than a model has."""
    listed = [
        c["keypoints"] for c in contents["categories"] if isinstance(c.get("keypoints"), list)
    ]
    listed = [keypoints for keypoints in listed if keypoints]
    if listed and all(len(keypoints) != len(names) for keypoints in listed):
        raise InputError(
            f"the annotations have {len(listed[0])} keypoints, the model {len(names)}: "
            f"{difference(list(map(str, listed[0])), names)}; give files of the model's keypoints"
        )


def difference(names: Sequence[str], known: Sequence[str]) -> str:
    """What a file's keypoints have that a model's lack, or the other way round, in words."""
    spelt, own = comparable(known), comparable(names)
    more = [name for name, text in zip(names, own, strict=True) if text not in spelt]
    fewer = [name for name, text in zip(known, spelt, strict=True) if text not in own]
    if more or not fewer:
        return f"the model lacks {lacking(names, known)!r}"
    return f"the annotations lack {fewer[0]!r}"


def lacking(names: Sequence[str], known: Sequence[str]) -> str:
    """The first name that is not known; else the first that stands there twice."""
    spelt = comparable(known)
    others = [name for name in names if comparable([name])[0] not in spelt]
    twice = [name for name in names if list(names).count(name) > 1]
    return [*others, *twice, *names][0]


def reordered(contents: Mapping, num_keypoints: int) -> Skeleton | None:
    """The published skeleton of that size if a file lists its keypoints in another order."""
    published = skeleton_of(num_keypoints)
    order = places_of(published.names, names_in(contents, num_keypoints))
    return published if order not in (None, tuple(range(num_keypoints))) else None


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """The keypoint at each place."""
    return tuple(map(list(order).index, range(len(order))))


def class_ids(listed: Sequence[Mapping], classes: Sequence[Sequence]) -> list[int]:
    """The id that a file gives each class of a model: by name where names tell them apart.

    A class that the file lacks keeps its own id, or gets a new one where that is another's.

    Args:
        listed: the file's categories.
        classes: [id, name] of the model's.
    """
    ids = {_spelt(entry.get("name", "")): entry["id"] for entry in listed}
    names = [_spelt(name) for _, name in classes]
    if "" in (*ids, *names) or len(ids) < len(listed) or len(set(names)) < len(names):
        return [number for number, _ in classes]
    taken = {entry["id"] for entry in listed}
    found = []
    for (number, _), name in zip(classes, names, strict=True):
        if name not in ids:
            ids[name] = number if number not in taken else max(taken) + 1
            taken.add(ids[name])
        found.append(ids[name])
    return found


def in_order(classes: Sequence[list], like: Sequence[Sequence]) -> list[list]:
    """[id, name] of classes, in the order of others if these have the same names."""
    by_name = {_spelt(name): [number, name] for number, name in classes}
    names = [_spelt(name) for _, name in like]
    same = len(by_name) == len(classes) and sorted(by_name) == sorted(names)
    return [by_name[name] for name in names] if same else list(classes)


def _spelt(name: object) -> str:
    return str(name).strip().casefold()


def check_classes(
    contents: Mapping, ids: Sequence[int], classes: Sequence[Sequence], stored: bool = False
) -> None:
    """Refuses an annotation with keypoints of a class that the model lacks.

    Args:
        contents: of the file.
        ids: in it, of the model's classes.
        classes: [id, name] of the model's.
        stored: a checkpoint or a setting says which these are, not a training file.
    """
    end = "; set categories=[] to take the file's for them in the order of their ids" * stored
    names = {entry["id"]: entry.get("name", "") for entry in contents["categories"]}
    for entry in contents["annotations"]:
        category = entry.get("category_id")
        if "keypoints" in entry and category not in ids:
            raise InputError(
                f"annotation {entry['id']} has category_id {category}, expected one of "
                f"{', '.join(f'{own} ({name!r})' for own, name in classes)}"
                + (f": the model has no {names[category]!r}" if names.get(category) else "")
                + "; leave such annotations out, or name their class as the model's is named"
                + end
            )
