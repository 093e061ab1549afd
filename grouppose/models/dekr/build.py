"""Builds the family from settings; the defaults are the published values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from grouppose.backbones.hrnet import load_imagenet
from grouppose.models.dekr.decode import Decoder
from grouppose.models.dekr.model import DEKR
from grouppose.models.hrnet_bottomup.build import centre_sigma_of, check_people, plan_of
from grouppose.models.hrnet_bottomup.criterion import Criterion
from grouppose.models.hrnet_bottomup.model import start
from grouppose.models.hrnet_bottomup.targets import STRIDE, Encoder
from grouppose.skeleton import COCO, CROWDPOSE, mirrors, skeleton_of


def build_model(
    *,
    backbone: str = "hrnet_w32",
    num_body_points: int = COCO.num_keypoints,
    pretrained_backbone: str | Path | None = None,
    skeleton: str | Mapping | None = None,
    categories: Sequence = (),
) -> DEKR:
    """Builds the model.

    Args:
        backbone: a name of `grouppose.backbones.hrnet.HRNETS`.
        num_body_points: K, keypoints per person.
        pretrained_backbone: file of ImageNet weights, "imagenet" to download timm's, None.
        skeleton: what the keypoints are, as `grouppose.skeleton.read_skeleton` takes it; kept with
            the model for those who score or draw. None: the published one of that size.
        categories: [id, name] of what label 1 stands for, kept likewise; (): a person.
    """
    check_people(num_body_points, skeleton, categories)
    model = DEKR(backbone=backbone, num_keypoints=num_body_points)
    start(model)
    if pretrained_backbone is not None:
        load_imagenet(model, backbone, pretrained_backbone)
    return model


def build_targets(
    *,
    num_body_points: int = COCO.num_keypoints,
    sigma: float = 2.0,
    centre_sigma: float | None = None,
    radius: int = 4,
    background: float = 0.1,
) -> Encoder:
    """Builds the step from people to target maps.

    Args:
        num_body_points: K.
        sigma: of the keypoints' gaussians, in cells.
        centre_sigma: of the centres'; None: 4, or 2 for fewer than 17 keypoints, as published.
        radius: of the window around a centre in which offsets are trained, in cells.
        background: weight of cells outside the gaussians' windows.
    """
    return Encoder(
        num_keypoints=num_body_points,
        sigma=sigma,
        centre_sigma=centre_sigma_of(num_body_points, centre_sigma),
        radius=radius,
        background=background,
        weight_channels=True,
        box_centres=False,
    )


def build_criterion(
    *, heatmaps_loss_coef: float = 1.0, offsets_loss_coef: float = 0.03
) -> Criterion:
    """Builds the losses.

    Args:
        heatmaps_loss_coef: weight of the heatmaps.
        offsets_loss_coef: weight of the offsets.
    """
    return Criterion(heatmaps_weight=heatmaps_loss_coef, offsets_weight=offsets_loss_coef)


def build_decode(
    *,
    eval_size: Sequence[int] = (),
    flip_test: bool | str = "auto",
    test_scales: Sequence[int] = (),
    backbone: str = "hrnet_w32",
    num_body_points: int = COCO.num_keypoints,
    skeleton: str | Mapping | None = None,
    max_people: int = 30,
    match_heatmaps: bool = False,
    keypoint_threshold: float = 0.01,
    nms_threshold: float = 0.05,
    nms_keypoints: int | None = None,
    scale_decrease: float | None = None,
    max_absorb_distance: float = 75.0,
    adjust_threshold: float = 0.05,
    gaussian_kernel: int = 6,
    gaussian_sigma: float = 2.0,
) -> Decoder:
    """Builds the way from a picture to views of it, and from the outputs for these to people.

    Args:
        eval_size: shorter side of the input in pixels; (): 640 for w48, else 512.
        flip_test: also look at the mirrored picture; "auto": where keypoints have a left and right.
        test_scales: shorter sides to look at and merge. That of `eval_size` is scale 1, if it is
            among them, else the first.
        backbone: of the model.
        num_body_points: K.
        skeleton: whose left and right change places; None: the published one of that size.
        max_people: centres and peaks that are looked at per map, and people that are kept.
        match_heatmaps: keypoints move to peaks of the heatmaps.
        keypoint_threshold: value that centres must exceed.
        nms_threshold: share of a pose's diagonal below which two keypoints are close; the
            published test at three scales sets 0.15.
        nms_keypoints: two poses with more close keypoints are one person; None: 8 of 17, 7 of
            14, else half of K.
        scale_decrease: factor for the centres of other scales than 1; None: 0.8 for 14 keypoints,
            else 0.9.
        max_absorb_distance: pixels from which on a peak is too far.
        adjust_threshold: confidence that a keypoint must exceed to be refined.
        gaussian_kernel: the window of the fit reaches so many pixels.
        gaussian_sigma: where the fit starts.
    """
    if nms_keypoints is None:
        nms_keypoints = round(num_body_points / 2)  # 8 of COCO's 17, 7 of CrowdPose's 14
    if scale_decrease is None:
        scale_decrease = 0.8 if num_body_points == CROWDPOSE.num_keypoints else 0.9
    skeleton = skeleton_of(num_body_points, skeleton)
    shifts = (STRIDE - 1,) if mirrors(flip_test, skeleton) else ()
    return Decoder(
        plan=plan_of(eval_size, test_scales, backbone, shifts, "picture"),
        flip_order=skeleton.flip_order,
        max_people=max_people,
        match_heatmaps=match_heatmaps,
        keypoint_threshold=keypoint_threshold,
        nms_distance=nms_threshold,
        nms_keypoints=nms_keypoints,
        scale_decrease=scale_decrease,
        max_absorb_distance=max_absorb_distance,
        adjust_threshold=adjust_threshold,
        gaussian_kernel=gaussian_kernel,
        gaussian_sigma=gaussian_sigma,
    )
