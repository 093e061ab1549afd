import pytest

from util.rescoring import doubts


@pytest.mark.parametrize(
    ("pictures", "before", "after", "wanted"),
    [
        (499, 0.4, 0.5, ["has seen 499 pictures"]),
        (500, 0.4, 0.4, []),
        (500, 0.4, 0.375, ["lowers AP from 40.0 to 37.5 %"]),
        (3, -1.0, -1.0, ["has seen 3 pictures"]),
        (3, 0.1, 0.0, ["has seen 3 pictures", "lowers AP from 10.0 to 0.0 %"]),
    ],
)
def test_what_speaks_against_a_rescoring_network(pictures, before, after, wanted):
    found = doubts(pictures, before, after)
    assert len(found) == len(wanted)
    assert all(text in line for text, line in zip(wanted, found, strict=True))
