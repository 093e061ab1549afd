"""The page's table, without a browser."""

from dataclasses import replace

import numpy as np
import pytest

from grouppose.inference.results import Keypoints, Result
from grouppose.skeleton import Skeleton
from tests.inference.conftest import noise

pytest.importorskip("gradio", reason="the page needs gradio: pip install 'grouppose[web]'")
PETS = ((3, "cat"), (9, "<dog>"))


def two_of(categories, labels, **changes):
    xy = np.array([[[10.0, 10.0], [30.0, 40.0]], [[50.0, 20.0], [70.0, 30.0]]])
    keypoints = Keypoints(xy, np.ones((2, 2)), (48, 80))
    skeleton = Skeleton.from_names(["head", "tail"])
    scores, labels = np.array([0.9, 0.5]), np.array(labels)
    return Result(noise(), keypoints, scores, labels, skeleton, categories=categories, **changes)


def test_the_table_names_the_class():
    from grouppose.inference.page import describe

    people = describe([two_of(((1, "person"),), [1, 1])])
    assert "2 people" in people and "Class" not in people
    assert "2 x dog" in describe([two_of(((7, "dog"),), [1, 1])])
    pets = describe([two_of(PETS, [2, 1])])
    assert "1 x &lt;dog&gt;, 1 x cat" in pets and '<th scope="col">Class</th>' in pets
    assert "<td>&lt;dog&gt;</td><td>0.90</td>" in pets


def test_the_table_of_a_video_names_the_class():
    from grouppose.inference.page import describe

    frame = two_of(PETS, [1, 1], ids=np.array([4, 5]), rate=10.0)
    table = describe([frame, replace(frame, frame=1)])
    assert "2 x cat in 2 pictures" in table and "<td>cat</td><td>0.50</td><td>0.0 s</td>" in table
