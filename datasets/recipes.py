"""What training does to pictures, by the settings that choose it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from datasets.affine import Affine, AffinePlan
from datasets.transforms import Crop, CropPlan, Sizes
from grouppose.errors import InputError, nearest
from grouppose.skeleton import UNPAIRED, Skeleton, mirrors

logger = logging.getLogger("grouppose.train.data")


@dataclass(frozen=True)
class Augmentation:
    """A recipe, and whether and how it is drawn from.

    Attributes:
        mirrors: whether pictures may be mirrored; the other random numbers stay the same.
        seed: of all random numbers.
    """

    recipe: Crop | Affine
    mirrors: bool
    seed: int

    def draw(self, height: int, width: int, epoch: int, index: int) -> CropPlan | AffinePlan:
        """What is done to the picture of that size and place in the set, in that epoch."""
        plan = self.recipe.draw(height, width, np.random.default_rng((self.seed, epoch, index)))
        return plan if self.mirrors else replace(plan, mirrored=False)


def augmentation_of(cfg: Mapping, skeleton: Skeleton) -> Augmentation:
    """The training pictures' augmentation.

    Args:
        cfg: seed, data_aug_flip and what `recipe_of` reads.
        skeleton: of the people; the log says so where it names no left and right.
    """
    chosen = mirrors(cfg["data_aug_flip"], skeleton)
    if not skeleton.flip_pairs and cfg["data_aug_flip"] is not False:
        what = "although" if chosen else "not mirrored in training, as"
        logger.warning(
            f"pictures are {'mirrored in training, ' * chosen}{what} {UNPAIRED}; set "
            f"data_aug_flip={not chosen} if that is wrong"
        )
    return Augmentation(recipe_of(cfg), chosen, cfg["seed"])


def recipe_of(cfg: Mapping) -> Crop | Affine:
    """The recipe that `augmentation` names.

    Args:
        cfg: augmentation, affine_size, affine_scale, affine_rotation, affine_translation and what
            `sizes_of` reads.
    """
    affine = [cfg[f"affine_{name}"] for name in ("size", "scale", "rotation", "translation")]
    recipes = {"crop": Crop(sizes_of(cfg)), "affine": Affine(*affine)}
    name = cfg["augmentation"]
    if name not in recipes:
        raise InputError(f"augmentation is {name!r}; {nearest(str(name), recipes)}")
    return recipes[name]


def sizes_of(cfg: Mapping) -> Sizes:
    """The sizes of the settings data_aug_scales, data_aug_max_size, data_aug_scales2_resize,
    data_aug_scales2_crop and data_aug_scale_overlap."""
    return Sizes.from_settings(
        cfg["data_aug_scales"],
        cfg["data_aug_max_size"],
        cfg["data_aug_scales2_resize"],
        cfg["data_aug_scales2_crop"],
        cfg["data_aug_scale_overlap"],
    )
