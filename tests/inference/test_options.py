import argparse
import math

import pytest

from grouppose.errors import InputError
from grouppose.inference.options import argument, check, check_all


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("threshold", 3, "threshold is 3, must be from 0 to 1"),
        ("threshold", -0.5, "threshold is -0.5"),
        ("threshold", math.nan, "threshold is nan"),
        ("threshold", "0.5", "threshold is '0.5'"),
        ("suppress", 5, "suppress is 5, must be from 0 to 1"),
        ("size", 0, "size is 0, must be from 1 to 100000, a whole number"),
        ("scales", 10**9, r"scales is 1e\+09, must be from 1 to 100000"),
        ("size", 64.5, "size is '?64.5"),
        ("longest", -3, "longest is -3"),
        ("max_people", math.inf, "max_people is '?inf"),
        ("batch_size", True, "batch_size is True"),
        ("max_megapixels", 0, "max_megapixels is 0, must be a number above 0"),
    ],
)
def test_values_out_of_range_are_named(name, value, message):
    with pytest.raises(InputError, match=message):
        check(name, value)
    if isinstance(value, str | bool):
        return
    with pytest.raises(argparse.ArgumentTypeError, match=message.replace(name, "it")):
        argument(name)(str(value))


def test_values_in_range_pass():
    check_all(threshold=-math.inf, suppress=None, size=None, scales=[480, 800], max_people=1)
    check_all(threshold=0.0, suppress=1.0, max_megapixels=0.5)
    assert argument("scales")("480") == 480 and argument("threshold")("0") == 0.0
    with pytest.raises(InputError, match="scales is 0"):
        check_all(scales=(480, 0))
