"""A network that tests can afford; random weights."""

import torch

import grouppose

SMALL = {
    "backbone": "resnet18s",
    "hidden_dim": 64,
    "nheads": 2,
    "enc_layers": 1,
    "dec_layers": 2,
    "dim_feedforward": 16,
    "num_queries": 6,
    "num_body_points": 5,
}


def small(**changes):
    torch.manual_seed(0)
    return grouppose.build_model("grouppose", **{**SMALL, **changes})


def moved(model):
    """Heads that start at zero get weights, so that outputs depend on everything."""
    for head in (*model.pose_embed, model.transformer.enc_pose_embed):
        torch.nn.init.normal_(head.layers[-1].weight, std=0.3)
    return model
