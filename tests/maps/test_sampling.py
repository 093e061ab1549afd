"""Values at points."""

import pytest
import torch

from grouppose.maps.sampling import at_cells, bilinear_truncated


def test_bilinear_values_by_hand():
    maps = torch.tensor([[[0.0, 1.0, 2.0], [4.0, 8.0, 12.0], [0.0, 0.0, 0.0]]])
    points = torch.tensor([[[0.5, 0.25]], [[-0.5, 0.0]], [[1.5, 1.0]]])
    # between 0.5 and 6, a quarter down; half a column left of 0, 1; between 8 and 12
    assert bilinear_truncated(maps, points)[:, 0].tolist() == pytest.approx([1.875, -0.5, 10])


@pytest.mark.parametrize("point", [(-1.0, 0.0), (0.0, -1.5), (2.0, 0.0), (0.0, 2.0)])
def test_points_whose_cells_are_not_on_the_map_read_zero(point):
    assert bilinear_truncated(torch.ones(1, 3, 3), torch.tensor([[point]])).item() == 0


def test_each_keypoint_reads_its_channel_and_places_outside_move_to_the_border():
    maps = torch.arange(12.0).view(2, 2, 3)
    columns, rows = torch.tensor([[1, -4], [9, 2]]), torch.tensor([[0, 1], [5, 0]])
    assert at_cells(maps, columns, rows).tolist() == [[1, 9], [5, 8]]
