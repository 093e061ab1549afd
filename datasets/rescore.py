"""What a rescoring network learns: how well people that were found fit the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from datasets.annotations import read_annotations
from datasets.evaluate import Contents, to_results
from datasets.matching import matching
from grouppose.people import People
from grouppose.skeleton import Skeleton


def similarity_to_own(
    annotation_file: Contents,
    image_ids: Sequence[int],
    people: Sequence[People],
    skeleton: Skeleton,
    order: Sequence[int] = (),
) -> Tensor:
    """The OKS of everybody with the labelled person that is theirs; who gets nobody has 0.

    People are given to predictions as for AP, best score first, whatever their class.

    Args:
        annotation_file: path of a COCO-format file, or its contents.
        image_ids: B.
        people: B.
        skeleton: of the file's people.
        order: of the file's keypoints among those of `people`, see `to_results`.

    Returns:
        (n,) of all people, picture after picture.
    """
    persons = [{**p, "labels": torch.ones_like(p["labels"])} for p in people]
    contents: Mapping = read_annotations(annotation_file)
    found = matching(contents, to_results(image_ids, persons, order=order), skeleton, 0.0)
    target = torch.zeros(sum(len(p["scores"]) for p in people))
    target[found.source[found.rows]] = torch.from_numpy(found.similarity).float()
    return target
