"""Builds the family from settings; the defaults are the published values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from grouppose.backbones.hrnet import STRIDE as TRUNK_STRIDE
from grouppose.backbones.hrnet import load_imagenet
from grouppose.errors import InputError
from grouppose.models.hrnet_bottomup.criterion import Criterion
from grouppose.models.hrnet_bottomup.decode import Decoder, Plan
from grouppose.models.hrnet_bottomup.model import HRNetBottomUp, start
from grouppose.models.hrnet_bottomup.targets import FINE_STRIDE, STRIDE, Encoder
from grouppose.skeleton import COCO, CROWDPOSE, mirrors, skeleton_of


def build_model(
    *,
    backbone: str = "hrnet_w32",
    num_body_points: int = COCO.num_keypoints,
    higher: bool = False,
    regression_channels: int = 256,
    pretrained_backbone: str | Path | None = None,
    skeleton: str | Mapping | None = None,
    categories: Sequence = (),
) -> HRNetBottomUp:
    """Builds the model.

    Args:
        backbone: a name of `grouppose.backbones.hrnet.HRNETS`.
        num_body_points: K, keypoints per person.
        higher: also heatmaps at stride 2.
        regression_channels: of the features that offsets come from.
        pretrained_backbone: file of ImageNet weights, "imagenet" to download timm's, None.
        skeleton: what the keypoints are, as `grouppose.skeleton.read_skeleton` takes it; kept with
            the model for those who score or draw. None: the published one of that size.
        categories: [id, name] of what label 1 stands for, kept likewise; (): a person.
    """
    check_people(num_body_points, skeleton, categories)
    model = HRNetBottomUp(
        backbone=backbone,
        num_keypoints=num_body_points,
        higher=higher,
        width=regression_channels,
    )
    start(model)
    if pretrained_backbone is not None:
        load_imagenet(model, backbone, pretrained_backbone)
    return model


def check_people(
    num_body_points: int, skeleton: str | Mapping | None, categories: Sequence
) -> None:
    """Raises InputError unless the family can have such people."""
    if num_body_points < 1:
        raise InputError(f"num_body_points is {num_body_points}, expected at least 1")
    if len(categories) > 1:
        raise InputError(
            f"there are {len(categories)} categories of people, this family knows one; "
            'choose model "grouppose", or annotations of one category'
        )
    skeleton_of(num_body_points, skeleton)  # refuses one that does not fit


def build_targets(
    *,
    num_body_points: int = COCO.num_keypoints,
    higher: bool = False,
    sigma: float = 2.0,
    centre_sigma: float | None = None,
    radius: int = 4,
    background: float = 0.1,
    fine_background: float = 0.025,
) -> Encoder:
    """Builds the step from people to target maps.

    Args:
        num_body_points: K.
        higher: also targets at stride 2.
        sigma: of the keypoints' gaussians, in cells.
        centre_sigma: of the centres'; None: 4, or 2 for fewer than 17 keypoints, as published.
        radius: of the window around a centre in which offsets are trained, in cells.
        background: weight of cells outside the gaussians' windows.
        fine_background: the same at stride 2.
    """
    return Encoder(
        num_keypoints=num_body_points,
        sigma=sigma,
        centre_sigma=centre_sigma_of(num_body_points, centre_sigma),
        radius=radius,
        background=background,
        fine_background=fine_background if higher else None,
    )


def centre_sigma_of(num_body_points: int, given: float | None) -> float:
    """The published code takes a channel below 17 for a keypoint's, CrowdPose's centre too."""
    if given is not None:
        return given
    return 4.0 if num_body_points >= COCO.num_keypoints else 2.0


def build_criterion(
    *, heatmaps_loss_coef: float = 1.0, offsets_loss_coef: float = 0.01
) -> Criterion:
    """Builds the losses.

    Args:
        heatmaps_loss_coef: weight of the heatmaps, coarse and fine.
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
    higher: bool = False,
    skeleton: str | Mapping | None = None,
    max_people: int = 30,
    match_heatmaps: bool = True,
    keypoint_threshold: float = 0.01,
    nms_distance: float = 10.0,
    nms_keypoints: int | None = None,
    scale_decrease: float = 0.001,
    max_absorb_distance: float = 75.0,
    adjust_threshold: float = 0.05,
    gaussian_kernel: int = 6,
    gaussian_sigma: float = 2.0,
    exchanged_heat: bool = True,
) -> Decoder:
    """Builds the way from a picture to views of it, and from the outputs for these to people.

    Args:
        eval_size: shorter side of the input in pixels; (): 640 for w48, else 512.
        flip_test: also look at the mirrored picture; "auto": where keypoints have a left and right.
        test_scales: shorter sides to look at and merge. That of `eval_size` is scale 1, if it is
            among them, else the first.
        backbone: of the model.
        num_body_points: K.
        higher: the model gives fine heatmaps.
        skeleton: whose left and right change places; None: the published one of that size.
        max_people: centres and peaks that are looked at per map, and people that are kept.
        match_heatmaps: keypoints move to peaks of the heatmaps ("final"); else they stay where
            they were regressed ("regression").
        keypoint_threshold: value that centres and peaks must exceed.
        nms_distance: pixels below which two keypoints are close.
        nms_keypoints: two poses with more close keypoints are one person; None: 10 of 17 and of
            14, else six tenths of K.
        scale_decrease: factor for the centres of other scales than 1.
        max_absorb_distance: pixels from which on a peak is too far.
        adjust_threshold: confidence that a keypoint must exceed to be refined.
        gaussian_kernel: the window of the fit reaches so many pixels.
        gaussian_sigma: where the fit starts.
        exchanged_heat: a keypoint far from all peaks reads its heat with x and y exchanged, as
            the published code does.
    """
    if nms_keypoints is None:
        published = num_body_points in (COCO.num_keypoints, CROWDPOSE.num_keypoints)
        nms_keypoints = 10 if published else round(0.6 * num_body_points)
    skeleton = skeleton_of(num_body_points, skeleton)
    shifts = (STRIDE - 1, FINE_STRIDE - 1) if higher else (STRIDE - 1,)
    if not mirrors(flip_test, skeleton):
        shifts = ()
    return Decoder(
        plan=plan_of(eval_size, test_scales, backbone, shifts, "padding"),
        flip_order=skeleton.flip_order,
        max_people=max_people,
        match_heatmaps=match_heatmaps,
        keypoint_threshold=keypoint_threshold,
        nms_distance=nms_distance,
        nms_keypoints=nms_keypoints,
        scale_decrease=scale_decrease,
        max_absorb_distance=max_absorb_distance,
        adjust_threshold=adjust_threshold,
        gaussian_kernel=gaussian_kernel,
        gaussian_sigma=gaussian_sigma,
        exchanged_heat=exchanged_heat,
    )


def plan_of(
    eval_size: Sequence[int],
    test_scales: Sequence[int],
    backbone: str,
    shifts: tuple[int, ...],
    fill: str,
) -> Plan:
    """How pictures are looked at, see `build_decode` and `decode.Plan`."""
    if min([1, *eval_size, *test_scales]) < 1:
        raise InputError(
            f"eval_size is {list(eval_size)} and test_scales {list(test_scales)}, expected sides "
            "in pixels"
        )
    side = eval_size[0] if eval_size else 640 if backbone == "hrnet_w48" else 512
    if test_scales and side not in test_scales:
        side = test_scales[0]
    scales = {size / side for size in test_scales or [side]}
    for scale in scales:
        if 2 * scale % 1:
            raise InputError(
                f"test_scales holds {scale * side:.0f}, expected multiples of {side / 2:g}: half "
                f"of scale 1, {side}; others give sides that are no multiples of {TRUNK_STRIDE}"
            )
    return Plan(side, tuple(sorted(scales, reverse=True)), shifts, fill)
