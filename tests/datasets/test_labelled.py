import numpy as np
import pytest
import torch

from datasets.build import build_dataset
from grouppose.errors import InputError
from tests.datasets.sets import contents, person, settings, write_set

CORNERS = ((10, 10), (210, 10), (510, 10))


def one_of_50_by_66(number, x, y):
    """A person whose two labelled keypoints span 50 x 66 pixels."""
    points = [x, y, 2, x + 50, y + 66, 1] + [0] * 45
    return person(number, 5, keypoints=points, bbox=[x - 5, y - 2, 60, 70], area=1500.0)


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        ("annotated", [1500, 1500, 1500]),
        ("box", [4200, 4200, 4200]),
        ("corner", [9376, 73376, 319376]),
        ("extent", [6856, 6856, 6856]),
    ],
)
def test_areas_of_people(tmp_path, area, expected):
    everybody = [one_of_50_by_66(i, *corner) for i, corner in enumerate(CORNERS, 1)]
    everybody[2]["area"] = 1000.0
    folder = write_set(tmp_path, contents({5: (100, 600)}, everybody))
    cfg = settings(folder, data_aug_scales=[100], data_aug_max_size=600, person_area=area)
    _, people = build_dataset("val", cfg).sample(0)
    expected = [*expected[:2], 1000 if area == "annotated" else expected[2]]
    assert people["area"].tolist() == expected
    assert people["small"].tolist() == [False, False, True]
    assert people["original_area"].tolist() == [1500, 1500, 1000]
    larger = settings(folder, data_aug_scales=[200], data_aug_max_size=1200, person_area=area)
    _, people = build_dataset("val", larger).sample(0)
    assert people["area"].tolist() == [4 * value for value in expected]
    assert people["original_area"].tolist() == [1500, 1500, 1000]
    with pytest.raises(InputError, match="person_area is 'boxes'; did you mean 'box'"):
        build_dataset("val", settings(folder, person_area="boxes"))


def test_nobody_of_crowdpose_is_small(tmp_path):
    data = contents({5: (60, 80)}, [person(1, 5, 14, bbox=[5, 10, 20, 20])], 14)
    folder = write_set(tmp_path, data, layout="crowdpose")
    cfg = settings(folder, dataset_file="crowdpose", num_body_points=14)
    _, people = build_dataset("val", cfg).sample(0)
    assert people["small"].tolist() == [False] and people["original_area"].tolist() == [400.0]


@pytest.fixture
def crowded(tmp_path):
    """A person, a crowd at the left and somebody without labels at the right; a crowd alone."""
    others = [
        person(2, 5, iscrowd=1, segmentation={"size": [60, 80], "counts": [0, 600, 4200]}),
        person(3, 5, keypoints=[0] * 51, num_keypoints=0, bbox=[70.0, 0.0, 10.0, 60.0]),
        person(4, 9, iscrowd=1, bbox=[0, 0, 5, 5]),
    ]
    sizes = {5: (60, 80), 9: (60, 80), 2: (60, 80)}
    return write_set(tmp_path / "set", contents(sizes, [person(1, 5), *others]))


AFFINE = {"augmentation": "affine", "affine_size": 60, "affine_scale": [4 / 3, 4 / 3]}
STILL = {**AFFINE, "affine_rotation": 0.0, "affine_translation": 0.0}  # 80 x 80 at 3/4 of its size


def test_samples_of_affine_know_where_nothing_is_to_be_learnt(crowded):
    dataset = build_dataset("train", settings(crowded, **STILL))
    for epoch in range(6):
        dataset.set_epoch(epoch)
        image, people = dataset.sample(0)
        assert image.shape == (3, 60, 60)
        ignore = people["ignore"].flip(-1) if people["mirrored"] else people["ignore"]
        expected = torch.zeros(60, 60, dtype=torch.bool)
        expected[:, :8] = expected[:, 53:] = True  # columns to 9.3, and from 70.7 of the picture
        expected[:8] = expected[53:] = True  # rows to -0.7, and from 60.7
        expected[52, 52] = True  # two thirds of two thirds of it
        assert torch.equal(ignore, expected)
        keypoints = people["keypoints"][0]
        x, y = keypoints.T
        x = (59 - x)[list(dataset.skeleton.flip_order)] if people["mirrored"] else x
        torch.testing.assert_close(x, 0.75 * torch.arange(10.0, 27))
        y = y[list(dataset.skeleton.flip_order)] if people["mirrored"] else y
        torch.testing.assert_close(y, 7.5 + 0.75 * torch.arange(20.0, 37))


def test_what_is_ignored_and_who_is_trained_on_are_settings(crowded):
    def first(**changes):
        return build_dataset("train", settings(crowded, **changes)).sample(0)[1]

    assert "ignore" not in first()
    outside = first(**STILL, ignore_regions=False)["ignore"]
    assert not outside[10:50].any() and outside[:7].all()
    seen = first(ignore_regions=True, data_aug_scales=[60], data_aug_scales2_resize=[60])["ignore"]
    assert 0 < seen.sum() < seen.numel() // 2  # under recipe "crop" too
    dataset = build_dataset("train", settings(crowded, **STILL, unlabelled_people=True))
    assert dataset.image_ids.tolist() == [5, 9]  # pictures of crowds alone, but not of nobody
    _, people = dataset.sample(0)
    assert people["visible"].any(-1).tolist() == [True, False]
    assert dataset.people == 1  # of those who are labelled
    assert (
        len(build_dataset("val", settings(crowded, unlabelled_people=True)).sample(0)[1]["area"])
        == 1
    )


def test_encode_gets_the_mask_of_its_picture(crowded):
    dataset = build_dataset("train", settings(crowded, **STILL))
    given = []
    dataset._encode = lambda people, size, ignore: given.append((people, size, ignore)) or {}
    image, target = dataset[0]
    people, size, ignore = given[0]
    assert size == (60, 60) and ignore.dtype == torch.bool and ignore.shape == size
    assert ignore.any() and not ignore.all() and "ignore" not in people
    assert people["mirrored"] in (True, False) and image.is_contiguous()
    assert target.keys() == {"image_id", "orig_size"} and target["orig_size"].tolist() == [60, 80]
    plain = build_dataset("train", settings(crowded))
    plain._encode = dataset._encode
    image, _ = plain[0]
    assert given[1][2].shape == image.shape[1:] and not given[1][2].any()


def test_a_damaged_segmentation_ends_before_training(crowded, tmp_path):
    bad = person(8, 5, iscrowd=1, segmentation=[[1, 2, 3]])
    folder = write_set(tmp_path / "bad", contents({5: (60, 80)}, [person(1, 5), bad]))
    with pytest.raises(InputError, match="annotation 8 has a 'segmentation' with a polygon of 3"):
        build_dataset("train", settings(folder, **AFFINE))
    assert len(build_dataset("train", settings(folder))) == 1  # nobody asks for it


def test_a_set_with_regions_is_shared_by_workers_as_arrays(crowded):
    ignored = build_dataset("train", settings(crowded, **AFFINE))._labelled.ignored
    assert all(isinstance(value, np.ndarray) for value in vars(ignored).values())
