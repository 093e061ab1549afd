"""Suppression in the published order, worked out by hand."""

import torch

from grouppose.maps.grouping import close_keypoints, suppress_close


def groups(count, *pairs):
    close = torch.zeros(count, count, dtype=torch.bool)
    for i, j in pairs:
        close[i, j] = close[j, i] = True
    return close


def test_the_best_of_a_group_is_kept_and_its_neighbours_go():
    close = groups(4, (0, 1), (2, 3))
    assert suppress_close(close, torch.tensor([1.0, 2.0, 4.0, 3.0]), 30).tolist() == [1, 2]


def test_who_finds_the_best_marked_stays_unmarked_and_is_not_kept():
    # 0's best is 1: kept, 0 and 1 marked. 2's best is 1, marked: nothing. 3's group has 2, the best
    close = groups(4, (0, 1), (1, 2), (2, 3))
    assert suppress_close(close, torch.tensor([1.0, 9.0, 5.0, 2.0]), 30).tolist() == [1, 2]


def test_the_first_of_equals_and_a_limit():
    close = groups(5, (0, 1))
    ranking = torch.tensor([3.0, 3.0, 5.0, 1.0, 4.0])
    assert suppress_close(close, ranking, 30).tolist() == [0, 2, 3, 4]
    assert suppress_close(close, ranking, 2).tolist() == [2, 4]


def test_nobody():
    assert suppress_close(torch.zeros(0, 0, dtype=torch.bool), torch.zeros(0), 30).tolist() == []


def test_close_keypoints_are_counted_below_the_distance():
    keypoints = torch.zeros(2, 3, 2)
    keypoints[1, :, 0] = torch.tensor([4.0, 5.0, 6.0])
    assert close_keypoints(keypoints, 5)[0, 1] == 1
    rows = close_keypoints(keypoints, torch.tensor([5.5, 1.0]))  # each first pose has its own
    assert rows.tolist() == [[3, 2], [0, 3]]
