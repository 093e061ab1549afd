"""A small model's file, and pictures to look at."""

import cv2
import numpy as np
import pytest
import torch

import grouppose
from tests.small import SMALL


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_small_model(tmp_path_factory.mktemp("weights"))


def save_small_model(folder, **changes):
    """A file of random weights with 17 keypoints whose heads move them."""
    torch.manual_seed(0)
    model = grouppose.build_model("grouppose", **SMALL | {"num_body_points": 17} | changes)
    for head in (*model.pose_embed, model.transformer.enc_pose_embed):
        torch.nn.init.normal_(head.layers[-1].weight, std=0.3)
    path = folder / "model.safetensors"
    grouppose.save_weights(model, path)
    return path


def noise(height=48, width=80, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path, image):
    cv2.imwrite(str(path), image[..., ::-1])
    return str(path)


def write_video(path, count=5, rate=12.0):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (80, 48))
    for i in range(count):
        video.write(noise(seed=i))
    video.release()
