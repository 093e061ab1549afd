import copy
import pickle
import re
import shutil
import zipfile

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from datasets.build import build_dataset, collate
from grouppose.errors import InputError
from grouppose.exif import TURNS
from tests.datasets.sets import contents, person, picture, settings, write_custom, write_set

SIZES = {5: (60, 80), 9: (64, 50), 2: (40, 40)}


@pytest.fixture
def folder(tmp_path):
    people = [person(1, 5), person(2, 5, area=480.0), person(3, 9)]  # nobody on picture 2
    return write_set(tmp_path / "set", contents(SIZES, people))


def same(left, right):
    (image, target), (other, expected) = left, right
    return torch.equal(image, other) and all(
        torch.equal(target[name], expected[name]) for name in target
    )


def test_evaluation_sample_by_hand(folder):
    dataset = build_dataset("val", settings(folder))
    image, target = dataset[0]
    assert image.dtype == torch.uint8 and image.shape == (3, 64, 85)  # 64 * 80 / 60 = 85.3
    assert target["image_id"].item() == 5
    assert target["orig_size"].tolist() == [60, 80]
    assert target["labels"].tolist() == [1, 1]
    assert target["visible"].all() and target["visible"].shape == (2, 17)
    # the keypoints lie at (10 + k, 20 + k) of 80 x 60 pixels, wherever they are resized to
    expected = torch.tensor([[(10 + k) / 80, (20 + k) / 60] for k in range(17)])
    torch.testing.assert_close(target["keypoints"][0], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(target["area"], torch.tensor([600 / 4800, 480 / 4800]))


def test_views_are_not_augmented_and_mirrored_ones_keep_names_with_sides(folder):
    dataset = build_dataset("train", settings(folder))
    (image, target), (mirrored, other) = (dataset.view(60, m)[0] for m in (False, True))
    assert image.shape == (3, 60, 80) and torch.equal(mirrored, image.flip(-1))
    order = list(dataset.skeleton.flip_order)
    x = 79 / 80 - target["keypoints"][:, order, 0]  # pixel x becomes w - 1 - x
    torch.testing.assert_close(other["keypoints"][..., 0], x)
    assert build_dataset("val", settings(folder)).view()[0][0].shape == (3, 64, 85)
    assert dataset.split == "train"  # itself unchanged
    dataset = build_dataset("val", settings(folder, data_aug_max_size=72))
    assert dataset.view(32)[0][0].shape == (3, 27, 36)  # the limit shrinks in proportion


def test_pixels_are_the_files_where_the_size_stays(folder):
    dataset = build_dataset("val", settings(folder, data_aug_scales=[50]))
    image, _ = dataset[1]
    assert torch.equal(image.permute(1, 2, 0), torch.from_numpy(picture(64, 50, 9)))


def test_evaluation_keeps_pictures_without_people_and_training_skips_them(folder):
    assert build_dataset("train", settings(folder)).image_ids.tolist() == [5, 9]
    dataset = build_dataset("val", settings(folder))
    assert dataset.image_ids.tolist() == [5, 9, 2]
    _, target = dataset[2]
    assert target["keypoints"].shape == (0, 17, 2) and target["keypoints"].dtype == torch.float32
    assert target["visible"].shape == (0, 17) and target["area"].shape == (0,)


def test_unlabelled_keypoints_are_not_visible(tmp_path):
    keypoints = [30.0, 30.0, 1] + [0] * 48
    folder = write_set(tmp_path, contents(SIZES, [person(1, 5, keypoints=keypoints)]))
    _, target = build_dataset("train", settings(folder))[0]
    assert target["visible"].sum() == 1


def test_samples_depend_on_seed_epoch_and_index_alone(folder):
    dataset = build_dataset("train", settings(folder))
    first = [dataset[0] for _ in range(2)]
    assert same(*first)
    epochs = []
    for epoch in range(6):
        dataset.set_epoch(epoch)
        epochs.append(dataset[0])
    assert same(epochs[0], first[0])
    assert not all(same(epochs[0], sample) for sample in epochs)
    other = build_dataset("train", settings(folder, seed=1))
    changes = []
    for epoch in range(6):
        other.set_epoch(epoch)
        changes.append(not same(other[0], epochs[epoch]))
    assert any(changes)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_give_what_one_process_gives(folder, persistent):
    dataset = build_dataset("train", settings(folder))
    loader = DataLoader(
        dataset, num_workers=2, collate_fn=list, batch_size=1, persistent_workers=persistent
    )
    for epoch in (3, 4):
        dataset.set_epoch(epoch)
        for sample, index in zip(loader, range(len(dataset)), strict=True):
            assert same(sample[0], dataset[index])


def test_copies_and_pickles_give_the_same_samples(folder):
    dataset = build_dataset("train", settings(folder))
    dataset.set_epoch(5)
    for other in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        assert same(other[1], dataset[1])


def test_index_counts_from_the_end_and_is_bounded(folder):
    dataset = build_dataset("train", settings(folder))
    assert same(dataset[-1], dataset[1])
    with pytest.raises(IndexError):
        dataset[2]


def test_evaluation_goes_on_in_black_for_pictures_that_cannot_be_read(folder):
    dataset = build_dataset("val", settings(folder))
    assert dataset.missing() == []
    whole = dataset[0]
    (folder / "images/val2017/005.png").unlink()
    (folder / "images/val2017/009.png").write_bytes(b"GIF")
    assert dataset.missing() == [(5, folder / "images/val2017/005.png")]
    ((number, why),) = dataset.unopened()
    assert number == 9 and "009.png cannot be read as a picture" in why
    for index, image_id, why in (
        (0, 5, r"no picture .*images/val2017/005\.png"),
        (1, 9, r"009\.png cannot be read as a picture"),
    ):
        image, target = dataset[index]
        ((found, text),) = target.pop("unreadable")
        assert found == image_id and re.search(why, text)
        assert not image.any()
    image, target = dataset[0]
    del target["unreadable"]
    assert image.shape == whole[0].shape  # what the annotations state
    assert same((image, target), (torch.zeros_like(image), whole[1]))


def test_collate_pads_and_keeps_targets(folder):
    dataset = build_dataset("val", settings(folder))
    samples = [dataset[0], dataset[1]]  # (64, 85) and (81, 64)
    images, padding, targets = collate(samples)
    assert images.shape == (2, 3, 81, 85) and images.dtype == torch.uint8
    assert torch.equal(images[0, :, :64], samples[0][0])
    assert not images[0, :, 64:].any() and padding[0, 64:].all() and not padding[0, :64].any()
    assert padding[1, :, 64:].all() and not padding[1, :, :64].any()
    assert [t["image_id"].item() for t in targets] == [5, 9]


def test_training_takes_the_next_picture_for_one_that_cannot_be_read(folder):
    (folder / "images/train2017/005.png").write_bytes(b"no picture")
    dataset = build_dataset("train", settings(folder))
    image, target = dataset[0]
    ((image_id, why),) = target.pop("unreadable")
    assert image_id == 5 and "005.png cannot be read as a picture" in why
    assert same((image, target), dataset[1])
    assert "unreadable" not in dataset[1][1]
    (folder / "images/train2017/009.png").unlink()
    with pytest.raises(InputError, match="2 pictures in a row cannot be read, the first: .*no pic"):
        dataset[1]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_samples_of_turned_pictures_are_those_of_upright_ones(tmp_path, orientation):
    data = contents({5: (64, 64)}, [person(1, 5)])
    upright, turned = (write_set(tmp_path / name, data) for name in ("upright", "turned"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for part in ("train2017", "val2017"):
        shown = Image.open(upright / "images" / part / "005.png")
        back = {6: 8, 8: 6}.get(orientation, orientation)
        shown.transpose(TURNS[back]).save(turned / "images" / part / "005.png", exif=exif)
    for split in ("train", "val"):
        one, other = (build_dataset(split, settings(folder)) for folder in (upright, turned))
        assert same(one[0], other[0])
        ignored = build_dataset(split, settings(turned, exif="ignore"))
        assert not torch.equal(ignored[0][0], one[0][0])
    with pytest.raises(InputError, match="exif is 'turned'; did you mean 'turn'"):
        build_dataset("train", settings(turned, exif="turned"))


@pytest.mark.parametrize(
    ("wanted", "skeleton", "mirrored"),
    [
        ("auto", None, False),
        (True, None, True),
        (False, None, False),
        ("auto", {"names": ["1", "2"], "flip_pairs": [["1", "2"]]}, True),
        (False, {"names": ["1", "2"], "flip_pairs": [["1", "2"]]}, False),
    ],
)
def test_keypoints_without_sides_are_not_mirrored(tmp_path, caplog, wanted, skeleton, mirrored):
    data = contents({1: (64, 64)}, [person(1, 1, 2)], 2)
    data["categories"][0]["keypoints"] = ["1", "2"]
    changes = {"data_aug_flip": wanted, "skeleton": skeleton, "data_aug_scales": [64]}
    changes |= {"data_aug_scales2_resize": [64], "data_aug_scales2_crop": [64, 64]}
    cfg = settings(
        write_custom(tmp_path, data), dataset_file="custom", num_body_points=0, **changes
    )
    with caplog.at_level("WARNING", "grouppose.train.data"):
        dataset = build_dataset("train", cfg)
    same_as_file = []
    for epoch in range(20):
        dataset.set_epoch(epoch)
        same_as_file.append(torch.equal(dataset[0][0], dataset.view()[0][0]))
    assert all(same_as_file) == (not mirrored) == (not dataset.mirrors)
    said = [line for line in caplog.messages if "mirrored in training" in line]
    if skeleton or wanted is False:
        assert not said
    else:
        opposite = f"set data_aug_flip={not mirrored} if that is wrong"
        assert len(said) == 1 and "no keypoint has a counterpart" in said[0] and opposite in said[0]


def test_pictures_in_a_zip_give_the_samples_of_their_folder(folder):
    dataset = build_dataset("train", settings(folder))
    before = [dataset[i] for i in range(len(dataset))]
    images = folder / "images"
    shutil.make_archive(str(images / "train2017"), "zip", images / "train2017")
    shutil.rmtree(images / "train2017")
    dataset = build_dataset("train", settings(folder))
    dataset[0]  # the zip is open before workers are forked
    for workers in (0, 2):
        loader = DataLoader(dataset, num_workers=workers, collate_fn=list, batch_size=1)
        for _ in range(2):
            assert all(same(a[0], b) for a, b in zip(loader, before, strict=True))
    assert same(pickle.loads(pickle.dumps(dataset))[1], before[1])  # as for spawned ones


def test_damaged_and_missing_members_of_a_zip_count_like_files(folder):
    images = folder / "images/val2017"
    data = (images / "009.png").read_bytes()
    changed = data[:-30] + bytes([data[-30] ^ 1]) + data[-29:]
    with zipfile.ZipFile(images.with_suffix(".zip"), "w") as file:
        file.writestr("val2017/009.png", data)
    whole = images.with_suffix(".zip").read_bytes()
    images.with_suffix(".zip").write_bytes(whole.replace(data, changed))
    shutil.rmtree(images)
    dataset = build_dataset("val", settings(folder))
    assert dataset.missing() == [(5, images / "005.png"), (2, images / "002.png")]
    for index, why in (
        (0, r"no 005.png in .*val2017.zip, which holds 1 files such as val2017/009"),
        (1, r"val2017/009.png in .*images/val2017.zip is damaged .*\(CRC\)"),
    ):
        image, target = dataset[index]
        ((_, text),) = target["unreadable"]
        assert re.search(why, text) and not image.any()
