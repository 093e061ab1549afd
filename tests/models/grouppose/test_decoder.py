import torch

from grouppose.models.grouppose.decoder import with_centre
from tests.small import moved, small


def test_centre_is_the_mean_and_stands_first():
    points = torch.tensor([[[[0.0, 0.0], [1.0, 0.5]]]])
    assert with_centre(points)[0, 0, 0].tolist() == [0.5, 0.25]


def test_gradient_of_a_layer_reaches_the_one_before_it_and_no_further():
    model = moved(small(dec_layers=3)).train()
    for head in model.pose_embed:
        torch.nn.init.zeros_(head.layers[-1].bias)
    outputs = model(torch.rand(1, 3, 64, 64))
    outputs["pred_keypoints"].sum().backward()
    reached = [head.layers[-1].bias.grad is not None for head in model.pose_embed]
    assert reached == [False, True, True]
