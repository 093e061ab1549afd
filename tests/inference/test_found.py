"""What was found, as the page shows it, without a browser."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from grouppose.inference.found import count, describe, figure, sought
from grouppose.inference.results import Keypoints, Result
from grouppose.skeleton import Skeleton
from tests.inference.conftest import noise

PETS = ((3, "cat"), (9, "<dog>"))


def two_of(categories, labels, **changes):
    xy = np.array([[[10.0, 10.0], [30.0, 40.0]], [[50.0, 20.0], [70.0, 30.0]]])
    keypoints = Keypoints(xy, np.ones((2, 2)), (48, 80))
    skeleton = Skeleton.from_names(["head", "tail"])
    scores, labels = np.array([0.9, 0.5]), np.array(labels)
    return Result(noise(), keypoints, scores, labels, skeleton, categories=categories, **changes)


def test_the_table_names_the_class():
    people = describe([two_of(((1, "person"),), [1, 1])])
    assert "2 people" in people and "Class" not in people
    assert "2 x dog" in describe([two_of(((7, "dog"),), [1, 1])])
    pets = describe([two_of(PETS, [2, 1])])
    assert "1 x &lt;dog&gt;, 1 x cat" in pets and '<th scope="col">Class</th>' in pets
    assert "<td>&lt;dog&gt;</td><td>0.90</td>" in pets


def test_the_table_of_a_video_names_the_class():
    frame = two_of(PETS, [1, 1], ids=np.array([4, 5]), rate=10.0)
    table = describe([frame, replace(frame, frame=1)])
    assert "2 x cat in 2 pictures" in table and "<td>cat</td><td>0.50</td><td>0.0 s</td>" in table


def test_keypoints_are_counted_where_some_are_missing():
    result = two_of(((1, "person"),), [1, 1])
    assert "Keypoints" not in describe([result])
    result.keypoints.confidence[1, 0] = 0.0
    table = describe([result], seconds=0.0426)
    assert '<th scope="col">Keypoints</th>' in table
    assert re.findall(r"<td>(\d of \d)</td>", table) == ["2 of 2", "1 of 2"]
    assert "2 people, in 43 ms" in table and "2 people, in 1.3 s" in describe([result], 1.26)


def test_nobody_is_a_person_and_nothing_is_not():
    assert count([]) == "Nobody found" and count([], PETS) == "Nothing found"
    assert sought(((1, "person"),)) == "person" and sought(PETS) == "cat and &lt;dog&gt;"
    assert sought(((1, "a"), (2, "b"), (3, "c"))) == "a, b and c"
    assert sought([(i, "x") for i in range(4)]) == "thing of 4 kinds"


def test_the_figure_frames_everybody_and_escapes_names():
    shown = figure(two_of(PETS, [1, 1]), Path("/t/a b.png"), Path("/t/p.png"), Path('/t/a".tif'))
    assert 'src="gradio_api/file=/t/a%20b.png"' in shown and 'download="a&quot;.tif"' in shown
    # 0.02 * 80 = 1.6 pixels around the keypoints at 10, 10 and 30, 40
    assert '<path class="frame" d="M8.4 8.4H31.6V41.6H8.4Z"' in shown
    assert shown.count('<g data-person="') == 2
