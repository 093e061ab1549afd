import numpy as np
import pytest

from datasets.sigmas import estimate_sigmas
from grouppose.skeleton import Skeleton
from tests.datasets.sets import contents, person

THREE = Skeleton.from_names(["left_ear", "right_ear", "tail"])


def labels(number, points, image_id=1, **changes):
    keypoints = [value for x, y in points for value in (x, y, 2)]
    return person(number, image_id, 3, keypoints=keypoints, **changes)


def test_two_labels_by_hand():
    """Ears 6 apart, area 900: each is 3 from the mean, 3^2 + 3^2 = 18 for one deviation."""
    first = labels(1, [(100, 100), (200, 100), (150, 150)], area=900)
    second = labels(2, [(106, 100), (200, 100), (150, 150)], area=900)
    far = labels(3, [(500, 100), (600, 100), (550, 150)], area=900)
    second["keypoints"][6:] = [0, 0, 0]  # the tail is labelled once
    data = contents({1: (999, 999)}, [first, far, second], 3)
    sigmas, count, people = estimate_sigmas([data], THREE)
    assert sigmas[0] == pytest.approx((18 / 900) ** 0.5) and sigmas[1] == 0
    assert np.isnan(sigmas[2]) and count.tolist() == [1, 1, 0] and people == 1


def test_the_spread_of_many_labels_is_found_again():
    rng = np.random.default_rng(0)
    true = np.array([0.02, 0.05, 0.1])
    people = []
    for picture in range(1, 301):
        area = rng.uniform(1e3, 1e5)
        places = rng.uniform(0, 900, (3, 2))
        for _ in range(3):  # E[d^2] is the sum of the variances of x and y
            noise = rng.normal(size=(3, 2)) * true[:, None] * (area / 2) ** 0.5
            people.append(labels(len(people) + 1, places + noise, picture, area=area))
    data = contents({i: (999, 999) for i in range(1, 301)}, people, 3)
    sigmas, count, number = estimate_sigmas([data], THREE)
    assert sigmas == pytest.approx(true, rel=0.1) and number == 300
    assert count.min() > 550


def test_nobody_is_labelled_twice():
    data = contents({1: (99, 99), 2: (99, 99)}, [labels(i, [(9, 9)] * 3, i) for i in (1, 2)], 3)
    sigmas, count, people = estimate_sigmas([data], THREE)
    assert np.isnan(sigmas).all() and not count.any() and people == 0
