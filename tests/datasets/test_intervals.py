import numpy as np
import pytest

from datasets.evaluate import keypoint_stats
from datasets.intervals import _matches, bootstrap, weighted_precision
from grouppose.skeleton import COCO
from tests.datasets.sets import contents, person


def noisy_set(pictures=12, seed=0, categories=(1,)):
    """Two people a picture, found with noise and some false ones; no two scores are the same."""
    rng = np.random.default_rng(seed)
    people, results = [], []
    for picture in range(1, pictures + 1):
        for place in (100, 400):
            category = int(rng.choice(categories))
            points = np.stack([rng.uniform(0, 150, 17) + place, rng.uniform(0, 150, 17)], 1)
            visible = np.full((17, 1), 2)
            number = len(people) + 1
            keypoints = np.concatenate([points, visible], 1).ravel().tolist()
            box = [float(place), 0.0, 150.0, 150.0]
            people.append(
                person(number, picture, keypoints=keypoints, area=2e4, bbox=box,
                       category_id=category)
            )  # fmt: skip
            for noise in (rng.uniform(0, 25), 80):
                moved = points + rng.normal(0, noise, points.shape)
                found = np.concatenate([moved, visible], 1).ravel().tolist()
                results.append(
                    {"image_id": picture, "category_id": category, "keypoints": found,
                     "score": float(rng.uniform() + (noise < 30))}
                )  # fmt: skip
    data = contents({i: (600, 600) for i in range(1, pictures + 1)}, people)
    named = data["categories"][0]
    data["categories"] = [{**named, "id": i} for i in categories]
    return data, results


@pytest.mark.parametrize(("categories", "by_category"), [((1,), False), ((1, 2), True)])
def test_a_sample_counts_as_an_evaluation_of_the_copies_of_its_pictures(categories, by_category):
    data, results = noisy_set(categories=categories)
    times = np.array([0, 3, 1, 1, 0, 2, 1, 1, 1, 0, 1, 1])
    images, people, found = [], [], []
    for entry in data["images"]:
        for copy in range(times[entry["id"] - 1]):
            number = 100 * (copy + 1) + entry["id"]
            images.append({**entry, "id": number})
            for person_of in data["annotations"]:
                if person_of["image_id"] == entry["id"]:
                    people.append({**person_of, "id": len(people) + 1, "image_id": number})
            found += [{**r, "image_id": number} for r in results if r["image_id"] == entry["id"]]
    copies = {**data, "images": images, "annotations": people}
    stats = keypoint_stats(copies, found, by_category=by_category)
    matches = _matches(data, results, "coco", COCO, by_category)
    precision = weighted_precision(matches, times)
    assert precision.mean() == pytest.approx(stats["AP"], abs=1e-12)
    assert precision[0] == pytest.approx(stats["AP50"], abs=1e-12)
    assert precision[5] == pytest.approx(stats["AP75"], abs=1e-12)
    assert 0.2 < stats["AP"] < 0.9


def test_each_picture_once_is_the_set_itself():
    data, results = noisy_set()
    matches = _matches(data, results, "coco", None, False)
    once = weighted_precision(matches, np.ones(12, dtype=int))
    assert once.mean() == pytest.approx(keypoint_stats(data, results)["AP"], abs=1e-12)


def test_interval_holds_the_value_and_narrows_with_more_pictures():
    widths = []
    for pictures in (12, 108):
        data, results = noisy_set(pictures)
        interval = bootstrap(data, results, samples=100)["AP"]
        assert interval.low < keypoint_stats(data, results)["AP"] < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] == pytest.approx(widths[0] / 3, rel=0.4)  # the root of nine times as many
    assert bootstrap(data, results, samples=20) == bootstrap(data, results, samples=20)


def test_nothing_found_or_to_find_has_no_interval():
    data, results = noisy_set(2)
    assert bootstrap(data, [], samples=5) == {}
    assert bootstrap({**data, "annotations": []}, results, samples=5) == {}
