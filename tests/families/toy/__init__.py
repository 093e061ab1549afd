"""The smallest family, an example to copy: a heatmap of each keypoint, one person on a picture.

docs/families.md walks through it. Cell i of a map stands for pixel 4 i of the network's input.
"""

import torch
from torch import nn

from grouppose.layers.images import ImageNormalisation
from grouppose.maps.encode import draw_gaussians
from grouppose.people import merge, unflip
from grouppose.pictures import resized_size
from grouppose.skeleton import mirrors, skeleton_of
from grouppose.views import scaled_sides, scaled_view

STRIDE = 4


class Toy(nn.Module):
    def __init__(self, num_keypoints, channels):
        super().__init__()
        self.normalise = ImageNormalisation()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, channels, 5, STRIDE, 2), nn.ReLU()),
            *(nn.Conv2d(channels, channels, 5, padding=2), nn.ReLU()),
            nn.Conv2d(channels, num_keypoints, 1),
        )

    def forward(self, images, padding=None):
        return {"heatmaps": self.layers(self.normalise(images, padding))}


def build_model(*, num_body_points=17, channels=16):
    return Toy(num_body_points, channels)


def build_targets(*, num_body_points=17, sigma=1.5):
    def encode(people, size, ignore=None):
        cells = people["keypoints"].reshape(-1, num_body_points, 2)[:1] / STRIDE
        size = [-(-side // STRIDE) for side in size]
        maps, _ = draw_gaussians(cells.numpy(), people["visible"][:1].numpy(), sigma, size)
        counted = torch.ones(size) if ignore is None else (~ignore[::STRIDE, ::STRIDE]).float()
        return {"heatmaps": torch.from_numpy(maps), "weights": counted}

    return encode


class Criterion(nn.Module):
    def forward(self, outputs, targets, count=None):
        loss = 0
        for maps, target in zip(outputs["heatmaps"], targets, strict=True):
            height, width = target["weights"].shape  # the rest of the map is padding
            error = (maps[:, :height, :width] - target["heatmaps"]).square()
            loss = loss + (target["weights"] * error).mean()
        return {"loss_heatmaps": loss / (count or self.count(targets))}

    def count(self, targets):
        return len(targets)

    def total(self, losses):
        return losses["loss_heatmaps"]


def build_criterion():
    return Criterion()


class Decode:
    threshold, max_people = 0.1, 1

    def __init__(self, sides, mirrored, skeleton):
        self.sides, self.skeleton = sides, skeleton
        self.mirrored = (False, True) if mirrored else (False,)

    def views(self, height, width):
        picture = (height, width)
        sizes = [resized_size(height, width, *sides) for sides in self.sides]
        return [scaled_view(picture, size, turned) for size in sizes for turned in self.mirrored]

    def people(self, outputs, views):
        found = [
            [self._person(maps, view) for maps in of_view["heatmaps"].float().cpu()]
            for of_view, view in zip(outputs, views, strict=True)
        ]
        sigmas = torch.tensor(self.skeleton.sigmas)
        return [merge(of_picture, sigmas) for of_picture in zip(*found, strict=True)]

    def _person(self, maps, view):
        height, width = (-(-side // STRIDE) for side in view.size)
        heights, cells = maps[:, :height, :width].flatten(1).max(1)
        points = STRIDE * torch.stack([cells % width, cells // width], -1).float()
        turn, shift = torch.from_numpy(view.inverse).float().split((2, 1), 1)
        points = points @ turn.T + shift.T
        confidence = heights.clamp(0, 1)[None]
        scores, labels = confidence.mean(1), torch.ones(1, dtype=torch.int64)
        person = {"scores": scores, "labels": labels}
        person |= {"keypoints": points[None], "confidence": confidence}
        if not view.mirrored:
            return person
        return unflip(person, view.picture[1], self.skeleton.flip_order)


def build_decode(
    *, eval_size=(64, 96), flip_test=False, test_scales=(), num_body_points=17, skeleton=None
):
    skeleton = skeleton_of(num_body_points, skeleton)
    return Decode(scaled_sides(eval_size, test_scales), mirrors(flip_test, skeleton), skeleton)
