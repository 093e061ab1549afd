import json
import logging
import math

import numpy as np
import pytest
import torch

from datasets.evaluate import format_stats, keypoint_stats, swap_rate, to_results
from grouppose.errors import InputError
from grouppose.skeleton import COCO, CROWDPOSE
from tests.datasets.sets import contents, person

ONE = {1: (100, 100)}
NOSE = 0.026


def nose_alone(number, image_id, x=50.0, y=50.0, area=10000.0, **changes):
    """A person of which only the nose is labelled."""
    keypoints = [x, y, 2] + [0] * 48
    return person(number, image_id, keypoints=keypoints, num_keypoints=1, area=area, **changes)


def result(image_id, keypoints, score=0.5, category_id=1, **more):
    return {
        "image_id": image_id,
        "category_id": category_id,
        "keypoints": list(keypoints),
        "score": score,
        **more,
    }


def nose_at(image_id, x, y=50.0, score=0.5, **more):
    return result(image_id, [x, y, 1] + [0, 0, 1] * 16, score, **more)


def distance_for(similarity, area=10000.0, sigma=NOSE):
    """Pixels between one label and its prediction that give this OKS."""
    return math.sqrt(-math.log(similarity) * 2 * area * (2 * sigma) ** 2)


@pytest.fixture(params=["faster", "pycocotools"])
def evaluator(request):
    return request.param


def test_one_person_at_a_known_similarity(evaluator):
    data = contents(ONE, [nose_alone(1, 1)])
    stats = keypoint_stats(data, [nose_at(1, 50 + distance_for(0.72))], evaluator=evaluator)
    # found at thresholds .50, .55, .60, .65 and .70 of ten
    assert stats["AP"] == pytest.approx(0.5)
    assert (stats["AP50"], stats["AP75"], stats["AR"]) == (pytest.approx(1.0), 0.0, 0.5)
    assert (stats["APL"], stats["APM"]) == (pytest.approx(0.5), -1.0)  # area 10000 > 96 * 96
    assert list(stats) == [
        *("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"),
    ]


def test_a_person_missed_and_a_false_alarm_by_hand(evaluator):
    data = contents({1: (100, 100), 2: (100, 100)}, [nose_alone(1, 1), nose_alone(2, 2)])
    found = nose_at(1, 50, score=0.6)
    # half of the people: precision 1 up to recall .5, which 51 of the 101 recalls reach
    stats = keypoint_stats(data, [found], evaluator=evaluator)
    assert stats["AP"] == pytest.approx(51 / 101) and stats["AR"] == 0.5
    # a better scored prediction far away: precision 1/2 there
    false_alarm = nose_at(2, 99, y=99, score=0.9)
    stats = keypoint_stats(data, [found, false_alarm], evaluator=evaluator)
    assert stats["AP"] == pytest.approx(51 / 101 / 2)


def test_labels_that_are_ignored_cost_nothing(evaluator):
    unlabelled = person(2, 1, keypoints=[0] * 51, num_keypoints=0, bbox=[0, 0, 20, 20])
    crowd = nose_alone(3, 1, x=80.0, iscrowd=1)
    data = contents(ONE, [nose_alone(1, 1), unlabelled, crowd])
    stats = keypoint_stats(data, [nose_at(1, 50)], evaluator=evaluator)
    assert stats["AP"] == pytest.approx(1.0)


def test_an_annotation_with_id_0_counts(evaluator):
    stats = keypoint_stats(contents(ONE, [nose_alone(0, 1)]), [nose_at(1, 50)], evaluator=evaluator)
    assert stats["AP"] == pytest.approx(1.0)


def test_boxes_and_areas_in_results_change_nothing(evaluator):
    data = contents(ONE, [nose_alone(1, 1, area=2000.0)])  # a medium person
    false_alarm = nose_at(1, 99, y=99, score=0.9)  # spans 99 x 99 pixels: large, so left out there
    plain = [false_alarm, nose_at(1, 50)]
    boxed = [{**r, "bbox": [0, 0, 50, 50], "area": 2500.0, "segmentation": []} for r in plain]
    stats = keypoint_stats(data, plain, evaluator=evaluator)
    assert (stats["AP"], stats["APM"]) == (pytest.approx(0.5), pytest.approx(1.0))
    assert keypoint_stats(data, boxed, evaluator=evaluator) == stats


def test_nothing_found_is_zero_and_no_error(evaluator):
    stats = keypoint_stats(contents(ONE, [nose_alone(1, 1)]), [], evaluator=evaluator)
    assert set(stats.values()) == {0.0} and len(stats) == 10
    crowdpose = contents(ONE, [person(1, 1, 14)], 14, crowdIndex=0.1)
    stats = keypoint_stats(crowdpose, [], "crowdpose", evaluator)
    assert set(stats.values()) == {0.0} and len(stats) == 9


def random_scene(num_keypoints, seed, **image_entries):
    """30 pictures with 3 people each and noisy predictions of them."""
    generator = np.random.default_rng(seed)
    sizes = {i: (200, 200) for i in range(1, 31)}
    annotations, results = [], []
    for image_id in sizes:
        for _ in range(3):
            points = generator.uniform(10, 190, (num_keypoints, 2))
            visible = generator.random((num_keypoints, 1)) < 0.8
            labels = np.concatenate([points * visible, visible * 2], 1)
            annotations.append(
                person(
                    len(annotations),
                    image_id,
                    keypoints=labels.flatten().tolist(),
                    num_keypoints=int(visible.sum()),
                    area=float(generator.uniform(500, 20000)),
                    bbox=[5.0, 5.0, *generator.uniform(40, 190, 2).tolist()],
                )
            )
            for _ in range(2):
                noisy = points + generator.normal(0, generator.uniform(1, 15), points.shape)
                noisy = np.concatenate([noisy, np.ones((num_keypoints, 1))], 1)
                results.append(result(image_id, noisy.flatten(), float(generator.random())))
    return contents(sizes, annotations, num_keypoints, **image_entries), results


@pytest.mark.parametrize("protocol", ["coco", "ochuman"])
def test_both_evaluators_agree_to_the_last_bit(protocol):
    data, results = random_scene(17, 1)
    stats = keypoint_stats(data, results, protocol)
    assert stats == keypoint_stats(data, results, protocol, "pycocotools")
    assert 0.1 < stats["AP"] < 0.9


def crowdpose_person(number, image_id, joint, **changes):
    """A CrowdPose person of which one joint is labelled, at (50, 50)."""
    keypoints = [0] * 42
    keypoints[3 * joint : 3 * joint + 3] = [50, 50, 2]
    entry = person(number, image_id, 14, keypoints=keypoints, bbox=[0.0, 0.0, 100.0, 80.0])
    return {**entry, "num_keypoints": int(joint < 12), **changes}


def test_crowdpose_area_is_a_share_of_the_box(evaluator):
    wrist = CROWDPOSE.names.index("left_wrist")
    data = contents(ONE, [crowdpose_person(1, 1, wrist, area=1.0)], 14, crowdIndex=0.5)
    shift = distance_for(0.62, area=100 * 80 * 0.53, sigma=0.062)
    keypoints = [0.0, 0.0, 1.0] * 14
    keypoints[3 * wrist : 3 * wrist + 2] = [50 + shift, 50]
    stats = keypoint_stats(data, [result(1, keypoints)], "crowdpose", evaluator)
    assert stats["AP"] == pytest.approx(0.3)  # .50, .55, .60
    assert list(stats)[6:] == ["AP_easy", "AP_medium", "AP_hard"]
    assert [stats[f"AP_{split}"] for split in ("easy", "medium", "hard")] == [-1.0, 0.3, -1.0]


def test_crowdpose_splits_by_crowd_index(evaluator):
    sizes = {i: (100, 100) for i in range(1, 7)}
    data = contents(sizes, [crowdpose_person(i, i, 0) for i in sizes], 14)
    for entry, index in zip(data["images"], [0.1, 0.19, 0.2, 0.79, 0.8, 1.0], strict=True):
        entry["crowdIndex"] = index
    exact = [50.0, 50.0, 1.0] * 14
    found = [result(i, exact, score=0.9 - i / 10) for i in (1, 3, 4)]  # one easy, both medium
    stats = keypoint_stats(data, found, "crowdpose", evaluator)
    assert stats["AP_easy"] == round(51 / 101, 4)
    assert (stats["AP_medium"], stats["AP_hard"]) == (1.0, 0.0)
    assert stats["AP"] == pytest.approx(51 / 101)


def test_crowdpose_ignores_people_with_head_and_neck_alone(evaluator):
    neck = crowdpose_person(2, 1, CROWDPOSE.names.index("neck"))
    del neck["num_keypoints"]  # then the first twelve are counted
    data = contents(ONE, [crowdpose_person(1, 1, 0), neck], 14, crowdIndex=0.5)
    stats = keypoint_stats(data, [result(1, [50.0, 50.0, 1.0] * 14)], "crowdpose", evaluator)
    assert stats["AR"] == 1.0


def test_crowdpose_without_crowd_index_is_refused():
    data = contents(ONE, [person(1, 1, 14)], 14)
    with pytest.raises(InputError, match="image 1 has crowdIndex None, expected a number"):
        keypoint_stats(data, [], "crowdpose")


def test_many_categories_count_as_one():
    data = contents({1: (9, 9), 2: (9, 9)}, [nose_alone(1, 1), nose_alone(2, 2, category_id=26)])
    data["categories"].append({**data["categories"][0], "id": 26})
    found = [nose_at(1, 50), nose_at(2, 50), nose_at(2, 99, score=0.9, category_id=0)]
    assert keypoint_stats(data, found)["AP"] == pytest.approx(1.0)  # 0: not a person


def test_nothing_is_printed_or_logged_and_results_stay(tmp_path, capfd, caplog, evaluator):
    data, results = random_scene(17, 2)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(data))
    before = [dict(r) for r in results]
    with caplog.at_level(logging.INFO):
        keypoint_stats(path, results, evaluator=evaluator)
        swap_rate(path, results)
    assert capfd.readouterr() == ("", "") and not caplog.records
    assert results == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (nose_at(1, float("nan")), "a result for image 1 has a score or keypoint that is not"),
        (nose_at(1, 50, score=float("inf")), "image 1 has a score or keypoint that is not finite"),
        (result(1, [0.0] * 42), "result for image 1 has 42 numbers as keypoints, expected 51"),
        (nose_at(77, 50), "a result is for image 77, which the annotations do not list"),
        (nose_at(1, 50, score="high"), "has something else than numbers as score or keypoints"),
        ({**nose_at(1, 50), "keypoints": None}, "something else than numbers as score or key"),
        ({"image_id": 1, "category_id": 1, "score": 1}, "result 1 has no 'keypoints'"),
    ],
)
def test_wrong_results_are_refused(wrong, message):
    data = contents({1: (9, 9), 2: (9, 9)}, [nose_alone(1, 1)])
    with pytest.raises(InputError, match=message):
        keypoint_stats(data, [nose_at(2, 50), wrong])


def test_unknown_protocol_and_evaluator_are_refused():
    with pytest.raises(InputError, match="protocol is 'mpii', expected one of coco, crowdpose"):
        keypoint_stats(contents(ONE, []), [], "mpii")
    with pytest.raises(InputError, match="evaluator is 'x', expected faster or pycocotools"):
        keypoint_stats(contents(ONE, []), [], evaluator="x")


def test_results_hold_pixels_labels_and_plain_numbers():
    people = [
        {
            "scores": torch.tensor([0.75, 0.25]),
            "labels": torch.tensor([1, 0]),
            "keypoints": torch.tensor([[[1.5, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]),
        },
        {
            "scores": torch.empty(0),
            "labels": torch.empty(0, dtype=torch.int64),
            "keypoints": torch.empty(0, 2, 2),
        },
    ]
    results = to_results([torch.tensor(4), 9], people)
    assert json.loads(json.dumps(results)) == [
        {"image_id": 4, "category_id": 1, "keypoints": [1.5, 2, 1, 3, 4, 1], "score": 0.75},
    ]
    people[0]["labels"] = torch.tensor([1, 2])
    found = to_results([4], people[:1], category_ids=(7, 9))
    assert [result["category_id"] for result in found] == [7, 9]


def test_table_is_in_percent_and_aligned():
    text = format_stats({"AP": 0.71234, "AP50": 1.0, "AP_easy": -1.0})
    assert text == "  AP   AP50  AP_easy\n71.2  100.0        -"


def pose(number, image_id, offset=0.0, **changes):
    """All 17 keypoints labelled, left and right 20 px apart."""
    points = np.array([[100 + offset + 10 * (k % 2), 50 + 8 * k] for k in range(17)])
    labels = np.concatenate([points, np.full((17, 1), 2.0)], 1)
    return person(number, image_id, keypoints=labels.flatten().tolist(), area=2e4, **changes)


def predicted(entry, exchanged=(), score=0.5):
    """The labels of a pose, with these left-right pairs (numbers) exchanged."""
    order = list(range(17))
    for pair in exchanged:
        left, right = COCO.flip_pairs[pair]
        order[left], order[right] = right, left
    points = np.array(entry["keypoints"]).reshape(17, 3)[order]
    return result(entry["image_id"], points.flatten(), score)


@pytest.mark.parametrize(("exchanged", "rate"), [((), 0), ((3,), 1 / 8), (range(8), 1)])
def test_swapped_pairs_by_hand(exchanged, rate):
    entry = pose(1, 1)
    data = contents({1: (300, 300)}, [entry])
    assert swap_rate(data, [predicted(entry, exchanged)]) == pytest.approx(rate)


def test_pairs_labelled_on_one_side_do_not_count():
    entry = pose(1, 1)
    left = COCO.flip_pairs[0][0]
    entry["keypoints"][3 * left : 3 * left + 3] = [0, 0, 0]
    found = predicted(pose(1, 1), exchanged=(0, 1))
    assert swap_rate(contents({1: (300, 300)}, [entry]), [found]) == pytest.approx(1 / 7)


def test_people_not_found_do_not_count():
    near, far = pose(1, 1), pose(2, 1, offset=2000.0)
    crowd = pose(3, 2, iscrowd=1)
    data = contents({1: (300, 300), 2: (300, 300)}, [near, far, crowd])
    found = [predicted(near, range(4)), predicted(crowd, range(8))]
    assert swap_rate(data, found) == pytest.approx(4 / 8)
    assert swap_rate(data, []) == 0.0


def test_the_best_score_is_the_match_and_each_prediction_has_one_person():
    entry, other = pose(1, 1), pose(2, 1, offset=400.0)
    data = contents({1: (300, 900)}, [entry, other])
    found = [
        predicted(entry, range(8), score=0.3),  # the second best for `entry`: not counted
        predicted(other, (), score=0.2),
        predicted(entry, (0, 1), score=0.9),
    ]
    assert swap_rate(data, found) == pytest.approx(2 / 16)


def test_annotations_without_people_leave_nothing_to_find(evaluator):
    stats = keypoint_stats(contents(ONE, []), [nose_at(1, 50)], evaluator=evaluator)
    assert set(stats.values()) == {-1.0}
    with pytest.raises(InputError, match="neither annotations nor categories have 'keypoints'"):
        keypoint_stats({**contents(ONE, []), "categories": []}, [])


def test_pairs_found_on_one_side_do_not_count():
    found = predicted(pose(1, 1), exchanged=(0, 1))
    left = COCO.flip_pairs[0][0]
    found["keypoints"][3 * left + 2] = 0
    assert swap_rate(contents({1: (300, 300)}, [pose(1, 1)]), [found]) == pytest.approx(1 / 7)


def test_missing_keypoints_of_results_are_0_wherever_they_lie():
    people = {
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([1]),
        "keypoints": torch.tensor([[[3.0, 4.0], [5.0, 6.0]]]),
        "confidence": torch.tensor([[0.0, 0.1]]),
    }
    assert to_results([7], [people])[0]["keypoints"] == [0, 0, 0, 5, 6, 1]
    assert to_results([7], [people], order=[1, 0])[0]["keypoints"] == [5, 6, 1, 0, 0, 0]
    del people["confidence"]
    assert to_results([7], [people])[0]["keypoints"] == [3, 4, 1, 5, 6, 1]
