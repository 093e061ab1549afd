"""Losses by hand."""

import pytest
import torch

import grouppose
from grouppose.errors import InputError


def case(batch=2, keypoints=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, keypoints + 1, 6, 8)
    outputs = {
        "heatmaps": torch.rand(shape, generator=generator),
        "offsets": 4 * torch.randn(batch, 2 * keypoints, 6, 8, generator=generator),
    }
    weight = (torch.rand(batch, 2 * keypoints, 6, 8, generator=generator) > 0.7) * 0.05
    targets = [
        {
            "heatmaps": torch.rand(shape[1:], generator=generator),
            "weights": torch.rand(1, 6, 8, generator=generator),
            "offsets": 4 * torch.randn(2 * keypoints, 6, 8, generator=generator),
            "offset_weights": weight[b],
        }
        for b in range(batch)
    ]
    return outputs, targets


def test_losses_agree_with_loops():
    outputs, targets = case()
    squares, offsets, counted = [], 0.0, 0
    for b, target in enumerate(targets):
        for c in range(4):
            error = (outputs["heatmaps"][b, c] - target["heatmaps"][c]) ** 2
            squares += (target["weights"][0] * error).flatten().tolist()
        for predicted, wanted, weight in zip(
            outputs["offsets"][b].flatten().tolist(),
            target["offsets"].flatten().tolist(),
            target["offset_weights"].flatten().tolist(),
            strict=True,
        ):
            distance = abs(predicted - wanted)
            loss = 4.5 * distance**2 if distance < 1 / 9 else distance - 1 / 18
            offsets += weight * loss
            counted += weight > 0
    criterion = grouppose.build_criterion("hrnet_bottomup")
    losses = criterion(outputs, targets)
    assert losses["loss_heatmaps"].item() == pytest.approx(sum(squares) / len(squares), rel=1e-5)
    assert losses["loss_offsets"].item() == pytest.approx(offsets / counted, rel=1e-5)
    total = losses["loss_heatmaps"] + 0.01 * losses["loss_offsets"]
    assert criterion.total(losses).item() == pytest.approx(total.item())


def test_branches_are_compared_with_the_same_targets():
    outputs, targets = case()
    single = grouppose.build_criterion("hrnet_bottomup")(outputs, targets)
    outputs["branch_heatmaps"] = torch.cat([outputs["heatmaps"]] * 3, 1)
    outputs["fine_heatmaps"] = torch.ones(2, 3, 12, 16)
    for target in targets:
        target["fine_heatmaps"] = torch.zeros(3, 12, 16)
        target["fine_weights"] = torch.full((1, 12, 16), 0.25)
    losses = grouppose.build_criterion("hrnet_bottomup")(outputs, targets)
    torch.testing.assert_close(losses["loss_heatmaps"], single["loss_heatmaps"])
    assert losses["loss_fine_heatmaps"].item() == pytest.approx(0.25)


def test_parts_of_a_batch_add_up_to_it():
    outputs, targets = case(batch=3)
    criterion = grouppose.build_criterion("dekr")
    whole = criterion(outputs, targets)
    count = criterion.count(targets)
    assert count.tolist() == [3, sum((t["offset_weights"] > 0).sum().item() for t in targets)]
    parts = [
        criterion({name: maps[b] for name, maps in outputs.items()}, targets[b], count)
        for b in (slice(0, 1), slice(1, 3))
    ]
    for name, loss in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], loss)


def test_pictures_of_nobody_give_no_offset_loss_and_finite_gradients():
    outputs, targets = case()
    for target in targets:
        target["offset_weights"].zero_()
        target["weights"].zero_()
    outputs["offsets"].requires_grad_()
    losses = grouppose.build_criterion("hrnet_bottomup")(outputs, targets)
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())
    assert (outputs["offsets"].grad == 0).all()


def test_targets_of_another_number_of_keypoints_or_pictures_are_refused():
    outputs, targets = case()
    criterion = grouppose.build_criterion("hrnet_bottomup")
    with pytest.raises(InputError, match="is num_body_points the dataset's"):
        criterion(outputs, case(keypoints=2)[1])
    with pytest.raises(InputError, match="1 targets for 2 pictures"):
        criterion(outputs, targets[:1])
    with pytest.raises(InputError, match="set higher in both"):
        criterion({**outputs, "fine_heatmaps": torch.zeros(2, 3, 12, 16)}, targets)
