"""From the outputs of Group Pose on a picture's views to people in its pixels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from grouppose.models.grouppose.postprocess import best_people
from grouppose.people import People, chosen, merge, somebody, unflip
from grouppose.pictures import resized_size
from grouppose.skeleton import COCO, UNPAIRED, Skeleton, mirrors, skeleton_of
from grouppose.views import View, scaled_sides, scaled_view

EVAL_SIZE = (800, 1333)  # of the published models
logger = logging.getLogger("grouppose.inference")


def build_decode(
    *,
    eval_size: Sequence[int] = EVAL_SIZE,
    flip_test: bool | str = False,
    test_scales: Sequence[int] = (),
    test_longest: int = 0,
    num_select: int = 50,
    everybody: bool = False,
    num_body_points: int = COCO.num_keypoints,
    skeleton: str | Mapping | None = None,
) -> Decode:
    """Builds the way from a picture to views of it, and from the outputs for these to people.

    Args:
        eval_size: shorter side that pictures are resized to, and limit of the longer one, in
            pixels; without the second number there is no limit.
        flip_test: also look at the mirrored picture; "auto": where keypoints have a left and right.
        test_scales: shorter sides to look at, in place of that of `eval_size`; limits are in
            proportion.
        test_longest: a limit for all of them; 0: that of `eval_size`.
        num_select: people that are kept per picture.
        everybody: keep them all instead.
        num_body_points: K.
        skeleton: its sigmas go into the keypoints' confidence; None: the published one of that
            size.
    """
    skeleton = skeleton_of(num_body_points, skeleton)
    mirrored = mirrors(flip_test, skeleton)
    if mirrored and not skeleton.flip_pairs:
        logger.warning(
            f"flip_test=True, but {UNPAIRED}; flip_test=auto looks at mirrored pictures only where "
            "one has"
        )
    sides = scaled_sides(eval_size, test_scales, test_longest)
    return Decode(sides, mirrored, None if everybody else num_select, skeleton)


class Decode:
    """See `build_decode`.

    Attributes:
        threshold: score from which people are shown, where nobody says otherwise.
        max_people: people that are kept per picture; None: all.
    """

    threshold = 0.3

    def __init__(
        self,
        sides: Sequence[tuple[int, int | None]],
        mirrored: bool,
        max_people: int | None,
        skeleton: Skeleton,
    ) -> None:
        self.max_people = max_people
        self._sides = sides
        self._mirrored = (False, True) if mirrored else (False,)
        self._skeleton = skeleton
        self._sigmas = torch.tensor(skeleton.sigmas)

    def views(self, height: int, width: int) -> list[View]:
        """How a picture of that size in pixels is looked at."""
        picture = (height, width)
        return [
            scaled_view(picture, resized_size(*picture, *sides), mirrored)
            for sides in self._sides
            for mirrored in self._mirrored
        ]

    @torch.no_grad()
    def people(
        self, outputs: Sequence[Mapping[str, Tensor]], views: Sequence[View]
    ) -> list[People]:
        """The people of B pictures of one size, best first, on the CPU.

        People of several views are matched by OKS and averaged: then there may be more of them
        than `max_people`.

        Args:
            outputs: of the model, for each of the V views of these pictures.
            views: V, from `views`.

        Returns:
            B dicts; see `grouppose.people`. Nobody has class 0.
        """
        found = [self._found(*pair) for pair in zip(outputs, views, strict=True)]
        if len(found) == 1:
            return found[0]
        return [merge(of_picture, self._sigmas) for of_picture in zip(*found, strict=True)]

    def _found(self, outputs: Mapping[str, Tensor], view: View) -> list[People]:
        """What one view shows of each picture, in pixels of the picture."""
        scores = outputs["pred_logits"]
        sizes = torch.tensor([view.picture] * len(scores), device=scores.device)
        most = scores[0].numel() if self.max_people is None else self.max_people
        columns = best_people(outputs, sizes, most, self._sigmas)
        columns = {name: column.cpu() for name, column in columns.items()}
        found = [somebody(chosen(columns, b)) for b in range(len(scores))]
        if not view.mirrored:
            return found
        return [unflip(people, view.picture[1], self._skeleton.flip_order) for people in found]
