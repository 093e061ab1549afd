import torch

import grouppose
from datasets.keypoints import KeypointDataset
from datasets.viewed import ViewedPictures, collate_views
from grouppose.pictures import resize_picture


class Pictures(KeypointDataset):
    """Two of different sizes; the second cannot be read."""

    def __init__(self):
        self.image_ids = torch.tensor([30, 10])
        self.decoded = []

    def picture(self, index):
        self.decoded.append(index)
        image = torch.full((3, 40, 60 + 20 * index), 9, dtype=torch.uint8)
        image[:, :, 0] = 0
        return image, "damaged" if index else None


def test_all_views_of_a_picture_come_from_one_decoded_file():
    decode = grouppose.build_decode(
        "grouppose", eval_size=[20, 100], test_scales=[20, 40], flip_test=True
    )
    pictures = Pictures()
    viewed = ViewedPictures(pictures, decode)
    assert len(viewed) == 2
    batch = collate_views([viewed[0], viewed[1]])
    assert pictures.decoded == [0, 1]
    assert batch.image_ids == [30, 10] and batch.unreadable == {10: "damaged"}
    assert [images.shape for images, _ in batch.inputs] == [(2, 3, 20, 40)] * 2 + [
        (2, 3, 40, 80)
    ] * 2
    first, _ = pictures.picture(0)
    images, padding = batch.inputs[0]
    assert torch.equal(images[0, :, :, :30], resize_picture(first, (20, 30)))
    assert padding[0, :, 30:].all() and not padding[0, :, :30].any() and not padding[1].any()
    mirrored, _ = batch.inputs[1]
    assert torch.equal(mirrored[0, :, :, :30], images[0, :, :, :30].flip(-1))
    assert [view.picture for view in (batch.views[0][3], batch.views[1][0])] == [(40, 60), (40, 80)]
