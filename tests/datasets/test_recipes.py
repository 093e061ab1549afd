import pytest

from datasets.affine import Affine
from datasets.recipes import augmentation_of, recipe_of
from datasets.transforms import Crop
from grouppose.errors import InputError
from grouppose.skeleton import COCO
from tests.datasets.sets import settings


def test_settings_choose_the_recipe(tmp_path):
    crop = recipe_of(settings(tmp_path))
    assert isinstance(crop, Crop) and crop.largest == (64, 100)
    affine = recipe_of(settings(tmp_path, augmentation="affine", affine_size=96))
    assert affine == Affine(96, [0.75, 1.5], 30.0, 0.2) and affine.largest == (96, 96)
    with pytest.raises(InputError, match="augmentation is 'afine'; did you mean 'affine'"):
        recipe_of(settings(tmp_path, augmentation="afine"))


@pytest.mark.parametrize("name", ["crop", "affine"])
def test_plans_are_a_function_of_seed_epoch_and_place(tmp_path, name):
    cfg = settings(tmp_path, augmentation=name, data_aug_flip=True)
    drawn = augmentation_of(cfg, COCO)

    def told(plan):
        return plan.matrix.tolist(), plan.mirrored, plan.size

    first = told(drawn.draw(60, 80, 3, 7))
    assert told(augmentation_of(cfg, COCO).draw(60, 80, 3, 7)) == first
    others = [told(drawn.draw(60, 80, *place)) for place in ((4, 7), (3, 8))]
    assert first not in others and others[0] != others[1]
    never = augmentation_of(settings(tmp_path, augmentation=name, data_aug_flip=False), COCO)
    for index in range(20):  # what else is random stays as it is
        plan, still = drawn.draw(60, 80, 0, index), never.draw(60, 80, 0, index)
        assert not still.mirrored and plan.size == still.size
        if name == "affine":
            assert (plan.matrix == still.matrix).all()
