"""What a mirrored picture shows, turned back."""

import torch

from grouppose.maps.merging import poses_from_offsets, unflip_heatmaps, unflip_poses

ORDER = (1, 0, 2)


def test_heatmaps_change_sides_and_names_and_the_centre_stays():
    maps = torch.zeros(1, 4, 5, 6)
    maps[0, 0, 2, 1] = 1  # left
    maps[0, 2, 3, 0] = 1  # middle
    maps[0, 3, 4, 5] = 1  # centre
    back = unflip_heatmaps(maps, ORDER)
    assert back.nonzero().tolist() == [[0, 1, 2, 4], [0, 2, 3, 5], [0, 3, 4, 0]]


def test_poses_come_back_to_the_cell_and_place_they_had():
    poses = torch.rand(1, 6, 5, 8) * 8
    mirrored = torch.empty_like(poses)
    for k, other in enumerate(ORDER):
        mirrored[:, 2 * k] = 7 - poses[:, 2 * other].flip(-1)
        mirrored[:, 2 * k + 1] = poses[:, 2 * other + 1].flip(-1)
    torch.testing.assert_close(unflip_poses(mirrored, ORDER), poses)


def test_poses_are_cells_less_offsets():
    offsets = torch.zeros(1, 4, 3, 5)
    offsets[0, 2] = 1.5
    poses = poses_from_offsets(offsets)[0]
    assert poses[:, 1, 3].tolist() == [3, 1, 1.5, 1]
