"""Builds Group Pose from settings of the published names; the defaults are the published values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from grouppose.backbones import build_backbone as make_backbone
from grouppose.errors import InputError
from grouppose.models.grouppose.criterion import Criterion
from grouppose.models.grouppose.decoder import Decoder, DecoderLayer
from grouppose.models.grouppose.encoder import Encoder, EncoderLayer
from grouppose.models.grouppose.matcher import MatchingCost
from grouppose.models.grouppose.model import GroupPose, Transformer
from grouppose.skeleton import COCO, skeleton_of


def build_model(
    *,
    backbone: str = "resnet50",
    pretrained_backbone: str | Path | None = None,
    num_body_points: int = COCO.num_keypoints,
    num_classes: int = 2,
    num_queries: int = 100,
    hidden_dim: int = 256,
    nheads: int = 8,
    num_feature_levels: int = 4,
    enc_layers: int = 6,
    dec_layers: int = 6,
    enc_n_points: int = 4,
    dec_n_points: int = 4,
    dim_feedforward: int = 2048,
    dropout: float = 0.0,
    pe_temperatureH: float = 20.0,
    pe_temperatureW: float = 20.0,
    dilation: bool = False,
    use_checkpoint: bool = False,
    aux_loss: bool = True,
    skeleton: str | Mapping | None = None,
    categories: Sequence = (),
) -> GroupPose:
    """Builds the model.

    Args:
        backbone: a name of `grouppose.backbones.BACKBONES`.
        pretrained_backbone: file of ImageNet weights, "imagenet" to download torchvision's, None.
        num_body_points: K, keypoints per person.
        num_classes: logits per person; label 1 is person, or the first of `categories`.
        num_queries: N, people that can be found in a picture.
        hidden_dim: C, channels of queries and values; a multiple of 32 and of 2 * nheads.
        nheads: attention heads.
        num_feature_levels: levels of features; more than 3 are made by stride-2 convolutions.
        enc_layers, dec_layers: layers of the encoder and the decoder.
        enc_n_points, dec_n_points: places sampled per head and level.
        dim_feedforward: hidden channels of the feed-forward blocks.
        dropout: probability.
        pe_temperatureH, pe_temperatureW: temperatures of the picture's position encoding.
        dilation: last ResNet stage dilated at stride 16.
        use_checkpoint: recompute layers and backbone stages in the backward pass (less memory).
        aux_loss: train every decoder layer, not the last alone.
        skeleton: what the keypoints are, as `grouppose.skeleton.read_skeleton` takes it; kept with
            the model for those who score or draw. None: the published one of that size.
        categories: [id, name] of what labels 1, 2, ... stand for, kept likewise; (): a person.
    """
    if categories and num_classes != len(categories) + 1:
        raise InputError(
            f"num_classes is {num_classes}, but {len(categories)} categories need "
            f"{len(categories) + 1}: one each, and class 0, which stands for nothing"
        )
    if num_body_points < 1:
        raise InputError(f"num_body_points is {num_body_points}, expected at least 1")
    check_settings(
        {
            "num_queries": num_queries,
            "num_feature_levels": num_feature_levels,
            "hidden_dim": hidden_dim,
            "nheads": nheads,
        }
    )
    skeleton_of(num_body_points, skeleton)  # refuses one that does not fit
    shape = (hidden_dim, num_feature_levels, nheads)
    encoder = Encoder(
        [EncoderLayer(*shape, enc_n_points, dim_feedforward, dropout) for _ in range(enc_layers)],
        use_checkpoint,
    )
    decoder = Decoder(
        [DecoderLayer(*shape, dec_n_points, dim_feedforward, dropout) for _ in range(dec_layers)],
        hidden_dim,
        use_checkpoint,
    )
    transformer = Transformer(
        encoder=encoder,
        decoder=decoder,
        dim=hidden_dim,
        num_levels=num_feature_levels,
        num_queries=num_queries,
        num_keypoints=num_body_points,
        num_classes=num_classes,
    )
    return GroupPose(
        backbone=make_backbone(backbone, pretrained_backbone, dilation, use_checkpoint),
        transformer=transformer,
        dim=hidden_dim,
        num_levels=num_feature_levels,
        num_classes=num_classes,
        temperatures=(pe_temperatureH, pe_temperatureW),
        aux_loss=aux_loss,
    )


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuses numbers that cannot work, before anything is built.

    Args:
        settings: any of those of the build functions; num_classes may be 0, still unknown.
    """
    for name in ("num_queries", "num_select", "num_feature_levels", "hidden_dim", "nheads"):
        if settings.get(name, 1) < 1:
            raise InputError(f"{name} is {settings[name]}, expected at least 1")
    width, heads = settings.get("hidden_dim", 256), settings.get("nheads", 8)
    if width % 32 or width % heads:
        group_norm = "32 (group norm) and of " if width % 32 else ""
        raise InputError(
            f"hidden_dim is {width}, expected a multiple of {group_norm}nheads ({heads})"
        )
    if "num_select" in settings:
        candidates = settings.get("num_queries", 100) * (settings.get("num_classes") or 2)
        if settings["num_select"] > candidates:
            raise InputError(
                f"num_select is {settings['num_select']}, but num_queries x num_classes gives "
                f"{candidates} candidates only; lower num_select"
            )


def build_criterion(
    *,
    num_body_points: int = COCO.num_keypoints,
    skeleton: str | Mapping | None = None,
    focal_alpha: float = 0.25,
    set_cost_class: float = 2.0,
    set_cost_keypoints: float = 10.0,
    set_cost_oks: float = 4.0,
    cls_loss_coef: float = 2.0,
    keypoints_loss_coef: float = 10.0,
    oks_loss_coef: float = 4.0,
    interm_loss_coef: float = 1.0,
    aux_matches: int = 1,
) -> Criterion:
    """Builds the losses.

    Args:
        num_body_points: K.
        skeleton: gives the sigmas of OKS; None: the published one of that size.
        focal_alpha: weight of positives in the focal loss and the class cost.
        set_cost_class, set_cost_keypoints, set_cost_oks: weights of the matching cost.
        cls_loss_coef, keypoints_loss_coef, oks_loss_coef: weights of the losses.
        interm_loss_coef: further factor for the encoder's selection.
        aux_matches: queries that each person is matched to in the encoder's selection and in all
            decoder layers but the last; 1 as published. More learn sooner from few pictures, as
            the last layer alone has to tell copies apart (https://arxiv.org/abs/2207.13080).
    """
    if aux_matches < 1:
        raise InputError(f"aux_matches is {aux_matches}, expected at least 1")
    cost = MatchingCost(
        torch.tensor(skeleton_of(num_body_points, skeleton).sigmas),
        set_cost_class,
        set_cost_keypoints,
        set_cost_oks,
        focal_alpha,
    )
    weights = {
        "loss_ce": cls_loss_coef,
        "loss_keypoints": keypoints_loss_coef,
        "loss_oks": oks_loss_coef,
    }
    return Criterion(
        cost=cost, weights=weights, interm_weight=interm_loss_coef, aux_matches=aux_matches
    )
