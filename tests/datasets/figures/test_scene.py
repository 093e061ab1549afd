import numpy as np

from datasets.figures.scene import draw_scene
from datasets.synthetic import draw_people
from tests.datasets.figures.drawn import array


def test_a_visible_keypoint_lies_on_its_figure():
    visible = 0
    for index in range(15):
        rng = np.random.default_rng(np.random.SeedSequence((2, index)))
        _, _, people = draw_scene(rng, 96)
        for person, row in zip(people, array(draw_people(2, index, 96)[1]), strict=True):
            x, y, _ = np.rint(2 * row[row[:, 2] == 2] + 0.5).astype(int).T  # on the canvas
            assert person.mask[y, x].all()
            visible += len(x)
    assert visible > 150


def test_masks_of_people_do_not_overlap_and_give_area_and_box():
    rng = np.random.default_rng(np.random.SeedSequence((0, 0)))
    _, canvas, people = draw_scene(rng, 96)
    annotations = draw_people(0, 0, 96)[1]
    assert sum(person.mask.astype(int) for person in people).max() == 1
    for person, annotation in zip(people, annotations, strict=True):
        assert set(np.unique(canvas[person.mask, 3])) <= set(person.owners.values())
        rows, columns = np.nonzero(person.mask)
        assert annotation["area"] == len(rows) / 4
        left, top = columns.min() / 2, rows.min() / 2
        box = [left, top, (columns.max() + 1) / 2 - left, (rows.max() + 1) / 2 - top]
        assert annotation["bbox"] == box
