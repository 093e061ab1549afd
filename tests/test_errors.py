import pickle

import pytest

from grouppose import errors
from grouppose.errors import UserError, nearest


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("InputError", ValueError),
        ("SettingNameError", KeyError),
        ("SettingTypeError", TypeError),
        ("MissingFileError", FileNotFoundError),
    ],
)
def test_an_error_is_the_builtin_one_too_and_says_its_message_alone(name, builtin):
    error = getattr(errors, name)("no 'a'; give one")
    assert isinstance(error, UserError) and isinstance(error, builtin)
    assert str(error) == "no 'a'; give one" and str(type(error)()) == ""
    again = pickle.loads(pickle.dumps(error))  # as it comes from a data worker
    assert type(again) is type(error) and str(again) == str(error)
    assert (error.kind, error.status) == ("error: ", 1)


def test_the_nearest_name_or_all_of_them():
    names = {"resnet50", "swin", "resnet101"}
    assert nearest("resnet5", names) == "did you mean 'resnet50'?"
    assert nearest("x", names) == "expected one of resnet101, resnet50, swin"
