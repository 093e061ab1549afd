import numpy as np
import torch
from torch import Tensor

from grouppose.inference.find import Finder, forward
from grouppose.people import chosen, nobody
from grouppose.views import batch_views, look, scaled_view

CPU = torch.device("cpu")


def test_outputs_are_float32_whatever_the_model_computes_in():
    def model(images: Tensor, padding: None) -> dict:
        assert padding is None  # as the mask is empty
        y = images.float() @ images.float()
        assert y.dtype == torch.bfloat16
        return {"y": y, "aux_outputs": [{"y": y}], "cells": torch.ones(1, dtype=torch.int64)}

    images, padding = torch.ones(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)
    outputs = forward(model, images, padding, CPU, torch.bfloat16)
    assert outputs["y"].dtype == outputs["aux_outputs"][0]["y"].dtype == torch.float32
    assert outputs["cells"].dtype == torch.int64


class Brightness:
    """People as many as the picture is bright, at the width of the picture."""

    max_people = 3

    def __init__(self):
        self.seen = []

    def views(self, height: int, width: int) -> list:
        return [scaled_view((height, width), (height, width), flip) for flip in (False, True)]

    def people(self, outputs: list, views: list) -> list:
        assert len(outputs) == len(views) == 2 and views[1].mirrored
        self.seen.append((views[0].picture, len(outputs[0]["value"])))
        return [self.person(int(value), views[0]) for value in outputs[0]["value"]]

    def person(self, count: int, view) -> dict:
        column = nobody(1)
        column = {name: value.new_zeros(count, *value.shape[1:]) for name, value in column.items()}
        column["scores"] = torch.arange(count, 0, -1) / 10
        column["keypoints"] += view.picture[1]
        return column


def picture(value: int, height: int, width: int) -> Tensor:
    return torch.full((3, height, width), value, dtype=torch.uint8)


def model(images: Tensor, padding: Tensor | None) -> dict:
    return {"value": images[:, 0, 0, 0].float()}


def found(finder: Finder, pictures: list) -> list:
    views = [finder.decode.views(*image.shape[-2:]) for image in pictures]
    seen = [look(image, each) for image, each in zip(pictures, views, strict=True)]
    return finder.people(batch_views(seen), views)


def test_pictures_of_a_size_are_decoded_together_and_others_apart():
    decode = Brightness()
    pictures = [picture(1, 4, 6), picture(2, 4, 6), picture(0, 6, 4), picture(9, 4, 6)]
    people = found(Finder(model, decode, CPU), pictures)
    assert decode.seen == [((4, 6), 2), ((6, 4), 1), ((4, 6), 1)]
    assert [len(p["scores"]) for p in people] == [1, 2, 0, 3]  # three at most
    assert [p["keypoints"][:1].flatten().tolist() for p in people] == [[6, 6], [6, 6], [], [6, 6]]


def test_new_scores_come_before_the_limit():
    class Reversed:
        def rescored(self, people: dict) -> dict:
            rows = torch.from_numpy(np.arange(len(people["scores"]))[::-1].copy())
            return chosen(people, rows)

    (people,) = found(Finder(model, Brightness(), CPU, rescorer=Reversed()), [picture(5, 4, 4)])
    torch.testing.assert_close(people["scores"], torch.tensor([0.1, 0.2, 0.3]))
